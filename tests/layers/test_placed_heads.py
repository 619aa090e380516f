"""Norms and turns of queries and keys in one pass of machine code, against their definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from variorum.layers.mixers.kernels.placed_heads import BoundPlaces, Places
from variorum.layers.native.chain import Chain
from variorum.layers.positions.turning import geometric, turned_by

# Each is compiled anew: of all there could be, those that together have every piece of the code.
KINDS = [
    Places(4, 1, 256, turned=128, eps=1e-6),
    Places(2, 3, 20, turned=10),
    Places(2, 2, 24, turned=6, eps=1e-5, centred=True),
    Places(1, 1, 7, eps=1e-5),
    Places(3, 1, 6, turned=3, eps=1e-6),
]


def placed_naive(x, positions, kind: Places, gains, shifts, frequency, size):
    """The twin that is read."""
    heads, found = kind.queries + kind.keys, x.double()
    of = torch.tensor([0] * kind.queries + [1] * kind.keys)
    y = found[:, :heads]
    if kind.eps is not None:
        y = y - y.mean(-1, keepdim=True) if kind.centred else y
        y = y / (y.square().mean(-1, keepdim=True) + kind.eps).sqrt() * gains[of] + shifts[of]
    found[:, :heads] = size * turned_by(y, positions, frequency)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=str)
@settings(max_examples=20)
@given(
    rows=st.integers(0, 5),
    threads=st.integers(1, 3),
    size=st.sampled_from([1.0, 1.5]),
    furthest=st.sampled_from([1, 2, 1000, 100_000]),
)
def test_heads_are_normed_and_turned(kind: Places, rows: int, threads: int, size: float, furthest: int) -> None:
    torch.manual_seed(rows)
    x = torch.randn(rows, kind.queries + 2 * kind.keys, kind.width)
    gains, shifts, frequency = torch.randn(2, kind.width), torch.randn(2, kind.width), geometric(1e4, kind.turned, None)
    positions = torch.randint(furthest, (rows,))
    wanted = placed_naive(x, positions, kind, gains, shifts, frequency, size)
    link = BoundPlaces(kind, x, gains, shifts, frequency, size=size)
    link.place(positions)
    Chain([link])(threads)
    torch.testing.assert_close(x.double(), wanted, rtol=1e-5, atol=1e-5)


def test_what_is_no_number_stays_in_its_head() -> None:
    kind = Places(2, 1, 16, turned=8, eps=1e-6)
    x, positions = torch.randn(2, 4, 16), torch.tensor([0, 7])
    x[1, 0, 3] = torch.nan
    link = BoundPlaces(kind, x, torch.ones(2, 16), torch.zeros(2, 16), geometric(1e4, 8, None))
    link.place(positions)
    Chain([link])(1)
    assert not x[1, 0].isfinite().any() and x[0].isfinite().all() and x[1, 1:].isfinite().all()
