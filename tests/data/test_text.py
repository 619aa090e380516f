"""Text as a task: splits, windows, scores, and files that are none."""

import numpy as np
import pytest
import torch

from variorum.core import Spec, VariorumError
from variorum.data.symbols import TextSymbols
from variorum.data.text import NO_TARGET, TextTask

TEXT = "".join(chr(97 + (i * i + i // 7) % 26) for i in range(1000))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def target_places(task, split, size):
    """Where in the text each real target of a split stands, and the symbols of the text at those places."""
    places, symbols = [], []
    start, end = task.bounds[split]
    firsts = np.minimum(np.arange(start - 1, end - 1, task.length), end - 1 - task.length)
    row = 0
    for batch in task.held_out(split, size):
        for targets in batch.targets:
            for at, target in enumerate(targets.tolist()):
                if target != NO_TARGET:
                    places.append(int(firsts[row]) + 1 + at)
                    symbols.append(target)
            row += 1
    return places, symbols


@pytest.mark.parametrize("length", [1, 7, 16, 50, 64, 200])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_every_held_out_symbol_is_a_target_once(file, length, split):
    task = TextTask(str(file), length=length)
    places, symbols = target_places(task, split, 3)
    assert places == list(range(*task.bounds[split]))
    assert bytes(symbols).decode() == TEXT[slice(*task.bounds[split])]


@pytest.mark.parametrize("length", [7, 200])
def test_held_out_inputs_are_the_symbols_before_the_targets(file, length):
    task = TextTask(str(file), length=length)
    for batch in task.held_out("valid", 2):
        inputs, targets = batch.inputs["inputs"], batch.targets
        assert inputs.shape == targets.shape and inputs.shape[1] == length
        following = targets[:, :-1] != NO_TARGET
        assert (inputs[:, 1:][following] == targets[:, :-1][following]).all()


def test_the_parts_do_not_overlap_and_are_the_whole(file):
    bounds = TextTask(str(file), valid=0.1, test=0.2).bounds
    assert bounds == {"train": (0, 700), "valid": (700, 800), "test": (800, 1000)}


def test_no_training_row_reaches_into_the_held_out_parts(tmp_path):
    path = tmp_path / "marked.txt"
    path.write_text("a" * 900 + "v" * 50 + "t" * 50, encoding="utf-8")
    task = TextTask(str(path), length=30)
    for step in range(200):
        batch = task.batch(step, 64, 0)
        assert (batch.inputs["inputs"] == ord("a")).all() and (batch.targets == ord("a")).all()


def test_every_training_position_is_reached(file):
    task = TextTask(str(file), length=30)
    task._ids = np.arange(1000)
    reached = {int(v) for step in range(300) for v in task.batch(step, 64, 0).inputs["inputs"][:, 0]}
    assert reached == set(range(900 - 30))


def test_a_batch_depends_on_seed_and_step_alone(file):
    task, other = TextTask(str(file), length=16), TextTask(str(file), length=16)
    other.batch(3, 8, 5)
    torch.manual_seed(99)
    np.random.seed(99)
    here, there = task.batch(7, 8, 5), other.batch(7, 8, 5)
    assert torch.equal(here.inputs["inputs"], there.inputs["inputs"]) and torch.equal(here.targets, there.targets)
    assert torch.equal(here.inputs["inputs"][:, 1:], here.targets[:, :-1])
    assert not torch.equal(here.targets, task.batch(8, 8, 5).targets)
    assert not torch.equal(here.targets, task.batch(7, 8, 6).targets)


def test_a_batch_is_the_stored_one(file):
    """Guards the draw itself: a change of it would change every training silently."""
    task = TextTask(str(file), length=4)
    assert task.batch(0, 3, 0).inputs["inputs"].tolist() == [
        [120, 119, 120, 97],
        [121, 102, 111, 122],
        [111, 113, 116, 121],
    ]


def test_bits_per_byte_of_a_uniform_model_is_eight(file):
    task = TextTask(str(file), length=64)
    scores = torch.cat([task.scores(torch.zeros(*b.targets.shape, 256), b.targets) for b in task.held_out("test", 2)])
    assert scores.shape == (50,) and torch.allclose(scores, torch.tensor(8.0))
    assert task.metric == "bits per byte" and not task.higher_is_better


def test_the_score_agrees_with_the_objective(file):
    task = TextTask(str(file), length=30)
    torch.manual_seed(0)
    batch = list(task.held_out("valid", 4))[-1]
    assert (batch.targets == NO_TARGET).any()
    logits = torch.randn(*batch.targets.shape, 256)
    loss = task.objective.build()(logits, batch.targets)
    assert task.scores(logits, batch.targets).mean().item() * np.log(2) == pytest.approx(loss.mean.item(), rel=1e-6)


def test_characters_are_those_of_the_training_part(tmp_path):
    path = tmp_path / "german.txt"
    path.write_text("äöü-" * 200 + "ß" * 50 + "ü" * 50, encoding="utf-8")
    early = TextTask(str(path), level="char", length=8, valid=0.05, test=0.05)
    assert early.facts == {"vocab": 6, "length": 8} and early.metric == "bits per character"
    assert early.preprocess.build().alphabet == "-ßäöü"
    late = TextTask(str(path), level="char", length=8, valid=0.1, test=0.06)
    unknown = torch.cat([b.targets[b.targets != NO_TARGET] for b in late.held_out("valid", 4)])
    assert late.facts["vocab"] == 5 and late.bounds["valid"] == (756, 846)
    assert (unknown == 0).nonzero().flatten().tolist() == list(range(800 - 756, 846 - 756))


def test_characters_and_bytes_go_there_and_back():
    for spec in (
        TextSymbols.spec(level="byte", alphabet="", length=8),
        TextSymbols.spec(level="char", alphabet="aßä€😀", length=8),
    ):
        symbols = Spec.from_json(spec.to_json()).build()
        assert symbols.decode(symbols.encode("ß€a😀ä").tolist()) == "ß€a😀ä"
        assert int(symbols.encode("ß€a😀ä").max()) < symbols.vocab
    assert symbols.decode(symbols.encode("aXb").tolist()) == "a\ufffd\ufffd"


def test_another_encoding(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(("é" * 300).encode("latin-1"))
    assert TextTask(str(path), level="char", length=8, encoding="latin-1").facts["vocab"] == 2
    assert TextTask(str(path), level="byte", length=8).facts["vocab"] == 256
    with pytest.raises(VariorumError, match=r"text in utf-8.*level=byte"):
        TextTask(str(path), level="char", length=8)
    with pytest.raises(VariorumError, match="name of an encoding"):
        TextTask(str(path), level="char", length=8, encoding="latin-99")


def test_line_ends_are_kept(tmp_path):
    path = tmp_path / "dos.txt"
    path.write_bytes(b"ab\r\n" * 100)
    assert TextTask(str(path), level="char", length=8).preprocess.build().alphabet == "\n\rab"


@pytest.mark.parametrize("level", ["byte", "char"])
def test_files_that_are_none(tmp_path, level):
    (tmp_path / "empty.txt").touch()
    for name, said in (("empty.txt", "an empty file"), ("missing.txt", "no file of this name"), ("", "a folder")):
        with pytest.raises(VariorumError, match=said):
            TextTask(str(tmp_path / name), level=level)


@pytest.mark.parametrize("level", ["byte", "char"])
def test_a_file_too_short_to_split(tmp_path, level):
    path = tmp_path / "short.txt"
    path.write_text("abcdefghij", encoding="utf-8")
    with pytest.raises(VariorumError, match=r"at least 9 \w+s in its train part, found 6 of 10"):
        TextTask(str(path), level=level, length=8, valid=0.2, test=0.2)
    with pytest.raises(VariorumError, match="in its valid part, found 0 of 10"):
        TextTask(str(path), level=level, length=4, valid=0.01, test=0.1)
    assert TextTask(str(path), level=level, length=4, valid=0.1, test=0.1).bounds["test"] == (9, 10)


@pytest.mark.parametrize("shares", [{"valid": 0.0}, {"test": -0.1}, {"valid": 0.6, "test": 0.4}, {"length": 0}])
def test_bad_shares_are_refused(file, shares):
    with pytest.raises(VariorumError, match="TextTask"):
        TextTask(str(file), **shares)


def test_the_bundled_text():
    task = TextTask("shakespeare", level="char")
    assert task.facts["vocab"] < 100 and len(task.notes) == 1
    shown = task.preprocess.build().decode(task.batch(0, 1, 0).inputs["inputs"][0].tolist())
    assert len(shown) == 256 and "\ufffd" not in shown


def test_answers_on_texts_of_users():
    symbols = TextSymbols(level="char", alphabet="ab", length=4)
    rows = symbols.open(["abab", "b", "aabbaab"])
    batches = list(symbols.batches(rows, 2))
    assert [b["layout"].lengths for b in batches] == [[4, 1], [4, 3]]
    # A model that is sure of "the other letter".
    sure = torch.tensor([[0.0, 0.0, 0.0], [-50.0, -50.0, 0.0], [-50.0, 0.0, -50.0]])
    answers = symbols.answers(rows, [sure[b["inputs"]] for b in batches])
    assert answers["next"].tolist() == ["a", "a", "a"]
    assert answers["bits_per_char"][0] == pytest.approx(0, abs=1e-9) and np.isnan(answers["bits_per_char"][1])
    assert answers["bits_per_char"][2] == pytest.approx(3 / 6 * 50 / np.log(2), rel=1e-6)
    with pytest.raises(VariorumError, match="text 1"):
        symbols.open(["a", ""])


def test_spec_goes_through_json(file):
    spec = TextTask.spec(source=str(file), level="char", length=8)
    assert Spec.from_json(spec.to_json()).build().facts == {"vocab": len(set(TEXT[:900])) + 1, "length": 8}
