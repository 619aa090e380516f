"""An importable `torchvision` that holds names and computes nothing.

timm and vit-pytorch import torchvision when they are imported, for data augmentation and for a class or two that they
test for with `isinstance`. The published torchvision builds do not load beside the torch release that this project
pins, and the parity tests need only the model code of those two packages. Inside `installed()` every torchvision module
and every public name in it can be imported, subclassed and tested for; *making an instance or calling it* raises, so
that no test can rest on a torchvision operation that was never run.

    from standins import torchvision_standin

    with torchvision_standin.installed():
        import timm
        from vit_pytorch.cait import CaiT
"""

from __future__ import annotations

import contextlib
import enum
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NoReturn

PACKAGE = "torchvision"


class InterpolationMode(enum.Enum):
    """The resampling filters, by the names that timm looks up while it is imported."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


class Unavailable(type):
    """The type of what stands in for every other torchvision class, function or module that is asked for as a name."""

    def __call__(cls, *args: object, **kwargs: object) -> NoReturn:
        """Refuse: there is nothing behind the name, nor behind a class derived from it."""
        raise RuntimeError(
            f"{cls.__module__}.{cls.__qualname__} is only a name here: the tests run without torchvision. "
            "Expected: model code that computes with torch alone. What to do: build the reference model by a path "
            "that does not use torchvision, or compare against another reference."
        )

    def __getattr__(cls, name: str) -> type:
        """Return the name below this one, for `from torchvision import transforms` and then `transforms.Compose`."""
        if cls.__module__.split(".")[0] != PACKAGE:
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        return name_below(cls, f"{cls.__module__}.{cls.__qualname__}", name)


class StandinModule(ModuleType):
    """A torchvision module whose public names come into being when they are first asked for."""

    def __getattr__(self, name: str) -> type:
        """Return what stands in for `name`, always the same class."""
        return name_below(self, self.__name__, name)


def name_below(owner: object, path: str, name: str) -> type:
    """Make what stands in for `path.name` and keep it on its owner. Private names are never made."""
    if name.startswith("_"):
        raise AttributeError(f"{path} has no attribute {name!r}")
    made = InterpolationMode if name == "InterpolationMode" else Unavailable(name, (), {"__module__": path})
    setattr(owner, name, made)
    return made


class StandinFinder(MetaPathFinder, Loader):
    """Answers every import of torchvision and of what lies below it, and no other."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for torchvision's modules, None for all others."""
        if fullname != PACKAGE and not fullname.startswith(f"{PACKAGE}."):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make the empty module."""
        return StandinModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module the version that says what it is; it runs no code."""
        module.__dict__["__version__"] = "0+standin"


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Make torchvision importable inside the `with` block, and absent again after it.

    Absent again, because transformers and torch ask whether torchvision is there and take other paths if it is.

    Raises:
        RuntimeError: a real torchvision is installed. It would be hidden, and it does not fit the pinned torch.
    """
    if importlib.util.find_spec(PACKAGE) is not None:
        raise RuntimeError(
            "torchvision: expected it to be absent beside the pinned torch, found it installed (or this block inside "
            "another). What to do: `pip uninstall torchvision`; the packages that ask for it are installed without "
            "their dependencies."
        )
    finder = StandinFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]:
            del sys.modules[name]
