"""Radio signals, to be told by how they are modulated. O'Shea et al. 2016, arXiv:1602.04105."""

import math
from typing import Any

import torch
from jaxtyping import Complex
from torch import Generator, Tensor

from variorum.core import VariorumError
from variorum.data.generated_classes import GeneratedClasses
from variorum.data.task import Batch

HELD = 8
"""Samples that a symbol is held."""
DEVIATION, OFFSET = 0.06, 0.002
"""Turns a sample of a frequency-shifted symbol, and at most of the carrier that the receiver missed."""
MOST = 16
"""Points of the largest constellation."""


def constellations() -> dict[str, Complex[Tensor, "points"]]:
    """The points of each linear modulation, of power 1 on average."""

    def circle(points: int) -> Tensor:
        return torch.polar(torch.ones(points), 2 * math.pi * torch.arange(points) / points)

    side = torch.tensor([-3.0, -1.0, 1.0, 3.0]) / math.sqrt(10)
    grid = torch.complex(side.repeat_interleave(4), side.repeat(4))
    keyed = torch.tensor([0.0, math.sqrt(2)], dtype=torch.complex64)
    return {"2-ASK": keyed, "BPSK": circle(2), "QPSK": circle(4), "16-QAM": grid}


class ModulatedSignals(GeneratedClasses):
    """Amplitude, phase or frequency of a carrier tell symbols drawn alike: say which, and how many values they have.

    inputs (batch, steps, 2): in-phase and quadrature samples, at an unknown phase, a carrier slightly missed, and noise
    ``snr`` decibels below the signal; targets (batch,). The metric is accuracy. Made, not found.
    """

    reads = "labelled series"
    labels = (*constellations(), "2-FSK")
    examples = ({"steps": 32, "rows": 16},)

    def __init__(self, *, steps: int = 128, snr: float = 15.0, rows: int = 500) -> None:
        if steps < HELD or steps % HELD or rows < 1:
            raise VariorumError("ModulatedSignals", expected=f"steps that {HELD} divides, and a row",
                                found=f"steps {steps}, rows {rows}", do="Choose others.")  # fmt: skip
        self.steps, self.snr, self.rows = steps, snr, rows

    @property
    def facts(self) -> dict[str, Any]:
        return {"classes": len(self.labels), "channels": 2, "steps": self.steps}

    def make(self, generator: Generator, size: int) -> Batch:
        kind = torch.randint(len(self.labels), (size,), generator=generator)
        drawn = torch.randint(MOST, (size, self.steps // HELD), generator=generator)
        points = list(constellations().values())
        # Sizes divide MOST, so that a table of repeated points draws each of them alike.
        table = torch.stack([p.repeat(MOST // len(p)) for p in points] + [torch.ones(MOST) + 0j])
        symbols = table[kind[:, None], drawn].repeat_interleave(HELD, dim=1)
        shifted = (kind == len(points))[:, None]
        turns = (DEVIATION * (2 * (drawn % 2) - 1)).repeat_interleave(HELD, dim=1).cumsum(dim=1) * shifted
        chance = torch.rand(size, 2, generator=generator)
        turns = turns + chance[:, :1] + OFFSET * (2 * chance[:, 1:] - 1) * torch.arange(self.steps)
        signal = symbols * torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
        noise = 10 ** (-self.snr / 20) * torch.randn(size, self.steps, 2, generator=generator) / math.sqrt(2)
        return Batch({"inputs": torch.view_as_real(signal) + noise}, kind)
