"""Hooks: the same named points in every model; they cost nothing when nobody listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase

from torch import Tensor, nn

from variorum.core.errors import VariorumError, nearest
from variorum.core.part import Part

AUXILIARY = "auxiliary"
"""The point at which any part may tell a loss of its own: a scalar, weighted, already a mean over real tokens."""


def points(model: nn.Module) -> list[str]:
    """Names of all points of a model, such as ``blocks.3.mixer.weights``."""
    return [_name(path, tap) for path, part in _parts(model) for tap in part.taps]


@contextmanager
def listen(
    model: nn.Module, *patterns: str, edit: Callable[[Tensor], Tensor] | None = None
) -> Iterator[dict[str, list[Tensor]]]:
    """Collect what the points matching the patterns tell, by name, one tensor a visit; ``edit`` may change it.

    A part with a fast path that never forms the tensor asked for (attention weights) takes its readable path while it
    is listened to. A pattern that matches no point raises :class:`VariorumError`.

    >>> with listen(model, "blocks.*.mixer.weights") as told:
    ...     model(x)
    """
    told: dict[str, list[Tensor]] = {}
    chosen = [(part, tap, _name(path, tap)) for path, part in _parts(model) for tap in (*part.taps, AUXILIARY)]
    chosen = [c for c in chosen if any(fnmatchcase(c[2], p) for p in patterns)]
    names = {name for _, _, name in chosen}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise VariorumError(f"hook pattern {pattern!r}", expected="a point of this model", found="no match",
                                do=nearest(pattern, points(model)))  # fmt: skip
    before = [(part, part._listeners) for part, _, _ in chosen]
    for part, tap, name in chosen:
        part._listeners = {**(part._listeners or {})}
        part._listeners[tap] = [*part._listeners.get(tap, []), _listener(told.setdefault(name, []), edit)]
    try:
        yield told
    finally:
        for part, listeners in reversed(before):
            part._listeners = listeners


def _listener(heard: list[Tensor], edit: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor | None]:
    def hear(value: Tensor) -> Tensor | None:
        heard.append(value)
        return None if edit is None else edit(value)

    return hear


def _parts(model: nn.Module) -> Iterator[tuple[str, Part]]:
    return ((path, module) for path, module in model.named_modules() if isinstance(module, Part))


def _name(path: str, tap: str) -> str:
    return f"{path}.{tap}" if path else tap
