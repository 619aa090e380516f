"""Heartbeats, to be told by their kind. McSharry et al. 2003 (IEEE Trans. Biomed. Eng. 50): waves that are bells."""

from typing import Any

import torch
from torch import Generator

from variorum.core import VariorumError
from variorum.data.generated_classes import GeneratedClasses
from variorum.data.task import Batch

RATE = 125
"""Samples a second."""
RHYTHM, EARLY = 0.8, 0.55
"""Seconds from beat to beat, and the part of it after which an early one comes."""
P, Q, R, S, T = range(5)
KINDS = ("normal", "supraventricular", "ventricular")
WAVES = torch.tensor([
    [[-0.20, 0.12, 0.025], [-0.030, -0.10, 0.010], [0.0, 1.0, 0.011], [0.03, -0.20, 0.010], [0.25, 0.25, 0.05]],
    [[-0.13, -0.08, 0.020], [-0.030, -0.10, 0.010], [0.0, 1.0, 0.011], [0.03, -0.20, 0.010], [0.25, 0.25, 0.05]],
    [[-0.20, 0.0, 0.025], [-0.060, 0.0, 0.010], [0.0, 1.1, 0.040], [0.10, -0.40, 0.035], [0.30, -0.35, 0.06]],
])  # fmt: skip
"""Of each kind the waves P, Q, R, S and T: seconds after the beat, height and width (a standard deviation)."""


class ECGBeats(GeneratedClasses):
    """A normal beat, and after it the one that is asked for: normal, early from above the ventricles (another P wave),
    or early from a ventricle (no P wave, a wide QRS and a T wave upside down); the AAMI's classes N, S and V.

    inputs (batch, steps, 1): millivolts, with a baseline that wanders, noise, and waves that vary by a tenth; targets
    (batch,). The metric is accuracy. Made, not found.
    """

    reads = "labelled series"
    labels = KINDS
    examples = ({"rows": 16},)

    def __init__(self, *, steps: int = 200, noise: float = 0.1, rows: int = 500) -> None:
        if steps < RATE or noise < 0 or rows < 1:
            raise VariorumError("ECGBeats", expected=f"steps from {RATE} on, noise not below 0, and a row",
                                found=f"steps {steps}, noise {noise}, rows {rows}",
                                do="Choose others.")  # fmt: skip
        self.steps, self.noise, self.rows = steps, noise, rows

    @property
    def facts(self) -> dict[str, Any]:
        return {"classes": len(self.labels), "channels": 1, "steps": self.steps}

    def make(self, generator: Generator, size: int) -> Batch:
        kind = torch.randint(len(KINDS), (size,), generator=generator)
        both = torch.stack([torch.zeros_like(kind), kind], dim=1)
        varied = 1 + 0.1 * torch.randn(size, 2, 5, 3, generator=generator)
        where, height, width = (WAVES[both] * varied).unbind(-1)
        chance = torch.rand(size, 4, generator=generator)
        first = 0.25 + 0.1 * chance[:, 0]
        apart = RHYTHM * torch.where(kind > 0, EARLY, 1.0) * (0.9 + 0.2 * chance[:, 1])
        beats = torch.stack([first, first + apart], dim=1)
        t = torch.arange(self.steps) / RATE
        away = (t - (beats[..., None] + where)[..., None]) / width[..., None]
        waves = (height[..., None] * torch.exp(-away.square() / 2)).sum(dim=(1, 2))
        wander = 0.15 * torch.sin(2 * torch.pi * (0.3 * t + chance[:, 2:3])) + 0.1 * (chance[:, 3:] - 0.5)
        noise = self.noise * torch.randn(size, self.steps, generator=generator)
        return Batch({"inputs": (waves + wander + noise).unsqueeze(-1)}, kind)
