"""Every system that fits the data takes part, the plain baselines always do, and a wrong choice is explained."""

import numpy as np
import pandas as pd
import pytest

from variorum.compare.candidates import Candidate, candidates
from variorum.core import Spec, VariorumError, entries, find_entry, rows
from variorum.data.readers.reader import load_task
from variorum.data.table import TableTask


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("digits", {"linear", "nearest-neighbours", "small-cnn"}),
        ("iris", {"gradient-boosting", "linear", "nearest-neighbours"}),
        ("shakespeare", {"n-gram"}),
    ],
)
def test_all_that_fit_and_the_baselines_beside_them(source: str, plain: set[str]) -> None:
    task = load_task(source)
    found, left_out = candidates(task)
    assert {c.name for c in found if c.baseline} == plain
    fitting = {slug for slug, entry in entries().items() if task.reads in entry.fits}
    assert {c.name for c in found if not c.baseline} == fitting - {note.split(":")[1].strip() for note in left_out}
    assert fitting, "there is a system for every kind of data"


def test_those_that_may_leave_time_over_come_first() -> None:
    found, _ = candidates(load_task("digits"))
    assert [c.brief for c in found] == sorted((c.brief for c in found), reverse=True)
    assert {c.name for c in found if c.brief} == {"linear", "nearest-neighbours"}
    assert "gradient-boosting" not in {c.name for c in candidates(load_task("iris"))[0] if c.brief}, (
        "it has much to try"
    )


def test_a_candidate_goes_to_json_and_back() -> None:
    for candidate in candidates(load_task("iris"))[0]:
        assert Candidate.from_dict(candidate.to_dict()) == candidate
        assert isinstance(candidate.spec, Spec)


def test_chosen_systems_come_with_the_baselines() -> None:
    found, _ = candidates(load_task("digits"), systems=("cct", "cct"))
    assert {c.name for c in found} == {"cct", "linear", "nearest-neighbours", "small-cnn"}
    only, _ = candidates(load_task("digits"), systems=())
    assert {c.name for c in only} == {"linear", "nearest-neighbours", "small-cnn"}


def test_a_misspelt_system_is_told_the_nearest_name() -> None:
    with pytest.raises(VariorumError, match="Did you mean 'cct'"):
        candidates(load_task("digits"), systems=("ccct",))


def test_a_planned_system_is_said_to_be_planned() -> None:
    planned = next(slug for slug in rows() if slug not in entries())
    with pytest.raises(VariorumError, match="still planned"):
        candidates(load_task("digits"), systems=(planned,))


def test_a_system_for_other_data_names_both_kinds() -> None:
    with pytest.raises(
        VariorumError, match=r"'cct': expected one that takes table, found one that takes images.*\. Systems that fit: "
    ):
        candidates(load_task("iris"), systems=("cct",))


@pytest.fixture
def value() -> TableTask:
    frame = pd.DataFrame({"a": np.arange(60) % 7, "y": np.random.default_rng(0).normal(size=60)})
    return TableTask("t.csv", target="y", frame=frame)


def test_a_classifier_estimates_where_a_value_is_asked_for(value: TableTask) -> None:
    found, _ = candidates(value)
    spec = next(c.spec for c in found if c.name == "turner-introduction")
    assert spec.at("head").part == "Regressor"
    assert spec.at("head.pool") == find_entry("turner-introduction").fit("table").at("head.pool")
    rows = next(value.held_out("test", 5))
    assert spec.fill(**value.facts).build()(**rows.inputs).shape == rows.targets.shape


def test_a_system_that_can_only_tell_classes_is_left_out_where_a_value_is_asked_for(value: TableTask) -> None:
    found, left_out = candidates(value)
    assert {c.name for c in found if c.baseline} == {"gradient-boosting", "linear", "nearest-neighbours"}
    assert any(note.startswith("Left out: tabpfn: expected data that tell it classes") for note in left_out)
    with pytest.raises(VariorumError, match="another kind of question"):
        candidates(value, systems=("tabpfn",))
