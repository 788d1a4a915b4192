"""The gate: is the int8 encoder still the model that was trained?

Both encoders scan the labelled soundscapes of a dataset, each through the whole pipeline of the
recorder. A bundle passes when cmAP moves by at most .002 and no class loses more than .01 of its
AUC; what was compared travels in the bundle as gate.json and gate.svg.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.bundle import GATE_FIGURE, GATE_REPORT
from export.gate_figure import gate_figure
from recorder.detect.bundle import Bundle, file_entry, read_bundle
from recorder.detect.decide import thresholds
from recorder.detect.inference import Networks
from recorder.detect.mel import CHUNK_S, SAMPLE_RATE_HZ
from recorder.detect.metrics import evaluate, per_class
from recorder.detect.pipeline import Pipeline
from recorder.errors import ModelError, UsageError
from recorder.keep.formats import write_json
from recorder.sound.files.whole import read_mono
from train.clips.soundscapes import Soundscape, read_soundscapes, stacked

Floats = NDArray[np.float32]
Report = dict[str, Any]

LARGEST_CMAP_CHANGE = 0.002
LARGEST_AUC_LOSS = 0.01
_WORST = 10


def run_gate(bundle: Bundle, dataset: Path, against: Bundle | None = None) -> Report:
    """Compare int8 with fp32 (of the bundle `against`, or the same), and write it down.

    In the bundle's folder: gate.json, gate.svg, and in model.json `passed` or `failed`, which the
    recorder obeys. UsageError when an encoder is missing or the labels differ.
    """
    reference = against or bundle
    if "int8" not in bundle.precisions:
        raise UsageError(f"{bundle.path} has no int8 encoder: birdrec export quantize makes one")
    if "fp32" not in reference.precisions:
        raise UsageError(
            f"{reference.path} has no fp32 encoder to compare with: name the bundle that it was "
            "made of with --against"
        )
    if [one.label for one in reference.labels] != [one.label for one in bundle.labels]:
        raise UsageError(f"{reference.path} and {bundle.path} do not know the same species")
    soundscapes = read_soundscapes(dataset, [one.label for one in bundle.labels])
    # An earlier verdict must not stand in the way of a new one.
    candidate = Networks(replace(bundle, int8_gate="not run"), precision="int8")
    exact = Networks(reference, precision="fp32")
    expected = [_heard(exact, one) for one in soundscapes]
    try:
        found = [_heard(candidate, one) for one in soundscapes]
    except ModelError as error:
        report: Report = {"passed": False, "reasons": [f"int8: {error}"]}
    else:
        report = compare(bundle, soundscapes, expected, found)
    report = {"dataset": dataset.name, "soundscapes": len(soundscapes), **report}
    _write(bundle, report)
    return report


def compare(
    bundle: Bundle,
    soundscapes: list[Soundscape],
    expected: list[tuple[Floats, Floats]],
    found: list[tuple[Floats, Floats]],
) -> Report:
    """Figures of both, per class and in all, the drift of the tokens, the worst, and the verdict.

    `expected` and `found` are, of each soundscape, the chunks' scores [chunks, outputs] and the
    tokens' [tokens, outputs].
    """
    classes, labels = len(bundle.labels), [one.label for one in bundle.labels]
    truth, known = stacked(soundscapes)
    limits = thresholds(bundle)[:classes]
    every = [np.concatenate([scores[:, :classes] for scores, _ in each])
             for each in (expected, found)]  # fmt: skip
    figures = [vars(evaluate(scores, truth, known, limits)) for scores in every]
    (ap_fp32, auc_fp32), (ap_int8, auc_int8) = (per_class(one, truth, known) for one in every)
    species = [
        {
            "label": label,
            "rows": int((truth & known)[:, place].sum()),
            "ap": [_rounded(ap_fp32[place]), _rounded(ap_int8[place])],
            "auc": [_rounded(auc_fp32[place]), _rounded(auc_int8[place])],
        }
        for place, label in enumerate(labels)
    ]
    drift = np.abs(np.concatenate([b - a for (_, a), (_, b) in zip(expected, found, strict=True)]))
    cmap_change = figures[1]["cmap"] - figures[0]["cmap"]
    lost = auc_fp32 - auc_int8
    reasons = []
    if not np.isfinite(every[1]).all():
        reasons.append(f"{int((~np.isfinite(every[1])).sum())} scores are not numbers")
    if not abs(cmap_change) <= LARGEST_CMAP_CHANGE:
        reasons.append(f"cmAP changes by {cmap_change:+.4f} (at most {LARGEST_CMAP_CHANGE})")
    reasons += [
        f"{labels[place]} loses {lost[place]:.4f} of its AUC (at most {LARGEST_AUC_LOSS})"
        for place in np.flatnonzero(lost > LARGEST_AUC_LOSS)
    ]
    return {
        "passed": not reasons,
        "reasons": reasons,
        "limits": {"cmap_change": LARGEST_CMAP_CHANGE, "auc_loss": LARGEST_AUC_LOSS},
        "rows": len(truth),
        "fp32": {name: _rounded(value) for name, value in figures[0].items()},
        "int8": {name: _rounded(value) for name, value in figures[1].items()},
        "cmap_change": _rounded(cmap_change),
        "decisions": int(every[0].size),
        "decisions_changed": int(((every[0] >= limits) != (every[1] >= limits)).sum()),
        "token_drift": {
            "mean": _rounded(drift.mean()),
            "p99.9": _rounded(np.quantile(drift, 0.999)),
            "largest": _rounded(drift.max()),
        },
        "species": species,
        "worst": _worst(labels, soundscapes, expected, found),
    }


def _heard(networks: Networks, soundscape: Soundscape) -> tuple[Floats, Floats]:
    """Scores of the chunks that are labelled [chunks, outputs], and of their tokens."""
    pipeline = Pipeline(networks)
    results = pipeline.push(read_mono(soundscape.path, SAMPLE_RATE_HZ)) + pipeline.finish()
    results = results[: len(soundscape.truth)]
    if len(results) < len(soundscape.truth):
        raise UsageError(
            f"{soundscape.path} has {len(results)} chunks of sound and {len(soundscape.truth)} of "
            "labels"
        )
    tokens = np.concatenate([result.token_scores for result in results])
    return np.stack([result.scores for result in results]), tokens


def _worst(
    labels: list[str],
    soundscapes: list[Soundscape],
    expected: list[tuple[Floats, Floats]],
    found: list[tuple[Floats, Floats]],
) -> list[Report]:
    """The chunks whose scores moved furthest."""
    moved = [
        (float(abs(b[chunk, place] - a[chunk, place])), one.path.name, int(chunk), label,
         float(a[chunk, place]), float(b[chunk, place]))
        for one, (a, _), (b, _) in zip(soundscapes, expected, found, strict=True)
        for place, label in enumerate(labels)
        for chunk in np.argsort(-np.abs(b[:, place] - a[:, place]))[:_WORST]
    ]  # fmt: skip
    return [
        {
            "file": name,
            "start_s": chunk * CHUNK_S,
            "label": label,
            "fp32": _rounded(before),
            "int8": _rounded(after),
        }
        for _, name, chunk, label, before, after in sorted(moved, reverse=True)[:_WORST]
    ]


def _write(bundle: Bundle, report: Report) -> None:
    write_json(bundle.path / GATE_REPORT, report)
    (bundle.path / GATE_FIGURE).write_text(gate_figure(report), encoding="utf-8")
    manifest = bundle.path / "model.json"
    details = json.loads(manifest.read_text(encoding="utf-8"))
    details["encoder"]["int8"]["gate"] = "passed" if report["passed"] else "failed"
    for name in (GATE_REPORT, GATE_FIGURE):
        details["files"][name] = file_entry(bundle.path / name)
    write_json(manifest, details)
    read_bundle(bundle.path)


def _rounded(value: float | np.floating[Any]) -> float | None:
    """JSON knows no NaN."""
    return None if np.isnan(value) else round(float(value), 5)
