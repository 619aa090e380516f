"""File names tell groups only where they plainly do; a group is never torn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.core import VariorumError
from variorum.data.name_groups import asked_groups, grouped, likely_groups

SPEAKERS = ["ana", "bo", "cyd", "dee", "eva", "fil"]


def test_speakers_that_come_back_in_several_classes() -> None:
    names = [f"{digit}_{who}_{take}.wav" for digit in range(3) for who in SPEAKERS for take in range(4)]
    labels = np.repeat(np.arange(3), 24)
    assert likely_groups(names, labels) == [name.split("_")[1] for name in names]
    hashes = [f"{i % 12:02d}a7c_nohash_{i % 2}.wav" for i in range(72)]
    assert likely_groups(hashes, labels) == [name.split("_")[0] for name in hashes]


def test_pieces_of_a_recording() -> None:
    names = [f"creek {where} ({piece}).wav" for where in "abcdefg" for piece in range(3)] * 2
    labels = np.repeat([0, 1], 21)
    assert set(likely_groups(names, labels)) == {f"creek {where}" for where in "abcdefg"}


def test_plain_names_tell_nothing() -> None:
    labels = np.repeat([0, 1], 50)
    for names in (
        [f"{i}.wav" for i in range(50)] * 2,
        [f"{kind}_{i:03d}.wav" for kind in ("cat", "dog") for i in range(50)],
        [f"clip{i}.wav" for i in range(100)],
        [f"x{i}-y{i}.wav" for i in range(100)],
    ):
        assert likely_groups(names, labels) is None, names[:2]


def test_a_pattern_finds_them() -> None:
    assert asked_groups(["7_ana_1.wav", "8_bo_2.wav"], r"_([a-z]+)_") == ["ana", "bo"]
    assert asked_groups(["ana1.wav", "bo2.wav"], r"^[a-z]+") == ["ana", "bo"]
    with pytest.raises(VariorumError, match=r"none in 1 of 2, the first '7\.wav'"):
        asked_groups(["a_1.wav", "7.wav"], "^[a-z]+_")
    with pytest.raises(VariorumError, match="expected a regular expression"):
        asked_groups(["a"], "(")


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), min_size=30, max_size=120),
    st.integers(0, 2**31 - 1),
)
def test_no_group_is_torn_and_no_class_is_missing(rows: list[tuple[int, int]], seed: int) -> None:
    labels, groups = np.array([label for label, _ in rows]), [f"g{group}" for _, group in rows]
    parts = grouped(labels, groups, seed)
    if parts is None:
        return
    split = [set(np.asarray(groups)[rows]) for rows in (parts.train, parts.valid, parts.test)]
    assert not (split[0] & split[1] or split[0] & split[2] or split[1] & split[2])
    together = np.concatenate([parts.train, parts.valid, parts.test])
    assert sorted(together.tolist()) == list(range(len(rows)))
    for part in (parts.train, parts.valid, parts.test):
        assert set(labels[part]) == set(labels)


def test_a_group_in_every_class_can_be_split_and_one_group_a_class_cannot() -> None:
    labels = np.repeat([0, 1], 30)
    parts = grouped(labels, [f"g{i % 10}" for i in range(60)], 0)
    assert parts is not None and [len(parts.rows(s)) for s in ("train", "valid", "test")] == [36, 12, 12]
    assert grouped(labels, [f"g{label}" for label in labels], 0) is None
