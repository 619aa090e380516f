import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.core import VariorumError
from variorum.data import decode as module
from variorum.data.decode import Repairs, decode, decoded


def test_lines_in_two_encodings_are_each_read_in_their_own():
    raw = "name\nMüller\n".encode() + "Jürgen\nzoë\n".encode("latin-1") + "Łódź\n".encode()
    text, notes = decode(raw, "t")
    assert text == "name\nMüller\nJürgen\nzoë\nŁódź\n"
    assert notes == ["2 lines are not UTF-8 (first: line 3): those are read as Windows-1252."]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_marks_tell_the_encoding(encoding):
    text, notes = decode("a,é\n1,中\n".encode(encoding), "t")
    assert text == "a,é\n1,中\n"
    assert notes == ([] if encoding == "utf-8-sig" else [f"Read as {encoding.upper()}."])


def test_half_a_character_and_bytes_that_mean_nothing_are_said():
    text, notes = decode("a,é".encode("utf-16")[:-1], "t")
    assert text == "a,\N{REPLACEMENT CHARACTER}" and "1 characters could not be decoded" in notes[1]
    text, notes = decode(b"a\n\x81\xe9\n", "t")
    assert text == "a\n\N{REPLACEMENT CHARACTER}é\n" and "1 characters could not" in notes[1]


@pytest.mark.parametrize(("raw", "found"), [(b"", "an empty file"), (b" \n\r\n", "an empty file"), (b"a\0b", "binary")])
def test_what_is_no_text_is_refused(raw, found):
    with pytest.raises(VariorumError, match=found):
        decode(raw, "t")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["é".encode(), b"\xe9", b"a,b", b"\n", b"\r\n", b"", b"\x81", "中".encode()]), min_size=1)
)
def test_pieces_read_as_the_whole(parts):
    raw = b"x" + b"".join(parts)
    whole = decode(raw, "t")
    repairs = Repairs()
    before, module.PIECE = module.PIECE, 2
    try:
        pieces = list(decoded(io.BytesIO(raw), "t", repairs))
    finally:
        module.PIECE = before
    assert ("".join(pieces), repairs.say()) == whole
