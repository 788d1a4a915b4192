"""`run.json`: what a scan was asked for, and what came of it in all."""

from __future__ import annotations

import platform
import sys
from collections import Counter
from typing import Any

import numpy as np
import onnxruntime
import soundfile

from recorder import __version__
from recorder.crew.jobs import WorkPlan
from recorder.keep.result import FileResult
from recorder.species.expectation import Expectation, Read
from recorder.species.moments import has_hour

_STATUSES = ("analysed", "repaired", "partial", "failed", "skipped")


class Counts:
    """Totals over the files."""

    def __init__(self, expectation: Expectation | None) -> None:
        self._expectation = expectation
        self.rejected = self.without_date = self.without_hour = 0
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
        self.rejected += len(result.rejected)
        if self._expectation is not None and result.chunks:
            start = result.manifest.start
            self.without_date += not start
            self.without_hour += not has_hour(start, self._expectation.zone)


def run_record(plan: WorkPlan, counts: Counts, elapsed_s: float) -> dict[str, Any]:
    """All of `run.json` but what the user expects at the site."""
    bundle = plan.bundle
    return {
        "command": " ".join(["birdrec", *sys.argv[1:]]),
        "birdrec": __version__,
        "model": {
            "name": bundle.name,
            "path": str(bundle.path),
            "sha256": bundle.sha256,
            "precision": plan.settings.precision,
        },
        "thresholds": {
            label.label: round(float(limit), 4)
            for label, limit in zip(bundle.labels, plan.limits, strict=False)
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


def expected_record(expects: Read, counts: Counts) -> dict[str, Any]:
    """Which list and prior were used, and what they did; empty where there were none."""
    if expects.expectation is None:
        return {}
    occurrence, record = expects.expectation.occurrence, dict(expects.record)
    if "prior" in record and (occurrence.has_weeks or occurrence.has_hours):
        record["recordings_without_date"] = counts.without_date
    if "prior" in record and occurrence.has_hours:
        record["recordings_without_hour"] = counts.without_hour
    return {"expected": {**record, "rejected": counts.rejected}}
