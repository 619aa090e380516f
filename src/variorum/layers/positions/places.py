"""Fixed sines and cosines of a place in a plane or in space. Dosovitskiy et al. 2020; Carion et al. 2020."""

import math
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import Layout, Position, Traits, VariorumError


class Waves(StrEnum):
    """The order of an axis's sines and cosines: one by one, or all sines and then all cosines."""

    INTERLEAVED = "interleaved"
    HALVES = "halves"


class GridSinusoid(Position):
    """y_t = x_t + [s(column of t), s(row of t)], s(p) = [sin(p w), cos(p w)], w_i = base^(-4 i / dim).

    The two-dimensional positions of He et al. 2021, arXiv:2111.06377 (MAE), and Peebles & Xie 2022, arXiv:2212.09748
    (DiT), columns first as in their code. x (batch, H*W, dim) with ``layout.grid == (H, W)``; dim is a multiple of 4.
    """

    traits: Traits = Traits(grid=2, ragged=False)

    def __init__(self, dim: int, *, base: float = 10000.0, waves: Waves = Waves.HALVES) -> None:
        super().__init__()
        check_width(dim, 2)
        self.dim, self.base, self.waves = dim, base, Waves(waves)

    def forward(self, x: Float[Tensor, "batch n dim"], layout: Layout | None = None) -> Float[Tensor, "batch n dim"]:
        if layout is None or layout.grid is None or len(layout.grid) != 2 or layout.packed:
            raise VariorumError("layout", expected="equal rows with a grid (H, W)", found=str(layout),
                                do="Pass Layout(grid=(H, W)).")  # fmt: skip
        rows, columns = (torch.arange(side, device=x.device) for side in layout.grid)
        places = torch.cartesian_prod(rows, columns).flip(-1)
        return x + place_waves(places, self.dim, self.base, self.waves).to(x.dtype)


class PlaceSinusoid(Position):
    """y_t = x_t + [s(c_1), ..., s(c_d)] of the d coordinates that ``layout.coords`` gives of each token.

    Carion et al. 2020, arXiv:2005.12872 (without their scaling). s as in :class:`GridSinusoid`, dim / d channels each;
    dim is a multiple of 2 d.
    """

    examples = ({}, {"axes": 1, "waves": Waves.HALVES})

    def __init__(self, dim: int, *, axes: int = 2, base: float = 10000.0, waves: Waves = Waves.INTERLEAVED) -> None:
        super().__init__()
        check_width(dim, axes)
        self.dim, self.axes, self.base, self.waves = dim, axes, base, Waves(waves)

    @property
    def traits(self) -> Traits:
        """It looks at one token at a time, and at where it is."""
        return Traits(causal=True, streams=True, equivariant=True, coords=self.axes)

    def forward(self, x: Float[Tensor, "*tokens dim"], layout: Layout | None = None) -> Float[Tensor, "*tokens dim"]:
        return x + place_waves(coordinates(layout, self.axes), self.dim, self.base, self.waves).to(x.dtype)


def coordinates(layout: Layout | None, axes: int) -> Tensor:
    """(*tokens, axes) of a layout; one that has none, or others, raises VariorumError."""
    if layout is None or layout.coords is None or layout.coords.shape[-1] != axes:
        found = "none" if layout is None or layout.coords is None else str(layout.coords.shape[-1])
        raise VariorumError("layout.coords", expected=f"{axes} coordinates of each token", found=found,
                            do="Pass Layout(coords=...), or use an embed that tells them.")  # fmt: skip
    return layout.coords


def check_width(dim: int, axes: int) -> None:
    """Raise VariorumError unless each of the axes gets as many sines as cosines."""
    if dim % (2 * axes):
        raise VariorumError("positions", expected=f"a width that is a multiple of {2 * axes}", found=str(dim),
                            do="Choose another dim.")  # fmt: skip


def place_waves(places: Tensor, dim: int, base: float, waves: Waves) -> Tensor:
    """(*tokens, axes) coordinates -> (*tokens, dim) sines and cosines, axis after axis."""
    count = dim // (2 * places.shape[-1])
    frequency = torch.exp(-math.log(base) / count * torch.arange(count, device=places.device))
    angle = places.unsqueeze(-1) * frequency
    pair = (angle.sin(), angle.cos())
    found = torch.stack(pair, dim=-1).flatten(-2) if waves is Waves.INTERLEAVED else torch.cat(pair, dim=-1)
    return found.flatten(-2)
