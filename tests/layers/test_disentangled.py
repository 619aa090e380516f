"""Disentangled attention against its equation, token by token."""

import math

import pytest
import torch

from variorum.core import VariorumError, listen
from variorum.layers.mixers.disentangled import BOTH, Disentangled, log_buckets
from variorum.layers.norms.layernorm import LayerNorm

CASES = (
    {},
    {"shared": False},
    {"terms": BOTH[:1]},
    {"terms": BOTH[1:], "shared": False},
    {"buckets": 4, "furthest": 9, "norm": LayerNorm.spec()},
)


def equation(part: Disentangled, x: torch.Tensor) -> torch.Tensor:
    """The scores of one row by loops over heads, queries and keys."""
    n, dim = x.shape
    places = part.relative if part.norm is None else part.norm(part.relative)
    q, k, v = (x @ w.T + b for w, b in zip(part.qkv.weight.split(dim), part.qkv.bias.split(dim), strict=True))
    query, key = (
        (lambda p, w=w, b=b: p @ w.T + b)
        for w, b in list(zip(part.qkv.weight.split(dim), part.qkv.bias.split(dim), strict=True))[:2]
    )
    relative_key = (part.relative_key or key)(places)
    relative_query = (part.relative_query or query)(places)
    out = torch.zeros_like(x)
    for h in range(part.heads):
        own = slice(h * part.head_dim, (h + 1) * part.head_dim)
        scores = torch.zeros(n, n)
        for i in range(n):
            for j in range(n):
                apart = i - j
                if part.buckets is not None and abs(apart) > part.buckets // 2:
                    half = part.buckets // 2
                    far = math.log(abs(apart) / half) / math.log((part.furthest - 1) / half) * (half - 1)
                    apart = int(math.copysign(math.ceil(far - 1e-6) + half, apart))
                d = min(max(apart + part.span, 0), 2 * part.span - 1)
                scores[i, j] = q[i, own] @ k[j, own]
                if BOTH[0] in part.terms:
                    scores[i, j] += q[i, own] @ relative_key[d, own]
                if BOTH[1] in part.terms:
                    scores[i, j] += k[j, own] @ relative_query[d, own]
        scale = math.sqrt(part.head_dim * (1 + len(part.terms)))
        out[:, own] = (scores / scale).softmax(-1) @ v[:, own]
    return part.out(out)


@pytest.mark.parametrize("args", CASES)
def test_the_equation(args: dict[str, object]) -> None:
    torch.manual_seed(0)
    part = Disentangled(8, **{"heads": 2, "furthest": 5, **args}).eval()
    torch.nn.init.normal_(part.relative)
    x = torch.randn(2, 13, 8)
    with torch.no_grad():
        expected = torch.stack([equation(part, row) for row in x])
        assert torch.allclose(part(x), expected, atol=1e-5)
        with listen(part, "weights") as told:
            assert torch.allclose(part(x), expected, atol=1e-5)
    assert torch.allclose(told["weights"][0].sum(-1), torch.ones(2, 2, 13))


def test_buckets_are_odd_and_grow() -> None:
    apart = torch.arange(-600, 601)
    found = log_buckets(apart, 256, 512)
    assert torch.equal(found, -found.flip(0))
    assert (found.diff() >= 0).all()
    near = apart.abs() <= 128
    assert torch.equal(found[near], apart[near])
    assert int(log_buckets(torch.tensor([511]), 256, 512)) == 255


@pytest.mark.parametrize("args", [{"heads": 3}, {"terms": ()}, {"terms": BOTH[:1] * 2}, {"buckets": 1}, {"buckets": 8}])
def test_impossible_arguments(args: dict[str, object]) -> None:
    with pytest.raises(VariorumError, match="Disentangled"):
        Disentangled(8, **{"heads": 2, "furthest": 5, **args})
