"""What the gate found, as a picture that stands alone: how each species' AUC moved."""

from __future__ import annotations

from typing import Any

from recorder.report.svg import LABELS, STYLE, WIDTH, Axis, drawing, name_at, text, upright

_COLOURS = ":root{--ink:#1b1f23;--dim:#59636e;--grid:#d8dee4;--a:#0072b2;--b:#d55e00}"
_STEP, _TOP = 20.0, 30.0


def gate_figure(report: dict[str, Any]) -> str:
    """An SVG: a dot for each species at int8 - fp32 of its AUC, and the limit as a dashed line."""
    verdict = "passed" if report["passed"] else "failed"
    title = f"int8 against fp32: {verdict}"
    species = [one for one in report.get("species", []) if None not in one["auc"]]
    parts = [text(8, 16, title, "strong")]
    height = _TOP + 20
    if species:
        parts += _dots(species, -report["limits"]["auc_loss"])
        height = _TOP + _STEP * len(species) + 38
    for reason in report["reasons"]:
        height += 16
        parts.append(text(8, height - 4, reason[:70], "tiny"))
    whole = drawing(WIDTH, height + 4, title, parts)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
    return whole.replace("<svg ", head, 1).replace(
        ">", f'><style>{_COLOURS}{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>', 1
    )


def _dots(species: list[dict[str, Any]], limit: float) -> list[str]:
    moves = [one["auc"][1] - one["auc"][0] for one in species]
    reach = max(1.2 * abs(limit), 1.1 * max(abs(move) for move in moves))
    axis = Axis("AUC of int8 minus AUC of fp32", -reach, reach, (limit, 0.0, -limit))
    left, right = LABELS, WIDTH - 14.0
    bottom = _TOP + _STEP * len(species)
    at_limit = axis.at(limit, left, right - left)
    parts = [
        upright(axis, left, right, _TOP, bottom),
        f'<path class="mark" d="M{at_limit:.1f} {_TOP}V{bottom}"/>',
    ]
    for place, (one, move) in enumerate(zip(species, moves, strict=True)):
        y = _TOP + _STEP * place + 11
        kind = "fill-b" if move < limit else "fill-a"
        x = axis.at(move, left, right - left)
        parts.append(name_at(left - 8, y + 4, one["label"]))
        parts.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4">'
            f"<title>{move:+.4f}</title></circle>"
        )
    return parts
