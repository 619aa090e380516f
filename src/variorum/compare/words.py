"""Figures as people read them."""

import math


def number(value: float | None, *, digits: int = 3) -> str:
    """Three significant digits, without an exponent where that stays short; a dash for what was not measured."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = math.floor(math.log10(abs(value)))
    if -4 <= size < 6:
        return f"{value:,.{max(0, digits - 1 - size)}f}"
    return f"{value:.{digits - 1}e}"


def share(value: float | None, *, metric: str | None) -> str:
    """A score: an accuracy in percent, everything else as a number."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if metric == "accuracy" else number(value)


def deviation(value: float | None, *, metric: str | None) -> str:
    """A deviation of scores: of accuracies in points of percent, everything else as a number."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} points" if metric == "accuracy" else number(value, digits=2)


def millijoules(value: float | None) -> str:
    """Energy: 0.412 mJ."""
    return "–" if value is None else f"{number(value)} mJ"


def count(value: float | None) -> str:
    """A count: 912, 1.2 k, 3.4 M, 12.0 G, 1.3 T."""
    if value is None:
        return "–"
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.1f} {letter}"
    return f"{value:.3g}"


def size(value: float | None) -> str:
    """Bytes: 912 B, 12.0 kB, 1.3 MB (powers of 1000, as disks are sold)."""
    if value is None:
        return "–"
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit:
            return f"{value / limit:.1f} {unit}"
    return f"{value:g} B"


def milliseconds(value: float | None) -> str:
    """Milliseconds: 0.412 ms, 12.3 ms."""
    return "–" if value is None else f"{number(value)} ms"


def mebibytes(value: float | None) -> str:
    """Mebibytes: 12.3 MiB."""
    return "–" if value is None else f"{number(value)} MiB"


def span(seconds: float | None) -> str:
    """A time: 9 s, 1:05 min, 2:03 h."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02d} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02d} h"
