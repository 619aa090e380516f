"""Lightning Fabric, which knows devices, precisions, and how processes work together."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from variorum.train.precision import FABRIC, Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def fabric(precision: Precision, *, accelerator: str = "auto", devices: Any = 1) -> "Fabric":
    """One device of this machine."""
    # It takes seconds to import: only who trains waits for it.
    from lightning_fabric import Fabric

    with quiet():
        return Fabric(accelerator=accelerator, devices=devices, precision=FABRIC[precision])


@contextmanager
def quiet() -> Iterator[None]:
    """What Fabric says of itself on the way is not news to who trains."""
    said = logging.getLogger("lightning_fabric.utilities.rank_zero")
    before = said.level
    said.setLevel(logging.WARNING)
    try:
        yield
    finally:
        said.setLevel(before)
