"""Contours: measured as they were sung, from train recordings alone, with their sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder.errors import UsageError
from train.invented.contours import Take, measure_call, measure_takes
from train.invented.synth import Contour, render_call
from train.invented.toys import write_toy_dataset

ReadCsv = Callable[[Path], list[dict[str, str]]]
RATE_HZ = 32000
ROOT = Path(__file__).parents[1]
CONTOURS = ROOT / "examples" / "contours.json"
REAL = ROOT.parent / "shared" / "data" / "puerto_rico"
needs_recordings = pytest.mark.skipif(not REAL.is_dir(), reason="no recordings beside the tree")


def make_toys(folder: Path) -> Path:
    return write_toy_dataset(
        folder, species=3, clips_per_species=4, soundscapes=1, soundscape_s=30.0, seed=7
    )


def test_a_sweep_is_measured_as_it_was_sung() -> None:
    steps = np.arange(150)
    swell = np.asarray(np.sin(np.pi * (steps + 0.5) / 150), np.float64)
    rising_hz = np.asarray(2500 + 10 * steps, np.float64)
    sung = Contour(0.006, ((rising_hz, swell),))
    rng = np.random.default_rng(0)
    sound = 0.001 * rng.standard_normal(4 * RATE_HZ)
    call = render_call(sung, RATE_HZ, rng=rng)
    sound[RATE_HZ : RATE_HZ + call.size] += call
    take = Take("toy", "XC1", 1.0, 1.9, 1500, 6000)
    measured = measure_call(sound, RATE_HZ, take=take)
    ridges: Any = measured["ridges"]
    assert len(ridges) == 1
    hz, level = np.array(ridges[0]["frequency_hz"]), np.array(ridges[0]["amplitude"])
    voiced = np.flatnonzero(level > 300)
    slope = np.polyfit(voiced, hz[voiced], 1)[0]
    assert slope == pytest.approx(10.0, rel=0.06)
    assert hz[voiced].mean() == pytest.approx(2500 + 10 * voiced.mean(), rel=0.03)
    assert level.max() == 1000
    assert not measured["noise"]


def test_only_train_recordings_are_measured(tmp_path: Path, read_csv: ReadCsv) -> None:
    make_toys(tmp_path / "birds")
    rows = read_csv(tmp_path / "birds" / "split_by_session.csv")
    takes = {
        row["split"]: Take(row["primary_label"], row["filename"][:-4], 0.0, 5.0, 500, 12000)
        for row in rows
    }
    species = measure_takes(tmp_path / "birds", (takes["train"],))
    assert species[takes["train"].label]["contours"]
    with pytest.raises(UsageError, match="not in the train split"):
        measure_takes(tmp_path / "birds", (takes["val"],))


def test_contours_are_small_and_say_where_they_come_from() -> None:
    assert CONTOURS.stat().st_size < 250_000
    for species in json.loads(CONTOURS.read_text("utf-8"))["species"].values():
        assert species["scientific_name"]
        assert species["common_name"]
        for contour in species["contours"]:
            assert contour["license"].startswith("https://creativecommons.org/")
            assert contour["author"]
            assert contour["recording"].startswith("XC")
            assert 1 <= len(contour["ridges"]) <= 4


@needs_recordings
def test_contours_come_from_train_recordings_only(read_csv: ReadCsv) -> None:
    split = {row["filename"]: row for row in read_csv(REAL / "split_by_session.csv")}
    for label, species in json.loads(CONTOURS.read_text("utf-8"))["species"].items():
        for contour in species["contours"]:
            row = split[f"{contour['recording']}.ogg"]
            assert (row["split"], row["primary_label"]) == ("train", label)
