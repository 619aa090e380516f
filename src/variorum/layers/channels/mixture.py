"""A mixture of experts in place of one feed-forward network. Shazeer et al. 2017, arXiv:1701.06538."""

from collections.abc import Sequence
from enum import StrEnum

from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Channel, Spec, Traits, VariorumError, promises
from variorum.layers.channels.glu import GLU
from variorum.layers.channels.mlp import MLP
from variorum.layers.dispatch import dispatch, every
from variorum.layers.routers.router import Router
from variorum.layers.routers.topk import TopK


class Dispatch(StrEnum):
    """How tokens come to their experts: gathered, or all experts look at all tokens (which a graph can be made of)."""

    GROUPED = "grouped"
    EVERY = "every"


class Mixture(Channel):
    """y = sum_{i chosen for x} w_i(x) expert_i(x) [+ shared(x)].

    Shazeer et al. 2017, arXiv:1701.06538; the shared expert that sees every token: Dai et al. 2024, arXiv:2401.06066.
    experts: their Specs, alike or not.     router: chooses and weighs; it may tell an auxiliary loss.
    dispatch: grouped, which costs the chosen experts only; or every, the naive twin, which exports.
    """

    examples = (
        {"experts": [GLU.spec(hidden=8)] * 4, "shared": MLP.spec(hidden=8)},
        {"experts": [MLP.spec(hidden=8), GLU.spec(hidden=12)], "router": TopK.spec(k=1), "dispatch": Dispatch.EVERY},
    )

    def __init__(
        self,
        dim: int,
        *,
        experts: Sequence[Spec[Channel]],
        router: Spec[Router] = TopK.spec(),
        shared: Spec[Channel] | None = None,
        dispatch: Dispatch = Dispatch.GROUPED,
    ) -> None:
        super().__init__()
        if not experts:
            raise VariorumError("Mixture", expected="one expert at least", found="none", do="Name some.")
        self.experts = nn.ModuleList(expert.build(dim=dim) for expert in experts)
        self.router = router.build(dim=dim, experts=len(experts))
        self.shared = shared.build(dim=dim) if shared else None
        self.dispatch = Dispatch(dispatch)

    @property
    def traits(self) -> Traits:
        """Those of router and experts; grouped, its shapes depend on the data, and it does not export."""
        parts = [self.router, *self.experts, *([self.shared] if self.shared is not None else [])]
        traits = promises(parts)
        return traits.but(exports=traits.exports and self.dispatch is Dispatch.EVERY)

    def forward(self, x: Float[Tensor, "*any dim"]) -> Float[Tensor, "*any dim"]:
        rows = x.reshape(-1, x.shape[-1])
        chosen, weights = self.router(rows)
        send = dispatch if self.dispatch is Dispatch.GROUPED else every
        slots = rows.repeat_interleave(chosen.shape[1], dim=0)
        out = send(list(self.experts), chosen.flatten(), slots).unflatten(0, chosen.shape)
        y = (out * weights.unsqueeze(-1)).sum(dim=1).view_as(x)
        return y if self.shared is None else y + self.shared(x)
