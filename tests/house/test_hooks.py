"""Hooks: named points that cost nothing when nobody listens, and tell or change a tensor when somebody does."""

import pytest
import torch
from torch import Tensor

from variorum.core import Channel, VariorumError, isolated, listen, points
from variorum.core.hooks import AUXILIARY
from variorum.layers.channels.mlp import MLP
from variorum.layers.embed.tokens import TokenEmbed
from variorum.layers.heads.unembed import Unembed
from variorum.layers.mixers.attention import Attention
from variorum.layers.patterns.causal import Causal
from variorum.models.blocks.block import Block
from variorum.models.stack import Stack

BLOCK = Block.spec(mixer=Attention.spec(heads=2, pattern=Causal.spec()), channels=MLP.spec())
IDS = torch.tensor([[1, 2, 3, 4]])


@pytest.fixture
def model() -> Stack:
    torch.manual_seed(0)
    spec = Stack.spec(dim=16, embed=TokenEmbed.spec(vocab=9), blocks=[BLOCK] * 3, head=Unembed.spec(vocab=9))
    return spec.build().eval()


def test_points_are_named_alike_in_every_model(model: Stack) -> None:
    assert points(model) == [f"blocks.{i}.{point}" for i in range(3) for point in ("residual", "mixer.weights")]
    assert points(Attention.spec(heads=2).build(dim=8)) == ["weights"]


def test_who_listens_is_told_a_tensor_a_visit(model: Stack) -> None:
    with listen(model, "blocks.*.mixer.weights", "blocks.1.residual") as told:
        model(IDS)
        model(IDS)
    assert set(told) == {"blocks.1.residual", *(f"blocks.{i}.mixer.weights" for i in range(3))}
    assert {len(values) for values in told.values()} == {2}
    weights = told["blocks.0.mixer.weights"][0]
    assert weights.shape == (1, 2, 4, 4) and not weights.triu(1).any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 4))


def test_listening_does_not_change_the_answers(model: Stack) -> None:
    plain = model(IDS)
    with listen(model, "*"):
        torch.testing.assert_close(model(IDS), plain, rtol=1e-5, atol=1e-6)
    assert torch.equal(model(IDS), plain)


def test_a_listener_may_change_what_goes_on(model: Stack) -> None:
    plain = model(IDS)
    with listen(model, "blocks.2.residual", edit=torch.zeros_like) as told:
        changed = model(IDS)
    assert not torch.equal(changed, plain) and told["blocks.2.residual"][0].any()
    assert torch.equal(changed[0, 0], changed[0, 3]), "of zeros every token's answer is the same"
    assert torch.equal(model(IDS), plain)


def test_listeners_within_listeners_are_all_told_and_all_gone(model: Stack) -> None:
    with listen(model, "blocks.0.residual") as outer:
        with listen(model, "blocks.0.residual", edit=lambda value: value + 1) as inner:
            model(IDS)
        model(IDS)
    model(IDS)
    assert len(outer["blocks.0.residual"]) == 2 and len(inner["blocks.0.residual"]) == 1
    assert all(module._listeners is None for module in model.modules() if isinstance(module, Block | Attention))


def test_listeners_are_gone_after_a_fault(model: Stack) -> None:
    def fail(value: Tensor) -> Tensor:
        raise RuntimeError("the listener's own")

    with pytest.raises(RuntimeError, match="own"), listen(model, "blocks.0.residual", edit=fail):
        model(IDS)
    assert model(IDS).isfinite().all()


def test_a_pattern_that_matches_nothing_is_told_the_nearest(model: Stack) -> None:
    with pytest.raises(VariorumError, match=r"blocks\.0\.mixer\.weights"), listen(model, "blocks.0.mixer.wieghts"):
        pass
    with pytest.raises(VariorumError), listen(model, "blocks.0.residual", "blocks.7.residual"):
        pass
    assert all(module._listeners is None for module in model.modules() if isinstance(module, Block))


def test_any_part_may_tell_a_loss_of_its_own() -> None:
    with isolated():

        class Sparse(Channel):
            def __init__(self, dim: int) -> None:
                super().__init__()

            def forward(self, x: Tensor) -> Tensor:
                self.tap(AUXILIARY, x.abs().mean())
                return x

        block = Block.spec(mixer=Attention.spec(heads=2), channels=Sparse.spec()).build(dim=8)
        with listen(block, f"*{AUXILIARY}") as told:
            block(torch.randn(1, 3, 8))
    assert [name for name, values in told.items() if values] == [f"channels.{AUXILIARY}"]
    assert told[f"channels.{AUXILIARY}"][0].shape == ()


def test_the_fast_path_is_taken_when_nobody_listens(model: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    fused, readable = Attention._fused, Attention._readable
    monkeypatch.setattr(Attention, "_fused", lambda *a, **k: (taken.append("fused"), fused(*a, **k))[1])
    monkeypatch.setattr(Attention, "_readable", lambda *a, **k: (taken.append("readable"), readable(*a, **k))[1])
    model(IDS)
    with listen(model, "blocks.1.mixer.weights"):
        model(IDS)
    assert taken == ["fused"] * 3 + ["fused", "readable", "fused"]
