import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from variorum.core import Spec
from variorum.data.kinds import choose
from variorum.data.table import TableTask
from variorum.data.text_column import Term, TextColumn

GOOD, BAD = ["lovely", "great", "fine", "superb"], ["awful", "dull", "poor", "weak"]
FILLING = ["film", "actor", "story", "music", "scene", "end", "start", "part"]


def reviews(rows=200, seed=0):
    draw = np.random.default_rng(seed)
    liked = draw.integers(2, size=rows)
    texts = [
        " ".join([*draw.choice(FILLING, 5), *draw.choice(GOOD if good else BAD, 2), f"number{i}"])
        for i, good in enumerate(liked)
    ]
    return pd.DataFrame({"text": texts, "length": draw.normal(size=rows), "liked": np.where(liked, "yes", "no")})


def test_the_numbers_are_latent_semantic_analysis():
    """With scikit-learn's weights and numpy's singular vectors the same numbers come out, up to six digits."""
    values = reviews()["text"]
    spec = TextColumn.fit(values)
    column = spec.build()
    weighed = TfidfVectorizer(vocabulary=list(column.terms), token_pattern=r"\w+").fit_transform(values).toarray()
    vectors = np.linalg.svd(weighed, full_matrices=False)[2][: len(column.directions)]
    np.testing.assert_allclose(np.abs(column.directions @ vectors.T), np.eye(len(vectors)), atol=1e-4)
    told = column.encode(values)
    expected = weighed @ column.directions.T
    np.testing.assert_allclose(told * column.scale + column.mean, expected, atol=1e-5)
    np.testing.assert_allclose(told.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(told.std(axis=0), 1, atol=1e-5)
    assert Spec.from_json(spec.to_json()) == spec


def test_it_is_the_same_every_time_and_row_by_row():
    values = reviews()["text"]
    spec = TextColumn.fit(values)
    assert TextColumn.fit(values) == spec
    column = spec.build()
    whole = column.encode(values)
    np.testing.assert_array_equal(np.concatenate([column.encode(values[i : i + 7]) for i in range(0, 200, 7)]), whole)


def test_missing_texts_are_missing_and_unknown_words_are_nothing():
    column = TextColumn.fit(reviews()["text"]).build()
    told = column.encode(pd.Series(["film superb", None, "nothing known", "", "FILM, superb!"]))
    assert np.isnan(told[1]).all() and np.isfinite(told[[0, 2, 3, 4]]).all()
    np.testing.assert_array_equal(told[2], told[3])
    np.testing.assert_array_equal(told[0], told[4])


def test_a_huge_cell_is_looked_at_as_far_as_it_matters():
    column = TextColumn.fit(reviews()["text"]).build()
    told = column.encode(pd.Series(["film " * 2000, "film " * 2_000_000]))
    np.testing.assert_array_equal(told[0], told[1])


def test_writing_without_spaces_is_cut_into_groups_of_letters():
    draw = np.random.default_rng(0)
    parts = ["電影很好", "音樂不錯", "故事無聊", "演員很差", "值得一看"]
    values = pd.Series(["".join(draw.choice(parts, 3)) + chr(0x5000 + i) for i in range(60)], name="評論")
    spec, note = choose(values)
    assert spec["term"] == Term.LETTERS and "groups of letters" in note
    assert np.isfinite(spec.build().encode(values)).all()


@pytest.mark.parametrize(
    "texts", [[f"A{i:04}" for i in range(60)], [f"remark {i}" for i in range(60)], [f"…{'!' * i}" for i in range(60)]]
)
def test_codes_and_texts_with_nothing_in_common_are_left_out(texts):
    spec, note = choose(pd.Series(texts, name="c"))
    assert spec is None and "no word in common" in note


def test_a_text_beside_other_columns_is_learned_from_training_rows_and_helps():
    from sklearn.linear_model import LogisticRegression

    frame = reviews()
    task = TableTask("reviews", target="liked", frame=frame)
    assert any("'text' is free text" in note for note in task.notes)
    held = np.concatenate([task.parts.valid, task.parts.test])
    changed = frame.copy()
    changed.loc[held, "text"] = "quite other words altogether " + changed.loc[held, "text"].str[::-1]
    assert TableTask("other", target="liked", frame=changed).preprocess == task.preprocess
    found = LogisticRegression().fit(*task.arrays("train")).score(*task.arrays("test"))
    assert found > 0.9, "without the text half of them are right"
