"""Charts as inline SVG: no script, no network, no library; colours are those of the page.

A chart is 480 units wide, so that its text can still be read on a phone. What is not a number
(NaN) is left out: it is drawn neither as 0 nor as a line through the gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from recorder.ui import printable

WIDTH = 480

STYLE = """
svg{display:block;width:100%;height:auto}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
svg .soft{fill:var(--dim)} svg .end{text-anchor:end} svg .mid{text-anchor:middle}
svg .tiny{font-size:10px} svg .strong{font-weight:600}
svg .grid{stroke:var(--grid);fill:none} svg .axis{stroke:var(--dim);fill:none}
svg .mark{stroke:var(--ink);stroke-dasharray:5 3;fill:none}
svg .line{fill:none;stroke-width:2;stroke-linejoin:round}
svg .a{stroke:var(--a)} svg .b{stroke:var(--b);stroke-dasharray:8 3}
svg .c{stroke:var(--dim);stroke-dasharray:2 4}
svg .fill-a{fill:var(--a)} svg .fill-b{fill:var(--b)} svg .fill-c{fill:var(--dim)}
svg .maybe{fill:none;stroke:var(--b)} svg .through{pointer-events:none}
"""
"""The page defines --ink, --dim, --grid, --a and --b for light and for dark."""

LABELS = 184.0
"""Width of the names left of a chart."""
_CHARACTER = 7.4
"""Width of a character of the 12-px text in a wide font."""
_LONGEST = 24
"""Characters of a name that there is room for."""
_DARKEST = 0.55


@dataclass(frozen=True)
class Axis:
    """A scale with its title (unit included) and the values that are written at it."""

    title: str
    low: float
    high: float
    ticks: Sequence[float]

    def at(self, value: float, start: float, length: float) -> float:
        """Where a value lies on a line from `start`; `length` may be negative (upwards)."""
        return start + (value - self.low) / (self.high - self.low) * length


@dataclass(frozen=True)
class Line:
    """Points joined by a line; `kind` is a (solid), b (dashed) or c (dotted, for a floor)."""

    name: str
    points: Sequence[tuple[float, float]]
    kind: str = "a"
    hints: Sequence[str] = ()
    """One for each point, which then gets a dot."""


@dataclass(frozen=True)
class Bar:
    """A bar with the words in the columns right of it."""

    label: str
    value: float
    columns: Sequence[str] = ()
    said: str = ""
    """Its value in words, where two decimals are not wanted."""


def words(value: str) -> str:
    """Text that may stand in SVG and HTML, whatever is in it."""
    return escape(printable(value))


def number(value: float, digits: int = 2) -> str:
    """A figure in words; what is not a number is a dash."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def text(x: float, y: float, value: str, kind: str = "", more: str = "") -> str:
    """`kind` are classes of STYLE."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}"{more}>{words(value)}</text>'


def drawing(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """The <svg>; `title` is for those who cannot see it."""
    size = f"max-width:{1.2 * width:.0f}px;min-width:{0.66 * width:.0f}px"
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="{size}" role="img" '
        f'aria-label="{words(title)}">{"".join(parts)}</svg>'
    )


def line_chart(
    title: str,
    x: Axis,
    y: Axis,
    lines: Sequence[Line],
    *,
    marks: Sequence[tuple[float, str]] = (),
    notes: Sequence[tuple[float, str]] = (),
    note_title: str = "",
) -> str:
    """Lines over two axes; `marks` are dashed verticals with a name, `notes` a row of words."""
    left, right, plot = 48.0, WIDTH - 14.0, 200.0
    legend, head = _legend([(line.name, f"line {line.kind}") for line in lines])
    rows = len(marks) + bool(notes)
    top = head + 16.0 * rows + 6.0
    bottom = top + plot
    parts = [legend, _frame(x, y, left, right, top, bottom)]
    for row, (value, name) in enumerate(_untangled(marks, (x.low + x.high) / 2)):
        at, baseline = x.at(value, left, right - left), head + 16.0 * row + 12.0
        beside = (at - 5, "end") if value > (x.low + x.high) / 2 else (at + 5, "")
        parts.append(f'<path class="mark" d="M{at:.1f} {baseline - 9:.1f}V{bottom:.1f}"/>')
        parts.append(text(beside[0], baseline, name, beside[1]))
    if notes:
        baseline = head + 16.0 * len(marks) + 12.0
        parts.append(text(left - 8, baseline, note_title, "end tiny soft"))
        for value, note in notes:
            parts.append(text(x.at(value, left, right - left), baseline, note, "mid tiny soft"))
    for line in lines:
        places = [
            (x.at(a, left, right - left), y.at(b, bottom, top - bottom)) for a, b in line.points
        ]
        parts += _curve(line, places)
    return drawing(WIDTH, bottom + 38.0, title, parts)


def bars(title: str, axis: Axis, rows: Sequence[Bar], headers: Sequence[str] = ()) -> str:
    """Horizontal bars under one another; `headers` name the columns right of them."""
    left, column = LABELS, 44.0
    right = WIDTH - column * len(headers) - 36.0
    top, step = 24.0, 20.0
    bottom = top + step * len(rows)
    parts = [upright(axis, left, right, top, bottom)]
    for place, header in enumerate(headers):
        parts.append(text(WIDTH - column * (len(headers) - place - 1), 14, header, "end soft"))
    for place, row in enumerate(rows):
        y = top + step * place
        parts.append(name_at(left - 8, y + 14, row.label))
        end = left
        if not math.isnan(row.value):
            end = axis.at(row.value, left, right - left)
            hint = f"<title>{words(row.label)}: {number(row.value)}</title>"
            box = f'x="{left}" y="{y + 3:.1f}" width="{end - left:.1f}" height="14"'
            parts.append(f'<rect class="fill-a" {box}>{hint}</rect>')
        parts.append(text(end + 4, y + 14, row.said or number(row.value)))
        for at, value in enumerate(row.columns):
            x = WIDTH - column * (len(row.columns) - at - 1)
            parts.append(text(x, y + 14, value, "end soft"))
    return drawing(WIDTH, bottom + 38.0, title, parts)


def matrix(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    shares: Sequence[Sequence[float]],
    hints: Sequence[Sequence[str]],
    *,
    row_title: str,
    column_title: str,
) -> str:
    """A grid of `shares` from 0 to 1, written as per cent; 0 is blank, NaN a dash."""
    left, cell = LABELS, 22.0
    longest = max((min(len(name), _LONGEST) for name in columns), default=0)
    top = min(LABELS, 24.0 + _CHARACTER * longest)
    parts = [
        text(left - 6, top - 8, f"{row_title} ↓", "end strong"),
        text(left - 6, 14, f"{column_title} →", "end strong"),
    ]
    for place, name in enumerate(columns):
        x = left + cell * (place + 0.5) + 4
        parts.append(name_at(x, top - 6, name, turned=True))
    for place, name in enumerate(rows):
        y = top + cell * place
        parts.append(name_at(left - 6, y + 15, name))
        for at, (share, hint) in enumerate(zip(shares[place], hints[place], strict=True)):
            parts.append(_cell(left + cell * at, y, cell, share, hint))
    return drawing(left + cell * len(columns) + 4, top + cell * len(rows) + 4, title, parts)


def _untangled(marks: Sequence[tuple[float, str]], middle: float) -> list[tuple[float, str]]:
    """In such an order that no name, which points to the middle, crosses a line from above."""
    right = [mark for mark in marks if mark[0] > middle]
    left = [mark for mark in marks if mark[0] <= middle]
    return [*sorted(right, reverse=True), *sorted(left)]


def _cell(x: float, y: float, size: float, share: float, hint: str) -> str:
    """One square of a matrix, darker the nearer to 1 but never too dark for its number."""
    middle = (x + size / 2, y + size / 2 + 4)
    box = f'x="{x:.1f}" y="{y:.1f}" width="{size}" height="{size}"'
    edge = f'<rect class="grid" {box}/>'
    if math.isnan(share):
        return edge + text(*middle, "–", "mid tiny soft")
    shade = f'fill-opacity="{_DARKEST * share:.2f}"'
    filled = f'<rect class="fill-a" {box} {shade}><title>{words(hint)}</title></rect>'
    written = text(*middle, f"{100 * share:.0f}", "mid tiny through") if share else ""
    return edge + filled + written


def _curve(line: Line, places: Sequence[tuple[float, float]]) -> list[str]:
    """A line broken where there is no number, and its dots."""
    path, pen = "", "M"
    for x, y in places:
        if math.isnan(x) or math.isnan(y):
            pen = "M"
            continue
        path += f"{pen}{x:.1f} {y:.1f}"
        pen = "L"
    parts = [f'<path class="line {line.kind}" d="{path}"><title>{words(line.name)}</title></path>']
    for (x, y), hint in zip(places, line.hints, strict=False):
        if not (math.isnan(x) or math.isnan(y)):
            dot = f'class="fill-{line.kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"'
            parts.append(f"<circle {dot}><title>{words(hint)}</title></circle>")
    return parts


def _legend(entries: Sequence[tuple[str, str]]) -> tuple[str, float]:
    """(names beside samples of their lines, height), as many in a row as there is room for."""
    x, y, parts = 48.0, 14.0, []
    for name, kind in entries:
        width = 30.0 + _CHARACTER * len(name) + 12.0
        if x > 48.0 and x + width > WIDTH:
            x, y = 48.0, y + 16.0
        parts.append(f'<path class="{kind}" d="M{x:.1f} {y - 4:.1f}h24"/>')
        parts.append(text(x + 30, y, name))
        x += width
    return "".join(parts), y + 4.0


def _frame(x: Axis, y: Axis, left: float, right: float, top: float, bottom: float) -> str:
    """Grid, ticks and titles of both axes."""
    parts = [upright(x, left, right, top, bottom)]
    for tick in y.ticks:
        at = y.at(tick, bottom, top - bottom)
        parts.append(f'<path class="grid" d="M{left:.1f} {at:.1f}H{right:.1f}"/>')
        parts.append(text(left - 6, at + 4, f"{tick:g}", "end soft"))
    middle = (top + bottom) / 2
    turned = f' transform="rotate(-90 12 {middle:.1f})"'
    parts.append(text(12, middle, y.title, "mid", turned))
    return "".join(parts)


def upright(axis: Axis, left: float, right: float, top: float, bottom: float) -> str:
    """Grid, ticks and title of the horizontal axis."""
    parts = []
    for tick in axis.ticks:
        at = axis.at(tick, left, right - left)
        parts.append(f'<path class="grid" d="M{at:.1f} {top:.1f}V{bottom:.1f}"/>')
        parts.append(text(at, bottom + 15, f"{tick:g}", "mid soft"))
    parts.append(f'<path class="axis" d="M{left:.1f} {bottom:.1f}H{right:.1f}"/>')
    parts.append(text((left + right) / 2, bottom + 32, axis.title, "mid"))
    return "".join(parts)


def name_at(x: float, y: float, name: str, kind: str = "", *, turned: bool = False) -> str:
    """A name that ends at x, or rises from it when turned; a long one is cut."""
    cut = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
    place = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    anchor = "" if turned else "end"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{anchor} {kind}"{place}>{words(cut)}'
        f"<title>{words(name)}</title></text>"
    )
