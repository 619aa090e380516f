"""A token of each row through all layers in one call, against the layers one by one."""

import copy

import pytest
import torch

from variorum.core import Layout, State
from variorum.core.hooks import listen
from variorum.layers.channels.glu import GLU
from variorum.layers.channels.mlp import MLP
from variorum.layers.depth.softmax_choice import SoftmaxChoice
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.rmsnorm import RMSNorm
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.window import Window
from variorum.layers.positions.learned import LearnedPosition
from variorum.layers.positions.rotary import Rotary
from variorum.layers.residuals.postnorm import PostNorm
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack
from variorum.runtime.engine.compile import compile
from variorum.runtime.engine.flops import flops
from variorum.runtime.engine.kernels.product import Numbers
from variorum.runtime.engine.linears.choose import NUMBERS
from variorum.runtime.engine.linears.native import fits
from variorum.runtime.engine.precision import Precision
from variorum.runtime.generation.paging import Paging

pytestmark = pytest.mark.skipif(not fits(Numbers.FLOAT32), reason="no vectors of 512 bits here, or no llvmlite")
VOCAB = 50


def block(size: int | None = None, **changes):
    pattern = Causal.spec() if size is None else Window.spec(size=size)
    return Block.spec(**{"mixer": Attention.spec(heads=4, pattern=pattern), "channels": MLP.spec(hidden=80), **changes})


def turned(size: int | None = None):
    pattern = Causal.spec() if size is None else Window.spec(size=size)
    mixer = Attention.spec(heads=4, kv_heads=2, pattern=pattern, rotation=Rotary.spec(), qk_norm=RMSNorm.spec())
    return block(mixer=mixer, channels=GLU.spec(hidden=40), norm=RMSNorm.spec())


STACKS = {
    "pre": [block()] * 3,
    "post": [block(residual=PostNorm.spec())] * 2,
    "unlike": [block(), turned(), block(channels=MLP.spec(hidden=36))],
    "windows": [turned(5), turned(), turned(9)],
    "one": [turned(3)],
}


def made(blocks, precision: str = "float32", **more) -> tuple[Stack, Stack]:
    """A stack rewritten, and the same without the way through all layers."""
    torch.manual_seed(0)
    embed = TokenEmbed.spec(vocab=VOCAB, position=LearnedPosition.spec(length=256), std=1.0)
    stack = Stack.spec(embed=embed, blocks=blocks, head=Unembed.spec(vocab=VOCAB), **more).build(dim=48).eval()
    fast = compile(stack, precision=precision, tell=lambda _: None).model
    slow = copy.deepcopy(fast)
    slow.shortcut = None
    return fast, slow


def calls(monkeypatch, fast: Stack) -> list[bool]:
    """Whether each later call of the way through was taken."""
    told, advance = [], fast.shortcut.advance

    def counted(*args):
        answer = advance(*args)
        told.append(answer is not None)
        return answer

    monkeypatch.setattr(fast.shortcut, "advance", counted)
    return told


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "float32") for name in STACKS), ("unlike", "bfloat16"), ("unlike", "int8")]
)
def test_it_is_the_layers_one_by_one(monkeypatch, name, precision) -> None:
    """Bit by bit: from nothing on, past a cache's first room and a window's reach."""
    if not fits(NUMBERS[Precision(precision)]):
        pytest.skip("left to oneDNN here")
    fast, slow = made(STACKS[name], precision)
    told = calls(monkeypatch, fast)
    ours, theirs = fast.start(3), slow.start(3)
    for tokens in torch.randint(VOCAB, (40, 3)):
        found, ours = fast.step(tokens, ours)
        wanted, theirs = slow.step(tokens, theirs)
        assert torch.equal(found, wanted)
    assert told == [True] * 40
    assert ours.child("0").tensor("length").tolist() == [40] * 3


@torch.inference_mode()
@pytest.mark.parametrize("page", [0, 3, 16])
@pytest.mark.parametrize("name", ["pre", "unlike"])
def test_uneven_rows_that_come_and_go(monkeypatch, name, page) -> None:
    """After prompts of their own lengths, with rows that leave, come twice and come in; in pages or in one piece."""
    fast, slow = made(STACKS[name])
    told = calls(monkeypatch, fast)
    prompts = [torch.randint(VOCAB, (n,)) for n in (7, 1, 12)]
    if page:
        states = [Paging(400, page, lambda: False).start(each, 3) for each in (fast, slow)]
    else:
        states = [each.start(3) for each in (fast, slow)]
    tokens, layout = torch.cat(prompts), Layout.ragged([len(p) for p in prompts])
    states = [each.advance(tokens, state, layout)[1] for each, state in zip((fast, slow), states, strict=True)]
    for t, kept in enumerate([[0, 1, 2], [0, 1, 2], [2, 0], [2, 0], [1, 1, 0], [0, 1, 2]] * 3):
        index = torch.tensor(kept) if max(kept) < len(states[0].tensor("length")) else None
        if index is not None:
            states = [state.rows(index) for state in states]
        rows = len(states[0].tensor("length"))
        tokens = torch.randint(VOCAB, (rows,))
        (found, ours), (wanted, theirs) = (each.step(tokens, s) for each, s in zip((fast, slow), states, strict=True))
        assert torch.equal(found, wanted), t
        states = [ours, theirs]
    assert told and all(told)


@torch.inference_mode()
def test_a_state_gone_on_from_twice_and_copies(monkeypatch) -> None:
    """Each goes on as if it were alone; and a longer context than the last call's."""
    fast, slow = made(STACKS["unlike"])
    tokens = torch.randint(VOCAB, (30, 2))
    state = fast.start(2)
    for t in range(5):
        _, state = fast.step(tokens[t], state)
    branch = state.copy()
    first, state = fast.step(tokens[5], state)
    other, branch = fast.step(tokens[6], branch)
    for t in range(7, 30):
        first, state = fast.step(tokens[t], state)
        other, branch = fast.step(tokens[t], branch)
    for begun, found in ((5, first), (6, other)):
        theirs = slow.start(2)
        for t in [*range(5), begun, *range(7, 30)]:
            wanted, theirs = slow.step(tokens[t], theirs)
        assert torch.equal(found, wanted)


@torch.no_grad()
def test_what_it_leaves_to_the_layers(monkeypatch) -> None:
    """Prompts, pieces of several tokens, layers of unlike lengths, and what somebody listens to."""
    fast, slow = made(STACKS["pre"])
    told = calls(monkeypatch, fast)
    tokens = torch.randint(VOCAB, (2, 4))
    found, ours = fast.advance(tokens, fast.start(2))
    wanted, theirs = slow.advance(tokens, slow.start(2))
    assert torch.equal(found, wanted) and not any(told)
    apart = State({**ours, "1": State({**ours.child("1"), "length": ours.child("1").tensor("length") - 1})})
    expected = State({**theirs, "1": State({**theirs.child("1"), "length": theirs.child("1").tensor("length") - 1})})
    assert torch.equal(fast.step(tokens[:, 0], apart)[0], slow.step(tokens[:, 0], expected)[0]) and not any(told)
    with listen(fast, "blocks.1.residual") as seen:
        fast.step(tokens[:, 0], ours)
    assert len(seen["blocks.1.residual"]) == 1 and not any(told)
    with torch.enable_grad():
        fast.step(tokens[:, 0], fast.start(2))
    assert not any(told)


def test_it_goes_on_in_and_out_of_inference_mode() -> None:
    """What it writes to is made in one and used in the other."""
    fast, slow = made(STACKS["windows"])
    token, found = torch.tensor([3]), []
    for each in (fast, slow):
        with torch.inference_mode():
            _, state = each.step(token, each.start(1))
        with torch.no_grad():
            found.append(each.step(token, state.map(torch.clone))[0])
    assert torch.equal(*found)


def test_stacks_that_have_none() -> None:
    """Rows that see what follows, outputs that are chosen from, and layers that are not replaced."""
    for blocks, more in (
        ([block(mixer=Attention.spec(heads=4))] * 2, {}),
        ([block()] * 2, {"choices": [SoftmaxChoice.spec()] * 2}),
        ([block(), block(channels=None)], {}),
    ):
        assert made(blocks, **more)[0].shortcut is None


@torch.inference_mode()
def test_a_step_is_counted(monkeypatch) -> None:
    """As often as the layers one by one: products, and attention to each row's own tokens."""
    fast, slow = made(STACKS["windows"])
    told = calls(monkeypatch, fast)
    ours, theirs = fast.start(2), slow.start(2)
    for tokens in torch.randint(VOCAB, (12, 2)):
        counts = []
        for each, state in ((fast, ours), (slow, theirs)):
            counts.append(flops(lambda each=each, state=state, tokens=tokens: each.step(tokens, state.copy())))
        assert counts[0] == counts[1] and counts[0]["attention"] > 0
        ours, theirs = fast.step(tokens, ours)[1], slow.step(tokens, theirs)[1]
    assert all(told)
