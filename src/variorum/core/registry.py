"""The registry: subclassing registers a class, nothing else does. Discovery finds what no import has reached yet."""

import importlib
import importlib.util
import inspect
import pkgutil
import threading
import typing
from abc import ABC
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, Self

from variorum.core.errors import VariorumError, nearest

if TYPE_CHECKING:
    from variorum.core.spec import Spec

ROOMS = ("layers", "models", "objectives", "data", "programs", "train", "compress", "adapt", "explain", "runtime",
         "systems", "compare", "claims")  # fmt: skip
APART = "variorum.compare.estimators"
"""Registers nothing, and is built on scikit-learn, whose import takes seconds: left to who asks for it."""
PLUGINS = "variorum.plugins"

_classes: dict[str, type["Registered"]] = {}
_discovery = threading.RLock()
_discovered = False


class Registered(ABC):  # noqa: B024 - its kinds have the abstract methods
    """A class that can be named in a :class:`~variorum.core.spec.Spec`.

    A subclass is *abstract* (``class Mixer(Part, abstract=True)``: a kind, not registered) or *final* (registered under
    its class name, cannot be subclassed). A name taken by another class raises :class:`VariorumError`.
    """

    kind: ClassVar[str] = "registered"
    examples: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    """Arguments of tiny instances that the contract suite builds, beside the standard widths."""
    _abstract: ClassVar[bool] = True

    def __init_subclass__(cls, *, abstract: bool = False, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        for base in cls.__bases__:
            if not base.__dict__.get("_abstract", True):
                raise TypeError(f"{cls.__name__} subclasses the final {base.__name__}: write a part of its own instead")
        cls._abstract = abstract
        if abstract:
            return
        other = _classes.get(cls.__name__)
        if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise VariorumError(
                f"part name {cls.__name__!r}",
                expected="a name not taken",
                found=f"{other.__module__} and {cls.__module__} both define it",
                do="Rename one of the classes.",
            )
        _classes[cls.__name__] = cls

    @classmethod
    def spec(cls, **args: Any) -> "Spec[Self]":
        """This class named with arguments, not built; the arguments are checked at once."""
        from variorum.core.spec import Spec

        return Spec.of(cls, args)


def find(name: str) -> type[Registered]:
    """The registered class of this name. Unknown names raise :class:`VariorumError` with the nearest known ones."""
    if name not in _classes:
        discover()
    if name not in _classes:
        raise VariorumError("part", expected="the name of a registered part", found=repr(name),
                            do=nearest(name, _classes))  # fmt: skip
    return _classes[name]


def registered(kind: type[Registered] = Registered) -> dict[str, type[Registered]]:
    """All registered classes of a kind, by name, in alphabetical order."""
    discover()
    return {name: cls for name, cls in sorted(_classes.items()) if issubclass(cls, kind)}


def discover() -> None:
    """Import every module of the rooms and every plugin (entry-point group ``variorum.plugins``), once."""
    global _discovered
    with _discovery:
        if _discovered:
            return
        _discovered = True  # before, for a module that is imported here may ask the registry in turn
        try:
            _import_all()
        except BaseException:
            _discovered = False  # half a registry must not pass for a whole one at the next call
            raise


def _import_all() -> None:
    for room in ROOMS:
        if importlib.util.find_spec(f"variorum.{room}") is None:
            continue
        package = importlib.import_module(f"variorum.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(APART):
                importlib.import_module(module.name)
    for plugin in entry_points(group=PLUGINS):
        plugin.load()


@cache
def signature(cls: type[Registered]) -> dict[str, inspect.Parameter]:
    """Constructor parameters by name, without ``self``; annotations resolved."""
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if not issubclass(owner, Registered):  # that of object or nn.Module, which torch.compile may have replaced
        return {}
    hints = typing.get_type_hints(cls.__init__, include_extras=True)
    found = {}
    for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{cls.__name__}.__init__ takes *{name}: a part's constructor names every argument")
        if name not in hints:
            raise TypeError(f"{cls.__name__}.__init__: {name} has no type")
        found[name] = parameter.replace(annotation=hints[name])
    return found
