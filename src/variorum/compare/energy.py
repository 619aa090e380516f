"""Energy that some work takes, where the machine counts it: processors by RAPL on Linux, NVIDIA devices by NVML.

David et al. 2010, "RAPL: Memory Power Estimation and Capping" (ISLPED). What is counted is the whole package or device,
with whatever else runs on it: a figure is worth something only where nothing else does.
"""

import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

POWERCAP = Path("/sys/class/powercap")
SECONDS = 0.5
"""RAPL's counters move about every millisecond: calls are repeated for so much longer that this does not show."""


class Meter:
    """Joules that the machine has used since the meter was made, as far as it counts them.

    Every package (socket) counts microjoules up to a largest number, from which it begins again at 0; it must be read
    at least once on each way up (a quarter of an hour and more). Where torch can use NVIDIA devices and ``pynvml`` is
    installed, those are added. powercap: where Linux shows its counters.
    """

    def __init__(self, *, powercap: Path = POWERCAP) -> None:
        self._counters = [*_packages(powercap), *(_devices() if torch.cuda.is_available() else ())]

    def read(self) -> float | None:
        """Joules since the meter was made; None where there is no counter, or one that may not be read."""
        read = [counter.joules() for counter in self._counters]
        known = [joules for joules in read if joules is not None]
        return sum(known) if known and len(known) == len(read) else None


class Energy:
    """Joules used during a ``with`` block: ``joules`` after it, None where they are not known."""

    joules: float | None = None

    def __init__(self, *, meter: Meter | None = None) -> None:
        self.meter = Meter() if meter is None else meter

    def __enter__(self) -> Self:
        self._before = self.meter.read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        after = self.meter.read()
        self.joules = after - self._before if after is not None and self._before is not None else None


def millijoules(
    model: nn.Module, inputs: dict[str, Any], *, seconds: float = SECONDS, meter: Meter | None = None
) -> float | None:
    """Energy of one call in millijoules, the mean over calls one after another for ``seconds``; None if not known."""
    counted = Meter() if meter is None else meter
    if counted.read() is None:
        return None
    with torch.inference_mode():
        model(**inputs)  # the first call also sets things up
        calls, end = 0, time.perf_counter() + seconds
        with Energy(meter=counted) as used:
            while not calls or time.perf_counter() < end:
                model(**inputs)
                calls += 1
    return None if used.joules is None else 1000 * used.joules / calls


class _Counter:
    """Adds up the steps of a counter that begins again at 0 after ``most``; ``unit``: joules of a step of 1."""

    def __init__(self, read: Callable[[], int | None], *, unit: float, most: int | None = None) -> None:
        self._read, self._unit, self._most = read, unit, most
        self._last, self._total = read(), 0

    def joules(self) -> float | None:
        """Joules since it was made; None if it cannot be read."""
        now = self._read()
        if now is None or self._last is None:
            return None
        step = now - self._last
        if step < 0 and self._most is not None:
            step += self._most
        self._last, self._total = now, self._total + step
        return self._total * self._unit


def _packages(powercap: Path) -> Iterator[_Counter]:
    """The packages; what lies inside one (cores, memory) or around all (psys) would be counted twice."""
    for zone in sorted(powercap.glob("intel-rapl:*")):
        name = zone / "name"
        if zone.name.count(":") == 1 and name.exists() and name.read_text("utf-8").startswith("package"):
            yield _Counter(_file(zone / "energy_uj"), unit=1e-6, most=_file(zone / "max_energy_range_uj")())


def _file(path: Path) -> Callable[[], int | None]:
    def read() -> int | None:
        try:
            return int(path.read_text("utf-8"))
        except OSError:  # most kernels let only the administrator read it
            return None

    return read


def _devices() -> Iterator[_Counter]:
    """NVIDIA devices; nothing without the library that reads them."""
    if find_spec("pynvml") is None:
        return
    nvml: Any = import_module("pynvml")
    nvml.nvmlInit()
    for number in range(nvml.nvmlDeviceGetCount()):
        yield _Counter(_device(nvml, nvml.nvmlDeviceGetHandleByIndex(number)), unit=1e-3)


def _device(nvml: Any, handle: Any) -> Callable[[], int | None]:
    def read() -> int | None:
        try:
            return int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        except nvml.NVMLError:  # devices older than Volta do not count
            return None

    return read
