"""Somebody else's net under the same scan: a small one that knows two tones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from tonelab import (
    RATE_HZ,
    TONES_HZ,
    WINDOW_S,
    Birdrec,
    ReadCsv,
    sound,
)
from tonelab import labels as labels
from tonelab import net as net
from tonelab import tones as tones

from recorder.detect.classifier import window_offsets
from recorder.detect.models import load_model, read_model
from recorder.wrap import Listening, wrap


@pytest.mark.parametrize("rate_hz", [48_000, 32_000, 44_100])
def test_scan_finds_the_tones_in_their_chunks(
    birdrec: Birdrec, read_csv: ReadCsv, tones: Path, tmp_path: Path, rate_hz: int
) -> None:
    samples = sound(23.0, rate_hz, {1.5: 6_000.0, 11.5: 1_500.0, 20.5: 6_000.0})
    soundfile.write(tmp_path / "field.wav", samples, rate_hz)
    out = tmp_path / "out"
    done = birdrec("scan", tmp_path / "field.wav", "--model", tones, "--out", out, "--scores")
    assert done.returncode == 0, done.stderr
    rows = [
        (row["start_s"], row["label"], row["scientific_name"], row["common_name"])
        for row in read_csv(out / "detections.csv")
    ]
    high, low = (f"{name.split('_')[0]}|{name.split('_')[1]}".split("|") for name in TONES_HZ)
    assert rows == [
        ("0", "sonus_altus", *high),
        ("10", "sonus_gravis", *low),
        ("20", "sonus_altus", *high),
    ]
    assert [row["birds"] for row in read_csv(out / "chunks.csv")] == [
        "sonus_altus", "nocall", "sonus_gravis", "nocall", "sonus_altus",
    ]  # fmt: skip
    scores = np.load(out / "scores" / "field.wav.npz")
    assert scores["scores"].shape == (5, 2)
    assert "bird" not in scores.files or scores["bird"].size == 0
    events = read_csv(out / "events.csv")
    assert {row["label"] for row in events} == {"sonus_altus", "sonus_gravis"}
    assert json.loads((out / "run.json").read_text())["model"]["precision"] == "as exported"


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=8))
def test_blocks_of_any_size_give_the_same(tones: Path, sizes: list[int]) -> None:
    model = load_model(read_model(tones))
    samples = sound(17.3, RATE_HZ, {3.0: 6_000.0, 9.5: 1_500.0})
    whole = model.pipeline()
    expected = whole.push(samples) + whole.finish()
    pipeline, results, place = model.pipeline(), [], 0
    while place < len(samples):
        for size in sizes:
            results += pipeline.push(samples[place : place + size])
            place += size
    results += pipeline.finish()
    assert [one.index for one in results] == list(range(4))
    for one, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.token_scores, other.token_scores)


@given(st.integers(1, 400), st.just(100))
def test_windows_cover_every_chunk_and_stay_within_it_if_they_fit(window: int, chunk: int) -> None:
    offsets = window_offsets(window, chunk)
    covered = np.zeros(chunk, bool)
    for offset in offsets:
        covered[max(0, offset) : offset + window] = True
        if window <= chunk:
            assert 0 <= offset <= chunk - window
    assert covered.all()
    assert len(offsets) == max(1, -(-chunk // window))


def test_a_window_longer_than_a_chunk_lies_around_it(
    net: Path, labels: Path, tmp_path: Path
) -> None:
    listening = Listening(RATE_HZ, 9.0, "sigmoid", 0.5, output_name="logits")
    model = load_model(wrap(net, labels, tmp_path / "wide", listening))
    samples = sound(20.0, RATE_HZ, {11.0: 6_000.0}, length_s=3.0)
    pipeline = model.pipeline()
    results = pipeline.push(samples) + pipeline.finish()
    high = [float(one.scores[0]) for one in results]
    # Heard by the windows -2..7, 3..12, 8..17 and 13..22 s for 0, 1, 3 and 1 s of it.
    assert high[2] > high[1] > high[0]
    assert high[2] > high[3] > high[0]


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("softmax", [0.5, 0.5]), ("sigmoid", [0.0067, 0.0067])],
)
def test_what_makes_probabilities_of_numbers(
    net: Path, labels: Path, tmp_path: Path, activation: str, expected: list[float]
) -> None:
    listening = Listening(RATE_HZ, WINDOW_S, activation, 0.5, output_name="logits")
    pipeline = load_model(wrap(net, labels, tmp_path / "x", listening)).pipeline()
    pipeline.push(np.zeros(100, np.float32))
    (result,) = pipeline.finish()
    np.testing.assert_allclose(result.scores, expected, atol=1e-3)


def test_numbers_that_are_no_probabilities_are_never_nocall(
    birdrec: Birdrec, net: Path, labels: Path, tmp_path: Path
) -> None:
    listening = Listening(RATE_HZ, WINDOW_S, "none", 0.5, output_name="logits")
    model = wrap(net, labels, tmp_path / "raw", listening).path
    soundfile.write(tmp_path / "field.wav", sound(6.0, RATE_HZ, {}), RATE_HZ)
    done = birdrec("scan", tmp_path / "field.wav", "--model", model, "--out", tmp_path / "out")
    assert done.returncode == 1
    manifest = json.loads((tmp_path / "out" / "manifest.jsonl").read_text())
    assert manifest["status"] == "failed"
    assert "is its activation 'none'?" in manifest["reason"]
