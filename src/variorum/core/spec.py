"""Spec: a part named but not built. Frozen, hashable, comparable, JSON in and out, checked at once."""

import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Generic, Literal, Self, TypeVar

from variorum.core.errors import VariorumError, nearest
from variorum.core.registry import Registered, find, signature

T_co = TypeVar("T_co", bound=Registered, covariant=True)
MAX_DEPTH, MAX_NODES = 48, 200_000


@dataclass(frozen=True, slots=True)
class Spec(Generic[T_co]):
    """A registered class and the arguments chosen for it.

    Parameters of the class that have no default and are not among ``args`` are *open*: what is only known later
    (``dim``, ``classes``, ``vocab``). A parent that builds a child gives its widths (``spec.build(dim=dim)``); a task
    gives its facts to the whole tree at once (``spec.fill(classes=10)``).
    """

    part: str
    args: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, owner: type[Registered], args: Mapping[str, Any]) -> "Spec[Any]":
        """A spec of ``owner``; raises :class:`VariorumError` for an unknown or ill-typed argument."""
        frozen = {name: _checked(owner, name, value) for name, value in args.items()}
        return cls(owner.__name__, tuple((name, frozen[name]) for name in signature(owner) if name in frozen))

    # -- reading ---------------------------------------------------------------------------------------------------
    @property
    def cls(self) -> type[T_co]:
        """The class that the spec names."""
        return find(self.part)  # type: ignore[return-value]

    def __getitem__(self, name: str) -> Any:
        """The argument ``name``: the one chosen, else the constructor's default."""
        chosen = dict(self.args)
        if name in chosen:
            return chosen[name]
        parameter = signature(self.cls).get(name)
        if parameter is None or parameter.default is parameter.empty:
            raise VariorumError(f"spec of {self.part}", expected="the name of an argument that has a value",
                                found=repr(name), do=nearest(name, signature(self.cls)))  # fmt: skip
        return freeze(parameter.default)

    @property
    def open(self) -> tuple[str, ...]:
        """Names of the parameters still to be given before this spec itself can be built."""
        chosen = {name for name, _ in self.args}
        return tuple([name for name in _required(self.cls) if name not in chosen])

    def walk(self, path: str = "") -> Iterator[tuple[str, "Spec[Any]"]]:
        """Every spec of the tree with its path; the root's path is the empty string."""
        yield path, self
        for name, value in self.args:
            yield from _walk(value, f"{path}.{name}" if path else name)

    def at(self, path: str) -> Any:
        """The spec or value at a path such as ``blocks[2].mixer`` or ``blocks[0].mixer.heads``."""
        here: Any = self
        for step in steps(path):
            here = _child(here, step, path)
        return here

    # -- rewriting -------------------------------------------------------------------------------------------------
    def replace(self, path: str, value: Any) -> Self:
        """A copy with the value at ``path`` replaced; ``[*]`` means every element: ``blocks[*].mixer``."""
        return _rewrite(self, steps(path), lambda _: value, path)

    def update(self, path: str, **args: Any) -> Self:
        """A copy in which the spec(s) at ``path`` have these arguments changed."""
        return _rewrite(self, steps(path), lambda old: old.but(**args), path)

    def but(self, **args: Any) -> Self:
        """A copy with some of its own arguments changed."""
        return Spec.of(self.cls, {**dict(self.args), **args})  # type: ignore[return-value]

    def fill(self, **facts: Any) -> Self:
        """A copy in which every open parameter, anywhere in the tree, that is named in ``facts`` has its value."""
        args = {name: _map_specs(value, lambda s: s.fill(**facts)) for name, value in self.args}
        args.update({name: facts[name] for name in self.open if name in facts})
        return Spec.of(self.cls, args)  # type: ignore[return-value]

    def wants(self) -> set[str]:
        """Names of all parameters still open anywhere in the tree (some are given by parents when they build)."""
        return {name for _, spec in self.walk() for name in spec.open}

    # -- building --------------------------------------------------------------------------------------------------
    def build(self, **offered: Any) -> T_co:
        """Construct the part. ``offered`` fills this spec's own open parameters; what it does not ask for, and None
        (not known), is ignored.
        """
        owner, args, spec = self.cls, dict(self.args), self
        left = []
        for name in _required(owner):
            if name not in args:  # what was chosen before was checked then
                if offered.get(name) is None:
                    left.append(name)
                else:
                    args[name] = _checked(owner, name, offered[name])
        if left:
            raise VariorumError(f"building {self.part}", expected=f"values for {', '.join(left)}",
                                found="none", do=f"Pass them: spec.build({left[0]}=...), or fill() them.")  # fmt: skip
        if len(args) > len(self.args):
            spec = Spec(self.part, tuple([(name, args[name]) for name in signature(owner) if name in args]))
        for name, hint in _thawed(owner):
            if name in args:
                args[name] = thaw(args[name], hint)
        built = owner(**args)
        built.__dict__["built_from"] = spec
        return built

    # -- JSON ------------------------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: ``{"part": name, "args": {...}}``."""
        return {"part": self.part, "args": {name: _plain(value) for name, value in self.args}}

    def to_json(self, *, indent: int | None = None) -> str:
        """JSON text; ``Spec.from_json`` reads it back equal."""
        return json.dumps(self.to_dict(), indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Spec[Any]":
        """Read a spec. Names registered parts only; runs and imports nothing that the text chooses."""
        return cls.from_dict(read_json(text, "spec"))

    @classmethod
    def from_dict(cls, tree: Any) -> "Spec[Any]":
        """Read a spec from plain JSON values (see :meth:`from_json`)."""
        counter = iter(range(MAX_NODES))
        spec = _read(tree, 0, counter)
        if not isinstance(spec, Spec):
            raise VariorumError("spec", expected='an object {"part": ..., "args": {...}}', found=says_value(spec),
                                do="Write it with Spec.to_json.")  # fmt: skip
        return spec

    def __str__(self) -> str:
        return f"{self.part}({', '.join(f'{n}={_show(v)}' for n, v in self.args)})"


@dataclass(frozen=True)
class Change:
    """One difference between two specs: at ``path`` one has ``before`` and the other ``after`` (None: absent)."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path or 'model'}: {_show(self.before)} -> {_show(self.after)}"


def diff(a: Spec[Any], b: Spec[Any]) -> list[Change]:
    """What must be changed in ``a`` to get ``b``; a change alike in all elements is told once, as ``blocks[*]``."""
    return _diff(a, b, "")


# -- values ------------------------------------------------------------------------------------------------------------
_FROZEN = frozenset({int, float, bool, str, type(None), Spec})
"""Types whose values are frozen already."""


@cache
def _required(owner: type[Registered]) -> tuple[str, ...]:
    """Names of the constructor's parameters that have no default."""
    return tuple(name for name, parameter in signature(owner).items() if parameter.default is parameter.empty)


@cache
def _thawed(owner: type[Registered]) -> tuple[tuple[str, Any], ...]:
    """Names and types of the constructor's parameters whose frozen values are not what it wants; of most they are."""
    hints = ((name, parameter.annotation) for name, parameter in signature(owner).items())
    return tuple((name, hint) for name, hint in hints if not _stays(hint))


def _stays(hint: Any) -> bool:
    """Is every frozen value of this type already what the constructor wants?"""
    if hint is float or (isinstance(hint, type) and issubclass(hint, Enum)):
        return False
    return typing.get_origin(hint) is Spec or all(_stays(arg) for arg in typing.get_args(hint))


def _checked(owner: type[Registered], name: str, value: Any) -> Any:
    """The value, frozen, if the constructor of ``owner`` takes it by this name; else VariorumError."""
    tests = _tests(owner)
    if name not in tests:
        raise VariorumError(f"{owner.__name__}.spec", expected="arguments of its constructor",
                            found=f"unknown argument {name!r}", do=nearest(name, tests))  # fmt: skip
    frozen = freeze(value)
    if not tests[name](frozen):
        wanted = says(signature(owner)[name].annotation)
        raise VariorumError(f"{owner.__name__}.spec argument {name!r}", expected=wanted, found=says_value(frozen),
                            do="Pass a value of the expected type.")  # fmt: skip
    return frozen


@cache
def _tests(owner: type[Registered]) -> dict[str, Callable[[Any], bool]]:
    """For each parameter of the constructor the test of a frozen value."""
    return {name: _fitter(parameter.annotation) for name, parameter in signature(owner).items()}


def freeze(value: Any) -> Any:
    """Lists become tuples and enums their values, so that a spec is hashable and goes to JSON unchanged."""
    if type(value) in _FROZEN:
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return tuple(freeze(v) for v in value)
    return value


def thaw(value: Any, hint: Any) -> Any:
    """The value as the constructor wants it: enum members for their values, floats for integers."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if hint is float and isinstance(value, int):
        return float(value)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return thaw(value, next(a for a in args if fits(value, a)))
    if isinstance(value, tuple) and origin in (tuple, list, Sequence):
        inner = args[0] if args else Any
        each = args if origin is tuple and args and args[-1] is not Ellipsis else (inner,) * len(value)
        return tuple(thaw(v, h) for v, h in zip(value, each, strict=True))
    return value


def fits(value: Any, hint: Any) -> bool:
    """Does a frozen value fit a constructor's type hint?"""
    return _fitter(hint)(value)


@cache
def _fitter(hint: Any) -> Callable[[Any], bool]:
    """The test for a type hint; made once, for a model is built of hundreds of specs."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value: True
    if hint is None or hint is type(None):
        return lambda value: value is None
    if origin in (typing.Union, types.UnionType):
        members = [_fitter(a) for a in args]
        return lambda value: any(fit(value) for fit in members)
    if origin is Literal:
        return lambda value: any(value == a and type(value) is type(a) for a in args)
    if hint is Spec or origin is Spec:
        kinds = _kinds(args[0]) if args else (Registered,)
        return lambda value: isinstance(value, Spec) and issubclass(value.cls, kinds)
    if origin in (tuple, list, Sequence):
        return _sequence_fitter(origin, args)
    if isinstance(hint, type) and issubclass(hint, Enum):
        choices = [member.value for member in hint]
        return lambda value: any(value == choice for choice in choices)
    if hint is float:
        return lambda v: isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
    if hint is int:
        return lambda value: isinstance(value, int) and not isinstance(value, bool)
    return lambda value: isinstance(hint, type) and isinstance(value, hint)


def _sequence_fitter(origin: Any, args: tuple[Any, ...]) -> Callable[[Any], bool]:
    members = [_fitter(a) for a in args if a is not Ellipsis]
    if not members:
        return lambda value: isinstance(value, tuple)
    if origin is tuple and args[-1] is not Ellipsis:
        return lambda value: (isinstance(value, tuple) and len(value) == len(members)
                              and all(fit(v) for fit, v in zip(members, value, strict=True)))  # fmt: skip
    return lambda value: isinstance(value, tuple) and all(members[0](v) for v in value)


def _kinds(kind: Any) -> tuple[type, ...]:
    """The classes that a Spec's kind allows."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return tuple(k for member in typing.get_args(kind) for k in _kinds(member))
    return (kind,) if isinstance(kind, type) else (Registered,)


def says(hint: Any) -> str:
    """A type hint in words."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "one of " + ", ".join(repr(m.value) for m in hint)
    if hint is float:
        return "finite float"
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    return re.sub(r"\b(?:[a-z_]\w*\.)+", "", text)


def says_value(value: Any) -> str:
    """A value in words, cut to a readable length."""
    text = str(value) if isinstance(value, Spec) else repr(value)
    return f"{text[:120]}{'...' if len(text) > 120 else ''} ({type(value).__name__})"


# -- JSON reading ------------------------------------------------------------------------------------------------------
def read_json(text: str | bytes, subject: str) -> Any:
    """Parse strict JSON: duplicate keys, NaN, infinity and excessive depth are errors that name ``subject``."""

    def fault(found: str) -> VariorumError:
        return VariorumError(subject, expected="valid JSON", found=found, do="Write the file again with Variorum.")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise fault(f"duplicate key {next(k for k in keys if keys.count(k) > 1)!r}")
        return dict(pairs)

    def refuse(constant: str) -> Any:
        raise fault(f"the constant {constant}")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except VariorumError:
        raise
    except RecursionError:
        raise fault("nesting too deep") from None
    except ValueError as error:
        raise fault(str(error)) from None


def _read(node: Any, depth: int, counter: Iterator[int]) -> Any:
    if depth > MAX_DEPTH or next(counter, None) is None:
        raise VariorumError("spec", expected=f"at most {MAX_DEPTH} levels and {MAX_NODES} values", found="more",
                            do="This is no spec that Variorum wrote.")  # fmt: skip
    if isinstance(node, dict):
        if set(node) != {"part", "args"} or not isinstance(node["part"], str) or not isinstance(node["args"], dict):
            keys = sorted(map(str, node))[:8]
            raise VariorumError("spec", expected='objects of the form {"part": name, "args": {...}}',
                                found=f"keys {keys}", do="Write it with Spec.to_json.")  # fmt: skip
        return Spec.of(find(node["part"]), {k: _read(v, depth + 1, counter) for k, v in node["args"].items()})
    if isinstance(node, list | tuple):
        return tuple(_read(v, depth + 1, counter) for v in node)
    if isinstance(node, float) and not math.isfinite(node):
        raise VariorumError("spec", expected="finite numbers", found=repr(node), do="Use a finite number.")
    return node


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_dict()
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        runs: list[tuple[Any, int]] = []
        for item in value:
            if runs and runs[-1][0] == item:
                runs[-1] = (item, runs[-1][1] + 1)
            else:
                runs.append((item, 1))
        return "[" + ", ".join(_show(v) + (f" x {n}" if n > 1 else "") for v, n in runs) + "]"
    return str(value) if isinstance(value, Spec) else repr(value)


# -- paths -------------------------------------------------------------------------------------------------------------
_STEP = re.compile(r"(?:^|\.)([A-Za-z_]\w*)|\[(\d+|\*)\]")


def steps(path: str) -> list[str | int]:
    """``blocks[2].mixer`` as ``["blocks", 2, "mixer"]``; ``[*]`` stays the string ``"*"``."""
    found: list[str | int] = []
    end = 0
    for match in _STEP.finditer(path):
        if match.start() != end:
            break
        name, index = match.groups()
        found.append(name if name else "*" if index == "*" else int(index))
        end = match.end()
    if end != len(path) or not path:
        raise VariorumError("spec path", expected="a path such as blocks[2].mixer", found=repr(path),
                            do="Separate names by dots and put indices in brackets.")  # fmt: skip
    return found


def _child(here: Any, step: str | int, path: str) -> Any:
    if isinstance(step, str) and step != "*" and isinstance(here, Spec):
        return here[step]
    if isinstance(step, int) and isinstance(here, tuple) and step < len(here):
        return here[step]
    raise VariorumError(f"spec path {path!r}", expected=f"something that has {step!r}", found=says_value(here),
                        do="Look at the tree with spec.walk().")  # fmt: skip


def _rewrite(here: Any, rest: Sequence[str | int], change: Callable[[Any], Any], path: str) -> Any:
    if not rest:
        return change(here)
    step, below = rest[0], rest[1:]
    if step == "*" and isinstance(here, tuple):
        return tuple(_rewrite(v, below, change, path) for v in here)
    if isinstance(here, Spec) and isinstance(step, str) and not below and step in here.open:
        return here.but(**{step: change(None)})
    child = _child(here, step, path)
    new = _rewrite(child, below, change, path)
    if isinstance(here, Spec):
        return here.but(**{str(step): new})
    return tuple(new if i == step else v for i, v in enumerate(here))


def _map_specs(value: Any, change: Callable[[Spec[Any]], Spec[Any]]) -> Any:
    if isinstance(value, Spec):
        return change(value)
    return tuple(_map_specs(v, change) for v in value) if isinstance(value, tuple) else value


def _walk(value: Any, path: str) -> Iterator[tuple[str, Spec[Any]]]:
    if isinstance(value, Spec):
        yield from value.walk(path)
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from _walk(item, f"{path}[{i}]")


def _diff(a: Any, b: Any, path: str) -> list[Change]:
    if a == b:
        return []
    if isinstance(a, Spec) and isinstance(b, Spec) and a.part == b.part:
        left, right = ({n: None if n in s.open else s[n] for n in signature(find(s.part))} for s in (a, b))
        return [
            change for name in left for change in _diff(left[name], right[name], f"{path}.{name}" if path else name)
        ]
    if isinstance(a, tuple) and isinstance(b, tuple) and a and b and isinstance(a[0], Spec | tuple):
        size = [] if len(a) == len(b) else [Change(f"len({path})", len(a), len(b))]
        if len(set(a)) == 1 and len(set(b)) == 1:
            return size + _diff(a[0], b[0], f"{path}[*]")
        pairs = zip(a, b, strict=False)
        return size + [c for i, (x, y) in enumerate(pairs) for c in _diff(x, y, f"{path}[{i}]")]
    return [Change(path, a, b)]
