"""DeltaNet: the delta rule in a decoder. Its kernels are tested in tests/layers/test_delta_kernels.py."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from variorum.core import Layout, Mixer, Part, Spec, find_entry
from variorum.data.recall import NO_TARGET, Recall
from variorum.layers.channels.glu import GLU
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.delta import Delta
from variorum.layers.mixers.gated_linear import GatedLinear
from variorum.layers.mixers.linear_attention import LinearAttention
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack
from variorum.systems.deltanet import Hybrid

SLUG = "deltanet"
VOCAB = 61
RECALLED = 128
"""Ids of the recall task: 64 keys and 64 values."""


def small() -> nn.Module:
    torch.manual_seed(0)
    return find_entry(SLUG).spec(dim=32, depth=2, head_dim=16).fill(vocab=VOCAB).build().eval()


def explicit(x: Tensor, mixer: Delta) -> Tensor:
    """The mixer as its equations stand, a token, a head and a tap of the convolution at a time. x: (n, dim)."""
    dim, (heads, size) = x.shape[1], (mixer.heads, x.shape[1] // mixer.heads)
    projected = [mixer.qkv.weight @ token for token in x]
    taps = mixer.conv.weight[:, 0]
    states = [x.new_zeros(size, size) for _ in range(heads)]
    outputs = []
    for t in range(len(x)):
        mixed = sum(taps[:, -1 - back] * projected[t - back] for back in range(min(4, t + 1)))
        q, k, v = (mixed * torch.sigmoid(mixed)).split(dim)
        rates = torch.sigmoid(mixer.beta.weight @ x[t])
        read = []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            query, key = q[part] / q[part].norm(), k[part] / k[part].norm()
            forget = torch.eye(size, dtype=x.dtype) - rates[h] * torch.outer(key, key)
            states[h] = states[h] @ forget + rates[h] * torch.outer(v[part], key)
            o = states[h] @ query
            read.append(o / torch.sqrt((o**2).mean() + 1e-6) * mixer.norm.weight)
        outputs.append(mixer.out.weight @ torch.cat(read))
    return torch.stack(outputs)


@pytest.mark.row(SLUG, 0)
def test_the_mixer_equals_its_equations():
    """The whole mixer, convolution, gates and norm included, equals its equations written out token by token."""
    torch.manual_seed(0)
    mixer = Delta.spec(heads=2, chunk=16).build(dim=12).double()
    with torch.no_grad():
        mixer.norm.weight.uniform_(0.5, 2)
    x = torch.randn(3, 37, 12, dtype=torch.float64)
    expected = torch.stack([explicit(row, mixer) for row in x])
    torch.testing.assert_close(mixer(x), expected, atol=1e-9, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_decoding_equals_the_parallel_form():
    """Token by token, 128 times, the model gives the logits that it gives for the whole text at once."""
    model = small()
    ids = torch.randint(VOCAB, (3, 128))
    with torch.no_grad():
        expected, state = model(ids), model.start(3)
        for t in range(128):
            logits, state = model.advance(ids[:, t : t + 1], state)
            torch.testing.assert_close(logits[:, 0], expected[:, t], atol=1e-4, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_decoding_goes_on_after_an_uneven_prefill():
    """After prompts of 0 to 100 tokens, read in one packed call, decoding goes on as if all were one text."""
    model = small()
    prompts, more = [0, 1, 3, 70, 100], 28
    rows = [torch.randint(VOCAB, (n + more,)) for n in prompts]
    with torch.no_grad():
        packed = torch.cat([row[:n] for row, n in zip(rows, prompts, strict=True)])
        read, state = model.advance(packed, model.start(len(rows)), Layout.ragged(prompts))
        told = list(read.split(prompts))
        for t in range(more):
            token = torch.stack([row[n + t] for row, n in zip(rows, prompts, strict=True)])
            logits, state = model.advance(token[:, None], state)
            told = [torch.cat([a, b]) for a, b in zip(told, logits, strict=True)]
        for row, ours in zip(rows, told, strict=True):
            torch.testing.assert_close(ours, model(row[None])[0], atol=1e-4, rtol=0)


@pytest.mark.row(SLUG, 1)
def test_the_state_does_not_grow():
    """What the model remembers takes the same memory after 1 token and after 1,000: 4 bytes a number of S and conv."""
    model = small()
    state = model.start(2)
    sizes = set()
    with torch.no_grad():
        for n in (1, 99, 900):
            _, state = model.advance(torch.randint(VOCAB, (2, n)), state)
            sizes.add(sum(state.child(str(i)).nbytes for i in range(2)))
    assert sizes == {2 * 2 * 4 * (2 * 16 * 16 + 3 * 3 * 32)}


@pytest.mark.parametrize(("size", "million"), [("340m", 340), ("1.3b", 1300)])
def test_published_size(size, million):
    """The published models have 340 and 1,300 million parameters (32,000 tokens, one embedding for both ends)."""
    with torch.device("meta"):
        model = find_entry(SLUG).spec(size).fill(vocab=32000).build()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(million * 1e6, rel=0.01)


@pytest.mark.parametrize(("hybrid", "soft"), [("window", [1, 3, 5]), ("global", [1, 3])])
def test_hybrids_attend_where_they_should(hybrid, soft):
    """Softmax attention stands in every second layer, or in the second and the middle one."""
    spec = find_entry(SLUG).spec(dim=32, depth=6, head_dim=16, hybrid=Hybrid(hybrid)).fill(vocab=VOCAB)
    with torch.device("meta"):
        model = spec.build()
    assert [i for i, block in enumerate(model.blocks) if not isinstance(block.mixer, Delta)] == soft


def lessons(pairs: int) -> Iterator[int]:
    """How many pairs the rows of each step hold: few at first."""
    for count, now in ((200, 4), (100, 8), (100, 16)):
        yield from [min(now, pairs)] * count
    while True:
        yield pairs


def trained(mixer: Spec[Mixer], *, dim: int, pairs: int, rewrites: int, steps: int) -> Part:
    """One block around the mixer, trained on ``steps`` batches of 32 rows: data, order and rates the same for all."""
    torch.manual_seed(0)
    block = Block.spec(mixer=mixer, channels=GLU.spec(), norm=RMSNorm.spec())
    model = Stack.spec(dim=dim, embed=TokenEmbed.spec(), blocks=[block], norm=RMSNorm.spec(), head=Unembed.spec())
    model = model.fill(vocab=RECALLED).build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    for step, now in zip(range(steps), lessons(pairs), strict=False):
        batch = Recall(pairs=now, vocab=RECALLED, rewrites=min(now, rewrites)).batch(step, 32, 0)
        optimizer.param_groups[0]["lr"] = 5e-3 * min(1, (step + 1) / 30)
        scores = model(batch.inputs["inputs"])
        loss = F.cross_entropy(scores.flatten(0, 1), batch.targets.flatten(), ignore_index=NO_TARGET)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def recalled(model: Part, **task: int) -> float:
    """The share of 256 * pairs questions of unseen rows that the model answers rightly."""
    task = Recall(vocab=RECALLED, rows=256, **task)
    (batch,) = task.held_out("test", 256)
    with torch.no_grad():
        return task.scores(model(batch.inputs["inputs"]), batch.targets).mean().item()


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_recalls_more_than_additive_and_gated_linear_attention():
    """DeltaNet recalls 32 pairs at least 20 points better than additive linear attention and better than GLA.

    All have one head of width 32, so a state of 32 x 32 (the additive one has 32 sums of keys besides), a convolution
    of 4, and the same 450 batches rather than the same 80 seconds, which another load of the machine would make others.
    Measured with one seed: 0.90, 0.65 and 0.40. On a shorter way through the lessons (60, 90 and 100 batches, then 50
    of 32 pairs) 0.91 and 0.50. The lead shrinks as training goes on (600 batches: 0.95 and 0.75) and where the state is
    wide for the task (two heads of 32, 128 keys: 0.99 and 0.90).
    """
    mixers = {
        "delta": Delta.spec(heads=1),
        "linear": LinearAttention.spec(heads=1, conv=4),
        "gated": GatedLinear.spec(heads=1, keys=32, conv=4),
    }
    found = {name: recalled(trained(mixer, dim=32, pairs=32, rewrites=0, steps=450), pairs=32)
             for name, mixer in mixers.items()}  # fmt: skip
    assert found["delta"] > found["linear"] + 0.2, found
    assert found["delta"] > found["gated"], found


@pytest.mark.slow
@pytest.mark.row(SLUG, 3)
def test_a_key_that_is_shown_twice_returns_its_second_value():
    """Of 16 keys, all shown twice with another value, at least 95 percent are answered with the second."""
    model = trained(Delta.spec(heads=2), dim=64, pairs=16, rewrites=16, steps=600)
    assert recalled(model, pairs=16, rewrites=16) >= 0.95
