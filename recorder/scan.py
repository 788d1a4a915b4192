"""The job `scan`: every recording below some paths, in order, and an account of each."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recorder.crew.jobs import WorkPlan, results_of, size_of
from recorder.crew.tasks import Settings
from recorder.detect.bundle import DEFAULT_BUNDLE, ModelBundle
from recorder.detect.decide import thresholds
from recorder.detect.models import precision_of, read_model
from recorder.detect.precision import check_precision
from recorder.errors import EXIT_OK, EXIT_SOME_FAILED, NothingToDoError, UsageError
from recorder.keep.alone import SCAN_NOTE, alone_in
from recorder.keep.formats import FORMATS, RUN, STATION_TABLES, make_writable, write_json
from recorder.keep.outputs import ScanOutputs
from recorder.keep.parquet import parquet_is_there
from recorder.scan_record import Counts, expected_record, run_record
from recorder.sound.files.finder import Found, common_folder, find_recordings
from recorder.sound.files.notes import Notes, with_start
from recorder.sound.files.remote import find_remote, is_url
from recorder.species.expectation import Asked, Expectation, read_expectation
from recorder.ui import Tally, printable, reporter

_DONE = ".done"
"""Below --out: what is known of each recording."""


@dataclass(frozen=True)
class ScanOptions:
    """What the command line asks for."""

    paths: tuple[str | Path, ...]
    """Files and folders, or one address that fsspec knows."""
    out: Path
    model: Path | None = None
    threshold: float | None = None
    precision: str = "auto"
    formats: tuple[str, ...] = ("csv",)
    scores: bool = False
    workers: int = 1
    cluster: str = ""
    """Address of a scheduler of Dask."""
    strict: bool = False
    resume: bool = True
    start: str = ""
    """Time of day of the first sample of the one recording, ISO 8601."""
    expects: Asked = field(default_factory=Asked)
    """The user's species list and prior."""

    @property
    def url(self) -> str:
        """The address to scan; empty when paths are scanned."""
        first = str(self.paths[0])
        return first if is_url(first) else ""

    @property
    def recordings(self) -> str:
        """The address, or the folder that names are relative to."""
        return self.url or str(common_folder(self.local_paths))

    @property
    def local_paths(self) -> tuple[Path, ...]:
        """Of this machine."""
        return tuple(map(Path, self.paths))

    def check(self) -> None:
        """Raises UsageError for what cannot be, before any work is done."""
        if len(self.paths) > 1 and any(is_url(str(path)) for path in self.paths):
            raise UsageError("an address (such as s3://...) is scanned alone: give only one")
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown:
            raise UsageError(f"--formats {unknown[0]!r} is unknown: use {', '.join(FORMATS)}")
        if "parquet" in self.formats and not parquet_is_there():
            raise UsageError(
                "--formats parquet needs pyarrow, which is not installed: "
                "pip install 'birdrec[parquet]'"
            )
        if self.threshold is not None and not 0.0 < self.threshold < 1.0:
            raise UsageError(f"--threshold {self.threshold} must lie between 0 and 1")
        if self.workers < 1:
            raise UsageError(f"--workers {self.workers}: at least 1 is needed")
        if self.cluster and self.workers > 1:
            raise UsageError("--workers and --cluster exclude each other: leave one out")
        check_precision(self.precision)
        self.expects.check()
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
    expects = read_expectation(options.expects, bundle)
    for words in expects.words:
        # Also when quiet: a misspelt name takes a species away.
        print(f"birdrec: {printable(words)}", file=sys.stderr)
    options = replace(options, precision=precision_of(bundle, options.precision))
    found = _found(options)
    if options.start and len(found) > 1:
        raise UsageError(f"--start is that of one recording: {len(found)} were found")
    has_sound = any(not one.problem for one in found)
    if not found or (not has_sound and (options.out / RUN).exists()):
        # What an earlier scan has written stays: the card may only be missing.
        raise NothingToDoError(_nothing(options, found))
    make_writable(options.out)
    with _room(options.out), alone_in(options.out, SCAN_NOTE):
        before = _check_out(options, quiet=quiet)
        plan = _work_plan(options, bundle, expects.expectation)
        tally, counts, interrupted = _write_results(options, plan, found, before, quiet=quiet)
        run = run_record(plan, counts, time.monotonic() - started)
        run["totals"]["found"] = len(found)
        run["complete"] = run["totals"]["files"] == len(found)
        run["formats"] = [*options.formats, *(["scores"] if options.scores else [])]
        run |= expected_record(expects, counts)
        run["recordings"] = options.recordings
        write_json(options.out / RUN, run)
    if interrupted:
        raise KeyboardInterrupt
    if not has_sound:
        raise NothingToDoError(_nothing(options, found))
    failed = counts.by_status["failed"]
    return run, tally, EXIT_SOME_FAILED if failed else EXIT_OK


def _write_results(
    options: ScanOptions,
    plan: WorkPlan,
    found: list[Found],
    before: frozenset[str],
    *,
    quiet: bool,
) -> tuple[Tally, Counts, bool]:
    """Analyse and write; the last value tells whether Ctrl-C ended it before its end. `before` are
    the formats of an earlier scan there."""
    expectation = plan.settings.expectation
    tally, counts = Tally(), Counts(expectation)
    with ScanOutputs(
        options.out,
        formats=options.formats,
        labels=[label.label for label in plan.bundle.labels],
        scores=options.scores,
        rejects=expectation is not None,
        before=before,
    ) as outputs:
        total = float(sum(size_of(one) for one in found))
        with reporter(len(found), total, quiet=quiet) as report:
            try:
                for result in results_of(plan, found, report):
                    outputs.add(result)
                    tally.add(result.detections)
                    counts.add(result)
                    report.file_done(result.manifest, len(result.detections))
                    if options.strict and result.manifest.status == "failed":
                        break
            except KeyboardInterrupt:
                # What is complete is written out before anything else happens.
                return tally, counts, True
    return tally, counts, False


def _work_plan(
    options: ScanOptions, bundle: ModelBundle, expectation: Expectation | None
) -> WorkPlan:
    return WorkPlan(
        bundle,
        thresholds(bundle, options.threshold),
        Settings(bundle.path, options.threshold, options.precision, options.start, expectation),
        options.out / _DONE,
        workers=options.workers,
        cluster=options.cluster,
        resume=options.resume,
    )


@contextmanager
def _room(out: Path) -> Iterator[None]:
    """What the disk of `--out` refuses, in words: a recording's own troubles end in its row."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"--out {out} takes no more ({error.strerror or error}): make room, then the same "
            "command goes on with what is not done"
        ) from error


def _check_out(options: ScanOptions, *, quiet: bool) -> frozenset[str]:
    """The formats of an earlier scan there, and a word where other results are replaced;
    UsageError where a station writes."""
    if (options.out / STATION_TABLES).exists():
        raise UsageError(
            f"--out {options.out} is the folder of a station (birdrec listen), whose journal a "
            "scan would replace: choose another folder"
        )
    try:
        before = json.loads((options.out / RUN).read_text(encoding="utf-8"))
        recordings, formats = str(before["recordings"]), list(before.get("formats", []))
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()
    if quiet:
        return frozenset(formats)
    if recordings != options.recordings:
        words = f"birdrec: the results of {recordings} in {options.out} are replaced"
        print(printable(words), file=sys.stderr)
    asked = {*options.formats, *(["scores"] if options.scores else [])}
    for name in ("raven", "audacity", "scores"):
        if name in formats and name not in asked:
            words = f"birdrec: {options.out / name} stays as an earlier scan has left it"
            print(printable(words), file=sys.stderr)
    return frozenset(formats)


def _found(options: ScanOptions) -> list[Found]:
    if options.url:
        return find_remote(options.url)
    return find_recordings(options.local_paths, leave_out=options.out)


def _nothing(options: ScanOptions, found: list[Found]) -> str:
    problems = "".join(f"; {one.name}: {one.problem}" for one in found[:5])
    where = ", ".join(map(str, options.paths))
    looked = "wav, flac, ogg, opus, mp3, aiff, w64, caf, au"
    return f"no audio found in {where}{problems} (looked for {looked})"
