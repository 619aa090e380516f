"""What a part promises. The contract suite holds every part to what it declares here."""

import math
from dataclasses import dataclass, replace
from enum import StrEnum


class Growth(StrEnum):
    """How arithmetic grows with the number of tokens n."""

    LINEAR = "n"
    LOGLINEAR = "n log n"
    SUBQUADRATIC = "n^1.5"
    QUADRATIC = "n^2"


@dataclass(frozen=True)
class Traits:
    """Promises of a part, declared on its class, or derived from its children by a part that holds others.

    causal: output t depends on inputs 0..t only.      streams: has ``start``/``advance`` that equal ``forward``.
    ragged: takes packed rows of uneven length.        memory: may attend to a memory given beside ``x``.
    alone: works without a memory.                     exports: goes through torch.export and ONNX.
    equivariant: permuting a row's tokens permutes the output likewise.
    grid: number of grid dimensions it needs (2: images; 0: none).
    coords: number of coordinates that each token needs in ``layout.coords`` (0: none).
    segments: number of segments that it tells tokens apart by, from ``layout.segments`` (0: it does not look).
    length: the only row length it takes (0: any).     multiple: row lengths, or grid sides, are multiples of this.
    piece: it streams in pieces of a multiple of this many tokens; only the last piece of a row may be of any length.
    prompted: in a stream the first piece of a row, its prompt, decides for what follows; only that may be cut anyhow.
    growth: of FLOPs with the row length.
    bounded: the number of tokens it makes of a row does not grow with the row.
    batchwise: in training, answers to a row depend on the other rows of its batch (what holds such a part need not say
    so again).
    """

    causal: bool = False
    streams: bool = False
    ragged: bool = True
    memory: bool = False
    alone: bool = True
    equivariant: bool = False
    grid: int = 0
    coords: int = 0
    segments: int = 0
    length: int = 0
    multiple: int = 1
    piece: int = 1
    prompted: bool = False
    growth: Growth = Growth.LINEAR
    exports: bool = True
    bounded: bool = False
    batchwise: bool = False

    @property
    def pointwise(self) -> bool:
        """Is a token's answer made of that token alone? What is causal in every order of the tokens can look at no
        other.
        """
        return self.causal and self.equivariant

    def but(self, **changes: object) -> "Traits":
        """The same promises with some changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def along(self, other: "Traits") -> "Traits":
        """The promises of two parts applied one after the other."""
        order = list(Growth)
        return Traits(
            causal=self.causal and other.causal,
            streams=self.streams and other.streams,
            ragged=self.ragged and other.ragged,
            memory=self.memory or other.memory,
            alone=self.alone and other.alone,
            equivariant=self.equivariant and other.equivariant,
            grid=max(self.grid, other.grid),
            coords=max(self.coords, other.coords),
            segments=max(self.segments, other.segments),
            length=max(self.length, other.length),
            multiple=math.lcm(self.multiple, other.multiple),
            piece=math.lcm(self.piece, other.piece),
            prompted=self.prompted or other.prompted,
            growth=max(self.growth, other.growth, key=order.index),
            exports=self.exports and other.exports,
            bounded=self.bounded or other.bounded,
            batchwise=self.batchwise or other.batchwise,
        )


POINTWISE = Traits(causal=True, streams=True, equivariant=True)
"""The promises of a part that looks at one token at a time."""
