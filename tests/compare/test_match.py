"""What is matched is what is said to be: sizes, arithmetic of training, and what is not matched, in words."""

import math
from dataclasses import replace

import pytest
import torch

from variorum.compare.candidates import Candidate, candidates
from variorum.compare.flops import flops
from variorum.compare.match import (
    Match,
    common_flops,
    common_parameters,
    matched_size,
    of_one_size,
    rows_of_step,
    size_of,
    steps_for,
    training_flops,
)
from variorum.compare.measure import parameters
from variorum.core import VariorumError, find_entry
from variorum.data.readers.reader import load_task
from variorum.data.task import Task
from variorum.models.linear import LinearModel
from variorum.train.by_law import ByLaw
from variorum.train.descent import Descent


@pytest.fixture(scope="module")
def digits() -> Task:
    return load_task("digits")


@pytest.fixture(scope="module")
def sized(digits: Task) -> Candidate:
    candidate = next(c for c in candidates(digits, systems=("cct",))[0] if c.name == "cct")
    return replace(candidate, specs=tuple(find_entry("cct").fit("images", dim=dim) for dim in (64, 32, 128, 256)))


def test_a_match_is_asked_for_by_name_or_by_steps() -> None:
    assert Match.of(None, None) is Match.TIME and Match.of(None, 100) is Match.STEPS
    assert Match.of("flops", 100) is Match.FLOPS and Match.of("parameters", None) is Match.PARAMETERS
    with pytest.raises(VariorumError, match="'time' or 'steps' or 'parameters' or 'flops'"):
        Match.of("size", None)


def test_the_size_nearest_on_a_log_scale_is_taken(digits: Task, sized: Candidate) -> None:
    sizes = [size_of(spec, digits) for spec in sized.specs]
    assert sizes[0] == parameters(sized.spec.fill(**digits.facts).build())
    for index, size in enumerate(sizes):
        assert matched_size(sized, digits, size) == index
    between = math.sqrt(sizes[0] * sizes[2])
    assert matched_size(sized, digits, round(between * 1.05)) == 2
    assert matched_size(sized, digits, round(between / 1.05)) == 0
    assert matched_size(sized, digits, 1) == 1 and matched_size(sized, digits, 10**12) == 3


def test_all_come_near_the_median_of_the_default_sizes(digits: Task, sized: Candidate) -> None:
    taking_part = [*(c for c in candidates(digits)[0] if c.name != "cct"), sized]
    target = common_parameters(taking_part, digits)
    defaults = [size_of(c.spec, digits) for c in taking_part if c.recipe.cls.keeps_spec]
    assert len(defaults) >= 5
    assert max(sum(size < target for size in defaults), sum(size > target for size in defaults)) <= len(defaults) / 2
    matched = of_one_size(taking_part, digits)
    assert [c.name for c in matched] == [c.name for c in taking_part]
    for before, after in zip(taking_part, matched, strict=True):
        if not before.recipe.cls.keeps_spec:
            assert after == before
        else:
            apart = [abs(math.log(size_of(spec, digits) / target)) for spec in (*after.specs, *before.specs)]
            assert len(after.specs) == 1 and apart[0] == min(apart)


def test_there_must_be_something_to_match(digits: Task) -> None:
    solved = [c for c in candidates(digits)[0] if not c.recipe.cls.keeps_spec]
    assert solved
    with pytest.raises(VariorumError, match="only ones that are solved"):
        common_parameters(solved, digits)
    with pytest.raises(VariorumError, match="trained by steps"):
        common_flops(solved, digits, steps=3)


def test_a_training_step_takes_thrice_the_forward_pass_less_the_gradient_of_the_input(digits: Task) -> None:
    spec = find_entry("cct").fit("images")
    torch.manual_seed(0)
    forward = flops(spec.fill(**digits.facts).build().train(), digits.batch(0, 8, 0).inputs)
    step = training_flops(spec, digits, Descent.spec(batch=8))
    assert 2.5 * forward < step < 3 * forward, "nobody asks for the gradient of the first layer's input"
    assert step == training_flops(spec, digits, Descent.spec(), 8)
    assert training_flops(spec, digits, Descent.spec(batch=16)) == 2 * step


def test_flops_of_a_linear_model_by_hand() -> None:
    """Forward 2 b i o; backward as much for the weights, and nothing for the rows, which need no gradient."""
    task = load_task("iris")
    spec = LinearModel.spec(outputs=3)
    columns = spec.fill(**task.facts).build().linear.in_features
    assert training_flops(spec, task, Descent.spec(batch=10)) == 2 * (2 * 10 * columns * 3)


def test_where_the_backward_pass_cannot_be_counted_it_is_twice_the_forward_pass(
    digits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no formula")

    spec = find_entry("cct").fit("images")
    forward = flops(spec.fill(**digits.facts).build().train(), digits.batch(0, 8, 0).inputs)
    monkeypatch.setattr(torch.autograd, "backward", fails)
    assert training_flops(spec, digits, Descent.spec(batch=8)) == 3 * forward


def test_steps_spend_the_common_arithmetic(digits: Task, sized: Candidate) -> None:
    taking_part = [replace(sized, specs=(spec,)) for spec in sized.specs[:3]]
    total = common_flops(taking_part, digits, steps=20)
    each = [training_flops(c.spec, digits, c.recipe) for c in taking_part]
    assert total == 20 * sorted(each)[1]
    for candidate, one in zip(taking_part, each, strict=True):
        steps = steps_for(total, candidate.spec, digits, candidate.recipe)
        assert abs(steps * one - total) <= one / 2
    assert steps_for(1, sized.spec, digits, sized.recipe) == 1


def test_the_law_takes_more_rows_in_longer_trainings() -> None:
    task, law = load_task("shakespeare"), ByLaw.spec()
    rows = [rows_of_step(law, task, steps=steps) for steps in (10, 1000, 100_000)]
    assert rows == sorted(rows) and rows[0] < rows[-1]
    with pytest.raises(VariorumError, match="how many rows"):
        rows_of_step(law, task)
    spec = find_entry("formal-algorithms-transformers").fit("text", dim=24, depth=1, heads=2)
    each = training_flops(spec, task, law, 2) / 2
    steps = steps_for(each * 5000, spec, task, law)
    spent = [n * rows_of_step(law, task, steps=n) for n in (steps - 1, steps)]
    assert spent[0] < 5000 <= spent[1]


def test_attention_is_counted_in_training_too() -> None:
    """The CPU's fused attention counts as nothing: the plain one is taken."""
    task = load_task("shakespeare")
    entry = find_entry("formal-algorithms-transformers")
    rows, length = 1, task.facts["length"]
    one, two = (training_flops(entry.fit("text", dim=32, depth=depth, heads=2), task, ByLaw.spec(), rows)
                for depth in (1, 2))  # fmt: skip
    linear = 12 * 32 * 32  # weights of a block
    forward = 2 * rows * length * linear + 2 * 2 * rows * length * length * 32
    assert two - one == pytest.approx(3 * forward, rel=0.02)
