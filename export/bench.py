"""What a model costs on this machine: each part of a live 5-s step, and ten minutes of a scan.

Needs nothing but the recorder, so that it runs on the board itself. Each precision is measured in a
process of its own, on one thread; times are CPU seconds of that process, so that what else the
machine does counts little.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import ENCODER_FILES, HEAD_FILE, read_bundle
from recorder.detect.incremental import IncrementalHead
from recorder.detect.inference import Networks
from recorder.detect.mel import (
    CHUNK_S,
    FRAMES_PER_TOKEN,
    SAMPLE_RATE_HZ,
    TOKEN_SAMPLES,
    TOKENS_PER_CHUNK,
    log_mel,
    samples_needed,
)
from recorder.detect.pipeline import Pipeline
from recorder.detect.precision import int8_is_exact

Floats = NDArray[np.float32]
Report = dict[str, Any]

_LIVE_TOKENS = TOKENS_PER_CHUNK * 3 // 2
"""The chunk that is said live, and half of the one before for the sliding window."""
_SCAN_S = 600


def run_bench(folders: list[Path], runs: int = 40) -> Report:
    """Measure every precision of every bundle; ModelError from what cannot be loaded."""
    rows = []
    for folder in folders:
        for precision in read_bundle(folder).precisions:
            if precision == "int8" and not int8_is_exact():
                continue
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows.append(pool.submit(_measure, folder, precision, runs).result())
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {processor()}",
        "runs": runs,
        "unit": "ms of CPU for 5 s of sound, one thread: the least, and the median",
        "models": rows,
    }


def table(report: Report) -> str:
    """The least times as Markdown."""
    lines = [
        f"{report['machine']}, {report['date']}; {report['unit']}",
        "",
        "| model | precision | mel | encoder | head, sliding | live step | x real time "
        "| head, whole | scan, x real time | live peak MB | files MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in report["models"]:
        parts = [one["ms"][name]["least"] for name in ("mel", "encoder", "head_step")]
        cells = [
            one["name"],
            one["precision"],
            *(f"{part:.1f}" for part in parts),
            f"{sum(parts):.1f}",
            f"{one['live_x_real_time']:.0f}",
            f"{one['ms']['head_whole']['least']:.0f}",
            f"{one['scan_x_real_time']:.0f}",
            f"{one['live_peak_rss_mb']:.0f}",
            f"{one['files_mb']:.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _measure(folder: Path, precision: str, runs: int) -> Report:
    bundle = read_bundle(folder)
    networks = Networks(bundle, precision=precision)
    rng = np.random.default_rng(0)
    minute = (0.05 * rng.standard_normal(60 * SAMPLE_RATE_HZ)).astype(np.float32)
    times = _live(networks, minute, bundle.window_tokens // TOKENS_PER_CHUNK + runs, runs)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    live_ms = sum(part["least"] for part in times.values())
    tokens = rng.standard_normal((bundle.window_tokens, bundle.width)).astype(np.float32)
    whole: list[float] = []
    for _ in range(min(runs, 10)):
        _timed(whole, networks.attend, tokens)
    files = (ENCODER_FILES[precision], HEAD_FILE, "model.json")
    return {
        "name": bundle.name,
        "precision": precision,
        "ms": {**times, "head_whole": _summary(whole)},
        "live_x_real_time": round(1000 * CHUNK_S / live_ms, 1),
        "scan_x_real_time": round(_SCAN_S / _scan_s(networks, minute), 1),
        "live_peak_rss_mb": round(peak_mb, 1),
        "files_mb": round(sum((folder / name).stat().st_size for name in files) / 1e6, 3),
    }


def _live(networks: Networks, minute: Floats, steps: int, runs: int) -> dict[str, Any]:
    """Live steps until the window is full and `runs` more, whose times are kept."""
    bundle = networks.bundle
    head, halo = networks.incremental_head(), bundle.halo_tokens
    around = TOKENS_PER_CHUNK + 2 * halo
    needed = samples_needed(TOKENS_PER_CHUNK, bundle.mel)
    frames = log_mel(minute, around + TOKENS_PER_CHUNK * 8, bundle.mel)
    times: dict[str, list[float]] = {"mel": [], "encoder": [], "head_step": []}
    for step in range(steps):
        begin = step % 8 * TOKENS_PER_CHUNK
        sound = minute[begin * TOKEN_SAMPLES :][:needed]
        tile = frames[begin * FRAMES_PER_TOKEN :][: around * FRAMES_PER_TOKEN]
        _timed(times["mel"], log_mel, sound, TOKENS_PER_CHUNK, bundle.mel)
        tokens = _timed(times["encoder"], networks.encode, tile)[halo:][:TOKENS_PER_CHUNK]
        newest = min(_LIVE_TOKENS, TOKENS_PER_CHUNK * (step + 1))
        _timed(times["head_step"], _slide, head, tokens, newest)
    return {name: _summary(each[-runs:]) for name, each in times.items()}


def _slide(head: IncrementalHead, tokens: Floats, newest: int) -> None:
    head.push(tokens)
    head.logits(newest)


def _timed(times: list[float], part: Callable[..., Any], *arguments: Any) -> Any:
    """What `part` returns; its CPU time in ms is appended to `times`."""
    began = time.process_time()
    result = part(*arguments)
    times.append(1000 * (time.process_time() - began))
    return result


def _summary(times: list[float]) -> dict[str, float]:
    return {"least": round(min(times), 3), "median": round(statistics.median(times), 3)}


def _scan_s(networks: Networks, minute: Floats) -> float:
    """CPU seconds of the pipeline over ten minutes: one window, as most soundscapes are."""
    pipeline = Pipeline(networks)
    began = time.process_time()
    for _ in range(_SCAN_S // 60):
        pipeline.push(minute)
    pipeline.finish()
    return time.process_time() - began


def processor() -> str:
    """Its name, as Linux says it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.processor()
