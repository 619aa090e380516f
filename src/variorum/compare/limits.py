"""What a model may take in use: limits, and what is over them."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any, Self

from variorum.core import VariorumError

MIB = 2**20
_NUMBER = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)\s*([a-zμ]*)")
_MILLISECONDS = {"ns": 1e-6, "us": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3, "sec": 1e3, "": 1.0}
_BYTES = {
    "b": 1.0, "bytes": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "": 1e6,
}  # fmt: skip
_UNITS = ((1e9, "GB", 2.0**30, "GiB"), (1e6, "MB", 2.0**20, "MiB"), (1e3, "kB", 2.0**10, "KiB"), (1.0, "B", 1.0, "B"))


@dataclass(frozen=True)
class Limits:
    """The most that a prediction or a bundle may take; None: no limit. Keys and units are those of ``Result``.

    latency_ms: of one prediction.     memory_mb: of loading and predicting one row, in MiB.
    size_bytes: of the bundle on disk.
    Raises :class:`VariorumError` for a limit that is not a finite number above 0.
    """

    latency_ms: float | None = None
    memory_mb: float | None = None
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
                raise VariorumError(f"limit {name}", expected="a finite number above 0, or None", found=repr(value),
                                    do="Leave it out to set no limit.")  # fmt: skip

    @classmethod
    def parse(
        cls,
        latency: str | float | None = None,
        memory: str | float | None = None,
        size: str | float | None = None,
    ) -> Self:
        """The limits that a user wrote: ``parse("800 us", "64 MiB", "1.5GB")``.

        Times in ns, us (µs), ms, s; sizes in B, kB, MB, GB (powers of 1000) or KiB, MiB, GiB (powers of 1024), upper or
        lower case. Plain numbers are milliseconds and megabytes (MB). Raises :class:`VariorumError` for anything else.
        """
        bytes_of_memory = _read("memory", memory, _BYTES, example="64MB")
        bytes_on_disk = _read("size", size, _BYTES, example="2MB")
        if bytes_on_disk is not None and bytes_on_disk < 1:
            raise _wrong("size", size, _BYTES, example="2MB")
        return cls(
            latency_ms=_read("latency", latency, _MILLISECONDS, example="1ms"),
            memory_mb=None if bytes_of_memory is None else bytes_of_memory / MIB,
            size_bytes=None if bytes_on_disk is None else math.floor(bytes_on_disk),
        )

    def __bool__(self) -> bool:
        return any(value is not None for value in asdict(self).values())

    def over(self, figures: Mapping[str, float | None]) -> str | None:
        """All limits that the figures break, in words joined by "; ", or None. What is not known breaks none."""
        said = []
        for field in fields(self):
            most, found = getattr(self, field.name), figures.get(field.name)
            if most is not None and found is not None and found > most:
                said.append(_SAYS[field.name](found, most))
        return "; ".join(said) or None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The limits that :meth:`to_dict` wrote."""
        return cls(**tree)


def _read(name: str, given: str | float | None, units: Mapping[str, float], *, example: str) -> float | None:
    """A number with or without a unit, in the unit that counts 1."""
    if given is None:
        return None
    # casefold makes the micro sign the Greek letter, so that both are read.
    match = _NUMBER.fullmatch("" if isinstance(given, bool) else str(given).strip().casefold())
    if match is None or match[2] not in units:
        raise _wrong(name, given, units, example=example)
    value = float(match[1]) * units[match[2]]
    if not 0 < value < math.inf:
        raise _wrong(name, given, units, example=example)
    return value


def _wrong(name: str, given: str | float | None, units: Mapping[str, float], *, example: str) -> VariorumError:
    known = ", ".join(unit for unit in units if unit)
    return VariorumError(name, expected=f"a number above 0 with a unit ({known})", found=repr(given),
                         do=f"Write it like {example}.")  # fmt: skip


def _apart(found: float, most: float, unit: str) -> tuple[str, str]:
    """Both figures in words, the one found with as many digits, two at least, as tell it from the limit."""
    for digits in range(2, 18):
        over, limit = f"{found:.{digits}g}", f"{most:.{max(digits, 6)}g}"
        if float(over) > float(limit):
            break
    # Decimal writes a number out where a float would have an exponent.
    return f"{Decimal(over):f} {unit}", f"{Decimal(limit):f} {unit}"


def _bytes_apart(found: float, most: float) -> tuple[str, str]:
    """Both in the unit, of thousands or of 1024s, in which the limit is the shorter to write: as it was given."""
    decimal, name, binary, other = next(units for units in _UNITS if most >= units[0] or units[0] == 1.0)
    if most >= binary and len(f"{most / binary:.6g}") < len(f"{most / decimal:.6g}"):
        return _apart(found / binary, most / binary, other)
    return _apart(found / decimal, most / decimal, name)


def _latency(found: float, most: float) -> str:
    value, limit = _apart(found, most, "ms")
    return f"{value} a prediction, over the limit of {limit}"


def _memory(found: float, most: float) -> str:
    value, limit = _bytes_apart(found * MIB, most * MIB)
    return f"{value} of memory, over the limit of {limit}"


def _size(found: float, most: float) -> str:
    value, limit = _bytes_apart(found, most)
    return f"{value} on disk, over the limit of {limit}"


_SAYS = {"latency_ms": _latency, "memory_mb": _memory, "size_bytes": _size}
