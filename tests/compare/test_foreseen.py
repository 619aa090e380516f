"""What a model will take is known before it is trained, and nothing that does not fit is built to find out."""

from pathlib import Path

import pytest
import torch
from torch import nn

from variorum.compare.candidates import candidates
from variorum.compare.foreseen import foreseen, weights_bytes
from variorum.compare.limits import MIB, Limits
from variorum.compare.measure import folder_bytes, parameters
from variorum.core import find_entry
from variorum.data.readers.reader import load_task
from variorum.runtime import weights
from variorum.runtime.bundle import Bundle, save
from variorum.runtime.trial import survey
from variorum.train.descent import Descent


class _Mixed(nn.Module):
    """Tensors of several types and sizes, one under two names, one that is not stored."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 5)
        self.tied = self.first
        self.register_buffer("counts", torch.zeros(7, dtype=torch.int64))
        self.register_buffer("flags", torch.zeros(3, dtype=torch.bool))
        self.register_buffer("passing", torch.zeros(9), persistent=False)
        self.short = nn.Parameter(torch.zeros(11, dtype=torch.bfloat16))


def test_bytes_of_the_weights_file_are_those_of_the_file(tmp_path: Path) -> None:
    digits, shakespeare = load_task("digits"), load_task("shakespeare")
    models = [_Mixed(), find_entry("cct").fit("images").fill(**digits.facts).build(),
              find_entry("deltanet").fit("text").fill(**shakespeare.facts).build()]  # fmt: skip
    for model in models:
        weights.write(model, tmp_path / "w")
        assert weights_bytes(survey(model).tensors) == (tmp_path / "w").stat().st_size


@pytest.mark.parametrize(("source", "name"), [("digits", "cct"), ("iris", "turner-introduction")])
def test_what_a_model_will_take_is_what_it_takes(source: str, name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    task = load_task(source)
    candidate = next(c for c in candidates(task)[0] if c.name == name)
    model = candidate.spec.fill(**task.facts).build().eval()
    before = torch.random.get_rng_state()
    found = foreseen(candidate.spec, task, recipe=candidate.recipe)
    assert torch.equal(torch.random.get_rng_state(), before), "random numbers are as they were"
    assert found["parameters"] == parameters(model)
    bundle = save(Bundle.of(model, task), tmp_path / "bundle")
    assert found["size_bytes"] == (bundle / "weights.safetensors").stat().st_size <= folder_bytes(bundle)
    assert found["size_bytes"] >= 4 * found["parameters"]
    assert 0 < found["latency_ms"] < 1000
    assert 4 * found["parameters"] / MIB < found["memory_mb"] < 4 * found["parameters"] / MIB + 20
    limits = Limits(latency_ms=found["latency_ms"] / 2, memory_mb=found["memory_mb"] / 2, size_bytes=100)
    assert str(limits.over(found)).count("over the limit") == 3


def test_nothing_is_told_of_what_a_recipe_makes_of_a_spec() -> None:
    task = load_task("iris")
    candidate = next(c for c in candidates(task)[0] if not c.recipe.cls.keeps_spec)
    assert foreseen(candidate.spec, task, recipe=candidate.recipe) == {}


def test_a_model_beyond_all_memory_is_never_built() -> None:
    """Terabytes of weights: told from the meta device alone, so that a limit on size still speaks."""
    task = load_task("shakespeare")
    spec = find_entry("formal-algorithms-transformers").fit("text", dim=192_000)
    found = foreseen(spec, task, recipe=Descent.spec())
    assert set(found) == {"parameters", "size_bytes"} and found["size_bytes"] > 1e12


def test_a_row_beyond_the_free_memory_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task("digits")
    candidate = next(c for c in candidates(task)[0] if c.name == "cct")
    whole = foreseen(candidate.spec, task, recipe=candidate.recipe)
    tight = int(whole["memory_mb"] * MIB) - 1
    monkeypatch.setattr("variorum.compare.foreseen.available_bytes", lambda: tight)
    assert set(foreseen(candidate.spec, task, recipe=candidate.recipe)) == {"parameters", "size_bytes"}
