"""Layers that all add one map of scores, made of the tokens as they come in. Zheng et al. 2023, arXiv:2310.14921."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Growth, Layer, Layout, Memory, Spec, State, Streaming, Traits, each_row, promises
from variorum.layers.channels.mlp import MLP
from variorum.layers.mixers.cache import store
from variorum.layers.mixers.partial_attention import HeadScores, PartialAttention
from variorum.layers.mixers.shared_scores import sharing
from variorum.layers.patterns.causal import Causal
from variorum.models.blocks.block import Block, streaming

_CAUSAL = PartialAttention.spec(heads=2, value_heads=3, pattern=Causal.spec())


class ScoredOnce(Layer, Streaming):
    """x <- layer_k(... layer_1(x)), whose attention adds G = net(q k^T / sqrt(head_dim)), q and k made of x at first.

    Zheng et al. 2023, arXiv:2310.14921 (residual-like attention: x are the embeddings). The mixers of the layers are
    ``PartialAttention``; one that attends to a memory adds nothing.

    heads, head_dim: of q and k.    to: heads of G, as many as the layers have values for; None: those of q and k.
    A stream keeps the keys of G beside what the layers keep.
    """

    examples = (
        {"layers": [Block.spec(mixer=_CAUSAL, channels=MLP.spec())] * 2, "heads": 2,
         "head_dim": 4, "to": 3},
        {"layers": [Block.spec(mixer=PartialAttention.spec(heads=2), channels=MLP.spec())], "heads": 2,
         "head_dim": 4},
    )  # fmt: skip

    def __init__(
        self, dim: int, *, layers: Sequence[Spec[Layer]], heads: int, head_dim: int, to: int | None = None
    ) -> None:
        super().__init__()
        self.scores = HeadScores(dim, heads=heads, head_dim=head_dim, to=to)
        self.layers = nn.ModuleList(layer.build(dim=dim) for layer in layers)

    @property
    def traits(self) -> Traits:
        """Those of the layers one after the other; all pairs are scored."""
        return promises(self.layers).but(growth=Growth.QUADRATIC)

    def forward(
        self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None, memory: Memory | None = None
    ) -> Float[Tensor, "*tokens dim"]:
        longest = max(layout.lengths, default=0) if layout is not None and layout.packed else x.shape[1]

        def score(q: Tensor, k: Tensor) -> Tensor:
            return F.pad(self.scores(q, k).transpose(1, 2), (0, longest - q.shape[1]))

        with sharing(each_row(score, layout, self.scores.queries(x), self.scores.keys(x))):
            for layer in self.layers:
                x = layer(x, layout, memory)
        return self.tap("residual", x)

    def start(self, batch: int) -> State:
        keys = self.scores.key.weight.new_zeros(batch, 0, self.scores.heads, self.scores.head_dim)
        inner = {str(i): streaming(layer).start(batch) for i, layer in enumerate(self.layers)}
        length = torch.zeros(batch, dtype=torch.int64, device=keys.device)
        return State({"keys": keys, "length": length, **inner})

    def advance(
        self, x: Tensor, state: State, layout: Layout | None = None, memory: Memory | None = None
    ) -> tuple[Tensor, State]:
        own = State(keys=state["keys"], length=state["length"])
        new = layout.lengths if layout is not None and layout.packed else [x.shape[1]]
        capacity = own.tensor("keys").shape[1] + max(new, default=0)  # of all rows, however uneven

        def score(q: Tensor, k: Tensor, state: State) -> tuple[Tensor, State]:
            slots = state.tensor("length")[:, None] + torch.arange(k.shape[1], device=k.device)
            keys = store(state.tensor("keys"), k, slots)
            scores = self.scores(q, keys).transpose(1, 2)[..., :capacity]
            after = State(keys=keys, length=state.tensor("length") + k.shape[1])
            return F.pad(scores, (0, capacity - scores.shape[-1])), after

        scores, own = each_row(score, layout, self.scores.queries(x), self.scores.keys(x), state=own)
        after: dict[str, Any] = dict(own)
        with sharing(scores):
            for i, layer in enumerate(self.layers):
                x, after[str(i)] = streaming(layer).advance(x, state.child(str(i)), layout, memory)
        return self.tap("residual", x), State(after)
