"""Does what the station wrote agree with what really happened? Sample by sample, row by row."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from soaking.stage import CUT, STOPPED, TICKS, frame_ticks
from soaking.truth import HEARD, Run, Stretch, Truth, rate_hz

PENDING = "pending"
SMALL_SAMPLES = 64
"""An edge that lies so little beside its place is the clock's reading; the largest is said."""
_BLOCKS = TICKS + TICKS // 10
"""Two blocks: one that is on its way, and one that is written while the kill comes."""
_HELD = 11 * TICKS
"""Sound waits for so long after an overrun of which nobody said how much it was."""
_BEHIND = 60 * TICKS
"""At full speed on a busy machine so much goes by until what was taken in is in the ledger."""
_RAM_DISK = 1800 * TICKS
"""So much may wait on it: ten minutes and five of a window, and what analysis is behind."""
_COMMIT = 310 * TICKS
"""The ledger is on the disk at least every five minutes."""
_EXACT_S, _BY_THE_WALL_S = 0.002, 0.3
"""Between two runs, by the clock that runs from boot on, or by that of the day."""


@dataclass(frozen=True)
class _Found:
    begin: int
    end: int
    real: str
    said: str


@dataclass
class Verdict:
    """Of the ledger: seconds by what became of them, and what cannot be explained."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    wrong: list[str] = field(default_factory=list)
    gone: list[Stretch] = field(default_factory=list)
    """Heard, and lost after all, or pending at the end."""
    largest_shift_samples: int = 0
    between_runs_s: list[float] = field(default_factory=list)
    """Time that no run's ledger holds, where a clock can tell."""
    untold_s: float = 0.0
    """And where none can: another boot, whose clock was not set yet."""


def judge_ledger(out: Path, truth: Truth) -> Verdict:
    """Compare each run's ledger with the stretches that the microphone knows of."""
    verdict = Verdict()
    base = sqlite3.connect(out / "station.sqlite")
    rows = base.execute(
        "SELECT start_sample, samples, state, reason, run FROM ledger ORDER BY start_sample"
    ).fetchall()
    place = 0
    for start, samples, *_ in rows:
        if start != place:
            verdict.wrong.append(f"a hole or an overlap at sample {place}: {start}")
        place = start + samples
    runs = base.execute("SELECT run, time_quality FROM runs ORDER BY run").fetchall()
    numbers = [one[0] for one in runs]
    if len(numbers) != len(truth.runs):
        verdict.wrong.append(f"{len(numbers)} runs instead of {len(truth.runs)}")
        return verdict
    for at, (number, run) in enumerate(zip(numbers, truth.runs, strict=True)):
        written = _in_ticks([row for row in rows if row[4] == number], run)
        _judge_run(verdict, truth, run, written)
        known = [one[1] == "synced" for one in runs[at : at + 2]]
        _judge_end(verdict, truth, at, written[-1].end, times_known=all(known))
    return verdict


def _in_ticks(rows: list[Any], run: Run) -> list[Stretch]:
    """Of one run; what is analysed was heard."""
    each, found = frame_ticks(run.form), []
    tick = run.begin
    for _, samples, state, reason, _ in rows:
        fate = {"analysed": HEARD, "pending": PENDING}.get(state, reason)
        found.append(Stretch(tick, tick + samples * each, fate))
        tick += samples * each
    return found


def _judge_run(verdict: Verdict, truth: Truth, run: Run, written: list[Stretch]) -> None:
    each = frame_ticks(run.form)
    for found in _side_by_side(run.stretches, written):
        ticks = found.end - found.begin
        verdict.seconds[f"{found.real} -> {found.said}"] += ticks / TICKS
        if found.real == found.said:
            continue
        if ticks <= SMALL_SAMPLES * each:
            verdict.largest_shift_samples = max(verdict.largest_shift_samples, ticks // each)
            continue
        if found.real == HEARD:
            verdict.gone.append(Stretch(found.begin, found.end, found.said))
        if not _excused(truth, run, found):
            where = f"{found.begin / TICKS:.3f} to {found.end / TICKS:.3f} s"
            verdict.wrong.append(
                f"boot {run.boot}, {rate_hz(run)} Hz, {where}: {found.real}, and the ledger says "
                f"{found.said}"
            )


def _side_by_side(real: list[Stretch], said: list[Stretch]) -> list[_Found]:
    """All the time that either knows of."""
    cuts = sorted({edge for one in (*real, *said) for edge in (one.begin, one.end)})
    found: list[_Found] = []
    left, right = iter(real), iter(said)
    one, other = next(left, None), next(right, None)
    for begin, end in pairwise(cuts):
        while one is not None and one.end <= begin:
            one = next(left, None)
        while other is not None and other.end <= begin:
            other = next(right, None)
        was = one.fate if one is not None and one.begin <= begin else "nothing"
        is_said = other.fate if other is not None and other.begin <= begin else "nothing"
        joins = bool(found) and (found[-1].real, found[-1].said) == (was, is_said)
        found.append(_Found(found.pop().begin if joins else begin, end, was, is_said))
    return found


def _excused(truth: Truth, run: Run, found: _Found) -> bool:
    """What a fault takes with it, and no more."""
    if found.real == "nothing":
        # After the last sound: judged by `_judge_end`.
        return found.begin >= run.end and found.said in ("shutdown", "device")
    if found.real == HEARD and found.said == PENDING:
        # Told to stop before all was settled: the next start would do it.
        return run is truth.runs[-1] and found.begin >= run.end - _RAM_DISK
    if found.real == HEARD and found.said == "disk":
        return _no_room(truth, run, found)
    downs = [one for one in run.downs if one[0] + _BLOCKS >= found.end and one[1] != STOPPED]
    if not downs:
        return False
    at, how = downs[0]
    if found.said == "nothing":
        # Another boot without a clock: nobody knows what followed the last line of the ledger.
        return how == CUT and found.begin >= at - _COMMIT
    if found.said != "shutdown":
        return False
    if found.real != HEARD:
        # An overrun of which the sound thereafter was on its way; and why nothing was heard, when
        # the card took no line that says so.
        return at - _HELD <= found.begin or any(
            one.begin <= found.end + _BEHIND and one.begin <= at <= one.end + _HELD
            for one in truth.upset
            if one.fate == "disk"
        )
    return (
        found.begin >= at - _BLOCKS
        or (how == CUT and found.begin >= at - _RAM_DISK)
        or any(first - TICKS <= found.begin and found.end <= stop for first, stop in truth.damage)
        or _no_room(truth, run, found)
        or any(
            one.begin - _RAM_DISK <= found.begin and one.begin <= at <= one.end + _HELD
            for one in truth.upset
            if one.fate == "disk ram"
        )
    )


def _no_room(truth: Truth, run: Run, found: _Found) -> bool:
    """Neither card nor RAM disk took sound, or the card did not and the RAM disk was used up."""
    used_up = run.form == 1 or any(
        first <= found.begin and found.end <= stop for first, stop in truth.starved
    )
    return any(
        one.begin - TICKS <= found.begin and found.end <= one.end + _HELD
        for one in truth.upset
        if one.fate == "disk ram" or (one.fate == "disk" and used_up)
    )


def _judge_end(
    verdict: Verdict, truth: Truth, at: int, written_end: int, *, times_known: bool
) -> None:
    """From the last sound of a run to the first of the next: whose clocks can tell, and do they?"""
    if at + 1 == len(truth.runs):
        return
    run, following = truth.runs[at], truth.runs[at + 1]
    left_s = (following.begin - written_end) / TICKS
    how = run.downs[-1][1] if run.downs and run.downs[-1][0] >= run.end else 0
    if how == STOPPED:
        return
    same_boot = run.boot == following.boot
    if not same_boot and not times_known:
        verdict.untold_s += left_s
        return
    verdict.between_runs_s.append(round(left_s, 3))
    if abs(left_s) > (_EXACT_S if same_boot else _BY_THE_WALL_S):
        verdict.wrong.append(f"between runs {at + 1} and {at + 2}: {left_s:.3f} s are nobody's")
