"""What is measured is what was meant: rows, bytes, FLOPs, memory, time."""

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from variorum.compare import latency, measure
from variorum.compare.flops import flops
from variorum.compare.memory import Peak, release
from variorum.core import Layout, VariorumError
from variorum.data.readers.reader import load_task
from variorum.data.task import Batch
from variorum.layers.mixers.attention import Attention
from variorum.models.linear import LinearModel


def test_every_held_out_row_is_scored_once() -> None:
    task = load_task("iris")
    model = LinearModel.spec(columns=task.facts["columns"], outputs=3).build().eval()
    rows, targets = task.arrays("test")
    with torch.inference_mode():
        right = (model(torch.from_numpy(rows)).argmax(1).numpy() == targets).mean()
    for size in (7, 1000):
        scores = measure.score(model, task, size=size)
        assert len(scores.sums) == len(targets)
        assert scores.mean == pytest.approx(right)


def test_scores_that_are_no_numbers_are_an_error() -> None:
    task = load_task("diabetes")
    model = LinearModel.spec(columns=task.facts["columns"], outputs=1).build()
    nn.init.constant_(model.linear.bias, float("nan"))
    with pytest.raises(VariorumError, match="diverged"):
        measure.score(model, task)


def test_tokens_are_counted_to_their_rows() -> None:
    def sizes(inputs: dict[str, Any], scores: int) -> list[int]:
        return [len(piece) for piece in measure.by_row(torch.zeros(scores), Batch(inputs, None))]

    assert sizes({"inputs": torch.zeros(3, 4)}, 12) == [4, 4, 4]
    assert sizes({"inputs": torch.zeros(3, 4)}, 3) == [1, 1, 1]
    assert sizes({"inputs": torch.zeros(3, 4)}, 9) == [4, 4, 1], "a row of which not all is a target"
    assert sizes({"inputs": torch.zeros(6), "layout": Layout.ragged([1, 5])}, 6) == [1, 5]
    assert sizes({"inputs": torch.zeros(2, 3, 8, 8)}, 2) == [1, 1]


def test_flops_of_attention_are_counted_on_the_cpu_as_on_meta() -> None:
    batch, n, dim = 2, 16, 32
    part = Attention.spec(heads=4).build(dim=dim).eval()
    # Four projections, then scores and their product with the values; a multiplication with its addition is two.
    expected = 2 * batch * n * dim * dim * 4 + 2 * 2 * batch * n * n * dim
    assert flops(part, {"x": torch.randn(batch, n, dim)}) == expected
    with torch.device("meta"):
        assert flops(Attention.spec(heads=4).build(dim=dim).eval(), {"x": torch.empty(batch, n, dim)}) == expected


def test_peak_memory_sees_what_is_gone_again_and_not_what_was_there() -> None:
    kept = np.ones(4_000_000)
    with Peak() as peak:
        gone = np.ones(5_000_000)
        del gone
    assert pytest.approx(peak.mib, abs=6) == 5_000_000 * 8 / 2**20
    release()
    with Peak() as nothing:
        pass
    assert nothing.mib < 3
    assert kept.sum() == 4_000_000


def test_sampling_finds_the_same_where_the_kernel_keeps_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("variorum.compare.memory._reset_mark", lambda: False)
    with Peak() as peak:
        gone = np.ones(5_000_000)
        time.sleep(0.1)
        del gone
    assert peak.mib == pytest.approx(38, abs=6)


def test_latencies_are_told_apart_and_taken_in_turns() -> None:
    calls: list[str] = []

    def sleeper(name: str, seconds: float) -> nn.Module:
        def call(**inputs: Any) -> None:
            calls.append(name)
            time.sleep(seconds)

        return _Callable(call)

    taken: dict[str, list[float]] = {"quick": [], "slow": []}
    models = {"quick": sleeper("quick", 0.001), "slow": sleeper("slow", 0.05)}
    latency.rounds(models, {}, seconds=0.1, seed=0, told=lambda name, found: taken[name].extend(found))
    quick, slow = latency.summary(taken["quick"])[0], latency.summary(taken["slow"])[0]
    assert 1 <= quick < slow
    turns = sum(a != b for a, b in pairwise(calls))
    assert turns >= latency.FEWEST_ROUNDS, "each round goes over to the other at least once"


class _Callable(nn.Module):
    def __init__(self, call: Any) -> None:
        super().__init__()
        self.call = call

    def forward(self, **inputs: Any) -> None:
        self.call(**inputs)


def test_the_95th_percentile_is_above_the_median() -> None:
    middle, high = latency.summary([0.001] * 90 + [0.005] * 10)
    assert (middle, high) == (pytest.approx(1.0), pytest.approx(5.0))
    assert latency.summary([0.002]) == (2.0, 2.0)


def test_bytes_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"4567")
    assert measure.folder_bytes(tmp_path) == 7
