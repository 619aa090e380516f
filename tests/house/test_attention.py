"""Attention against torch's own modules: nn.MultiheadAttention, and its product with an explicit mask."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from variorum.core import Layout, Memory, Pattern, ScoreBias, Spec, VariorumError, isolated, listen
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.full import Full
from variorum.layers.patterns.window import Window
from variorum.layers.positions.rotary import Rotary

DIM, HEADS, N, M, TOLERANCE = 24, 4, 9, 6, 1e-5
"""Parity is asked for to 1e-4 in float32; these agree to a tenth of that."""


def twins(pattern: Spec[Pattern] | None = None) -> tuple[Attention, nn.MultiheadAttention]:
    """Ours and torch's with the same random weights."""
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True).eval()
    nn.init.normal_(theirs.in_proj_bias)
    nn.init.normal_(theirs.out_proj.bias)
    ours = Attention.spec(heads=HEADS, pattern=pattern or Full.spec()).build(dim=DIM).eval()
    with torch.no_grad():
        ours.qkv.weight.copy_(theirs.in_proj_weight)
        ours.qkv.bias.copy_(theirs.in_proj_bias)
        ours.out.load_state_dict(theirs.out_proj.state_dict())
    return ours, theirs


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)


@torch.no_grad()
def test_self_attention_is_torchs() -> None:
    ours, theirs = twins()
    x = torch.randn(3, N, DIM)
    wanted, weights = theirs(x, x, x, average_attn_weights=False)
    close(ours(x), wanted)
    with listen(ours, "weights") as told:
        close(ours(x), wanted)
    close(told["weights"][0], weights)


@torch.no_grad()
@pytest.mark.parametrize("pattern", [Causal.spec(), Window.spec(size=3)], ids=str)
def test_a_pattern_is_an_explicit_mask(pattern: Spec[Pattern]) -> None:
    ours, theirs = twins(pattern)
    x = torch.randn(3, N, DIM)
    behind = torch.arange(N)[:, None] - torch.arange(N)
    hidden = (behind < 0) | (behind >= (3 if pattern.part == "Window" else N))
    wanted, weights = theirs(x, x, x, attn_mask=hidden, average_attn_weights=False)
    close(ours(x), wanted)
    with listen(ours, "weights") as told:
        close(ours(x), wanted)
    close(told["weights"][0], weights)


@torch.no_grad()
def test_attention_elsewhere_is_torchs() -> None:
    ours, theirs = twins()
    x, memory = torch.randn(3, N, DIM), torch.randn(3, M, DIM)
    close(ours(x, memory=Memory(memory)), theirs(x, memory, memory)[0])


@torch.no_grad()
def test_uneven_rows_are_torchs_with_its_padding_mask() -> None:
    """Packed, against a padded batch with ``key_padding_mask``; and uneven rows over an uneven memory."""
    ours, theirs = twins()
    lengths, others = [4, 9, 1], [6, 2, 3]
    real, there = (torch.arange(n) < torch.tensor(ls)[:, None] for n, ls in ((N, lengths), (M, others)))
    x, memory = torch.randn(3, N, DIM), torch.randn(3, M, DIM)
    wanted = theirs(x, x, x, key_padding_mask=~real)[0]
    close(ours(x[real], Layout.ragged(lengths)), wanted[real])
    wanted = theirs(x, memory, memory, key_padding_mask=~there)[0]
    close(ours(x[real], Layout.ragged(lengths), Memory(memory[there], Layout.ragged(others))), wanted[real])


@torch.no_grad()
def test_gradients_are_torchs() -> None:
    ours, theirs = twins(Causal.spec())
    x = torch.randn(2, N, DIM)
    mask = torch.ones(N, N, dtype=torch.bool).triu(1)
    weight = torch.randn(2, N, DIM)
    with torch.enable_grad():
        (ours(x) * weight).sum().backward()
        (theirs(x, x, x, attn_mask=mask)[0] * weight).sum().backward()
    close(ours.qkv.weight.grad, theirs.in_proj_weight.grad)
    close(ours.qkv.bias.grad, theirs.in_proj_bias.grad)
    close(ours.out.weight.grad, theirs.out_proj.weight.grad)


@torch.no_grad()
@pytest.mark.parametrize("kv_heads", [1, 2])
def test_grouped_keys_are_keys_repeated(kv_heads: int) -> None:
    """Ainslie et al. 2023: a model with fewer key heads is one whose key heads are equal within each group."""
    torch.manual_seed(0)
    grouped = Attention.spec(heads=HEADS, kv_heads=kv_heads, pattern=Causal.spec()).build(dim=DIM).eval()
    full = Attention.spec(heads=HEADS, pattern=Causal.spec()).build(dim=DIM).eval()
    head, repeat = DIM // HEADS, HEADS // kv_heads
    for name in ("weight", "bias"):
        q, k, v = getattr(grouped.qkv, name).split([DIM, kv_heads * head, kv_heads * head])
        k, v = (t.unflatten(0, (kv_heads, head)).repeat_interleave(repeat, 0).flatten(0, 1) for t in (k, v))
        getattr(full.qkv, name).copy_(torch.cat([q, k, v]))
    full.out.load_state_dict(grouped.out.state_dict())
    x = torch.randn(2, N, DIM)
    close(grouped(x), full(x))
    with listen(grouped, "weights") as told, listen(full, "weights") as wanted:
        close(grouped(x), full(x))
    close(told["weights"][0], wanted["weights"][0])
    assert grouped.start(2).tensor("keys").shape == (2, 0, kv_heads, head)


@torch.no_grad()
@pytest.mark.parametrize("pattern", [Full.spec(), Causal.spec()], ids=str)
def test_a_bias_is_added_to_the_scores(pattern: Spec[Pattern]) -> None:
    with isolated():

        class Distance(ScoreBias):
            def __init__(self, heads: int) -> None:
                super().__init__()
                self.slope = nn.Parameter(torch.linspace(0.1, 0.4, heads))

            def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
                far = (queries.unsqueeze(-1) - keys.unsqueeze(-2)).abs()
                return -self.slope[:, None, None] * far.unsqueeze(-3)

        torch.manual_seed(0)
        part = Attention.spec(heads=HEADS, pattern=pattern, bias=Distance.spec()).build(dim=DIM).eval()
        x = torch.randn(2, N, DIM)
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in part.qkv(x).chunk(3, -1))
        bias = part.bias(torch.arange(N), torch.arange(N))
        if pattern.part == "Causal":
            bias = bias.masked_fill(torch.ones(N, N, dtype=torch.bool).triu(1), -torch.inf)
        wanted = part.out(F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(-2))
        close(part(x), wanted)
        state, steps = (part.start(2), []) if part.traits.streams else (None, None)
        for t in range(N) if steps is not None else ():
            out, state = part.step(x[:, t], state)
            steps.append(out)
        if steps is not None:
            close(torch.stack(steps, 1), wanted)


@torch.no_grad()
def test_rotation_tells_distances_only() -> None:
    """A row that starts elsewhere gives the same answers."""
    torch.manual_seed(0)
    part = Attention.spec(heads=HEADS, head_dim=8, rotation=Rotary.spec()).build(dim=DIM).eval()
    x = torch.randn(2, N, DIM)
    close(part(x, Layout(start=torch.tensor([0, 700]))), part(x))
    assert not torch.allclose(part(x.flip(1)).flip(1), part(x), atol=1e-3)


def test_heads_that_do_not_divide_are_refused() -> None:
    for args in ({"heads": 5}, {"heads": 4, "kv_heads": 3}):
        with pytest.raises(VariorumError, match="heads that divide"):
            Attention.spec(**args).build(dim=DIM)


def test_what_is_not_causal_does_not_stream() -> None:
    part = Attention.spec(heads=HEADS).build(dim=DIM)
    assert not part.traits.streams
    with pytest.raises(VariorumError, match="causal"):
        part.advance(torch.randn(1, 2, DIM), part.start(1))
