"""ProbSparse attention: only the queries that attend sharply attend at all. Zhou et al. 2020, arXiv:2012.07436."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Growth, Layout, Memory, Mixer, Pattern, Spec, Traits, VariorumError, each_row
from variorum.layers.patterns.causal import Causal
from variorum.layers.patterns.full import Full


class ProbSparse(Mixer):
    """Full attention for the u queries of largest M(q) = max_j s_j - mean_j s_j, s_j = q k_j / sqrt(head_dim) over U
    sampled keys; any other query gets the mean of v, or their running sum where the pattern is causal.

    Zhou et al. 2020, arXiv:2012.07436: u = factor * ceil(ln(n + 1)) and U alike, at most n. One sample of keys serves
    all queries (official code: one a query). It is drawn anew in training; in eval mode it depends on n alone, so that
    predictions repeat. ``sample`` is a tap: a listener may give the key indices. A causal pattern masks the scores, but
    which queries are chosen depends on the whole row, as published: the part does not promise to be causal.
    """

    taps = ("sample",)
    traits: Traits = Traits(growth=Growth.LOGLINEAR, exports=False)
    examples = ({"heads": 2, "factor": 1}, {"heads": 2, "factor": 1, "pattern": Causal.spec()})

    def __init__(self, dim: int, *, heads: int = 8, factor: int = 5, pattern: Spec[Pattern] = Full.spec()) -> None:
        super().__init__()
        if dim % heads:
            raise VariorumError("ProbSparse", expected="heads that divide dim", found=f"dim {dim}, heads {heads}",
                                do="Choose another number of heads.")  # fmt: skip
        self.heads, self.factor = heads, factor
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.pattern = pattern.build()

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return self.out(each_row(self._attend, layout, q, k, v).flatten(-2))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q, k, v (batch, n, heads, head_dim) -> like q."""
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        n, scale = q.shape[2], 1 / math.sqrt(q.shape[3])
        some = min(self.factor * math.ceil(math.log1p(n)), n)
        keys = self.tap("sample", self._sample(n, some, k.device))
        sampled = q @ k[:, :, keys].transpose(-1, -2) * scale
        chosen = (sampled.amax(-1) - sampled.mean(-1)).topk(some, dim=-1).indices  # (batch, heads, u)
        pick = chosen.unsqueeze(-1).expand(-1, -1, -1, q.shape[3])
        scores = q.gather(2, pick) @ k.transpose(-1, -2) * scale
        allowed = self.pattern.allowed(chosen, torch.arange(n, device=k.device))
        if allowed is not None:
            scores = scores.masked_fill(~allowed, -math.inf)
        others = v.cumsum(dim=2) if self.pattern.causal else v.mean(dim=2, keepdim=True).expand_as(v)
        return others.scatter(2, pick, (scores.softmax(dim=-1) @ v).to(others.dtype)).transpose(1, 2)

    def _sample(self, n: int, some: int, device: torch.device) -> Tensor:
        if self.training:
            return torch.randint(n, (some,), device=device)
        # The same keys on every device, those without values too.
        return torch.randint(n, (some,), generator=torch.Generator().manual_seed(n), device="cpu").to(device)
