"""Tables of texts with a class each: when they are known, how they are read, split, cut and answered."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from variorum.core import Spec, VariorumError
from variorum.data.alike import draw_alike, in_turn
from variorum.data.labelled_texts import LabelledTextTask
from variorum.data.question import Question
from variorum.data.readers.reader import detect, load_task
from variorum.data.token_rows import TokenRows, fit_tokenizer, token_bytes

many = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
WORDS = {"fruit": ["apple", "pear", "plum", "cherry"], "tool": ["hammer", "saw", "drill", "chisel"]}


def frame(rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """Sentences of which one word tells the class."""
    draw = np.random.default_rng(seed)
    labels = [("fruit", "tool")[i] for i in draw.integers(2, size=rows)]
    texts = [f"row {i} says that this {draw.choice(WORDS[label])} is mine, é" for i, label in enumerate(labels)]
    return pd.DataFrame({"text": texts, "label": labels})


def test_a_table_of_texts_is_known_by_its_content(tmp_path):
    for name, write in (("a.csv", pd.DataFrame.to_csv), ("a.parquet", pd.DataFrame.to_parquet)):
        write(frame(), tmp_path / name, index=False)
        assert detect(tmp_path / name).reads == "labelled texts"
    numbered = frame().assign(id=np.arange(1, 121), source="web")
    numbered.to_csv(tmp_path / "b.csv", index=False, sep=";", encoding="cp1252")
    assert detect(tmp_path / "b.csv").reads == "labelled texts", (
        "numbers of rows and constants are nothing to learn from"
    )
    frame().sort_values("label").to_csv(tmp_path / "sorted.csv", index=False)
    assert detect(tmp_path / "sorted.csv").reads == "labelled texts"
    assert detect(tmp_path / "a.csv", Question(target="label")).reads == "labelled texts"


@pytest.mark.parametrize(
    "table",
    [
        frame().assign(price=np.random.default_rng(0).random(120)),
        frame().assign(label=np.random.default_rng(0).random(120)),
        frame().assign(text=frame()["label"]),
        frame().rename(columns={"label": "species"}),
    ],
    ids=["another column", "numbers to estimate", "categories", "no usual target"],
)
def test_other_tables_stay_tables(tmp_path, table):
    table.to_csv(tmp_path / "t.csv", index=False)
    assert detect(tmp_path / "t.csv").reads == "table"


def test_who_asks_for_texts_gets_them_and_is_told_what_is_not_read():
    mixed = frame().assign(price=np.random.default_rng(0).random(120))
    task = LabelledTextTask("t", frame=mixed)
    assert "Only the texts are read, not: 'price'." in task.notes


def test_repairs_are_said():
    table = frame()
    table.loc[0, "text"], table.loc[1, "text"], table.loc[2, "label"] = None, "  ", None
    table.loc[3, "text"] = table.loc[4, "text"]
    table.loc[5, "text"] = "word " * 400
    task = LabelledTextTask("t", frame=table, longest=50)
    said = " ".join(task.notes)
    for part in ("1 rows have no target", "2 rows have no text", "1 rows repeat", "1 texts are longer than 50 tokens"):
        assert part in said
    assert task.rows.lengths.max() == 51 and sum(len(task.parts.rows(p)) for p in ("train", "valid", "test")) == 116


def test_no_text_is_in_two_parts_and_the_vocabulary_is_that_of_training():
    table = frame(200)
    doubled = pd.concat([table, table], ignore_index=True)
    task = LabelledTextTask("t", frame=doubled)
    texts = table["text"].to_numpy()
    parts = [set(texts[task.parts.rows(name)]) for name in ("train", "valid", "test")]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 200
    fitted = fit_tokenizer([*texts[task.parts.train]])
    assert task.preprocess.build().tokenizer.json == fitted.json
    assert fitted.json != fit_tokenizer([*texts]).json


def test_the_reader_gives_the_rows_of_the_task():
    table = frame()
    task = LabelledTextTask("t", frame=table)
    reader = Spec.from_json(task.preprocess.to_json()).build()
    for given_ in (table, table[["text"]].to_dict("records"), table["text"].tolist()):
        rows = reader.open(given_)
        batches = list(reader.batches(rows, 50))
        assert [len(b["layout"].lengths) for b in batches] == [50, 50, 20]
        ids = np.concatenate([b["inputs"].numpy() for b in batches])
        np.testing.assert_array_equal(ids, task.rows.ids)


def test_rows_for_a_prediction_come_from_files_and_need_no_text(tmp_path):
    reader = LabelledTextTask("t", frame=frame()).preprocess.build()
    (tmp_path / "new.txt").write_bytes("one\ntwo é\n".encode())
    assert reader.open(str(tmp_path / "new.txt"))["text"].tolist() == ["one", "two é"]
    frame().to_csv(tmp_path / "new.csv", index=False)
    assert len(reader.open(tmp_path / "new.csv")) == 120
    gaps = pd.DataFrame({"text": pd.Series(["", None, float("nan"), "x\ud800"], dtype=object)})
    (batch,) = reader.batches(reader.open(gaps), 9)
    assert batch["layout"].lengths[:3] == [1, 1, 1], "the start token stands for an empty text"
    assert reader.answers(gaps.iloc[:0], []).empty
    for wrong, message in (
        (tmp_path / "none.csv", "no file of this name"),
        (pd.DataFrame({"txt": ["a"]}), "Did you mean 'txt'"),
        ([1, 2], "expected a string, found int"),
    ):
        with pytest.raises(VariorumError, match=message):
            reader.open(wrong)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (frame().assign(text="same text here"), "a column of texts beside the target"),
        (frame().assign(label="one"), "at least two different values"),
        (frame().assign(label=[str(i) for i in range(120)]), "classes with fewer"),
        (frame().assign(label=np.random.default_rng(0).random(120)), "numbers to estimate"),
        (frame()[["label"]], "a column of texts"),
        (frame().assign(label=[["a"]] * 120), "lists or other nested values"),
    ],
)
def test_faults_say_what_to_do(table, message):
    with pytest.raises(VariorumError, match=message):
        LabelledTextTask("t", frame=table)


CELLS = st.one_of(st.none(), st.floats(), st.text(max_size=30), st.just("a b c d"), st.just("\ud800"), st.just([1]))


@many
@given(texts=st.lists(CELLS, min_size=1, max_size=60), labels=st.lists(st.sampled_from(["a", "b", None]), min_size=1))
def test_any_rows(texts, labels):
    table = pd.DataFrame({"text": pd.Series(texts, dtype=object)})
    table["label"] = [labels[i % len(labels)] for i in range(len(table))]
    try:
        task = LabelledTextTask("any", frame=table)
    except VariorumError:
        return
    for split in ("valid", "test"):
        rows = [length for batch in task.held_out(split, 7) for length in batch.inputs["layout"].lengths]
        assert len(rows) == len(task.parts.rows(split)) and min(rows) >= 2


@many
@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(lambda t: ("text,label\n" + t).encode()))
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_look_at_any_file_raises_nothing_of_its_own(tmp_path, suffix, raw):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(raw)
    try:
        detect(path)
        load_task(path, Question(reads="labelled texts"))
    except VariorumError as error:
        assert str(error)


@many
@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=8), longest=st.integers(1, 9))
def test_tokens_stand_for_all_bytes_of_a_text(texts, longest):
    tokenizer = fit_tokenizer(["some text to begin with, é"])
    rows, sizes = TokenRows.of(texts, tokenizer, first=[999], last=[998], longest=longest), token_bytes(tokenizer)
    for i, text in enumerate(texts):
        ids = rows.packed(np.array([i]))[0].tolist()
        whole = tokenizer.encode(text)
        assert ids == [999, *whole[:longest], 998]
        assert sizes[whole].sum() == len(text.encode("utf-8"))
        assert tokenizer.decode(whole) == text


def test_batches_are_of_like_length_and_every_row_comes_as_often():
    lengths = np.random.default_rng(0).integers(1, 200, size=640)
    drawn = [draw_alike(lengths, step, 10, 3) for step in range(64)]
    assert sorted(np.concatenate(drawn).tolist()) == list(range(640))
    assert np.mean([np.ptp(lengths[rows]) for rows in drawn]) < 20
    means = [lengths[rows].mean() for rows in drawn[:32]]
    assert means != sorted(means), "long batches do not come last"
    assert (draw_alike(lengths[:5], 7, 10, 0) < 5).all()
    order = in_turn(lengths)
    assert sorted(order.tolist()) == list(range(640))
    assert abs(lengths[order[0]] - np.median(lengths)) < 5
    assert abs(lengths[order[:160]].mean() - lengths.mean()) < 25


def test_plays_are_told_without_the_speakers():
    rows = load_task("shakespeare_plays")
    assert rows.labels[0] == "A Midsummer Night's Dream" and len(rows.labels) == 9
    assert len(rows.rows) == 5769 and rows.facts["classes"] == 9
