"""Parts that are told positions only: biases, patterns and rotations."""

import torch
from torch import Tensor

from variorum.core import Pattern, Rotation, ScoreBias
from variorum.testing.compared import CLOSE, same
from variorum.testing.drivers import HEAD_DIM, HEADS
from variorum.testing.example import Example
from variorum.testing.facts import WIDTHS
from variorum.testing.suite import Need, promise

BIAS = Need("it is no score bias", lambda e: issubclass(e.cls, ScoreBias))
PATTERN = Need("it is no pattern", lambda e: issubclass(e.cls, Pattern))
ROTATION = Need("it is no rotation", lambda e: issubclass(e.cls, Rotation))
WHERE = torch.arange(9)


@promise(BIAS)
def bias_of_any_positions(example: Example) -> None:
    """(heads, n, m); some queries or keys, or a batch of them, give the same numbers as all; with a gradient."""
    part = example.build()
    whole = part(WHERE, WHERE)
    assert whole.shape == (WIDTHS["heads"], 9, 9), f"9 queries and 9 keys gave {tuple(whole.shape)}"
    same([part(WHERE[4:6], WHERE[:7])], [whole[:, 4:6, :7]], "two queries over seven keys differ from all over all")
    batch = torch.stack([WHERE[2:4], WHERE[5:7]])
    rows = [whole[:, 2:4], whole[:, 5:7]]
    same([part(batch, WHERE).expand(2, -1, -1, -1)], [torch.stack(rows)], "queries of two rows differ from each alone")
    if any(p.requires_grad for p in part.parameters()):
        (
            whole * torch.randn(whole.shape, generator=torch.Generator().manual_seed(0), dtype=whole.dtype)
        ).sum().backward()
        idle = [name for name, p in part.named_parameters() if p.grad is None or not p.grad.any()]
        assert not idle, f"no gradient reaches {', '.join(idle)}"


@promise(PATTERN)
def pattern_of_any_positions(example: Example) -> None:
    """bool (n, m); some queries or keys give the same as all; every query sees a key; causal and dense are true."""
    pattern: Pattern = example.part
    found = pattern.allowed(WHERE, WHERE)
    whole = torch.ones(9, 9, dtype=torch.bool) if found is None else found
    assert whole.shape == (9, 9) and whole.dtype == torch.bool, (
        f"9 queries and 9 keys gave {whole.dtype} {tuple(whole.shape)}"
    )
    assert whole.any(dim=1).all(), "a query sees no key"
    not_later = WHERE[:, None] >= WHERE
    assert not pattern.causal or not (whole & ~not_later).any(), "it says causal, but a query sees a later key"
    if pattern.dense:
        wanted = not_later if pattern.causal else torch.ones_like(whole)
        assert torch.equal(whole, wanted), "it says dense, but is neither all keys nor all keys not later"
    if found is not None:
        _part_of(pattern.allowed(WHERE[4:6], WHERE[:7]), whole[4:6, :7], "two queries over seven keys")
        _part_of(pattern.allowed(torch.stack([WHERE[2:4], WHERE[5:7]]), WHERE),
                 torch.stack([whole[2:4], whole[5:7]]), "queries of two rows")  # fmt: skip


@promise(ROTATION)
def rotation_is_relative(example: Example) -> None:
    """The product of a turned query and a turned key is the same wherever both are moved by one distance."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(6, HEADS, HEAD_DIM, generator=generator, dtype=torch.float64) for _ in range(2))

    def products(moved: int) -> Tensor:
        turned = [example.part(t, torch.arange(6) + moved) for t in (q, k)]
        return torch.einsum("ihd,jhd->hij", *turned)

    same([products(5)], [products(0)], "moving queries and keys by 5 changed their products", CLOSE)
    assert (products(0) - torch.einsum("ihd,jhd->hij", q, k)).abs().max() > 1e-3, "it turns nothing"


def _part_of(found: Tensor | None, wanted: Tensor, saying: str) -> None:
    assert found is not None and torch.equal(found, wanted), f"{saying} differ from all over all"
