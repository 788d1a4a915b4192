"""A bundle around an ONNX net that somebody else trained, so that it scans and listens here."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorder import __version__
from recorder.detect.bundle import SCHEMA_VERSION, ModelBundle, file_entry
from recorder.detect.classifier import GRAPH_FILE, KIND, ClassifierNetwork, read_classifier
from recorder.errors import ModelError, UsageError


@dataclass(frozen=True)
class Listening:
    """How the net wants its sound, and what its numbers mean."""

    sample_rate_hz: int
    window_s: float
    activation: str
    threshold: float
    input_name: str = ""
    output_name: str = ""


def wrap(
    graph: Path, labels: Path, out: Path, listening: Listening, licence: str = "not stated"
) -> ModelBundle:
    """Write the bundle `out` and run it once; nothing is left of it when it does not fit.

    `labels` has a line for each of the net's numbers, in order: `Scientific name_Common name`, or
    one name. UsageError when something cannot be read or `out` exists; ModelError when the net does
    not load, or gives another number of numbers.
    """
    if out.exists():
        raise UsageError(f"--out {out} exists already: choose another name")
    if not 0.0 < listening.threshold < 1.0:
        raise UsageError(f"--threshold {listening.threshold} must lie between 0 and 1")
    entries = read_labels(labels, listening.threshold)
    new = out.with_name(out.name + ".tmp")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        shutil.copyfile(graph, new / GRAPH_FILE)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise UsageError(f"{graph} cannot be copied to {out} ({error.strerror})") from error
    details = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "name": out.name,
        "birdrec": __version__,
        KIND: {
            "front_end": "samples",
            "sample_rate_hz": listening.sample_rate_hz,
            "window_s": listening.window_s,
            "input": listening.input_name,
            "output": listening.output_name,
            "activation": listening.activation,
        },
        "labels": entries,
        "files": {GRAPH_FILE: file_entry(new / GRAPH_FILE)},
        "licence": licence,
    }
    (new / "model.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    try:
        ClassifierNetwork(read_classifier(new))
    except ModelError:
        shutil.rmtree(new, ignore_errors=True)
        raise
    new.rename(out)
    return read_classifier(out)


def read_labels(path: Path, threshold: float) -> list[dict[str, Any]]:
    """The entries of `model.json`; UsageError when the file cannot be read or names one twice."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--labels {path} cannot be read as text ({error})") from error
    entries: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(filter(str.strip, lines), 1):
        scientific, _, common = line.strip().partition("_")
        # Rows list labels with spaces between them.
        label = "_".join(scientific.lower().split())
        if label in entries:
            raise UsageError(f"--labels {path}: line {number} names {scientific!r} a second time")
        entries[label] = {
            "label": label,
            "scientific_name": scientific,
            "common_name": common or scientific,
            "threshold": threshold,
        }
    if not entries:
        raise UsageError(f"--labels {path} is empty: one line for each of the net's numbers")
    return list(entries.values())
