import numpy as np
import pandas as pd
import pytest

from variorum.core import VariorumError
from variorum.data.frames import read_table


def write(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_quoted_newlines_separators_and_spaces(tmp_path):
    frame, notes = read_table(write(tmp_path, 'name, text ,n\n"a, b","two\nlines",1\n c ,"say ""hi""",2\n'))
    assert list(frame.columns) == ["name", "text", "n"]
    assert frame["text"].tolist() == ["two\nlines", 'say "hi"']
    assert frame["name"][0] == "a, b" and frame["n"].tolist() == [1, 2]
    assert notes == ()


@pytest.mark.parametrize("raw", ["name,n\nMüller,1\n".encode("cp1252"), "name,n\nMüller,1\n".encode("utf-8-sig")])
def test_encodings(tmp_path, raw):
    frame, notes = read_table(write(tmp_path, raw))
    assert list(frame.columns) == ["name", "n"]
    assert frame["name"][0] == "Müller"
    assert bool(notes) == (raw[:3] != b"\xef\xbb\xbf"), "only the one that had to be guessed is said"


def test_utf16_is_read_and_said(tmp_path):
    frame, notes = read_table(write(tmp_path, "a,b\n1,é\n".encode("utf-16")))
    assert frame["b"][0] == "é" and "UTF-16" in notes[0]


def test_short_rows_are_filled_and_said(tmp_path):
    frame, notes = read_table(write(tmp_path, "a,b,c\n1,2,3\n4,5\n6\n"))
    assert np.isnan(frame["c"][1]) and np.isnan(frame["b"][2])
    assert "2 rows have fewer fields" in notes[0] and "line 3" in notes[0]


def test_long_rows_are_an_error_that_names_the_line(tmp_path):
    with pytest.raises(VariorumError, match=r"t\.csv line 3: expected 2 fields.*found 3"):
        read_table(write(tmp_path, "a,b\n1,2\n1,2,3\n"))
    with pytest.raises(VariorumError, match="line 2"):  # pandas would take the first column for an index
        read_table(write(tmp_path, "a,b\n1,2,3\n4,5,6\n"))


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_found_and_said(tmp_path, separator):
    frame, notes = read_table(write(tmp_path, f"a{separator}b\n1{separator}2\n"))
    assert frame.shape == (1, 2) and "separated by" in notes[0]


def test_tsv_and_parquet(tmp_path):
    frame, notes = read_table(write(tmp_path, "a\tb\n1\tx,y\n", "t.tsv"))
    assert frame["b"][0] == "x,y" and not notes
    pd.DataFrame({"a": [1, 2]}).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")[0]["a"].tolist() == [1, 2]
    with pytest.raises(VariorumError, match="expected a parquet file"):
        read_table(write(tmp_path, "no parquet", "broken.parquet"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "an empty file"),
        ("  \n", "an empty file"),
        ("a,b\n", "expected rows under the header"),
        ("a,b,a\n1,2,3\n", "'a' repeated"),
        ("1.5,2,3\n4,5,6\n", "names of columns, found numbers"),
        (b"a,b\n\x00\x01,2\n", "binary content"),
    ],
)
def test_faults_are_named(tmp_path, content, message):
    with pytest.raises(VariorumError, match=message):
        read_table(write(tmp_path, content))


def test_numbered_columns_are_names(tmp_path):
    frame, _ = read_table(write(tmp_path, "0,1,2\n5,6,7\n"))
    assert list(frame.columns) == ["0", "1", "2"]


def test_one_column_needs_no_separator(tmp_path):
    assert read_table(write(tmp_path, "a\n1\n2\n"))[0]["a"].tolist() == [1, 2]
