"""What is wrong with real tables: each fault is a clear error, or a repair that is said."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from variorum.core import VariorumError
from variorum.data.frames import read_table
from variorum.data.readers.reader import detect, load_task
from variorum.data.table import TableTask


def frame(rows=60):
    draw = np.random.default_rng(0)
    towns, kinds = draw.choice(["Bonn", "Ulm"], rows), draw.choice(["n", "p"], rows)
    return pd.DataFrame({"a": draw.normal(size=rows), "town": towns, "y": kinds})


def written(tmp_path, made, *, name="t.csv", **how):
    (tmp_path / name).write_bytes(made.to_csv(index=False, **how).encode("utf-8"))
    return str(tmp_path / name)


def said(task):
    return " ".join(task.notes)


@pytest.mark.parametrize(
    ("column", "note"),
    [
        (lambda f: np.nan, "'c' is left out: it is missing in every row"),
        (lambda f: 7, "'c' is left out: it is the same in every training row"),
        (lambda f: range(len(f)), "'c' is left out: it only numbers the rows"),
        (lambda f: np.where(f.index % 5 == 0, np.inf, f["a"]), "infinite values in the training rows, read as missing"),
        (lambda f: [f"{v:.2f}".replace(".", ",") for v in f["a"]], "'c' is read as numbers with a decimal comma"),
        (lambda f: [f"{v:,.0f}" for v in 1e5 + 1e6 * f["a"].abs()], "'c' is read as numbers with commas or spaces"),
        (lambda f: [f"K{i}" for i in f.index], "'c' is left out: 36 different texts in 36 rows, no word in common"),
        (lambda f: f["y"].map({"n": 4, "p": 2}), "'c' tells the target 'y' exactly"),
    ],
)
def test_columns(tmp_path, column, note):
    made = frame()
    made.insert(1, "c", column(made))
    task = TableTask(written(tmp_path, made), target="y")
    assert note in said(task)
    assert all(np.isfinite(task.arrays(part)[0]).any() for part in ("train", "valid", "test"))


def test_unnamed_columns_are_called_by_their_place(tmp_path):
    path = tmp_path / "t.csv"
    frame().to_csv(path)  # the index has no name
    task = TableTask(str(path), target="y")
    assert "Columns without a name are called by their place: Unnamed: 0." in said(task)
    assert "'Unnamed: 0' is left out: it only numbers the rows" in said(task)


def test_an_index_that_pandas_stored_is_a_column(tmp_path):
    frame().set_index("town").to_parquet(tmp_path / "t.parquet")
    assert TableTask(str(tmp_path / "t.parquet"), target="y").facts["columns"] == (0, 3)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_names_that_are_repeated_are_an_error(tmp_path, name):
    (tmp_path / name).write_text("a,b, a\n1,2,3\n" if name == "t.csv" else '{"b": 1}\n{"a": 1, "b": 2, "a": 3}\n')
    with pytest.raises(VariorumError, match="every column named once, found 'a' repeated"):
        read_table(tmp_path / name)


def test_unicode_and_quoted_newlines(tmp_path):
    made = frame().rename(columns={"town": "村\u00a0名"})
    made["村\u00a0名"] = made["村\u00a0名"].map({"Bonn": 'two\nlines, "quoted"', "Ulm": "🦔"})
    task = TableTask(written(tmp_path, made), target="y")
    assert {c.name for c in task.preprocess.build().columns} == {"a", "村\u00a0名"} and len(task.notes) == 1


def test_huge_cells(tmp_path):
    made = frame()
    made.loc[7, "town"] = "Bonn" * 1_000_000
    task = TableTask(written(tmp_path, made), target="y")
    assert task.facts["columns"] == (0, 3)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_also_where_commas_are_in_the_cells(tmp_path, separator):
    made = frame()
    made["a"] = [f"{v:.3f}".replace(".", ",") for v in made["a"]]
    made["where, when"] = made["town"] + ", 1999"
    task = TableTask(written(tmp_path, made, sep=separator), target="y")
    assert task.facts["columns"] == (0, 3, 3) and "separated by" in said(task) and "decimal comma" in said(task)


def test_points_between_thousands_where_commas_are_decimal(tmp_path):
    made = frame()
    made["a"] = [f"{v:.2f}".replace(".", ",") for v in made["a"]]
    made["sold"] = [f"{v:,}".replace(",", ".") for v in range(900, 6900, 100)]
    path = written(tmp_path, made.sample(frac=1, random_state=0), sep=";")
    task = TableTask(path, target="y")
    assert "Points stand between thousands" in said(task) and "sold" in said(task)
    columns = task.preprocess.build()
    opened = columns.open(path)
    assert opened["sold"].iloc[0].replace(".", "").isdigit(), "a file to predict is read in the same way"
    np.testing.assert_array_equal(columns.encode(opened)[task.parts.test], task.arrays("test")[0])


def test_a_first_line_that_says_the_separator(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sep=;\na;b\n1;2\n")
    assert read_table(path)[0].to_dict("list") == {"a": [1], "b": [2]}


def test_categories_unseen_in_training_are_code_0_and_unseen_classes_an_error(tmp_path):
    columns = TableTask(written(tmp_path, frame()), target="y").preprocess.build()
    told = columns.encode(columns.open([{"a": 1, "town": "Trier"}, {"a": "x", "town": None}]))
    assert told[:, 1].tolist() == [0, 0] and np.isnan(told[1, 0])
    with pytest.raises(VariorumError, match=r"target 'y': expected one of the 2 classes of training, found 'q'"):
        columns.target.encode(pd.Series(["n", "q"]))


@pytest.mark.parametrize(
    ("values", "message"),
    [("x", "at least two different values"), (1.5, "at least two different values"), (None, "missing in every row")],
)
def test_a_target_that_says_nothing(tmp_path, values, message):
    with pytest.raises(VariorumError, match=message):
        TableTask(written(tmp_path, frame().assign(y=values)), target="y")


def test_a_target_with_gaps_and_in_words(tmp_path):
    made = frame()
    made.loc[:9, "y"] = None
    assert "10 rows have no target 'y' and are left out" in said(TableTask(written(tmp_path, made), target="y"))
    made["y"] = [f"{v:.3f}".replace(".", ",") for v in made["a"]]
    made.loc[:3, "y"] = "unknown"
    task = TableTask(written(tmp_path, made.assign(b=1 / made["a"])), target="y")
    assert task.writes == "value" and "'y' is read as numbers, written as in 1.234,5" in said(task)
    assert "4 rows have no target" in said(task)


def test_json_lines_and_arrow_are_tables_too(tmp_path):
    made = frame()
    made["a"] = made["a"].where(made.index % 7 > 0)
    want = TableTask(written(tmp_path, made), target="y")
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(r) for r in made.to_dict("records")) + "\n\n")
    made.to_feather(tmp_path / "t.feather")
    for name in ("t.jsonl", "t.feather"):
        assert detect(tmp_path / name).reads == "table"
        task = load_task(tmp_path / name, want_target())
        np.testing.assert_allclose(task.arrays("train")[0], want.arrays("train")[0], atol=1e-6)


def want_target():
    from variorum.data.question import Question

    return Question(target="y")


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("t.jsonl", b'{"a": 1}\n[1]\n', "line 2: expected a JSON object, found list"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2: expected a JSON object"),
        ("t.jsonl", b"[" * 100_000, "line 1: expected a JSON object"),
        ("t.feather", b"ARROW1 and then nothing", "expected an Arrow"),
        ("t.arrow", b"no arrow", "expected an Arrow"),
        ("t.arrow", b"", "expected an Arrow"),
        ("t.parquet", b"PAR1", "expected a parquet file"),
    ],
)
def test_files_that_are_broken(tmp_path, name, raw, message):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(VariorumError, match=message):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["t.parquet", "t.feather"])
def test_files_that_are_cut_short(tmp_path, name):
    path = tmp_path / name
    getattr(frame(), "to_" + name[2:])(path)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(VariorumError, match=r"t\..*: expected a"):
            read_table(path)


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
USUAL = st.sampled_from(["1,5", "1.234", "?", "NA", "true", "2020-01-01", ""])
CELL = st.one_of(WORDS, st.floats().map(str), st.integers().map(str), USUAL)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_written_table_reads_or_is_refused(tmp_path, data):
    """Fields of any text, quoted as need be, in any encoding with a mark, with any separator: as many rows and the
    same columns come back, or a VariorumError.
    """
    width = data.draw(st.integers(2, 4))
    names = data.draw(st.lists(st.text("abcdefgé_", min_size=1, max_size=5), min_size=width, max_size=width))
    records = data.draw(st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=8))
    path = tmp_path / "t.csv"
    made = pd.DataFrame(records, columns=names)
    text = made.to_csv(index=False, sep=data.draw(st.sampled_from(",;\t|")), quoting=1)
    path.write_bytes(text.encode(data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))))
    try:
        found, notes = read_table(path)
    except VariorumError as error:
        assert len(set(names)) < len(names) or "line" in str(error) or "table" in str(error), error
        return
    assert found.shape == made.shape and list(found.columns) == names and all(notes)
