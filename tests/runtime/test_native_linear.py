"""The engine's own products, and whole layers made of them, against their definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from variorum.core import Layout, State, VariorumError
from variorum.core.hooks import listen
from variorum.layers.channels.activation import Activation
from variorum.layers.channels.glu import GLU
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.layers.norms.zero_centred_rmsnorm import ZeroCentredRMSNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.window import Window
from variorum.layers.positions.alibi import ALiBi
from variorum.layers.positions.rotary import Rotary
from variorum.layers.residuals.branch_norm import BranchNorm
from variorum.layers.residuals.postnorm import PostNorm
from variorum.layers.residuals.prenorm import PreNorm
from variorum.models.blocks.block import Block
from variorum.runtime.engine.flops import flops
from variorum.runtime.engine.kernels.product import Normed, Numbers
from variorum.runtime.engine.linears.native import NativeLinear, fits
from variorum.runtime.engine.precision import Precision
from variorum.runtime.engine.replacements.block import FusedBlock
from variorum.runtime.generation.paging import Paging

pytestmark = pytest.mark.skipif(not fits(Numbers.FLOAT32), reason="no vectors of 512 bits here, or no llvmlite")
CLOSE = {Numbers.FLOAT32: 3e-6, Numbers.BFLOAT16: 8e-3, Numbers.INT8_GROUPED: 2e-2, Numbers.INT8: 3e-2}
PRECISIONS = {Precision.FLOAT32: 1e-5, Precision.BFLOAT16: 1e-2, Precision.INT8_GROUPED: 3e-2, Precision.INT8: 4e-2}


def able(numbers: Numbers) -> Numbers:
    if not fits(numbers):
        pytest.skip(f"{numbers} is left to oneDNN here")
    return numbers


def apart(found, wanted) -> float:
    """The error beside the answers; beside 1 where they are smaller, for what is summed is about 1."""
    return float((found.float() - wanted).norm() / max(float(wanted.norm()), wanted.numel() ** 0.5, 1e-9))


def normed(x, norm: Normed | None):
    if norm is None:
        return x
    x = x - x.mean(-1, keepdim=True) if norm.centred else x
    return x / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt()


# Each is compiled anew: of all there could be, those that together have every piece of the code.
KINDS = [
    (Activation.IDENTITY, None, False, True),
    (Activation.GELU, Normed(True, 1e-5), False, False),
    (Activation.GELU_TANH, None, True, True),
    (Activation.SILU, Normed(False, 1e-6), True, False),
    (Activation.TANH, None, False, False),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("numbers", Numbers)
@settings(max_examples=30)
@given(
    rows=st.sampled_from([0, 1, 2, 7, 8, 9, 31, 65, 130, 200]),
    source=st.integers(1, 70),
    dim=st.integers(1, 70),
    bias=st.booleans(),
)
def test_a_product_is_its_definition(numbers, kind, rows, source, dim, bias) -> None:
    """after(W norm(x) + b) + residual, at any size, in and out in float32 or bfloat16."""
    able(numbers)
    after, norm, half, adds = kind
    torch.manual_seed(rows + source)
    dtype = torch.bfloat16 if half else torch.float32
    weight, shift = torch.randn(dim, source) / source**0.5, torch.randn(dim) if bias else None
    x, more = torch.randn(rows, source).to(dtype), torch.randn(rows, dim).to(dtype)
    linear = NativeLinear(weight, shift, numbers=numbers, after=after, gives=dtype, norm=norm)
    wanted = after.function(nn.functional.linear(normed(x.float(), norm), weight, shift))
    wanted = wanted + more.float() if adds else wanted
    found = linear.multiply(linear.prepare(x), more if adds else None)
    assert found.dtype == dtype and found.shape == (rows, dim)
    assert apart(found, wanted) < CLOSE[numbers] + (4e-3 if half else 0)


@pytest.mark.parametrize("numbers", Numbers)
@settings(max_examples=30)
@given(rows=st.sampled_from([0, 1, 3, 8, 140]), source=st.integers(1, 50), hidden=st.integers(1, 50))
def test_gates_are_multiplied_where_the_product_is(numbers, rows, source, hidden) -> None:
    able(numbers)
    torch.manual_seed(rows)
    weight, shift, x = torch.randn(2 * hidden, source) / source**0.5, torch.randn(2 * hidden), torch.randn(rows, source)
    linear = NativeLinear(weight, shift, numbers=numbers, after=Activation.SILU, gated=True)
    gate, up = nn.functional.linear(x, weight, shift).chunk(2, -1)
    assert apart(linear(x), nn.functional.silu(gate) * up) < 2 * CLOSE[numbers]


@pytest.mark.parametrize("numbers", Numbers)
def test_an_answer_does_not_depend_on_the_batch_or_the_threads(numbers) -> None:
    able(numbers)
    torch.manual_seed(0)
    linear = NativeLinear(torch.randn(100, 300), torch.randn(100), numbers=numbers, after=Activation.GELU)
    x = torch.randn(300, 300)
    threads = torch.get_num_threads()
    try:
        whole = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            whole.append(linear(x))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(whole[0], whole[1]) and torch.equal(whole[0], whole[2])
    for rows in (slice(0, 1), slice(7, 20), slice(100, 300)):
        assert torch.equal(linear(x[rows]), whole[0][rows])


def test_integers_are_exact() -> None:
    """Weights and tokens that are whole multiples of their scales come out without any error."""
    able(Numbers.INT8)
    torch.manual_seed(0)
    weight, x = torch.randint(-127, 128, (16, 32)).float(), torch.randint(-100, 156, (5, 32)).float()
    weight[:, 0], x[:, 0], x[:, 1] = 127, 155, -100
    found = NativeLinear(weight, None, numbers=Numbers.INT8)(x)
    assert torch.equal(found, x @ weight.T)


def test_integers_of_each_group_are_exact() -> None:
    """Groups of weights and of numbers of a token that are whole multiples of scales of their own, and a rest."""
    able(Numbers.INT8_GROUPED)
    torch.manual_seed(0)
    weight, x = torch.randint(-127, 128, (40, 75)).float(), torch.randint(-127, 128, (5, 75)).float()
    weight[:, ::32], x[:, ::32] = 127, -127
    groups = torch.arange(75) // 32
    weight, x = weight * 2.0**-groups, x * 2.0**groups
    found = NativeLinear(weight, None, numbers=Numbers.INT8_GROUPED)(x)
    assert torch.equal(found, x @ weight.T)


def test_rows_of_zeros_and_of_huge_numbers() -> None:
    for numbers in filter(fits, Numbers):
        linear = NativeLinear(torch.ones(3, 4), torch.ones(3), numbers=numbers)
        assert torch.equal(linear(torch.zeros(2, 4)), torch.ones(2, 3))
        assert apart(linear(torch.full((1, 4), 1e15)), torch.full((1, 3), 4e15)) < 0.01


@pytest.mark.parametrize("after", [Activation.IDENTITY, Activation.GELU, Activation.SILU])
def test_what_is_no_number_stays_in_its_row(after) -> None:
    for numbers in filter(fits, Numbers):
        linear = NativeLinear(torch.randn(40, 20), None, numbers=numbers, after=after)
        x = torch.randn(5, 20)
        wanted = linear(x)
        for bad in (torch.nan, torch.inf):
            y = x.clone()
            y[2, 7] = bad
            found = linear(y)
            assert not found[2].isfinite().all()
            assert torch.equal(found[[0, 1, 3, 4]], wanted[[0, 1, 3, 4]])


def test_a_residual_that_does_not_fit() -> None:
    linear = NativeLinear(torch.ones(3, 4), None, numbers=Numbers.FLOAT32)
    with pytest.raises(VariorumError, match="residual"):
        linear.multiply(torch.ones(2, 4), torch.ones(1, 3))


# -- whole layers ------------------------------------------------------------------------------------------------------
def layer(dim: int = 48, **changes) -> Block:
    torch.manual_seed(0)
    spec = {"mixer": Attention.spec(heads=4), "channels": MLP.spec(hidden=80), **changes}
    block = Block.spec(**spec).build(dim=dim).eval()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape) / (dim**0.5 if parameter.dim() > 1 else 1))
    return block


def fast_of(block: Block, precision: Precision) -> Block:
    """A copy of the block, rewritten."""
    from variorum.runtime.engine.sites import sharing

    return FusedBlock().make(sharing(block), precision)


LAYERS = {
    "pre": {},
    "post": {"residual": PostNorm.spec()},
    "grouped": {"mixer": Attention.spec(heads=4, kv_heads=2, out_bias=False), "norm": RMSNorm.spec()},
    "causal": {"mixer": Attention.spec(heads=4, pattern=Causal.spec()), "norm": ZeroCentredRMSNorm.spec()},
    "no gain": {"norm": LayerNorm.spec(affine=False), "mixer": Attention.spec(heads=2, qkv_bias=False)},
    "llama": {
        "mixer": Attention.spec(heads=4, kv_heads=2, pattern=Causal.spec(), rotation=Rotary.spec()),
        "channels": GLU.spec(hidden=40),
        "norm": RMSNorm.spec(),
    },
    "gemma": {
        "mixer": Attention.spec(
            heads=4,
            kv_heads=1,
            head_dim=20,
            pattern=Window.spec(size=64),
            rotation=Rotary.spec(),
            qk_norm=ZeroCentredRMSNorm.spec(),
        ),
        "channels": GLU.spec(hidden=40, activation=Activation.GELU_TANH),
        "norm": ZeroCentredRMSNorm.spec(),
        "residual": BranchNorm.spec(inner=PreNorm.spec(), after=ZeroCentredRMSNorm.spec()),
    },
    "other width": {"mixer": Attention.spec(heads=3, head_dim=20), "channels": MLP.spec(activation=Activation.RELU)},
}


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_faster_equal(name, precision) -> None:
    """On packed uneven rows, an empty one among them, and on equal ones, be they none or not contiguous."""
    block = layer(**LAYERS[name])
    if FusedBlock().refuses(block, precision):
        pytest.skip("left to oneDNN here")
    fast = fast_of(block, precision)
    packed = Layout.ragged([5, 1, 0, 40])
    shapes = torch.randn(2, 9, 48), torch.randn(9, 3, 48).transpose(0, 1), torch.randn(0, 9, 48), torch.randn(2, 0, 48)
    for x, layout in [(torch.randn(46, 48), packed), *((x, None) for x in shapes)]:
        found = fast.shortcut.forward(x, layout)
        assert found.shape == x.shape and torch.equal(found, fast(x, layout))
        assert apart(found - x, block(x, layout) - x) < PRECISIONS[precision]


@torch.inference_mode()
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["causal", "llama", "gemma", "short window"])
def test_a_causal_layer_streams(name, precision) -> None:
    """Tokens one by one, after a beginning read at once, as the whole row; rows of different length together."""
    short = {"mixer": Attention.spec(heads=4, pattern=Window.spec(size=3))}
    block = layer(**LAYERS.get(name, short))
    if FusedBlock().refuses(block, precision):
        pytest.skip("left to oneDNN here")
    fast, x = fast_of(block, precision), torch.randn(2, 30, 48)
    wanted = block(x)
    _, state = fast.advance(torch.cat([x[0, :7], x[1, :2]]), fast.start(2), Layout.ragged([7, 2]))
    for t in range(20):
        piece = torch.stack([x[0, 7 + t], x[1, 2 + t]])[:, None]
        y, state = fast.advance(piece, state)
        assert apart(y[0, 0] - x[0, 7 + t], wanted[0, 7 + t] - x[0, 7 + t]) < 2 * PRECISIONS[precision]
        assert apart(y[1, 0] - x[1, 2 + t], wanted[1, 2 + t] - x[1, 2 + t]) < 2 * PRECISIONS[precision]
    assert state.tensor("length").tolist() == [27, 22]


@torch.inference_mode()
@pytest.mark.parametrize("name", ["gemma", "short window"])
def test_a_window_streams_in_its_kernels(name) -> None:
    """Rows of one length, from none to more than the window; a state gone on from twice gives each its own answers."""
    block = layer(**LAYERS.get(name, {"mixer": Attention.spec(heads=4, pattern=Window.spec(size=3))}))
    fast, x = fast_of(block, Precision.FLOAT32), torch.randn(2, 80, 48)
    wanted, state = block(x), fast.start(2)
    for t in range(80):
        before = state
        y, state = fast.shortcut.advance(x[:, t : t + 1], state, None)
        assert apart(y - x[:, t : t + 1], wanted[:, t : t + 1] - x[:, t : t + 1]) < 1e-5
        again, _ = fast.shortcut.advance(x[:, t : t + 1], before, None)
        assert torch.equal(again, y)


@torch.inference_mode()
@pytest.mark.parametrize("page", [1, 3, 64])
@pytest.mark.parametrize("name", ["causal", "llama"])
def test_a_layer_writes_in_pages_what_it_writes_in_one_piece(name, page) -> None:
    """Uneven rows read and stepped in the kernels: the same numbers, bit by bit, wherever the pages lie."""
    fast, x = fast_of(layer(**LAYERS[name]), Precision.FLOAT32), torch.randn(3, 40, 48)
    lengths = [7, 1, 12]
    pieces, layout = torch.cat([row[:n] for row, n in zip(x, lengths, strict=True)]), Layout.ragged(lengths)
    wanted, whole = fast.shortcut.advance(pieces, fast.start(3), layout)
    found, paged = fast.shortcut.advance(pieces, Paging(200, page, lambda: False).start(fast, 3), layout)
    assert torch.equal(found, wanted)
    for t in range(20):
        token = torch.stack([row[n + t] for row, n in zip(x, lengths, strict=True)])[:, None]
        wanted, whole = fast.shortcut.advance(token, whole, None)
        found, paged = fast.shortcut.advance(token, paged, None)
        assert torch.equal(found, wanted), t
    for cache in ("keys", "values"):
        for row, n in enumerate(lengths):
            assert torch.equal(paged[cache].row(row), whole[cache][row, : n + 20])


@torch.inference_mode()
@pytest.mark.parametrize("name", ["causal", "llama", "gemma", "short window"])
def test_a_layer_reads_prompts_in_its_kernels(name) -> None:
    """What it answers and keeps of uneven rows is what the layer as built does; rows that go on are left to that."""
    block = layer(**LAYERS.get(name, {"mixer": Attention.spec(heads=4, pattern=Window.spec(size=3))}))
    fast, lengths = fast_of(block, Precision.FLOAT32), [2, 1, 3]
    x, layout = torch.randn(6, 48), Layout.ragged(lengths)
    (found, ours), (wanted, theirs) = (
        fast.shortcut.advance(x, fast.start(3), layout),
        block.advance(x, block.start(3), layout),
    )
    assert apart(found - x, wanted - x) < 1e-5
    assert torch.equal(ours.tensor("length"), theirs.tensor("length"))
    for cache in ("keys", "values"):
        for row, n in enumerate(lengths):
            places = slice(n) if block.mixer.reach is None else slice(-n, None)
            assert apart(ours[cache][row, places], theirs[cache][row, places]) < 1e-6
    assert fast.shortcut.advance(x, ours, layout) is None


@torch.inference_mode()
@pytest.mark.parametrize("rows", [1, 3])
def test_a_step_costs_what_its_tokens_cost(rows) -> None:
    """Products of every weight once a token, and attention to each row's own tokens alone."""
    block = layer(**LAYERS["causal"])
    fast = fast_of(block, Precision.FLOAT32)
    lengths = [5, 2, 9][:rows]
    _, state = fast.advance(torch.randn(sum(lengths), 48), fast.start(rows), Layout.ragged(lengths))
    found = flops(lambda: fast.advance(torch.randn(rows, 1, 48), state))
    weights = sum(p.numel() for p in block.parameters() if p.dim() > 1)
    assert found == {"products": 2 * rows * weights, "attention": 4 * 48 * (sum(lengths) + rows)}


@torch.inference_mode()
def test_a_layer_reads_nothing_that_is_not_its_own() -> None:
    """Offsets, widths and states that do not fit are told of before a kernel is given an address."""
    fast = fast_of(layer(**LAYERS["causal"]), Precision.FLOAT32)
    for bounds in ([0, 9], [0, 7, 5], [1, 5], [0, 3]):
        with pytest.raises(VariorumError, match="offsets"):
            fast.shortcut.forward(torch.randn(5, 48), Layout(offsets=torch.tensor(bounds)))
    assert fast.shortcut.forward(torch.randn(2, 5, 40), None) is None
    x, state = torch.randn(2, 1, 48), fast.start(2)
    _, state = fast.advance(x, state)
    keys, values, length = state["keys"], state["values"], state["length"]
    for changed in (
        {"keys": keys[:1]},
        {"values": values[..., :8]},
        {"keys": keys.double(), "values": values.double()},
        {"length": length[:1]},
    ):
        with pytest.raises(VariorumError, match="decode step"):
            fast.shortcut.advance(x, State({**state, **changed}), None)
    assert fast.shortcut.advance(x, State({**state, "length": -length}), None) is None


def test_a_layer_is_left_that_is_more_than_its_kernels() -> None:
    rest = [
        {"mixer": Attention.spec(heads=4, pattern=Window.spec(size=3), bias=ALiBi.spec())},
        {"mixer": Attention.spec(heads=4, norm=LayerNorm.spec())},
        {"channels": MLP.spec(norm=LayerNorm.spec())},
        {"channels": MLP.spec(activation=Activation.ELU)},
        {"cross": Attention.spec(heads=4)},
        {"norm": RMSNorm.spec(groups=2)},
        {"residual": PreNorm.spec(), "channels_residual": PostNorm.spec()},
    ]
    for changes in rest:
        assert FusedBlock().refuses(layer(**changes), Precision.FLOAT32), changes
    assert FusedBlock().refuses(layer(), Precision.INT4)


@torch.inference_mode()
def test_whoever_listens_hears_the_layer_s_own_parts() -> None:
    block = layer()
    fast, x = fast_of(block, Precision.FLOAT32), torch.randn(2, 5, 48)
    for name in ("residual", "mixer.weights"):
        with listen(fast, name) as told, listen(block, name) as wanted:
            torch.testing.assert_close(fast(x), block(x), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(told[name][0], wanted[name][0], rtol=1e-4, atol=1e-4)
