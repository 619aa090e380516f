"""Raw inputs by the name of what embeds read: how the suite draws one row of each."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from variorum.core import Spec, VariorumError
from variorum.core.errors import nearest
from variorum.testing.facts import WIDTHS, known

Draw = Callable[[Spec[Any], int, Generator], Tensor]


class Raw(NamedTuple):
    """A kind of raw input. draw: the spec that reads it, a length and a generator -> one row, (n, ...) if ``tokens``.

    tokens: a row is a sequence of any length, each element of which becomes one token.
    """

    draw: Draw
    tokens: bool


_RAW: dict[str, Raw] = {}


def raw(reads: str, *, tokens: bool) -> Callable[[Draw], Draw]:
    """Tell the suite how to draw a row of what embeds call ``reads``; a plugin with a new kind of input uses this."""

    def bind(draw: Draw) -> Draw:
        _RAW[reads] = Raw(draw, tokens)
        return draw

    return bind


def find_raw(reads: str) -> Raw:
    """The kind of raw input of this name; an unknown one raises VariorumError."""
    if reads not in _RAW:
        raise VariorumError(f"raw input {reads!r}", expected="a kind of input that the suite can draw", found="none",
                            do=f"Register it with @variorum.testing.raw(...). {nearest(reads, _RAW)}")  # fmt: skip
    return _RAW[reads]


@raw("ids", tokens=True)
def ids(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(n,) tokens of the vocabulary."""
    return torch.randint(known(spec, "vocab"), (n,), generator=generator)


@raw("features", tokens=True)
def features(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(n, dim) tokens that are vectors already."""
    dims = dict(spec.args)
    return torch.randn(n, dims.get("dim", WIDTHS["dim"]), generator=generator, dtype=torch.float64)


@raw("series", tokens=True)
def series(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(n, variables + calendar) steps of a time series."""
    width = known(spec, "variables") + known(spec, "calendar")
    return torch.randn(n, width, generator=generator, dtype=torch.float64)


@raw("frames", tokens=False)
def frames(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(12, bins) frames of a spectrogram, which convolutions make fewer tokens of."""
    return torch.randn(12, known(spec, "bins"), generator=generator, dtype=torch.float64)


@raw("images", tokens=False)
def images(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(channels, height, width)."""
    shape = [known(spec, name) for name in ("channels", "height", "width")]
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@raw("volumes", tokens=False)
def volumes(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(channels, 5, height, width), of a depth that seldom fits."""
    shape = [known(spec, "channels"), 5, known(spec, "height"), known(spec, "width")]
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@raw("table", tokens=False)
def table(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(columns,) numbers, half of them missing, and codes of categories."""
    sizes = known(spec, "columns")
    numbers = torch.randn(len(sizes), generator=generator, dtype=torch.float64)
    numbers[torch.rand(len(sizes), generator=generator) < 1 / 2] = torch.nan
    codes = [float(torch.randint(max(size, 1), (), generator=generator)) for size in sizes]
    return torch.where(torch.tensor(sizes) > 0, torch.tensor(codes, dtype=torch.float64), numbers)


@raw("labelled rows", tokens=True)
def labelled_rows(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(n, 4) rows of three numbers and a label, every other label asked for."""
    rows = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    rows[1::2, -1] = torch.nan
    return rows


@raw("times", tokens=False)
def times(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """() a step of a noise schedule."""
    return torch.randint(1000, (), generator=generator)


@raw("labels", tokens=False)
def labels(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """() a class."""
    return torch.randint(known(spec, "classes"), (), generator=generator)


@raw("points", tokens=False)
def points(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(12, channels) points of which the first two numbers are a place on the map."""
    places = torch.rand(12, 2, generator=generator, dtype=torch.float64)
    rest = torch.randn(12, known(spec, "channels") - 2, generator=generator, dtype=torch.float64)
    return torch.cat([places * torch.tensor([known(spec, "width"), known(spec, "height")]), rest], dim=1)


@raw("audio", tokens=False)
def audio(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(160, 1) samples of sound."""
    return torch.randn(160, 1, generator=generator, dtype=torch.float64) / 4


@raw("labelled series", tokens=True)
def labelled_series(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(n, channels) steps of a whole time series."""
    return torch.randn(n, known(spec, "channels"), generator=generator, dtype=torch.float64)


@raw("point clouds", tokens=True)
def point_clouds(spec: Spec[Any], n: int, generator: Generator) -> Tensor:
    """(n, 3) points in space."""
    return torch.randn(n, 3, generator=generator, dtype=torch.float64)
