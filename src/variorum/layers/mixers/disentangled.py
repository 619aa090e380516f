"""Disentangled attention: what a token says and where it stands are scored apart. He et al. 2020, arXiv:2006.03654."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from variorum.core import Growth, Layout, Memory, Mixer, Norm, Spec, Stacked, Traits, VariorumError, each_row
from variorum.layers.norms.layernorm import LayerNorm

log = logging.getLogger(__name__)

Term = Literal["content to position", "position to content"]
BOTH: tuple[Term, Term] = ("content to position", "position to content")


class Disentangled(Mixer, Stacked):
    """score_ij = (q_i k_j + q_i k^r_d(i,j) + k_j q^r_d(i,j)) / sqrt(head_dim * (1 + terms)), then softmax and values.

    He et al. 2020, arXiv:2006.03654, equation 4, with d in the position-to-content term as the authors' code has it.
    k^r and q^r are made of 2 * span vectors P, one for each distance d(i, j) = clamp(i - j, -span, span - 1), by the
    matrices of keys and queries if ``shared``, else by their own. With ``buckets``, distances beyond half as many are
    put together logarithmically up to ``furthest``, and span = buckets (He et al. 2021, arXiv:2111.09543); else
    span = ``furthest``.

    terms: which of the two position terms are added.    norm: of P.    position_dropout: of P.
    vectors: in P, unless 2 * span; the middle one is that of distance 0. Buckets never use the one of -span, which 2 *
    span - 1 leaves out (Samuel et al. 2023, arXiv:2303.09859).
    P can be one tensor for all layers: ``tied=[("blocks.1.mixer.relative", "blocks.0.mixer.relative"), ...]``.
    """

    taps = ("weights",)
    traits: Traits = Traits(growth=Growth.QUADRATIC)
    examples = (
        {"heads": 2, "furthest": 6},
        {"heads": 2, "furthest": 16, "buckets": 4, "shared": False, "norm": LayerNorm.spec()},
        {"heads": 2, "furthest": 6, "terms": BOTH[:1], "shared": False},
        {"heads": 2, "furthest": 16, "buckets": 4, "vectors": 7},
    )

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 8,
        furthest: int = 512,
        buckets: int | None = None,
        terms: Sequence[Term] = BOTH,
        shared: bool = True,
        vectors: int | None = None,
        norm: Spec[Norm] | None = None,
        dropout: float = 0.0,
        position_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % heads or not terms or len(set(terms)) != len(terms):
            raise VariorumError(
                "Disentangled",
                expected="heads that divide dim, and one or both terms",
                found=f"dim {dim}, heads {heads}, terms {list(terms)}",
                do="Choose others, or use Attention.",
            )
        if buckets is not None and not 1 <= buckets // 2 < furthest - 1:
            raise VariorumError(
                "Disentangled buckets",
                expected="at least 2, and half of them below furthest - 1",
                found=f"{buckets} buckets, furthest {furthest}",
                do="Leave out buckets: every distance then has a vector of its own.",
            )
        self.heads, self.head_dim = heads, dim // heads
        self.furthest, self.buckets, self.span = furthest, buckets, buckets or furthest
        self.scale = 1 / math.sqrt(self.head_dim * (1 + len(terms)))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.relative = nn.Parameter(torch.empty(vectors or 2 * self.span, dim))
        nn.init.normal_(self.relative, std=0.02)
        self.norm = norm.build(dim=dim) if norm else None
        self.terms = frozenset(terms)
        self.relative_key = nn.Linear(dim, dim) if BOTH[0] in terms and not shared else None
        self.relative_query = nn.Linear(dim, dim) if BOTH[1] in terms and not shared else None
        self.dropout, self.position_dropout = dropout, nn.Dropout(position_dropout)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        if memory is not None:
            raise VariorumError("Disentangled", expected="no memory", found="one", do="Attend to it with Attention.")
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, self.head_dim)).unbind(-3)
        relative_key, relative_query = self._relative()

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return self._attend(q, k, v, self._bias(q, k, relative_key, relative_query))

        return self.out(each_row(attend, layout, q, k, v).flatten(-2))

    @property
    def stacked(self) -> Mapping[str, Mapping[str, int]]:
        """The maps of queries, keys and values in ``qkv``."""
        return {"qkv": dict.fromkeys(("query", "key", "value"), self.heads * self.head_dim)}

    def distances(self, n: int, device: torch.device | None = None) -> Int[Tensor, "n n"]:
        """The index into P for query i and key j: bucketed and clamped i - j, moved to start at 0."""
        apart = torch.arange(1 - n, n, device=device)
        if self.buckets is not None:
            apart = log_buckets(apart, self.buckets, self.furthest)
        places = torch.arange(n, device=device)
        index = (apart + len(self.relative) // 2).clamp(0, len(self.relative) - 1)
        return index[places[:, None] - places + n - 1]

    def _relative(self) -> tuple[Tensor | None, Tensor | None]:
        """k^r and q^r, (2 * span, heads, head_dim); None where the term is left out."""
        places = self.relative if self.norm is None else self.norm(self.relative)
        places = self.position_dropout(places)
        dim = places.shape[-1]
        query, key = (slice(0, dim), slice(dim, 2 * dim))
        found: list[Tensor | None] = []
        for term, own, rows in ((BOTH[0], self.relative_key, key), (BOTH[1], self.relative_query, query)):
            if term not in self.terms:
                found.append(None)
            else:
                made = F.linear(places, self.qkv.weight[rows], self.qkv.bias[rows]) if own is None else own(places)
                found.append(made.unflatten(-1, (self.heads, self.head_dim)))
        return found[0], found[1]

    def _bias(self, q: Tensor, k: Tensor, relative_key: Tensor | None, relative_query: Tensor | None) -> Tensor:
        """The position terms, (batch, heads, n, n), scaled."""
        index = self.distances(q.shape[1], q.device).expand(q.shape[0], self.heads, -1, -1)
        terms = []
        if relative_key is not None:
            terms.append(torch.einsum("bihd,rhd->bhir", q, relative_key).gather(-1, index))
        if relative_query is not None:
            by_key = torch.einsum("bjhd,rhd->bhjr", k, relative_query)
            terms.append(by_key.gather(-1, index.transpose(-1, -2)).transpose(-1, -2))
        return self.scale * (terms[0] if len(terms) == 1 else terms[0] + terms[1])

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        if self.heard("weights"):
            return self._readable(q, k, v, bias)
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=bias,
            scale=self.scale,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return out.transpose(1, 2)

    def _readable(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """The naive twin of the fused path: it forms the weights (batch, heads, n, n) and shows them."""
        log.info("attention weights asked for: taking the readable path for this call")
        scores = torch.einsum("bihd,bjhd->bhij", q, k) * self.scale + bias
        weights = F.dropout(self.tap("weights", scores.softmax(dim=-1)), self.dropout, self.training)
        return torch.einsum("bhij,bjhd->bihd", weights, v)


def log_buckets(apart: Int[Tensor, "*any"], buckets: int, furthest: int) -> Int[Tensor, "*any"]:
    """m + ceil((m - 1) log(a / m) / log((furthest - 1) / m)) for a distance a > m = buckets / 2, else a; with its sign.

    He et al. 2021, arXiv:2111.09543; float32, as in the authors' code, decides which side of a border a distance falls.
    """
    half = buckets // 2
    size = apart.abs()
    steps = torch.log(size.clamp(min=half) / half) / torch.log(torch.tensor((furthest - 1) / half)) * (half - 1)
    far = (torch.ceil(steps) + half).to(apart.dtype) * apart.sign()
    return torch.where(size <= half, apart, far)
