"""One step of a streaming model as a graph: what its states tell, and that a runtime without Variorum can go on."""

import json
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from samples.bundles import bundle, task
from variorum.core import Layout, Memory, Spec, State, VariorumError
from variorum.core.hooks import listen
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.features import Features
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.mixers.cache import store
from variorum.layers.mixers.extractor import Extractor, Lags
from variorum.layers.mixers.gated_delta import GatedDelta
from variorum.layers.mixers.mlgru import MLGRU
from variorum.layers.mixers.partial_attention import PartialAttention
from variorum.layers.mixers.region_attention import RegionAttention
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.window import Window
from variorum.layers.positions.bucket_bias import Sides
from variorum.layers.positions.rotary import Rotary
from variorum.layers.regions.blocks import BlockRegions
from variorum.models.blocks.block import Block
from variorum.models.blocks.scored_once import ScoredOnce
from variorum.models.early_exit import EarlyExit
from variorum.models.encoder_decoder import EncoderDecoder
from variorum.models.exits.judged import JudgedExit
from variorum.models.stack import Stack
from variorum.runtime import export_step as module
from variorum.runtime.bundle import Bundle
from variorum.runtime.export_program import to_program, to_program_step
from variorum.runtime.export_step import in_double, sample_of, to_onnx_step
from variorum.runtime.stepped import Start, Stepped, cut, flat, nested, step_graph

MIXERS = {
    "window": Attention.spec(heads=2, pattern=Window.spec(size=5), rotation=Rotary.spec()),
    "grouped": Attention.spec(heads=4, kv_heads=2, pattern=Causal.spec(), rotation=Rotary.spec()),
    "recurrence": GatedDelta.spec(heads=2),
}
_PARTIAL = Block.spec(mixer=PartialAttention.spec(heads=2, pattern=Causal.spec()), channels=MLP.spec())
PARTS = {
    "regions": RegionAttention.spec(heads=2, regions=BlockRegions.spec(size=4), sides=Sides.PAST),
    "lags": Extractor.spec(length=16, lags=Lags.SCALAR),
    "shared scores": ScoredOnce.spec(layers=[_PARTIAL] * 2, heads=2, head_dim=4),
}


def text_of(*mixers: Spec) -> Bundle:
    """A language model of characters with these mixers."""
    shakespeare = task("shakespeare")
    blocks = [Block.spec(mixer=mixer, channels=MLP.spec()) for mixer in mixers]
    spec = Stack.spec(dim=16, embed=TokenEmbed.spec(), blocks=blocks, head=Unembed.spec())
    torch.manual_seed(0)
    return Bundle.of(spec.fill(**shakespeare.facts).build().eval(), shakespeare)


def written_on(path, ids: np.ndarray) -> np.ndarray:
    """The answers to rows of ids, token by token, by a runtime that knows the file alone."""
    session = onnxruntime.InferenceSession(path)
    told = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert told["variorum.piece"] == "1"
    kept = {
        f"before.{state['name']}": np.broadcast_to(
            np.array(state["values"], state["dtype"]), (len(ids), *state["shape"])
        )
        for state in json.loads(told["variorum.states"])
    }
    names, found = [value.name for value in session.get_outputs()], []
    for t in range(ids.shape[1]):
        given = {name: np.ascontiguousarray(value) for name, value in {"piece": ids[:, t : t + 1], **kept}.items()}
        out = dict(zip(names, session.run(None, given), strict=True))
        found.append(out["answers"])
        kept = {name: out[name.replace("before.", "after.", 1)] for name in kept}
    return np.concatenate(found, axis=1)


def answers_as_the_model(made: Bundle, path) -> None:
    vocab = made.model.head.linear.out_features
    ids = np.random.default_rng(0).integers(vocab, size=(4, 13))
    with torch.inference_mode():
        whole = made.model(torch.from_numpy(ids)).numpy()
    np.testing.assert_allclose(written_on(path, ids), whole, atol=2e-5)


def test_a_runtime_that_knows_the_file_alone_writes_as_the_model(tmp_path):
    made = bundle("text")
    report = to_onnx_step(made, tmp_path / "m.onnx")
    assert report.difference < 1e-4 and {rows for rows, _ in report.checked} == {1, 3, 5}
    assert report.inputs["piece"] == ["batch", 1]
    assert report.inputs["before.0.keys"] == ["batch", "past", 2, 4]
    assert report.outputs["after.1.values"] == ["batch", "past1 + 1", 2, 4]
    assert report.inputs["before.length"] == ["batch"]
    answers_as_the_model(made, tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert b".py" not in (tmp_path / "m.onnx").read_bytes(), "it names files of the machine that it was made on"


@pytest.mark.slow
@pytest.mark.parametrize("names", [("window",), ("grouped",), ("recurrence",), ("recurrence", "grouped", "window")])
def test_caches_windows_recurrences_and_hybrids(names, tmp_path):
    made = text_of(*(MIXERS[name] for name in names))
    to_onnx_step(made, tmp_path / "m.onnx")
    answers_as_the_model(made, tmp_path / "m.onnx")


@pytest.mark.slow
def test_a_graph_keeps_what_is_small():
    """The 1e-8 under the root of a norm of small numbers stays; an exporter that takes it for nothing changes answers
    by a hundredth, which only float64 tells from numbers that round to another of eight bits.
    """
    made = text_of(MLGRU.spec(), MLGRU.spec())
    assert in_double(made.model, sample_of(made.model, made.preprocess.build())) < 1e-9


@pytest.mark.slow
def test_programs_are_read_without_pickle_and_answer_as_the_model(tmp_path):
    made = bundle("text")
    for write, name in ((to_program, "whole.pt2"), (to_program_step, "step.pt2")):
        report = write(made, tmp_path / name)
        assert report.difference < 1e-4 and report.opset is None
        with zipfile.ZipFile(tmp_path / name) as archive:
            samples = [entry for entry in archive.infolist() if "sample_inputs" in entry.filename]
            assert [entry.file_size for entry in samples] == [0]
            for entry in archive.infolist():
                assert not archive.read(entry).startswith((b"\x80", b"PK")), f"{entry.filename} is a pickle"
                assert b".py" not in archive.read(entry), f"{entry.filename} names files of the machine it was made on"
    ids = torch.randint(made.model.head.linear.out_features, (2, 11))
    run = torch.export.load(tmp_path / "whole.pt2").module()
    with torch.no_grad():
        torch.testing.assert_close(run(inputs=ids), made.model(ids), rtol=0, atol=2e-5)


@pytest.mark.slow
def test_a_model_that_reads_a_source(tmp_path):
    """The step attends to a memory of any length; what the graph gives is what the decoder gives."""
    read = Stack.spec(
        embed=TokenEmbed.spec(vocab=9), blocks=[Block.spec(mixer=Attention.spec(heads=2), channels=MLP.spec())],
        head=Features.spec(),
    )  # fmt: skip
    write = Stack.spec(
        embed=TokenEmbed.spec(vocab=9),
        blocks=[Block.spec(mixer=MIXERS["grouped"], cross=Attention.spec(heads=2), channels=MLP.spec())],
        head=Unembed.spec(vocab=9),
    )
    model = EncoderDecoder.spec(dim=16, encoder=read, decoder=write).build().eval()
    source, target = torch.randint(9, (2, 5)), torch.randint(9, (2, 6))
    with torch.no_grad():
        memory = model.encode(source).x
        graph = step_graph(model, target, memory)
        assert graph.inputs[:2] == ["piece", "memory"]
        run, longer = graph.program.module(), torch.randn(2, 8, 16)
        for beside in (memory, longer):
            kept, found = [start.tensor(2) for start in graph.starts], []
            for token in target.split(1, dim=1):
                answers, *kept = run(token, beside, *kept)
                found.append(answers)
            wanted, _ = model.advance(target, model.start(2), None, Memory(beside))
            torch.testing.assert_close(torch.cat(found, 1), wanted, rtol=0, atol=2e-5)


def test_rows_that_leave_early_leave_in_a_graph():
    """A step of one token runs blocks only for the rows that are still there; a graph has one form for all of them."""
    spec = EarlyExit.spec(
        dim=16,
        embed=TokenEmbed.spec(vocab=9),
        blocks=[Block.spec(mixer=MIXERS["grouped"], channels=MLP.spec())] * 2,
        head=Unembed.spec(vocab=9),
        policy=JudgedExit.spec(width=4, threshold=0.5),
    )
    torch.manual_seed(0)
    model = spec.build().eval()
    ids, state = torch.randint(9, (5, 8)), model.start(5)
    graph = step_graph(model, ids)
    run, kept = graph.program.module(), [start.tensor(5) for start in graph.starts]
    with torch.no_grad(), listen(model, "exits") as told:
        for token in ids.split(1, dim=1):
            wanted, state = model.advance(token, state)
            answers, *kept = run(token, *kept)
            torch.testing.assert_close(answers, wanted, rtol=0, atol=2e-5)
    assert len(torch.cat(told["exits"]).unique()) > 1, "all leave at one exit: nothing is tried"


def test_an_answer_that_differs_leaves_no_file(tmp_path, monkeypatch):
    made, write = bundle("text"), module.write_step

    def other(*args):
        found = write(*args)
        with torch.no_grad():
            made.model.norm.bias += 0.1
        return found

    monkeypatch.setattr(module, "write_step", other)
    with pytest.raises(VariorumError, match=r"batch 3, piece 0: expected the model's answers within 0\.0001"):
        to_onnx_step(made, tmp_path / "m.onnx")
    assert not any(tmp_path.iterdir())


def test_a_model_that_does_not_stream_has_no_step(tmp_path):
    with pytest.raises(VariorumError, match="expected a model that streams, found ConvNet"):
        to_onnx_step(bundle("images"), tmp_path / "m.onnx")
    whole = text_of(Attention.spec(heads=2))
    with pytest.raises(VariorumError, match="expected a model that streams, found Stack"):
        to_program_step(whole, tmp_path / "m.pt2")
    assert not any(tmp_path.iterdir())


# -- states as tensors -------------------------------------------------------------------------------------------------
def test_a_state_is_its_tensors_by_name():
    first = State({"keys": torch.ones(2, 3), "inner": State({"m": torch.ones(2)})})
    state = State({"length": torch.zeros(2), "0": first, "1": State()})
    told = flat(state)
    assert list(told) == ["length", "0.keys", "0.inner.m"]
    again = nested(state, {name: tensor + 1 for name, tensor in told.items()})
    assert again.child("1") == {} and again.child("0").child("inner").tensor("m").tolist() == [2, 2]


def test_a_start_is_one_row():
    assert Start.of("m", torch.full((2, 3), -torch.inf)).values == -torch.inf
    learned = Start.of("m", torch.arange(6.0).reshape(1, 2, 3).repeat(2, 1, 1))
    torch.testing.assert_close(learned.tensor(4)[3], torch.arange(6.0).reshape(2, 3))
    assert Start.of("keys", torch.zeros(2, 0, 4)).tensor(3).shape == (3, 0, 4)
    with pytest.raises(VariorumError, match="the same start for every row"):
        Start.of("m", torch.arange(2))


def test_pieces_are_cut_of_too_few_inputs():
    assert [piece.tolist() for piece in cut(torch.tensor([[1, 2, 3]]), 2, 2, 3)] == [
        [[1, 2]] * 2,
        [[3, 1]] * 2,
        [[2, 3]] * 2,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_a_graph_goes_on_with_rows_of_any_length(name):
    """Of parts that look at lengths where they can: a graph of even rows answers uneven ones as the step does."""
    torch.manual_seed(0)
    part = PARTS[name].build(dim=8).double().eval()
    run = step_graph(part, torch.randn(3, 4, 8).double()).program.module()
    prompts = [0, 1, 9, 9]
    with torch.no_grad():
        _, state = part.advance(torch.randn(sum(prompts), 8).double(), part.start(4), Layout.ragged(prompts))
        kept = list(flat(state).values())
        for token in torch.randn(4, 6, 8).double().split(1, dim=1):
            wanted, state = part.advance(token, state)
            found, *kept = run(token, *kept)
            torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


def test_a_step_is_what_advance_is():
    model = bundle("text").model
    stepped = Stepped(model, attends=False)
    state, ids = model.start(2), torch.randint(5, (2, 1))
    answers, *after = stepped(ids, *flat(model.start(2)).values())
    wanted, state = model.advance(ids, state, Layout())
    torch.testing.assert_close(answers, wanted)
    assert all(torch.equal(a, b) for a, b in zip(after, flat(state).values(), strict=True))


def test_a_cache_in_a_graph_holds_what_a_cache_holds():
    """Rows of uneven length, too: what the graph writes, and zeros where nothing was written."""

    class Kept(torch.nn.Module):
        def forward(self, cache, new, slots):
            return store(cache, new, slots)

    cache, new = torch.zeros(2, 4, 3), torch.randn(2, 2, 3)
    cache[0, :1], cache[1, :4] = 1.0, 2.0
    slots = torch.tensor([[1, 2], [4, 5]])
    graph = torch.export.export(Kept(), (cache, new, slots)).module()
    found, wanted = graph(cache, new, slots), store(cache.clone(), new, slots)
    assert found.shape == (2, 6, 3)
    torch.testing.assert_close(found, wanted[:, :6])
