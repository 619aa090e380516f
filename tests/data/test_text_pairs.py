"""Pairs of texts: when they are known, how they are split and scored, and what is said of rows that are none."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from variorum.core import Spec, VariorumError
from variorum.data.question import Question
from variorum.data.readers.reader import detect, load_task
from variorum.data.sets.spoken_numbers import in_words
from variorum.data.text_pairs import TextPairTask

many = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def frame(rows: int = 100) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    words = [" ".join(draw.choice(["an", "be", "cold", "do", "éa"], size=draw.integers(2, 7))) for _ in range(rows)]
    return pd.DataFrame(
        {"en": [f"{i} {w}" for i, w in enumerate(words)], "xx": [w[::-1] + f" {i}" for i, w in enumerate(words)]}
    )


def test_pairs_are_known_by_their_content(tmp_path):
    for name, table, question in (
        ("a.csv", frame(), Question()),
        ("b.csv", frame(), Question(target="en")),
        ("c.csv", frame().rename(columns={"xx": "target"}).assign(id=range(1, 101), lang="xx"), Question()),
        ("d.tsv", frame(), Question()),
        ("e.csv", frame().assign(en=[f"w{i}" for i in range(100)]), Question(target="xx")),
    ):
        table.to_csv(tmp_path / name, index=False, sep="\t" if name.endswith("tsv") else ",")
        assert detect(tmp_path / name, question).reads == "text pairs", name
    frame().assign(xx=["yes", "no"] * 50).to_csv(tmp_path / "t.csv", index=False)
    assert detect(tmp_path / "t.csv", Question(target="xx")).reads == "labelled texts"


def test_rows_of_one_source_are_in_one_part_and_repairs_are_said():
    table = pd.concat([frame(), frame().assign(xx="another way of it"), frame()], ignore_index=True)
    table.loc[0, "en"], table.loc[1, "xx"] = None, " "
    task = TextPairTask("t", frame=table, longest=3)
    assert "2 rows lack one of the two texts and are left out." in task.notes
    assert "98 rows repeat a row before them and are left out." in task.notes
    assert "the rest of them is neither read nor written" in task.notes[-1]
    rows = [task.sources.packed(task.parts.rows(p)) for p in ("train", "valid", "test")]
    told = [{tuple(r.tolist()) for r in ids.split(layout.lengths)} for ids, layout in rows]
    whole = TextPairTask("t", frame=table)
    rows = [whole.sources.packed(whole.parts.rows(p)) for p in ("train", "valid", "test")]
    told = [{tuple(r.tolist()) for r in ids.split(layout.lengths)} for ids, layout in rows]
    assert not told[0] & told[1] and not told[0] & told[2] and not told[1] & told[2]
    assert task.targets.lengths.max() == 5


def test_inputs_and_targets_are_a_step_apart():
    task = TextPairTask("t", frame=frame())
    reader = task.preprocess.build()
    batch = task.batch(0, 5, 0)
    ids, layout = batch.inputs["target"], batch.inputs["layout"]
    for given_, wanted in zip(ids.split(layout.lengths), batch.targets.split(layout.lengths), strict=True):
        assert given_[0] == reader.start and wanted[-1] == reader.end and given_[1:].equal(wanted[:-1])
    assert batch.inputs["source_layout"].lengths == [int(n) for n in batch.inputs["source_layout"].offsets.diff()]
    assert len(batch.inputs["source_layout"].lengths) == 5


def test_a_model_that_knows_nothing_needs_the_same_bits_for_every_token():
    task = TextPairTask("t", frame=frame())
    vocab, seen = task.facts["vocab"], []
    for batch in task.held_out("test", 6):
        scores = task.scores(torch.zeros(len(batch.targets), vocab), batch.targets)
        assert len(scores) == len(batch.inputs["layout"].lengths)
        seen += scores.tolist()
    order = task.ordered("test")
    size = np.array([len(text.encode()) + 1 for text in task.texts[order]])
    np.testing.assert_allclose(seen, (task.targets.lengths[order] - 1) * math.log2(vocab) / size, rtol=1e-5)


def test_the_score_agrees_with_the_objective():
    task = TextPairTask("t", frame=frame())
    torch.manual_seed(0)
    batch = next(task.held_out("valid", 1))
    logits = torch.randn(len(batch.targets), task.facts["vocab"])
    loss = task.objective.build()(logits, batch.targets)
    size = len(task.texts[task.ordered("valid")[0]].encode()) + 1
    assert float(task.scores(logits, batch.targets)) == pytest.approx(float(loss.total) / math.log(2) / size, rel=1e-5)


def test_what_is_written_is_read_back():
    table = frame()
    task = TextPairTask("t", frame=table)
    reader = Spec.from_json(task.preprocess.to_json()).build()
    rows = reader.open(table)
    assert sum(len(b["source_layout"].lengths) for b in reader.batches(rows, 30)) == 100
    order = task.ordered("test")
    ids, layout = task.targets.packed(order)
    said = reader.answers(pd.DataFrame(index=range(len(order))), [list(ids.split(layout.lengths))])["prediction"]
    assert said.tolist() == task.texts[order].tolist()
    assert task.chrf("test", said.tolist()) == pytest.approx(1.0)
    assert task.chrf("test", ["zzz"] * len(order)) < 0.05


@pytest.mark.parametrize(
    ("table", "target", "message"),
    [
        (frame().assign(other=frame()["en"].str[::-1]), None, "the name of the column to predict"),
        (frame().assign(xx="same"), "xx", "'xx' holds none"),
        (frame()[["en"]], "en", "no other than 'en'"),
        (frame(12), "xx", "at least 20 different pairs"),
        (frame().assign(en=["a b c", "d e f"] * 50), "xx", "no other than 'xx'"),
    ],
)
def test_faults_say_what_to_do(table, target, message):
    with pytest.raises(VariorumError, match=message):
        TextPairTask("t", target=target, frame=table)


CELLS = st.one_of(st.none(), st.floats(), st.text(max_size=20), st.just("\ud800 x"), st.integers().map(str))


@many
@given(left=st.lists(CELLS, min_size=1, max_size=50), right=st.lists(CELLS, min_size=1, max_size=50))
def test_any_rows(left, right):
    size = max(len(left), len(right))
    table = pd.DataFrame(
        {
            n: pd.Series([side[i % len(side)] for i in range(size)], dtype=object)
            for n, side in (("a", left), ("y", right))
        }
    )
    try:
        task = TextPairTask("any", frame=table)
    except VariorumError:
        return
    rows = sum(len(batch.inputs["layout"].lengths) for batch in task.held_out("test", 3))
    assert rows == len(task.parts.test) > 0


@many
@given(raw=st.binary(max_size=200))
def test_a_look_at_any_file_raises_nothing_of_its_own(tmp_path, raw):
    (tmp_path / "t.csv").write_bytes(raw)
    try:
        load_task(tmp_path / "t.csv", Question(reads="text pairs"))
    except VariorumError as error:
        assert "t.csv" in str(error)


def test_numbers_in_words():
    said = {0: "zero", 21: "twenty-one", 110: "one hundred and ten", 4217: "four thousand two hundred and seventeen",
            1000: "one thousand", 90_001: "ninety thousand and one"}  # fmt: skip
    assert {n: in_words(n) for n in said} == said
    assert load_task("spoken_numbers").synthetic
