"""Part: an ordinary ``nn.Module`` with a typed constructor, usable alone by anyone."""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, ClassVar

from torch import Tensor, nn

from variorum.core.registry import Registered
from variorum.core.spec import Spec
from variorum.core.traits import Traits

Listener = Callable[[Tensor], Tensor | None]


class Part(nn.Module, Registered, abstract=True):
    """A module that a Spec can name. Its abstract base says its kind; its traits say what it promises.

    ``taps`` names the points of the forward pass at which listeners may read or change a tensor (see ``core.hooks``).
    ``auxiliary`` is a point of every part: what is told there is added to the training loss.
    """

    kind: ClassVar[str] = "part"
    taps: ClassVar[tuple[str, ...]] = ()
    built_from: Spec[Any] | None = None
    _listeners: dict[str, list[Listener]] | None = None

    @property
    def traits(self) -> Traits:
        """What the part promises: a class attribute of most parts, a property where it depends on children."""
        return Traits()

    def heard(self, point: str) -> bool:
        """Is somebody listening at this point?"""
        return self._listeners is not None and point in self._listeners

    def tap(self, point: str, value: Tensor) -> Tensor:
        """Show ``value`` to whoever listens at ``point``; a listener may answer with a tensor to go on with."""
        if self._listeners is not None:
            for listener in self._listeners.get(point, ()):
                answer = listener(value)
                value = value if answer is None else answer
        return value


def promises(parts: Iterable[nn.Module]) -> Traits:
    """The promises of one or more parts applied one after the other."""
    return reduce(Traits.along, (part.traits for part in parts if isinstance(part, Part)))
