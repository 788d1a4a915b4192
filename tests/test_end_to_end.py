"""The whole road: toy clips, training, export, scan; the birds found are the birds that sang."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from export.bundle import read_checkpoint, write_bundle
from recorder.detect.mel import MelConfig
from recorder.detect.metrics import pooled_f1
from recorder.scan import ScanOptions, run_scan
from train.config import TrainConfig
from train.loop import Judge, fit
from train.scenes import SceneConfig
from train.soundscapes import read_soundscapes, stacked
from train.synth import write_toy_dataset

Bools = NDArray[np.bool_]

LEAST_F1 = 0.8
"""Pooled over all (chunk, species) pairs."""

_CONFIG = TrainConfig(
    name="toy",
    dataset="data",
    noise=("noise",),
    seed=1,
    steps=160,
    batch_chunks=16,
    scene_chunks=(1,),
    scene_chances=(1.0,),
    width=64,
    learning_rate=4e-3,
    warmup_steps=10,
    average_decay=0.95,
    evaluate_every=160,
    threads=1,
    scenes=SceneConfig(composed_share=0.9, snr_db=(-5.0, 20.0)),
)


def _toy_world(folder: Path, *, soundscape_s: float, seed: int) -> Path:
    folder.mkdir()
    write_toy_dataset(
        folder / "data",
        species=4,
        clips_per_species=8,
        soundscapes=2,
        soundscape_s=soundscape_s,
        seed=seed,
    )
    return folder / "data"


def _scanned(chunks_csv: Path, paths: list[Path], labels: list[str]) -> Bools:
    """[chunks of all soundscapes, classes] from `chunks.csv`, in the order of `paths`."""
    with chunks_csv.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return np.array(
        [
            [label in row["birds"].split() for label in labels]
            for path in paths
            for row in rows
            if row["file"] == path.name
        ]
    )


def _trained_and_scanned(folder: Path, config: TrainConfig, *, seed: int) -> float:
    """Pooled F1 of `birdrec scan` on soundscapes that no part of the training saw."""
    dataset = _toy_world(folder / "lab", soundscape_s=60.0, seed=seed)
    trained = read_checkpoint(fit(config, folder / "lab" / "toy.toml", folder / "run"))
    figures = Judge(dataset, trained.core, MelConfig()).judge(trained.net)
    bundle = write_bundle(
        trained, folder / "toy", threshold=figures["threshold"], evaluation="see the test"
    )

    field = _toy_world(folder / "field", soundscape_s=120.0, seed=seed + 1000)
    recordings = field / "train_soundscapes"
    options = ScanOptions((recordings,), folder / "found", model=bundle.path)
    _, _, exit_code = run_scan(options, quiet=True)
    assert exit_code == 0

    soundscapes = read_soundscapes(field, trained.core)
    truth, known = stacked(soundscapes)
    paths = [soundscape.path for soundscape in soundscapes]
    return pooled_f1(_scanned(folder / "found" / "chunks.csv", paths, trained.core), truth, known)
