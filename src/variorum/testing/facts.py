"""Standard facts and widths: what a task or a parent would tell a tiny part that the suite builds."""

from collections.abc import Callable
from functools import partial
from typing import Any

from variorum.core import Registered, Spec, VariorumError, find
from variorum.layers.norms.layernorm import LayerNorm

FACTS: dict[str, Any] = {
    "vocab": 11,
    "classes": 3,
    "channels": 3,
    "height": 8,
    "width": 12,
    "columns": (0, 3, 0, 2),
    "variables": 2,
    "calendar": 2,
    "horizon": 3,
}
"""What tasks know about their data; given to the whole tree of a spec. An example that needs more gives it itself."""

WIDTHS: dict[str, Any] = {"dim": 16, "source": 12, "heads": 2, "norm": LayerNorm.spec()}
"""What parents give to a child when they build it; given to the root of a spec only."""


def complete(spec: Spec[Any]) -> Spec[Any]:
    """The spec with the standard facts and widths in place of what it leaves open. What stays open is an error."""
    spec = spec.fill(**FACTS)
    spec = spec.but(**{name: WIDTHS[name] for name in spec.open if name in WIDTHS})
    if spec.open:
        raise VariorumError(f"an example of {spec.part}", expected=f"values for {', '.join(spec.open)}", found="none",
                            do="Put them into the class's `examples`.")  # fmt: skip
    return spec


def known(spec: Spec[Any], name: str) -> Any:
    """The argument ``name`` of the first spec in the tree that has one, else the standard fact."""
    for _, inner in spec.walk():
        for found, value in inner.args:
            if found == name:
                return value
    return FACTS[name]


def named(part: "type[Registered] | Spec[Any] | str") -> tuple[type[Registered], tuple[Callable[[], Spec[Any]], ...]]:
    """The class of a part given as class, spec or registered name, and makers of the specs to try: its examples."""
    if isinstance(part, Spec):
        return part.cls, (lambda: part,)
    cls = find(part) if isinstance(part, str) else part
    return cls, tuple(partial(cls.spec, **example) for example in cls.examples)
