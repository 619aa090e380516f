"""The losses of a training: kept on the device until they are asked for, so that no step waits for them."""

import math
from typing import Any

import torch
from torch import Tensor

from variorum.core import VariorumError
from variorum.train.learner import Gradient


class Ledger:
    """Collects what each step's gradient was and makes events of it. Reading synchronises once for all steps noted."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, Gradient, Tensor]] = []
        self._since = 0.0

    def start(self, seconds: float) -> None:
        """From here on rates are counted."""
        self._since = seconds

    def note(self, step: int, gradient: Gradient, norm: Tensor) -> None:
        """Note a step (counted from 1), its loss, and the norm of its gradient before clipping."""
        self._steps.append((step, gradient, norm))

    def read(self, seconds: float) -> dict[str, Any]:
        """The event of the last step noted, its rate that of all noted; forgets them. Empty if there are none.

        Raises :class:`VariorumError` at the first step whose loss or gradient is not finite.
        """
        if not self._steps:
            return {}
        steps, self._steps = self._steps, []
        losses, norms, counts = (
            torch.stack(kept).tolist()
            for kept in zip(*((g.loss, norm, g.targets) for _, g, norm in steps), strict=True)
        )
        for (step, _, _), loss, norm in zip(steps, losses, norms, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise _diverged(step, loss, norm)
        event = {"step": steps[-1][0], "loss": losses[-1], "gradient_norm": norms[-1], "seconds": seconds}
        if seconds > self._since:
            event["targets_per_second"] = sum(counts) / (seconds - self._since)
        self._since = seconds
        if steps[-1][1].auxiliary is not None:
            event["auxiliary"] = float(steps[-1][1].auxiliary)
        return event


def _diverged(step: int, loss: float, norm: float) -> VariorumError:
    name, value = ("loss", loss) if not math.isfinite(loss) else ("norm of the gradient", norm)
    return VariorumError(
        f"training, {name} of step {step}",
        expected="a finite number",
        found=str(value),
        do="Lower the learning rate (AdamW's lr), lengthen the warm-up, clip gradients harder (clip), or train in "
        "precision 32; if it is step 1, look for extreme values in the data.",
    )
