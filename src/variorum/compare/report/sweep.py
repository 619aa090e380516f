"""``report.html`` of a study: a row's seeds as points beside the base's band, and the table."""

from typing import TYPE_CHECKING, Any

from variorum.compare.report.templates import page

if TYPE_CHECKING:
    from variorum.compare.swept import Line, Swept

WIDTH, ROW, NAMES, MARGIN = 760.0, 26.0, 230.0, 20.0
"""Of the picture, in its own units: its width, a row's height, the room for names, the room at the end."""


def render(swept: "Swept") -> str:
    """The page, one file that asks for nothing. Everything that comes from data is escaped."""
    lines = swept.lines()
    return page(
        "sweep.html", swept=swept, lines=lines, picture=picture(lines), extra=list(lines[0].others), number=_number,
    )  # fmt: skip


def picture(lines: "list[Line]") -> dict[str, Any]:
    """Places of the drawing: a band for the base, a row of points and a mark at the mean for each line."""
    from variorum.compare.swept import SIGMAS

    base = lines[0]
    wide = SIGMAS * (base.spread or 0.0)
    values = [v for line in lines for v in line.values] + [base.mean - wide, base.mean + wide]
    low, high = min(values), max(values)
    scale = (WIDTH - NAMES - MARGIN) / ((high - low) or 1.0)

    def x(value: float) -> float:
        return round(NAMES + (value - low) * scale, 1)

    rows = [
        {
            "name": line.row,
            "y": round(ROW * (i + 0.5), 1),
            "points": [x(v) for v in line.values],
            "mean": x(line.mean),
            "look": line.standing.name.lower(),
            "says": f"{line.row}: {_number(line.mean)}, {line.standing.value}",
        }
        for i, line in enumerate(lines)
    ]
    height = ROW * len(lines)
    ends = [(x(v), _number(v)) for v in (low, high)]
    return {"width": WIDTH, "height": height, "rows": rows, "ends": ends, "names": NAMES - 12,
            "band": (x(base.mean - wide), round(2 * wide * scale, 1))}  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
