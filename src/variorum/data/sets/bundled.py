"""What a bundled set is, and which one a name means."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from variorum.core import Registered, registered


class Bundled(Registered, abstract=True):
    """Real data with a name. No task is made here.

    name: what users call it.     reads: the kind of data.     says: what it is and where it comes from.
    synthetic: made by a generator rather than found in the world.
    asks: what is asked of it unless the user says otherwise: the target of a table, the horizon of a series.
    """

    kind: ClassVar[str] = "data set"
    name: ClassVar[str]
    reads: ClassVar[str]
    says: ClassVar[str]
    synthetic: ClassVar[bool] = False
    asks: ClassVar[dict[str, Any]] = {}

    @abstractmethod
    def read(self) -> Any:
        """The rows: a DataFrame; ``(images (n, H, W) uint8, labels (n,), class names)``; Clips; or the text."""


def sets() -> dict[str, Bundled]:
    """All bundled sets by name."""
    found = (cls() for cls in registered(Bundled).values() if issubclass(cls, Bundled))
    return {bundled.name: bundled for bundled in sorted(found, key=lambda bundled: bundled.name)}


def find_set(source: str | Path, reads: str) -> Bundled | None:
    """The bundled set of this name and kind, unless a file of the name lies at hand."""
    found = sets().get(str(source))
    return found if found is not None and found.reads == reads and not Path(source).exists() else None
