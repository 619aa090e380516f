"""Are two answers the same? The checks compare in float64, where rounding is far below any fault."""

from collections.abc import Sequence

from torch import Tensor

EXACT, CLOSE = 1e-10, 1e-6
"""Largest difference, relative to the largest value: of the same arithmetic, and of another order of operations (which
leaves room for parts that compute their angles or scores in float32)."""


def same(found: Sequence[Tensor], wanted: Sequence[Tensor], saying: str, tolerance: float = CLOSE) -> None:
    """Raise AssertionError with ``saying`` unless the answers have equal shapes and, but for rounding, equal values."""
    assert len(found) == len(wanted), f"{saying}: {len(found)} tensors instead of {len(wanted)}"
    for new, old in zip(found, wanted, strict=True):
        assert new.shape == old.shape, f"{saying}: shape {tuple(new.shape)} instead of {tuple(old.shape)}"
        if not old.numel():
            continue
        a, b = new.detach().double(), old.detach().double()
        assert a.isfinite().all() and b.isfinite().all(), f"{saying}: values that are not finite"
        distance, scale = float((a - b).abs().max()), max(1.0, float(b.abs().max()))
        assert distance <= tolerance * scale, f"{saying}: they differ by {distance:.2g} where values reach {scale:.2g}"
