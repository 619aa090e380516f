"""Each branch's class token looks at the patches of the next branch. Chen et al. 2021, arXiv:2103.14899."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from variorum.core import Layout, Memory, Mixer, Norm, Residual, Spec, Traits, VariorumError
from variorum.layers.channels.activation import Activation
from variorum.layers.fusions.fusion import Fusion
from variorum.layers.mixers.attention import Attention
from variorum.layers.norms.layernorm import LayerNorm
from variorum.layers.residuals.add import Add


class ClassCross(Fusion):
    """c' = f(c_a);  y = c' + mixer(query c', keys and values [c'; patches of b]), all normed;  c_a <- g(y).

    Chen et al. 2021, arXiv:2103.14899, section 3.3: for each branch a, and b the branch after it (the first after the
    last). c_a is the first token of branch a; f brings it to the width of b and g back, each a linear map of
    act(norm(.)). One query makes it n scores instead of n^2. Patches stay as they are. Equal rows, no grid needed.
    """

    examples = ({"dims": (8, 12), "mixer": Attention.spec(heads=2)},)

    def __init__(
        self,
        dims: Sequence[int],
        *,
        mixer: Spec[Mixer] = Attention.spec(),
        norm: Spec[Norm] = LayerNorm.spec(),
        activation: Activation = Activation.GELU,
        residual: Spec[Residual] = Add.spec(),
    ) -> None:
        super().__init__()
        self.dims = tuple(dims)
        others = [*self.dims[1:], self.dims[0]]
        pairs = list(zip(self.dims, others, strict=True))
        self.there = nn.ModuleList(Bridge(source, dim, norm, activation) for source, dim in pairs)
        self.norms = nn.ModuleList(norm.build(dim=dim) for dim in others)
        self.mixers = nn.ModuleList(mixer.build(dim=dim) for dim in others)
        self.residuals = nn.ModuleList(residual.build(dim=dim, norm=norm) for dim in others)
        self.back = nn.ModuleList(Bridge(dim, source, norm, activation) for source, dim in pairs)

    @property
    def traits(self) -> Traits:
        """Equal rows only."""
        return Traits(ragged=False)

    def forward(self, xs: Sequence[Tensor], layouts: Sequence[Layout | None]) -> list[Tensor]:
        if any(layout is not None and layout.packed for layout in layouts):
            raise VariorumError("layout", expected="equal rows in every branch", found="packed rows",
                                do="Pass batches of equal rows.")  # fmt: skip
        return [torch.cat([self._meet(a, x, self._after(a, xs)), x[:, 1:]], dim=1) for a, x in enumerate(xs)]

    def _after(self, a: int, xs: Sequence[Tensor]) -> Tensor:
        return xs[(a + 1) % len(xs)]

    def _meet(self, a: int, x: Tensor, other: Tensor) -> Tensor:
        """What the first token of branch a becomes when it has looked at another branch, (batch, 1, dims[a])."""
        token = self.there[a](x[:, :1])
        seen = self.norms[a](torch.cat([token, other[:, 1:]], dim=1))
        mixed = self.residuals[a](token, lambda _: self.mixers[a](seen[:, :1], None, Memory(seen)))
        return self.back[a](mixed)


class Bridge(nn.Module):
    """W act(norm(x)) + b: (*any, source) -> (*any, dim)."""

    def __init__(self, source: int, dim: int, norm: Spec[Norm], activation: Activation) -> None:
        super().__init__()
        self.norm = norm.build(dim=source)
        self.linear = nn.Linear(source, dim)
        self.activation = activation.function

    def forward(self, x: Float[Tensor, "*any source"]) -> Float[Tensor, "*any dim"]:
        return self.linear(self.activation(self.norm(x)))
