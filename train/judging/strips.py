"""The chart of a soundscape: scores over time, one species under another, and the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from recorder.report.svg import LABELS, WIDTH, Axis, drawing, name_at, text, upright, words


@dataclass(frozen=True)
class Strip:
    """One score along a soundscape, a hint for each step, with what is true below it."""

    label: str
    values: Sequence[float]
    hints: Sequence[str]
    threshold: float
    true: Sequence[bool]
    known: Sequence[bool]


def strips(title: str, x: Axis, rows: Sequence[Strip]) -> str:
    """Steps from 0 to 1 under one another on one axis of time, thresholds dashed."""
    left, right, top, step = LABELS, WIDTH - 14.0, 6.0, 34.0
    bottom = top + step * len(rows)
    parts = [upright(x, left, right, top, bottom)]
    for place, row in enumerate(rows):
        base, height = top + step * place + 25.0, 22.0
        width = (right - left) / len(row.values)
        parts.append(name_at(left - 8, base - 4, row.label, "strong" if any(row.true) else "soft"))
        parts.append(f'<path class="axis" d="M{left} {base:.1f}H{right}"/>')
        for at, value in enumerate(row.values):
            start = left + width * at
            parts.append(_step(start, base, width, height * value, row.hints[at]))
            parts.append(_truth(start, base + 1.5, width, row.true[at], row.known[at]))
        limit = base - height * row.threshold
        parts.append(f'<path class="mark" d="M{left} {limit:.1f}H{right}"/>')
    return drawing(WIDTH, bottom + 38.0, title, parts)


def _step(x: float, base: float, width: float, height: float, hint: str) -> str:
    """One value of a strip."""
    if math.isnan(height):
        return text(x + width / 2, base - 4, "–", "mid tiny")
    box = f'x="{x:.1f}" y="{base - height:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="fill-a" {box}><title>{words(hint)}</title></rect>'


def _truth(x: float, y: float, width: float, true: bool, known: bool) -> str:
    """Full where the species calls, an outline where it may."""
    if known and not true:
        return ""
    kind = "fill-b" if true else "maybe"
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="4"/>'
