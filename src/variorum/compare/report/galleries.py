"""What finished models get right and wrong, row by row, within the size that a page may have."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from variorum.compare import words
from variorum.compare.record import Record
from variorum.compare.report import drawn

MOST_BYTES = 1_500_000
"""Of all galleries in the page, as JSON."""
PARTS = ("shown", "confusion", "scatter")
"""Of a gallery; one that has none is not shown."""
_URI = re.compile(r"data:(image/png|audio/wav);base64,[A-Za-z0-9+/]+={0,2}")


def galleries(record: Record, found: Mapping[str, Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Galleries as the page shows them, those of the best candidates first; and the names for which there is no room.

    One that is too large loses rows from its end, those it is least wrong about.
    """
    shown, left_out, room = list[dict[str, Any]](), list[str](), MOST_BYTES
    names = [r.name for r in record.ordered if any(found.get(r.name, {}).get(part) for part in PARTS)]
    for place, name in enumerate(names):
        # An equal part of what those before have left.
        fitting = _fitting(found[name], room // (len(names) - place))
        if fitting is None:
            left_out.append(name)
            continue
        room -= _size(fitting)
        shown.append(_view(name, fitting, record.data["metric"]))
    return shown, left_out


def _fitting(given: Mapping[str, Any], room: int) -> Mapping[str, Any] | None:
    rows = list(given.get("shown", ()))
    sizes = [_size(row) for row in rows]
    left = room - _size({**given, "shown": []})
    while rows and sum(sizes) > left:
        rows.pop()
        sizes.pop()
    return {**given, "shown": rows} if left >= 0 else None


def _size(value: Any) -> int:
    return len(json.dumps(value))


def _view(name: str, given: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """A gallery with what the template draws."""
    return {
        "name": name,
        "rows": given.get("rows", 0),
        "of": given.get("of", 0),
        "title": given.get("title", ""),
        "shown": [_row(row, metric) for row in given.get("shown", ())],
        "confusion": _confusion(given["confusion"]) if given.get("confusion") else None,
        "confused": given.get("confused", ()),
        "scatter": given.get("scatter"),
    }


def _row(row: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """A row with its drawings; data URIs only of the kinds that are made here, and true and predicted as texts."""
    view: dict[str, Any] = {key: row[key] for key in ("text", "written", "features", "more", "name") if key in row}
    view |= {key: _said(row[key]) for key in ("true", "said") if key in row}
    view["wrong"] = "true" in row and isinstance(row["true"], str) and row["true"] != row["said"]
    for key, text in (("sure", f"{100 * row['sure']:.0f} % sure" if "sure" in row else ""),
                      ("score", f"{metric} {words.share(row['score'], metric=metric)}" if "score" in row else ""),
                      ("seconds", f"{row['seconds']:g} s" if "seconds" in row else "")):  # fmt: skip
        if text:
            view[key] = text
    for key in ("image", "sound"):
        if _URI.fullmatch(str(row.get(key, ""))):
            view[key] = row[key]
    view |= {key: make(row[key]) for key, make in _DRAWN.items() if key in row}
    if "forecast" in row:
        view["forecast"] = drawn.forecast(row["known"], row["truth"], row["forecast"], row["steps"])
    return view


_DRAWN: dict[str, Any] = {"lines": drawn.lines, "points": drawn.dots, "loudness": drawn.bars}


def _said(value: Any) -> str:
    return words.number(value, digits=4) if isinstance(value, float) else str(value)


def _confusion(given: Mapping[str, Any]) -> dict[str, Any]:
    """Counts with the share of the true class's rows that each is."""
    counts: Sequence[Sequence[int]] = given["counts"]
    totals = [max(1, sum(row)) for row in counts]
    return {
        "labels": given["labels"],
        "classes": given["classes"],
        "long": max(len(label) for label in given["labels"]) > 4,
        "rows": [
            [{"count": n, "share": round(n / total, 3), "right": i == j} for j, n in enumerate(row)]
            for i, (row, total) in enumerate(zip(counts, totals, strict=True))
        ],
    }
