"""The job `scan`: every recording below some paths, in order, and an account of each."""

from __future__ import annotations

import multiprocessing
import platform
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import soundfile

from recorder import __version__
from recorder.detect.bundle import DEFAULT_BUNDLE, ModelBundle
from recorder.detect.decide import thresholds
from recorder.detect.models import load_model, precision_of, read_model
from recorder.detect.precision import check_precision
from recorder.errors import EXIT_OK, EXIT_SOME_FAILED, NothingToDoError, UsageError
from recorder.keep.formats import FORMATS, make_writable, write_json
from recorder.keep.outputs import ScanOutputs
from recorder.keep.result import DoneFiles, FileResult
from recorder.onefile import FileScanner
from recorder.sound.finder import Found, common_folder, find_recordings
from recorder.sound.notes import Notes, with_start
from recorder.ui import Reporter, Tally, reporter

_STATUSES = ("analysed", "repaired", "partial", "failed", "skipped")
_AHEAD = 4
"""Files handed out per worker before the first must be back: bounds what waits in memory."""


@dataclass(frozen=True)
class ScanOptions:
    """What the command line asks for."""

    paths: tuple[Path, ...]
    out: Path
    model: Path | None = None
    threshold: float | None = None
    precision: str = "auto"
    formats: tuple[str, ...] = ("csv",)
    scores: bool = False
    workers: int = 1
    strict: bool = False
    resume: bool = True
    start: str = ""
    """Time of day of the first sample of the one recording, ISO 8601."""

    def check(self) -> None:
        """Raises UsageError for what cannot be, before any work is done."""
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown:
            raise UsageError(f"--formats {unknown[0]!r} is unknown: use {', '.join(FORMATS)}")
        if self.threshold is not None and not 0.0 < self.threshold < 1.0:
            raise UsageError(f"--threshold {self.threshold} must lie between 0 and 1")
        if self.workers < 1:
            raise UsageError(f"--workers {self.workers}: at least 1 is needed")
        check_precision(self.precision)
        try:
            with_start(Notes(), self.start)
        except ValueError as error:
            raise UsageError(
                f"--start {self.start!r} is no time: use 2026-05-01T06:00:00+02:00, or without a "
                "zone 2026-05-01T06:00:00"
            ) from error


def run_scan(options: ScanOptions, *, quiet: bool) -> tuple[dict[str, Any], Tally, int]:
    """Analyse everything; return the run's record, the species, and the exit code.

    Raises UsageError, ModelError, NothingToDoError. On Ctrl-C what is complete is kept, and
    KeyboardInterrupt goes on up after saying how to resume.
    """
    options.check()
    started = time.monotonic()
    bundle = read_model(options.model or DEFAULT_BUNDLE)
    options = replace(options, precision=precision_of(bundle, options.precision))
    found = find_recordings(options.paths, leave_out=options.out)
    if options.start and len(found) > 1:
        raise UsageError(f"--start is that of one recording: {len(found)} were found")
    make_writable(options.out)
    tally, counts, interrupted = Tally(), _Counts(), False
    labels = [label.label for label in bundle.labels]
    with ScanOutputs(
        options.out, formats=options.formats, labels=labels, scores=options.scores
    ) as outputs:
        total = float(sum(_size(one) for one in found))
        with reporter(len(found), total, quiet=quiet) as report:
            try:
                for result in _results(options, bundle, found, report):
                    outputs.add(result)
                    tally.add(result.detections)
                    counts.add(result)
                    report.file_done(result.manifest, len(result.detections))
                    if options.strict and result.manifest.status == "failed":
                        break
            except KeyboardInterrupt:
                # What is complete is written out before anything else happens.
                interrupted = True
    run = _run_record(options, bundle, counts, time.monotonic() - started)
    run["recordings"] = str(common_folder(options.paths))
    write_json(options.out / "run.json", run)
    if interrupted:
        raise KeyboardInterrupt
    if not any(not one.problem for one in found):
        raise NothingToDoError(_nothing(options, found))
    failed = counts.by_status["failed"]
    return run, tally, EXIT_SOME_FAILED if failed else EXIT_OK


class _Counts:
    """Totals over the files."""

    def __init__(self) -> None:
        self.by_status: Counter[str] = Counter()
        self.seconds_in_files = 0.0
        self.seconds_analysed = 0.0
        self.detections = 0
        self.chunks = 0

    def add(self, result: FileResult) -> None:
        self.by_status[result.manifest.status] += 1
        self.seconds_in_files += result.manifest.seconds_in_file
        self.seconds_analysed += result.manifest.seconds_analysed
        self.detections += len(result.detections)
        self.chunks += len(result.chunks)


def _results(
    options: ScanOptions, bundle: ModelBundle, found: list[Found], report: Reporter
) -> Iterator[FileResult]:
    """The result of each file, in order: kept from before, or made now."""
    limits = thresholds(bundle, options.threshold).tolist()
    settings = f"{bundle.sha256}|{options.precision}|{__version__}|{limits}|{options.start}"
    done = DoneFiles(options.out / ".done", settings)
    with _Scanners(options, bundle) as scanners:
        waiting: deque[tuple[Found, Callable[[], FileResult]]] = deque()
        for one in found:
            kept = done.get(one.path, one.name) if options.resume and not one.problem else None
            part = _part(done, one) if options.resume and kept is None else None
            waiting.append((one, scanners.submit(one, kept, report, part)))
            if len(waiting) >= scanners.ahead:
                yield _kept(done, *waiting.popleft())
        while waiting:
            yield _kept(done, *waiting.popleft())


def _kept(done: DoneFiles, one: Found, get: Callable[[], FileResult]) -> FileResult:
    result = get()
    done.put(one.path, result)
    return result


class _Scanners:
    """Analyses in this process, or in several others."""

    def __init__(self, options: ScanOptions, bundle: ModelBundle) -> None:
        self._arguments = (bundle.path, options.threshold, options.precision, options.start)
        self.ahead = 1 if options.workers == 1 else options.workers * _AHEAD
        self._pool: ProcessPoolExecutor | None = None
        self._workers = options.workers

    def __enter__(self) -> _Scanners:
        if self._workers > 1:
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=multiprocessing.get_context("spawn"),
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def submit(
        self, one: Found, kept: FileResult | None, report: Reporter, part: Path | None
    ) -> Callable[[], FileResult]:
        """A call that returns the result, waiting for it or making it."""
        size = _size(one)
        if kept is not None:
            return lambda: _advanced(kept, report, size)
        if self._pool is not None:
            future: Future[FileResult] = self._pool.submit(_in_worker, *self._arguments, one, part)
            return lambda: _advanced(future.result(), report, size)
        scanner = _scanner(*self._arguments)
        return lambda: scanner.scan(one, lambda share: report.advance(share * size), part)


def _advanced(result: FileResult, report: Reporter, size: int) -> FileResult:
    report.advance(size)
    return result


@lru_cache(maxsize=1)
def _scanner(bundle_path: Path, threshold: float | None, precision: str, start: str) -> FileScanner:
    bundle = read_model(bundle_path)
    limits = thresholds(bundle, threshold)
    return FileScanner(load_model(bundle, precision), limits, start=start)


def _in_worker(
    bundle_path: Path,
    threshold: float | None,
    precision: str,
    start: str,
    one: Found,
    part: Path | None,
) -> FileResult:
    return _scanner(bundle_path, threshold, precision, start).scan(one, part=part)


def _part(done: DoneFiles, one: Found) -> Path | None:
    try:
        return None if one.problem else done.part(one.path, one.name)
    except OSError:
        return None


def _size(one: Found) -> int:
    try:
        return one.path.stat().st_size
    except OSError:
        return 0


def _nothing(options: ScanOptions, found: list[Found]) -> str:
    problems = "".join(f"; {one.name}: {one.problem}" for one in found[:5])
    where = ", ".join(map(str, options.paths))
    looked = "wav, flac, ogg, opus, mp3, aiff, w64, caf, au"
    return f"no audio found in {where}{problems} (looked for {looked})"


def _run_record(
    options: ScanOptions, bundle: ModelBundle, counts: _Counts, elapsed_s: float
) -> dict[str, Any]:
    limits = thresholds(bundle, options.threshold)
    return {
        "command": " ".join(["birdrec", *sys.argv[1:]]),
        "birdrec": __version__,
        "model": {
            "name": bundle.name,
            "path": str(bundle.path),
            "sha256": bundle.sha256,
            "precision": options.precision,
        },
        "thresholds": {
            label.label: round(float(limit), 4)
            for label, limit in zip(bundle.labels, limits, strict=False)
        },
        **({"any_bird_threshold": bundle.any_bird_threshold} if bundle.any_bird else {}),
        "totals": {
            "files": sum(counts.by_status.values()),
            **{status: counts.by_status[status] for status in _STATUSES},
            "seconds_in_files": round(counts.seconds_in_files, 3),
            "seconds_analysed": round(counts.seconds_analysed, 3),
            "chunks": counts.chunks,
            "detections": counts.detections,
        },
        "elapsed_s": round(elapsed_s, 3),
        "x_real_time": round(counts.seconds_analysed / max(elapsed_s, 1e-9), 1),
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": onnxruntime.__version__,
            "soundfile": soundfile.__version__,
        },
    }
