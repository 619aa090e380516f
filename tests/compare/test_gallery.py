"""Galleries: true to what the model answered, of every kind of data, and bounded."""

import base64
import io
import json
import time
import wave
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from variorum.compare import gallery as module
from variorum.compare.gallery import confusion, gallery
from variorum.compare.shown.shown import Shown
from variorum.core import registered
from variorum.data.preprocess import Preprocess
from variorum.data.readers.reader import load_task, readers
from variorum.data.task import Task

SETS = {
    "images": "digits", "labelled series": "digit-rows", "labelled texts": "shakespeare_plays",
    "point clouds": "digit-points", "series": "stocks", "sounds": "chirps", "table": "iris", "text": "shakespeare",
    "text pairs": "spoken_numbers",
}  # fmt: skip


class Answers(nn.Module):
    """Answers the test rows of a task as they are asked, in their order, with what ``say`` makes of the targets."""

    def __init__(self, task: Task, say: Any) -> None:
        super().__init__()
        self.batches = iter([batch.targets for batch in task.held_out("test", module.SIZE)])
        self.say = say

    def forward(self, **inputs: Any) -> Tensor:
        return self.say(next(self.batches))


def classes(n: int, wrong: int = 1) -> Any:
    """Right but for rows whose class is ``wrong``, of which it is sure that they are of class 0."""

    def say(targets: Tensor) -> Tensor:
        said = torch.where(targets == wrong, 0, targets)
        return 5.0 * nn.functional.one_hot(said, n).float()

    return say


def test_every_kind_of_data_is_shown() -> None:
    shown = {cls.shows.reads for cls in registered(Shown).values() if issubclass(cls, Shown)}
    assert shown == set(readers()) == set(SETS)
    assert all(issubclass(cls.shows, Preprocess) for cls in registered(Shown).values() if issubclass(cls, Shown))


@pytest.mark.parametrize("name", ["digits", "digit-rows", "digit-points", "iris", "chirps"])
def test_classes_are_counted_and_the_hardest_rows_shown(name: str) -> None:
    task = load_task(name)
    n = len(task.labels)
    found = gallery(Answers(task, classes(n)), task, most=5)
    targets = torch.cat([batch.targets for batch in task.held_out("test", 100)])
    ones = int((targets == 1).sum())
    assert found["rows"] == found["of"] == len(targets)
    counts = np.array(found["confusion"]["counts"])
    assert found["confusion"]["labels"] == [str(label) for label in task.labels]
    assert counts.sum() == len(targets) and counts[1, 0] == ones and counts[1, 1] == 0
    assert np.trace(counts) == len(targets) - ones
    assert found["confused"] == [[str(task.labels[1]), str(task.labels[0]), ones]]
    assert [(row["true"], row["said"]) for row in found["shown"]] == [(str(task.labels[1]), str(task.labels[0]))] * 5
    sure = float(torch.tensor([5.0] + [0.0] * (n - 1)).softmax(0)[0])
    assert found["shown"][0]["sure"] == pytest.approx(sure, abs=1e-4)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_images_are_those_that_were_read() -> None:
    task = load_task("digits")
    (row,) = gallery(Answers(task, classes(10)), task, most=1)["shown"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(row["image"].partition(",")[2]))))
    from variorum.data.sets.bundled import find_set

    bundled = find_set("digits", "images")
    assert bundled is not None
    images, labels, _ = bundled.read()
    first = next(i for i in task.parts.test if labels[i] == 1)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(pixels, images[first])


def test_rows_of_a_table_are_in_its_own_terms() -> None:
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "height": rng.normal(170, 10, 200).round(1), "colour": rng.choice(["red", "blue"], 200),
        "day": pd.date_range("2020-01-01", periods=200).strftime("%Y-%m-%d"), "y": rng.choice(["n", "p"], 200),
    })  # fmt: skip
    frame.loc[::7, "height"] = np.nan
    from variorum.data.table import TableTask

    task = TableTask("made", target="y", frame=frame)
    found = gallery(Answers(task, classes(2)), task, most=12)["shown"]
    given = {tuple(row) for row in frame[["height", "colour", "day"]].astype(object).where(frame.notna(), None).values}
    assert len(found) == 12
    for row in found:
        told = dict(row["features"])
        height = None if told["height"] is None else float(told["height"])
        assert (height, told["colour"], told["day"]) in given


def test_values_are_in_the_users_units() -> None:
    task = load_task("diabetes")
    found = gallery(Answers(task, lambda targets: targets[:, None] * 0.5), task, most=3)
    true, said = (np.array(found["scatter"][key]) for key in ("true", "said"))
    mean = task.preprocess.build().target.mean  # type: ignore[union-attr, attr-defined]
    assert true.min() >= 25 and true.max() <= 346 and len(true) == found["of"]
    np.testing.assert_allclose(said - mean, 0.5 * (true - mean), rtol=0.01, atol=0.05)
    far = np.abs(true - said)
    assert abs(found["shown"][0]["true"] - found["shown"][0]["said"]) == pytest.approx(far.max(), rel=1e-3)
    assert "confusion" not in found


def test_forecasts_lie_over_what_came() -> None:
    task = load_task("stocks")
    found = gallery(Answers(task, lambda targets: targets[0] + 0.0), task, most=6)
    assert len({row["name"] for row in found["shown"]}) > 1, "windows of several series are shown"
    for row in found["shown"]:
        assert row["forecast"] == row["truth"] and row["score"] == 0.0
        assert row["steps"] == [len(row["known"]), len(row["truth"])]
        assert max(row["known"]) > 0, "in the units of the series, not standardised"


def test_texts_are_read_back() -> None:
    task = load_task("shakespeare_plays")
    found = gallery(Answers(task, classes(len(task.labels))), task, most=4)
    reader = task.preprocess.build()  # type: ignore[union-attr]
    for row in found["shown"]:
        assert row["true"] == str(task.labels[1]) and 0 < len(row["text"]) <= 300
        assert reader.tokenizer.decode(reader.tokenizer.encode(row["text"])) == row["text"]  # type: ignore[attr-defined]


def test_sounds_can_be_heard() -> None:
    task = load_task("chirps")
    (row,) = gallery(Answers(task, classes(len(task.labels))), task, most=1)["shown"]
    with wave.open(io.BytesIO(base64.b64decode(row["sound"].partition(",")[2]))) as sound:
        assert sound.getframerate() == 8000
        assert sound.getnframes() / 8000 == pytest.approx(min(2.0, row["seconds"]), abs=0.01)
    assert max(row["loudness"]) == 1.0 and row["name"] is None


@pytest.mark.parametrize("name", ["shakespeare", "spoken_numbers"])
def test_written_rows_are_ranked_by_their_bits(name: str) -> None:
    task = load_task(name)
    torch.manual_seed(0)
    vocab = task.facts["vocab"]
    found = gallery(Answers(task, lambda targets: torch.randn(*targets.shape, vocab)), task, most=5)
    scores = [row["score"] for row in found["shown"]]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    assert all(row["text"] for row in found["shown"])


def test_a_slow_model_is_asked_less_and_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.3)
    task, asked = load_task("digits"), list[int]()

    class Slow(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            time.sleep(0.05)
            asked.append(len(inputs))
            return torch.zeros(len(inputs), 10)

    found = gallery(Slow(), task)
    assert 2 <= len(asked) <= 8 and found["rows"] == sum(asked) < found["of"]
    assert min(sum(row) for row in found["confusion"]["counts"]) >= 0
    assert len(found["shown"]) == 12


def test_of_many_rows_some_are_asked_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 90)
    task = load_task("digits")

    class Zero(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return torch.zeros(len(inputs), 10)

    found = gallery(Zero(), task)
    assert 80 <= found["rows"] <= 112 and found["of"] == 359


def test_of_many_classes_those_with_mistakes_are_kept() -> None:
    labels = [f"c{i}" for i in range(100)]
    right = np.repeat(np.arange(100)[:, None], 2, axis=1)
    found = confusion(np.concatenate([right, [[98, 99]] * 3, [[5, 99]]]), labels)
    kept = found["confusion"]
    assert len(kept["labels"]) == module.MOST_CLASSES and {"c5", "c98", "c99"} <= set(kept["labels"])
    assert kept["classes"] == 100 and found["confused"] == [["c98", "c99", 3], ["c5", "c99", 1]]
