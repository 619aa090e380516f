"""Stateful Conformer: a stream equals the whole, look-ahead is bounded, and both losses are what they say."""

import itertools
import math
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import audio_utils as audio
from transformers.models import parakeet

from house.kept import bears_out
from variorum.core import Layout, Spec, find_entry
from variorum.layers.embed.log_mel import LogMel
from variorum.layers.embed.spectrogram import Frames, log_mel, mel_filters
from variorum.layers.mixers.gated_conv import GatedConv
from variorum.layers.mixers.relative_attention import RelativeAttention
from variorum.layers.patterns.band import Band
from variorum.layers.patterns.chunked import Chunked
from variorum.models.alignments import Framewise, Labels, Lattice
from variorum.models.best_path import BestPath, best_path
from variorum.models.blocks.conformer import ConformerBlock
from variorum.models.greedy_transducer import GreedyTransducer
from variorum.models.transducer import Transducer
from variorum.objectives.ctc import CTC
from variorum.objectives.transducer import TransducerLoss
from variorum.systems.stateful_conformer import CONTEXTS

SLUG = "stateful-conformer"
RECORDED = Path("/usr/share/pocketsphinx/test/data/librivox")
BINS = 80
needs_recordings = pytest.mark.skipif(not RECORDED.is_dir(), reason="Debian's pocketsphinx-testdata is not installed")


def small(**changes: object) -> Spec[Transducer]:
    """The system, narrow and of two layers."""
    sizes = {"dim": 32, "depth": 2, "heads": 4, "channels": 4, "labels": 12, "joint": 16, "dropout": 0.0, **changes}
    return find_entry(SLUG).spec(**sizes).fill(vocab=29)


def built(spec: Spec[Transducer], dtype: torch.dtype = torch.float32) -> Transducer:
    torch.manual_seed(0)
    model = spec.build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # so that no bias or gain hides behind a zero or a one
    return model.to(dtype).eval()


def streamed(model: nn.Module, inputs: Tensor, piece: int) -> tuple[Tensor, set[int]]:
    """The encoder's tokens of inputs (batch, n, ...) heard ``piece`` by piece, and the sizes of its states."""
    state, tokens, sizes = model.start(len(inputs)), [], set()
    for part in inputs.split(piece, dim=1):
        heard, state = model.advance(part, state)
        tokens.append(heard)
        sizes.add(state.nbytes)
    return torch.cat(tokens, dim=1), sizes


@pytest.mark.row(SLUG, 0)
@pytest.mark.parametrize("context", range(len(CONTEXTS)), ids=[str(c) for c in CONTEXTS])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_a_stream_equals_the_whole(context, dtype, tolerance):
    """6 s of features heard chunk by chunk give the tokens of the whole, at every latency: 1e-4, in double 1e-10.

    The piece is the latency's chunk, 8 frames for each of its right + 1 tokens; the last one of 6 s is shorter.
    """
    model = built(small(), dtype).encoder
    model.use(context)
    frames = torch.randn(2, 600, BINS, dtype=dtype)
    with torch.no_grad():
        whole, _ = model.hidden(frames)
        found, _ = streamed(model, frames, model.traits.piece)
    assert model.traits.piece == 8 * (CONTEXTS[context][1] + 1)
    assert whole.shape[1] == 75
    torch.testing.assert_close(found, whole, atol=tolerance, rtol=0)


@pytest.mark.row(SLUG, 0)
def test_the_caches_do_not_grow():
    """Over 100 chunks the state is of one size: a layer's 70 keys, values and 8 gated tokens, and the front's."""
    model = built(small()).encoder
    model.use(2)
    with torch.no_grad():
        _, sizes = streamed(model, torch.randn(1, 100 * 16, BINS), 16)
    attention, convolution = 2 * 70 * 32 * 4 + 8, 8 * 32 * 4
    front = 2 * 4 * (BINS + 4 * (BINS // 2) + 4 * (BINS // 4))
    assert sizes == {2 * (attention + convolution) + front + 8}


@pytest.mark.row(SLUG, 0)
def test_uneven_streams_go_on_together():
    """Packed pieces of uneven, even no, length of three streams give what each stream gives whole."""
    model = built(small(contexts=((4, 1),)), torch.float64).encoder
    rows = [torch.randn(n, BINS, dtype=torch.float64) for n in (64, 37, 48)]
    cuts = [(16, 32, 0), (0, 5, 48), (48, 0, 0)]
    state, done, told = model.start(3), [0, 0, 0], [[], [], []]
    with torch.no_grad():
        for lengths in cuts:
            pieces = [row[a : a + n] for row, a, n in zip(rows, done, lengths, strict=True)]
            heard, state = model.advance(torch.cat(pieces), state, Layout.ragged(lengths))
            for out, part in zip(told, heard.split([-(-n // 8) for n in lengths]), strict=True):
                out.append(part)
            done = [a + n for a, n in zip(done, lengths, strict=True)]
        for row, out in zip(rows, told, strict=True):
            torch.testing.assert_close(torch.cat(out), model.hidden(row[None])[0][0], atol=1e-10, rtol=0)


@needs_recordings
@pytest.mark.row(SLUG, 0)
def test_real_speech_is_transcribed_chunk_by_chunk_as_at_once():
    """Real speech, from samples on: in pieces of 1.12 s, tokens, best path and greedy search are those of the whole.

    Five sentences of LibriVox; log-mel frames are cut while they come. The weights are random: it is the transcription
    of pieces and whole that is compared, not its accuracy (the claim RealSpeechInChunks measures that).
    """
    from variorum.data.recordings import read_transcribed

    spec = small(halvings=3)
    spec = spec.replace("encoder.embed", LogMel.spec(rate=16000, frames=spec.at("encoder.embed")))
    model = built(spec)
    sounds = [r.at(16000).samples[:, None] for r in read_transcribed(RECORDED)]
    assert len(sounds) == 5 and all(len(sound) > 32000 for sound in sounds)
    piece = model.encoder.traits.piece
    assert piece == 160 * 8 * 14
    with torch.no_grad():
        for sound in sounds:
            whole, _ = model.encoder.hidden(sound[None])
            at_once = GreedyTransducer(model, 1, limit=2)
            at_once.hear(whole)
            paths, greedy = BestPath(1), GreedyTransducer(model, 1, limit=2)
            state, tokens = model.encoder.start(1), []
            for part in sound[None].split(piece, dim=1):
                heard, state = model.encoder.advance(part, state)
                paths.hear(Framewise.of(model.framewise(heard), None))
                greedy.hear(heard)
                tokens.append(heard)
            torch.testing.assert_close(torch.cat(tokens, dim=1), whole, atol=1e-4, rtol=0)
            assert paths.said == best_path(Framewise.of(model.framewise(whole), None))
            assert greedy.said == at_once.said and greedy.said[0]


@pytest.mark.row(SLUG, 1)
def test_the_offline_encoder_equals_parakeets():
    """The encoder that looks both ways equals transformers' ParakeetEncoder, two layers, weights copied: 1e-4."""
    config = parakeet.ParakeetEncoderConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, subsampling_conv_channels=4,
        num_mel_bins=BINS, conv_kernel_size=9, attn_implementation="eager",
    )  # fmt: skip
    theirs = parakeet.ParakeetEncoder(config).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, tensor in (*theirs.named_parameters(), *theirs.named_buffers()):
            if tensor.is_floating_point() and not name.endswith("inv_freq"):  # the positions' frequencies are fixed
                tensor.add_(0.1 * torch.randn_like(tensor).abs())
    ours = built(small(contexts=())).encoder.eval()
    copy_parakeet(theirs, ours)
    frames = torch.randn(2, 203, BINS)
    with torch.no_grad():
        expected = theirs(input_features=frames).last_hidden_state
        found, _ = ours.hidden(frames)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def copy_parakeet(theirs: nn.Module, ours: nn.Module) -> None:
    """Their weights in our places."""
    state, stack = theirs.state_dict(), {}
    layers = {"0": "halve.0", "2": "halve.1", "3": "mix.0", "5": "halve.2", "6": "mix.1"}
    for number, name in layers.items():
        for kind in ("weight", "bias"):
            stack[f"embed.{name}.{kind}"] = state[f"subsampling.layers.{number}.{kind}"]
    for kind in ("weight", "bias"):
        stack[f"embed.out.{kind}"] = state[f"subsampling.linear.{kind}"]
    parts = {
        "before.up": "feed_forward1.linear1", "before.down": "feed_forward1.linear2",
        "after.up": "feed_forward2.linear1", "after.down": "feed_forward2.linear2",
        "mixer.out": "self_attn.o_proj", "conv.conv": "conv.depthwise_conv", "conv.norm": "conv.norm",
        "before_residual.norm": "norm_feed_forward1", "mixer_residual.norm": "norm_self_att",
        "conv_residual.norm": "norm_conv", "after_residual.norm": "norm_feed_forward2", "norm": "norm_out",
    }  # fmt: skip
    for i in range(2):
        here, there = f"blocks.{i}.", f"layers.{i}."
        for kind in ("weight", "bias"):
            stack |= {f"{here}{mine}.{kind}": state[f"{there}{other}.{kind}"] for mine, other in parts.items()}
            qkv = [state[f"{there}self_attn.{name}_proj.{kind}"] for name in "qkv"]
            stack[f"{here}mixer.qkv.{kind}"] = torch.cat(qkv)
            for mine, other in (("gate_in", "pointwise_conv1"), ("out", "pointwise_conv2")):
                tensor = state[f"{there}conv.{other}.{kind}"]
                stack[f"{here}conv.{mine}.{kind}"] = tensor[..., 0] if kind == "weight" else tensor
        stack[f"{here}conv.norm.mean"] = state[f"{there}conv.norm.running_mean"]
        stack[f"{here}conv.norm.variance"] = state[f"{there}conv.norm.running_var"]
        stack[f"{here}mixer.where.weight"] = state[f"{there}self_attn.relative_k_proj.weight"]
        stack[f"{here}mixer.content"] = state[f"{there}self_attn.bias_u"]
        stack[f"{here}mixer.place"] = state[f"{there}self_attn.bias_v"]
    ours.load_state_dict({f"stack.{name}": tensor for name, tensor in stack.items()}, strict=True)


@pytest.mark.row(SLUG, 1)
def test_published_size():
    """The large model, 17 layers of width 512, both decoders and 1024 word pieces, has the published 114M parameters.

    Counted: 114.6M, within 3 percent.
    """
    with torch.device("meta"):
        model = find_entry(SLUG).spec("large").build()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(114e6, rel=0.03)


def seen(pattern: Spec[object], depth: int, tokens: int, at: int) -> set[int]:
    """The tokens that the answer to token ``at`` depends on through ``depth`` layers, by gradient."""
    torch.manual_seed(0)
    spec = ConformerBlock.spec(mixer=RelativeAttention.spec(heads=2, pattern=pattern), conv=GatedConv.spec(kernel=1))
    layers = [spec.build(dim=8).double() for _ in range(depth)]
    x = torch.randn(1, tokens, 8, dtype=torch.float64, requires_grad=True)
    y = x
    for layer in layers:
        y = layer(y)
    y[0, at].square().sum().backward()
    return set(x.grad[0].abs().sum(dim=1).nonzero().flatten().tolist())


@pytest.mark.row(SLUG, 2)
@pytest.mark.parametrize("depth", [1, 2, 8])
def test_look_ahead_by_chunks_does_not_grow(depth):
    """By gradient, a token sees to the end of its chunk and no further, through 1, 2 and 8 layers.

    Its past is that of the rule, layer by layer: ``left`` before the chunk, and before the chunk that it reaches.
    """
    size, left, tokens = 4, 6, 64
    for at in (40, 42, 43):
        first = at // size * size
        for _ in range(depth - 1):
            first = max(0, (first - left) // size * size)
        assert seen(Chunked.spec(left=left, right=size - 1), depth, tokens, at) == set(
            range(max(0, first - left), at // size * size + size)
        )


@pytest.mark.row(SLUG, 2)
@pytest.mark.parametrize("depth", [1, 2, 8])
def test_regular_look_ahead_grows_with_depth(depth):
    """By gradient, regular look-ahead of 3 tokens sees 3 tokens ahead through 1 layer, 6 through 2 and 24 through 8."""
    assert max(seen(Band.spec(left=6, right=3), depth, 64, 30)) == 30 + 3 * depth


@pytest.mark.row(SLUG, 2)
def test_the_whole_encoder_sees_no_frame_after_its_chunk():
    """By gradient, the last frame that the whole encoder, front and convolutions too, sees is one of its chunk."""
    model = built(small(contexts=((4, 1),)), torch.float64).encoder
    for at in (4, 5):
        frames = torch.randn(1, 96, BINS, dtype=torch.float64, requires_grad=True)
        tokens, _ = model.hidden(frames)
        tokens[0, at].square().sum().backward()
        # Token 5, the chunk's last, is made of the frames up to its first one, number 40, and of those before.
        assert int(frames.grad[0].abs().sum(dim=1).nonzero().max()) == 8 * 5


def enumerated(scores: Tensor, labels: list[int], blank: int = 0) -> Tensor:
    """-log of the sum over all alignments, each written out: scores (T, U + 1, vocab) log-probabilities."""
    tokens, states, _ = scores.shape
    total = []
    for says in itertools.combinations(range(tokens + states - 2), states - 1):
        t = u = 0
        chance = scores.new_zeros(())
        for move in range(tokens + states - 2):
            chance = chance + scores[t, u, labels[u] if move in says else blank]
            t, u = (t, u + 1) if move in says else (t + 1, u)
        total.append(chance + scores[t, u, blank])
    assert len(total) == math.comb(tokens + states - 2, states - 1)
    return -torch.stack(total).logsumexp(dim=0)


def test_the_transducer_loss_equals_all_alignments():
    """The transducer's loss, and its gradient, equal those of all alignments of 4 tokens and 3 of 5 labels: below 1e-5.

    Beside that row, in one batch, rows of other shapes: no label, one token, more labels than tokens.
    """
    torch.manual_seed(0)
    shapes = [(4, 3), (3, 0), (1, 2), (2, 4), (6, 1)]
    logits = [torch.randn(t, u + 1, 5, requires_grad=True) for t, u in shapes]
    labels = [torch.randint(1, 5, (u,)).tolist() for _, u in shapes]
    lattice = Lattice(torch.cat([x.flatten(0, 1) for x in logits]), *torch.tensor(shapes).T)
    loss = TransducerLoss()(lattice, Labels.of(labels))
    expected = torch.stack([enumerated(x.log_softmax(-1), y) for x, y in zip(logits, labels, strict=True)])
    torch.testing.assert_close(loss.total, expected.sum(), atol=1e-5, rtol=0)
    alone = TransducerLoss()(Lattice(logits[0].flatten(0, 1), *torch.tensor([[4], [3]])), Labels.of(labels[:1]))
    torch.testing.assert_close(alone.total, expected[0], atol=1e-5, rtol=0)
    found = torch.autograd.grad(loss.total, logits)
    for mine, other in zip(found, torch.autograd.grad(expected.sum(), logits), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=0)
    assert loss.count == len(shapes)


def test_the_framewise_loss_equals_all_paths():
    """The framewise loss equals the sum over all paths that read as the labels, below 1e-5; hopeless rows do not."""
    torch.manual_seed(0)
    logits = torch.randn(4 + 3 + 2, 3, dtype=torch.float64)
    meant = [[1, 1], [2], [1, 1]]  # two tokens cannot say a label twice
    lengths = torch.tensor([4, 3, 2])
    loss = CTC()(Framewise(logits, lengths), Labels.of(meant))
    scores, total = logits.log_softmax(-1), torch.zeros((), dtype=torch.float64)
    for row, labels in list(zip(scores.split(lengths.tolist()), meant, strict=True))[:2]:
        paths = [p for p in itertools.product(range(3), repeat=len(row)) if read(p) == labels]
        total = total - torch.stack([sum(row[t, k] for t, k in enumerate(p)) for p in paths]).logsumexp(0)
    torch.testing.assert_close(loss.total, total, atol=1e-5, rtol=0)
    assert loss.count == 2


def read(path: tuple[int, ...], blank: int = 0) -> list[int]:
    """What a path says."""
    return [label for label, _ in itertools.groupby(path) if label != blank]


def test_both_searches_say_the_same_in_pieces():
    """The best path merges repeats across pieces; greedy search goes on where it stopped."""
    torch.manual_seed(0)
    path = torch.tensor([1, 1, 0, 1, 2, 2, 0, 0, 2, 2])
    whole = Framewise(torch.eye(3)[path], torch.tensor([10]))
    assert best_path(whole) == [[1, 1, 2, 2]] == [read(tuple(path.tolist()))]
    for cut in range(1, 10):
        search = BestPath(1)
        for part in path.split([cut, 10 - cut]):
            search.hear(Framewise(torch.eye(3)[part], torch.tensor([len(part)])))
        assert search.said == best_path(whole)
    model = built(small())
    tokens = torch.randn(2, 9, 32)
    at_once, pieces = GreedyTransducer(model, 2, limit=3), GreedyTransducer(model, 2, limit=3)
    at_once.hear(tokens)
    for part in tokens.split(2, dim=1):
        pieces.hear(part)
    assert at_once.said == pieces.said and any(at_once.said)


def test_the_log_mel_filters_are_those_of_transformers():
    """The mel filters equal Slaney's as transformers makes them, below 1e-6."""
    theirs = audio.mel_filter_bank(257, 80, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    torch.testing.assert_close(mel_filters(Frames()), torch.from_numpy(theirs), atol=1e-6, rtol=0)


def test_a_tone_is_heard_in_its_band():
    """A tone of 1000 Hz is loudest in the band whose triangle has it."""
    sound = (2 * math.pi * 1000 * torch.arange(16000) / 16000).sin()
    frames = log_mel(sound)
    assert frames.shape == (100, 80)
    assert (frames[10:].argmax(dim=1) == int(mel_filters(Frames())[32].argmax())).all()


@needs_recordings
@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_the_speech_task_trains_on_synthetic_and_is_tested_on_real_speech():
    """Sentences are spoken by step and seed and said to be synthetic; the test split is five real recordings."""
    from variorum.data.spoken_text import SpokenText, decode

    task = SpokenText(recordings=str(RECORDED))
    assert task.synthetic and "synthetic" in task.notes[0]
    first, again, other = (task.batch(step, 2, 0) for step in (3, 3, 4))
    torch.testing.assert_close(first.inputs["inputs"], again.inputs["inputs"], atol=0, rtol=0)
    assert first.targets.rows() == again.targets.rows() != other.targets.rows()
    (test,) = task.held_out("test", 8)
    assert decode(test.targets.rows()[1]) == "he was not an ill disposed young man"
    model = built(small())
    outputs = model(**test.inputs)
    loss = task.objective.build()(outputs, test.targets)
    assert loss.count == 5 and loss.total.isfinite()
    assert task.scores(outputs, test.targets).shape == (5,)


@pytest.mark.slow
@pytest.mark.row(SLUG, 0)
def test_claim_real_speech_in_chunks() -> None:
    """A fresh run of RealSpeechInChunks comes out as CLAIMS.md has it."""
    bears_out("RealSpeechInChunks")


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_claim_one_model_for_all_latencies() -> None:
    """A fresh run of OneModelForAllLatencies comes out as CLAIMS.md has it."""
    bears_out("OneModelForAllLatencies")
