import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.data.draw import stratified
from variorum.data.leaks import first_alike, split_together
from variorum.data.rows import InMemory
from variorum.data.table import TableTask


def frame(rows=100):
    draw = np.random.default_rng(0)
    return pd.DataFrame({"a": draw.normal(size=rows), "b": draw.normal(size=rows), "y": draw.choice(["n", "p"], rows)})


def notes(made, target="y"):
    return " ".join(TableTask("t", target=target, frame=made).notes)


@pytest.mark.parametrize(
    "code",
    [
        lambda y: y.map({"n": 3, "p": 8}),
        lambda y: y.map({"n": "no", "p": "yes"}),
        lambda y: y == "p",
        lambda y: y.map({"n": "3,5", "p": "8,25"}),
    ],
)
def test_another_name_for_a_class_is_warned_of(code):
    made = frame()
    assert "tells the target" not in notes(made)
    assert "Column 'code' tells the target 'y' exactly" in notes(made.assign(code=code(made["y"])))
    other = made.assign(code=code(made["y"]))
    other.loc[:9, "code"] = other["code"].iloc[::-1].to_numpy()[:10]
    other.loc[10:29, "code"] = other["code"].iloc[10:30].sample(frac=1, random_state=1).to_numpy()
    assert "tells the target" not in notes(other), "one that errs now and then is a good column"


@pytest.mark.parametrize("code", [lambda y: 2 * y + 1, lambda y: -y, lambda y: np.exp(y), lambda y: y])
def test_another_unit_of_a_value_is_warned_of(code):
    made = frame().assign(y=np.random.default_rng(1).normal(size=100).round(1))
    assert "tells the target" not in notes(made)
    assert "Column 'code' tells the target 'y' exactly" in notes(made.assign(code=code(made["y"])))
    assert "tells the target" not in notes(made.assign(code=code(made["y"]) + 0.3 * made["a"]))


def test_numbers_of_rows_are_left_out_in_order_and_warned_of_in_disorder():
    shuffled = np.random.default_rng(0).permutation(100) + 1
    assert "'id' is left out: it only numbers the rows" in notes(frame().assign(id=range(100)))
    assert "'id' is another whole number in every row" in notes(frame().assign(id=shuffled))
    assert "'Unnamed: 0' is left out: it only numbers the rows" in notes(frame().assign(**{"Unnamed: 0": shuffled}))
    assert "whole number in every row" not in notes(frame().assign(id=shuffled * 7)), "there are gaps"


def test_rows_that_are_alike_are_in_one_part_whatever_number_they_have():
    made = pd.concat([frame(), frame().head(30), frame().tail(20)], ignore_index=True)
    made["id"] = range(len(made))
    task = TableTask("t", target="y", frame=made)
    assert "50 rows repeat earlier ones: rows that are alike are in one part" in " ".join(task.notes)
    key = made["a"].to_numpy()
    parts = [set(key[task.parts.rows(part)]) for part in ("train", "valid", "test")]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert sorted(np.concatenate([task.parts.rows(p) for p in ("train", "valid", "test")])) == list(range(150))


@pytest.mark.parametrize("target", ["y", "v"])
def test_where_most_rows_repeat_it_is_said_instead(target):
    draw = np.random.default_rng(0)
    made = pd.DataFrame({"a": draw.integers(3, size=200), "y": draw.choice(["n", "p"], 200)})
    made["v"] = made["a"] + 0.5 * (made["y"] == "p")
    assert "repeat earlier ones, too many to keep together: the test holds rows that training saw" in notes(
        made, target
    )


def test_a_class_of_one_row_over_and_over_cannot_be_kept_together():
    made = frame(60)
    made.loc[:5, ["a", "b", "y"]] = [1.0, 2.0, "q"]
    assert "5 rows repeat earlier ones, too many to keep together" in notes(made)


def test_without_repeats_the_split_is_as_ever():
    strata = np.arange(100) % 3
    parts, said = split_together(lambda some: strata[some], np.arange(100), 4)
    assert said == () and all(
        (parts.rows(name) == stratified(strata, 4).rows(name)).all() for name in ("train", "valid", "test")
    )


CELLS = st.tuples(st.sampled_from([0.0, -0.0, 1.5, None]), st.sampled_from(["", "x", None, [1], "[1]"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=30))
def test_rows_are_alike_if_all_that_is_in_them_is(rows):
    made = pd.DataFrame(rows, columns=["a", "b"])
    first = first_alike(InMemory(made))
    seen = [(None if pd.isna(a) else a, str(b) if isinstance(b, list) else b) for a, b in rows]
    for i, row in enumerate(seen):
        if not any(isinstance(b, list) for _, b in rows):
            assert first[i] == seen.index(row)
        assert first[i] <= i and first[first[i]] == first[i]
