"""One soak: a stage, a plan, what comes of it in numbers."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from soaking.judge import PENDING, judge_ledger
from soaking.parent import Broken, Seen, Stage, save_seen
from soaking.plan import Fault
from soaking.rows import (
    Rows,
    acknowledged_lost,
    ills_said,
    judge_rows,
    reference,
    tables_made_again,
)
from soaking.stage import TICKS, Page, State
from soaking.truth import Truth, truth_of


def soak(
    folder: Path, sounds: Path, plan: list[Fault], seconds: float, *,
    seed: int, references: dict[int, Rows], period_s: int, stop: threading.Event | None = None,
) -> dict[str, Any]:  # fmt: skip
    """One station from the first sample to the last, and what is found in its folder."""
    stage = make_stage(folder, sounds, plan, seconds, seed=seed, stop=stop)
    began_s, broken = time.monotonic(), ""
    try:
        stage.run()
    except Broken as error:
        broken = f"{error}: {(folder / 'stderr').read_text()[-2000:]}"
    wall_s = time.monotonic() - began_s
    save_seen(folder / "seen.json", stage.seen)
    truth = truth_of(folder, plan, stage.seen)
    found = judged(folder / "out", truth, references, stage.seen, period_s)
    ended_s = Page(folder / "page").read().now / TICKS
    found |= {"broken": broken, "days": round(ended_s / 86_400, 2)}
    found["x_real_time"] = round(ended_s / wall_s, 1)
    return found | growth(stage.seen) | wear(folder / "out", stage.seen, ended_s)


def judged(
    out: Path, truth: Truth, references: dict[int, Rows], seen: Seen, period_s: int
) -> dict[str, Any]:
    """Ledger, rows, acknowledgements, tables, health."""
    verdict = judge_ledger(out, truth)
    lasted, said = ills_said(out, truth)
    base = sqlite3.connect(out / "station.sqlite")
    return {
        "faults": dict(sorted(truth.came.items())),
        "starts": seen.starts,
        "runs": len(truth.runs),
        "ledger_wrong": verdict.wrong,
        "ledger_seconds": {name: round(s, 3) for name, s in sorted(verdict.seconds.items())},
        "ledger_entries": base.execute("SELECT count(*) FROM ledger").fetchone()[0],
        "largest_shift_samples": verdict.largest_shift_samples,
        "between_runs_s": verdict.between_runs_s,
        "pending_s": round(verdict.seconds["heard -> pending"], 3),
        "heard_and_lost_s": round(
            sum(one.end - one.begin for one in verdict.gone if one.fate != PENDING) / TICKS, 3
        ),
        "off_without_a_clock_s": round(verdict.untold_s, 3),
        **judge_rows(out, truth, verdict.gone, references, period_s),
        "rows_printed": len(seen.printed),
        "printed_rows_lost": acknowledged_lost(seen.printed, out / "detections.jsonl"),
        "tables_unlike_the_journal": tables_made_again(out),
        "sqlite_put_aside": len(list(out.glob("station.sqlite.damaged*"))),
        "ills_that_lasted": lasted,
        "ills_said_in_60_s": said,
    }


def growth(seen: Seen) -> dict[str, Any]:
    """A line through private memory and open files: each process and form from its own mean on,
    without its first hour."""
    if not seen.samples:
        # A soak so short that nobody has looked.
        return {}
    samples = np.array(seen.samples, dtype=float)
    days, memory, files = [], [], []
    for number in np.unique(samples[:, 0]):
        own = samples[samples[:, 0] == number]
        own = own[own[:, 1] - own[0, 1] > 3600 * TICKS]
        if len(own) < 3:
            continue
        days.append((own[:, 1] - own[:, 1].mean()) / TICKS / 86_400)
        memory.append((own[:, 2] - own[:, 2].mean()) / 1000)
        files.append(own[:, 3] - own[:, 3].mean())
    found: dict[str, Any] = {"peak_private_mb": round(float(samples[:, 2].max()) / 1000, 1)}
    if days:
        x = np.concatenate(days)
        found["longest_process_days"] = round(max(float(np.ptp(one)) for one in days), 2)
        for name, parts in (("private_mb_a_day", memory), ("open_files_a_day", files)):
            found[name] = round(float(x @ np.concatenate(parts) / (x @ x)), 3)
    found["open_files_most"] = int(samples[:, 3].max())
    return found


def wear(out: Path, seen: Seen, seconds: float) -> dict[str, Any]:
    """What the processes had written to disks, and what lies there."""
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {
        "written_mib_a_day": round(seen.written_bytes / 2**20 * 86_400 / seconds, 1),
        "folder_mib": round(size / 2**20, 1),
        "journal_mib": round((out / "detections.jsonl").stat().st_size / 2**20, 1),
    }


def calm(folder: Path, sounds: Path, form: int, period_s: int) -> Rows:
    """What the same sound gives with nothing going wrong."""
    make_stage(folder, sounds, [], period_s + 1200.0, seed=0, form=form).run()
    return reference(folder / "out", period_s)


def make_stage(
    folder: Path, sounds: Path, plan: list[Fault], seconds: float, *,
    seed: int, form: int = 0, stop: threading.Event | None = None,
) -> Stage:  # fmt: skip
    """A folder with what a station's process needs."""
    folder.mkdir(parents=True)
    for sound in sounds.iterdir():
        os.link(sound, folder / sound.name)
    stage = Stage(folder, plan, seconds, seed=seed, stop=stop)
    Page(folder / "page").write(State(form=form))
    return stage
