"""Rotary positions interpolated pair by pair, with sharper weights. Peng et al. 2023, arXiv:2309.00071."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from variorum.core import VariorumError
from variorum.layers.positions.turning import Turning, geometric


class YarnRotary(Turning):
    """Rotary whose frequency f_i becomes f_i * (g_i + (1 - g_i) / factor), queries and keys times ``size``.

    YaRN, Peng et al. 2023, arXiv:2309.00071. g_i falls from 1 to 0 in a straight line over the channel pairs i between
    the one that turns round ``fast`` times in a row of ``trained`` positions and the one that does so ``slow`` times.

    size: the square root of the paper's 1/t: 0.1 ln(factor) + 1 unless given.    whole: the two bounds are rounded
    outward to whole pairs, as in the released code; the paper's are not.
    """

    examples = ({"trained": 64, "factor": 4.0}, {"trained": 64, "factor": 4.0, "size": 1.0, "whole": False})

    def __init__(
        self,
        *,
        trained: int,
        factor: float,
        fast: float = 32.0,
        slow: float = 1.0,
        size: float | None = None,
        base: float = 10000.0,
        whole: bool = True,
    ) -> None:
        super().__init__()
        if trained < 1 or factor < 1 or not 0 < slow < fast or base <= 1:
            raise VariorumError("YarnRotary",
                                expected="a length and a factor of 1 or more, 0 < slow < fast, a base above 1",
                                found=f"trained {trained}, factor {factor}, slow {slow}, fast {fast}, base {base}",
                                do="Choose others.")  # fmt: skip
        self.trained, self.factor, self.fast, self.slow, self.base, self.whole = (
            trained, factor, fast, slow, base, whole,
        )  # fmt: skip
        self.size = 0.1 * math.log(factor) + 1 if size is None else size

    def frequencies(self, head_dim: int, device: torch.device) -> Float[Tensor, "half"]:
        """f_i * (g_i + (1 - g_i) / factor)."""
        half = head_dim // 2
        first, last = self._bounds(half)
        pairs = torch.arange(half, device=device, dtype=torch.float32)
        kept = 1 - ((pairs - first) / (last - first)).clamp(0, 1)
        shares = torch.lerp(torch.full_like(kept, 1 / self.factor), torch.ones_like(kept), kept)
        return geometric(self.base, half, device) * shares

    def _bounds(self, half: int) -> tuple[float, float]:
        """The pairs between which frequencies go over from their own to the interpolated ones."""
        first, last = (
            half * math.log(self.trained / (turns * 2 * math.pi)) / math.log(self.base)
            for turns in (self.fast, self.slow)
        )
        if self.whole:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0.0), min(last, 2 * half - 1.0)
        return first, last if last > first else first + 0.001
