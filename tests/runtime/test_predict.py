from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import variorum
from samples.bundles import bundle, task
from samples.pictures import write_digits
from variorum.core import VariorumError
from variorum.runtime.bundle import save


def test_classes_with_probabilities(tmp_path):
    trees = variorum.load(save(bundle("trees"), tmp_path / "b"))
    told = trees.predict("breast_cancer")
    assert list(told.columns) == ["prediction", "probability", "p(benign)", "p(malignant)"]
    assert len(told) == 569 and np.allclose(told["p(benign)"] + told["p(malignant)"], 1)
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer(as_frame=True)
    truth = found.target_names[found.target.to_numpy()]
    test = task("breast_cancer").parts.test
    assert (told["prediction"].to_numpy()[test] == truth[test]).mean() > 0.9
    best = told[["p(benign)", "p(malignant)"]].to_numpy().max(axis=1)
    np.testing.assert_array_equal(told["probability"], best)


def test_values_in_the_units_of_the_data():
    told = bundle("tree values").predict("diabetes")
    from sklearn.datasets import load_diabetes

    truth = load_diabetes().target
    assert list(told.columns) == ["prediction"]
    assert abs(told["prediction"].mean() - truth.mean()) < 10 and np.corrcoef(told["prediction"], truth)[0, 1] > 0.5


def test_the_same_rows_in_any_form_and_any_batch(tmp_path):
    from sklearn.datasets import load_iris

    made, frame = bundle("table"), load_iris(as_frame=True).data
    wanted = made.predict(frame)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    for rows in (str(tmp_path / "rows.csv"), tmp_path / "rows.parquet", frame.to_numpy(), frame.to_dict("records")):
        pd.testing.assert_frame_equal(made.predict(rows), wanted)
    pd.testing.assert_frame_equal(made.predict(frame, size=1), wanted, atol=1e-6, rtol=0)
    shuffled = frame.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(made.predict(shuffled), wanted.loc[shuffled.index], atol=1e-6, rtol=0)
    with_gap = frame.copy()
    with_gap.iloc[0, 0] = np.nan
    told = made.predict(with_gap)
    assert told["probability"].notna().all() and told["probability"][0] != wanted["probability"][0]


def test_no_rows_give_no_answers():
    from sklearn.datasets import load_iris

    assert len(bundle("table").predict(load_iris(as_frame=True).data.head(0))) == 0


def test_images_from_files_and_arrays(tmp_path):
    folder = write_digits(tmp_path, each=2)
    made = bundle("images")
    told = made.predict(folder)
    assert told.index.tolist() == sorted(str(p) for p in folder.rglob("*.png"))
    assert list(told.columns) == ["prediction", "probability", *(f"p({i})" for i in range(10))]
    files = [Path(p) for p in told.index]
    one = made.predict(files[3])
    np.testing.assert_allclose(one.iloc[0, 1:].astype(float), told.iloc[3, 1:].astype(float), atol=1e-6)
    from PIL import Image

    arrays = np.stack([np.asarray(Image.open(p)) for p in files])
    np.testing.assert_allclose(made.predict(arrays)["probability"], told["probability"], atol=1e-6)


def test_texts_are_scored(tmp_path):
    made = bundle("ngram")
    told = made.predict(["Good morrow, my lord.", "xqzjv kkqz"])
    assert told["bits_per_char"][0] < told["bits_per_char"][1]
    ids = torch.from_numpy(made.preprocess.build().encode("Good").astype(np.int64))
    log_p = made.model(ids[None])[0].double()
    wanted = -log_p[:-1].gather(1, ids[1:, None]).mean() / np.log(2)
    assert made.predict(["Good"])["bits_per_char"][0] == pytest.approx(float(wanted), abs=1e-6)


def test_faults_in_rows_name_them():
    with pytest.raises(VariorumError, match="the column 'sepal length"):
        bundle("table").predict(pd.DataFrame({"a": [1]}))
    with pytest.raises(VariorumError, match="nothing of this name"):
        bundle("images").predict("nowhere")
