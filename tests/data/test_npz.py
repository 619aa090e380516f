"""Archives of arrays are read without running anything, and broken ones are told."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from variorum.core import VariorumError
from variorum.data.npz import labels_of, names_in, numeric, read_npz, rows_of


def test_reads_what_is_wanted(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.arange(6).reshape(2, 3), y=["a", "b"], other=1)
    assert names_in(tmp_path / "a.npz") == {"X", "y", "other"}
    found = read_npz(tmp_path / "a.npz", {"X", "y", "z"})
    assert set(found) == {"X", "y"} and found["X"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_objects_are_refused_with_a_way_out(tmp_path):
    uneven = np.empty(2, dtype=object)
    uneven[:] = [np.zeros(3), np.zeros(4)]
    np.savez(tmp_path / "a.npz", X=uneven, y=[0, 1])
    with pytest.raises(VariorumError, match=r"Python objects, which could run code.*one array, with an array of their"):
        read_npz(tmp_path / "a.npz", {"X"})


def test_a_header_that_promises_too_much_is_told(tmp_path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("X.npy", head.getvalue() + bytes(64))
    with pytest.raises(VariorumError, match=r"a\.npz"):
        read_npz(tmp_path / "a.npz", {"X"})


@given(cut=st.integers(0, 400), flip=st.integers(0, 400), with_=st.binary(min_size=0, max_size=8))
def test_broken_bytes_give_an_error_or_arrays(tmp_path_factory, cut, flip, with_):
    whole = io.BytesIO()
    np.savez_compressed(whole, X=np.arange(12.0).reshape(3, 4), y=np.array(["a", "b", "c"]))
    raw = whole.getvalue()
    raw = raw[: len(raw) - cut] if cut < len(raw) else b""
    raw = raw[:flip] + with_ + raw[flip + len(with_) :]
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    path.write_bytes(raw)
    names_in(path)
    try:
        found = read_npz(path, {"X", "y"})
    except VariorumError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in found.values())


def test_lengths_must_add_up(tmp_path):
    values = np.zeros((5, 2))
    assert [len(row) for row in rows_of(tmp_path, "values", values, np.array([2, 0, 3]))] == [2, 0, 3]
    for lengths in ([2, 2], [6, -1], [2**63 - 1, 2**62]):
        with pytest.raises(VariorumError, match="lengths"):
            rows_of(tmp_path, "values", values, np.array(lengths))
    with pytest.raises(VariorumError, match="one whole number"):
        rows_of(tmp_path, "values", values, np.array([2.0, 3.0]))


def test_labels_are_words_or_numbers_one_a_row(tmp_path):
    assert labels_of(tmp_path, "y", np.array([b"a", b"\xff"]), 2).tolist() == ["a", "\N{REPLACEMENT CHARACTER}"]
    assert labels_of(tmp_path, "y", np.zeros((3, 1)), 3).shape == (3,)
    for wrong in (np.zeros(2), np.zeros((3, 2)), np.zeros(3, "M8[D]")):
        with pytest.raises(VariorumError, match="y"):
            labels_of(tmp_path, "y", wrong, 3)
    with pytest.raises(VariorumError, match="numbers"):
        numeric(tmp_path, "X", np.array(["a"]))
