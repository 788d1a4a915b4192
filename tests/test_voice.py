"""Where somebody speaks no sound is kept, and a row says so; everything else is kept."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound, ReadLines
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from voicelab import speech

from recorder.detect import voice
from recorder.detect.mel import TOKEN_SAMPLES
from recorder.detect.voice import (
    CONTEXT_TOKENS,
    DETAILS_FILE,
    GRAPH_FILE,
    VOICE_MODEL,
    voice_detector,
)
from recorder.errors import ModelError
from recorder.station.backlog import Piece
from recorder.station.voice import VoiceFilter, VoiceScreen

RATE_HZ = 32_000
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Loud:
    """Stands for the net where it must be known what it says: a loud token is a voice."""

    threshold: float = 0.5

    def scores(self, samples: Floats) -> Floats:
        tokens = -(-len(samples) // TOKEN_SAMPLES)
        padded = np.pad(np.abs(samples), (0, tokens * TOKEN_SAMPLES - len(samples)))
        peaks = padded.reshape(tokens, TOKEN_SAMPLES).max(axis=1)
        return np.asarray(np.minimum(peaks, 1.0), np.float32)


def over(background: Floats, voice: Floats, at_s: float) -> Floats:
    mixed = background.copy()
    at = round(at_s * RATE_HZ)
    mixed[at : at + len(voice)] += voice
    return mixed


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_speech_is_heard_whatever_its_level_and_birds_are_not_taken_for_it(
    birdlike: MakeSound, seed: int, gain: float
) -> None:
    detector = voice_detector()
    quiet = (0.05 * birdlike(20.0, seed=seed)).astype(np.float32)
    spoken = over(quiet, 0.3 * speech(4.0, seed=seed), 8.0) * np.float32(gain)
    scores = detector.scores(spoken)
    said = slice(round(8.5 / 0.3125), round(11.5 / 0.3125))
    assert scores[said].max() >= detector.threshold
    assert detector.scores(quiet * np.float32(gain)).max() < detector.threshold


def test_the_score_of_a_token_depends_on_what_is_near_it_alone() -> None:
    detector = voice_detector()
    rng = np.random.default_rng(0)
    sound = (0.1 * rng.standard_normal(60 * TOKEN_SAMPLES)).astype(np.float32)
    other = sound.copy()
    other[: (30 - CONTEXT_TOKENS) * TOKEN_SAMPLES] *= 0.01
    np.testing.assert_array_equal(detector.scores(sound)[30:-2], detector.scores(other)[30:-2])


def test_silence_nothing_and_sound_that_is_no_number() -> None:
    detector = voice_detector()
    assert len(detector.scores(np.empty(0, np.float32))) == 0
    assert detector.scores(np.zeros(RATE_HZ, np.float32)).max() < detector.threshold
    # What cannot be decided is not kept.
    assert detector.scores(np.full(RATE_HZ, np.nan, np.float32)).max() == 1.0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_screened_stream_is_the_same_sound_with_silence_where_the_rows_say(
    data: st.DataObject,
) -> None:
    rate_hz = data.draw(st.sampled_from([8_000, 32_000]))
    screen = VoiceScreen(VoiceFilter(Loud(), rate_hz), rate_hz)  # type: ignore[arg-type]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    sizes = data.draw(st.lists(st.integers(1, 12 * rate_hz), min_size=1, max_size=8))
    gaps = data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    first, came, silences = 0, [], []
    sound = (0.1 * rng.standard_normal((sum(sizes), 1)) * 32767).astype(np.int16)
    for at in rng.integers(0, len(sound), 3):
        sound[at : at + rate_hz // 2] = 30_000
    for size, gap in zip(sizes, gaps, strict=True):
        piece = Piece(first, size, None if gap else sound[first : first + size])
        for one in screen.push(piece):
            came.append(one.piece)
            silences += one.spoken
        first += size
    for one in screen.finish():
        came.append(one.piece)
        silences += one.spoken
    expected = sound.copy()
    for begin, stop, score in silences:
        expected[begin:stop] = 0
        assert 0.5 <= score <= 1.0
    assert [one.first for one in came] == [0, *np.cumsum([one.count for one in came])[:-1]]
    assert sum(one.count for one in came) == len(sound)
    for one in came:
        if one.frames is not None:
            np.testing.assert_array_equal(one.frames, expected[one.first : one.stop])
            loud = np.abs(one.frames.astype(int)) >= 30_000
            assert not loud.any(), "a voice came through"


def test_a_voice_that_cancels_out_in_the_mean_of_the_channels_is_heard() -> None:
    voice = (16_000 * speech(4.0, seed=1)).astype(np.int16)
    filtered = VoiceFilter(voice_detector(), RATE_HZ)
    assert filtered.heard(np.stack([voice, -voice], axis=1))[0]
    assert not filtered.heard(np.zeros((4 * RATE_HZ, 2), np.int16))[0]


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound) -> Path:
    """A minute of birds; somebody speaks from 30 to 36 s."""
    path = tmp_path_factory.mktemp("visited") / "visited.wav"
    sound = over(0.3 * birdlike(60.0, seed=4), 0.4 * speech(6.0, seed=2), 30.0)
    soundfile.write(path, sound, RATE_HZ)
    return path


def listened(birdrec: Birdrec, source: Path, out: Path, *more: object) -> None:
    done = birdrec(
        "listen", "--replay", source, "--speed", "max", "--out", out, "--threshold", "0.01",
        "--min-free-mb", "1", "--quiet", *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def stretches(rows: list[dict[str, Any]], kind: str) -> list[tuple[float, float]]:
    return [(one["start_s"], one["end_s"]) for one in rows if one["kind"] == kind]


def test_clips_in_which_somebody_speaks_are_withheld_and_their_rows_stay(
    birdrec: Birdrec, read_lines: ReadLines, visited: Path, tmp_path: Path
) -> None:
    listened(birdrec, visited, tmp_path / "drop", "--keep-audio", "clips")
    listened(birdrec, visited, tmp_path / "keep", "--keep-audio", "clips", "--voice", "keep")
    drop, keep = (read_lines(tmp_path / one / "detections.jsonl") for one in ("drop", "keep"))
    settled = [[row for row in rows if row["kind"] == "settled"] for rows in (drop, keep)]
    assert settled[0] == settled[1] != []
    assert stretches(keep, "withheld") == []
    withheld = stretches(drop, "withheld")
    assert withheld
    kept = stretches(drop, "clip")
    assert kept
    assert sorted(set(kept) | set(withheld)) == sorted(set(stretches(keep, "clip")))
    for begin, stop in kept:
        assert stop < 31.0 or begin > 35.0, "a clip holds the voice"
    files = {path.name for path in (tmp_path / "drop" / "clips").rglob("*.flac")}
    assert files == {Path(row["path"]).name for row in drop if row["kind"] == "clip"}
    base = sqlite3.connect(tmp_path / "drop" / "station.sqlite")
    rows = base.execute("SELECT start_sample, samples, reason FROM withheld").fetchall()
    base.close()
    assert len(rows) == len(withheld)
    assert {row[2] for row in rows} == {"voice"}


def test_recordings_are_silent_where_somebody_speaks_only_when_asked(
    birdrec: Birdrec, read_lines: ReadLines, visited: Path, tmp_path: Path
) -> None:
    sound = soundfile.read(visited, dtype="int16")[0]
    for what in ("auto", "drop"):
        out = tmp_path / what
        listened(birdrec, visited, out, "--keep-audio", "all", "--voice", what)
        (path,) = out.glob("recordings/*/*.flac")
        kept = soundfile.read(path, dtype="int16")[0]
        rows = [one for one in read_lines(out / "detections.jsonl") if one["kind"] == "withheld"]
        expected = sound.copy()
        for row in rows:
            first = row["start_sample"]
            expected[first : first + row["samples"]] = 0
        np.testing.assert_allclose(kept, expected, atol=1)
        assert bool(rows) == (what == "drop")
    silent = np.zeros(len(sound), bool)
    for row in rows:
        silent[row["start_sample"] : row["start_sample"] + row["samples"]] = True
    assert silent[31 * RATE_HZ : 35 * RATE_HZ].all()
    assert silent.mean() < 0.35


def test_an_unknown_word_is_refused(birdrec: Birdrec, visited: Path, tmp_path: Path) -> None:
    done = birdrec("listen", "--replay", visited, "--voice", "mute", "--out", tmp_path)
    assert done.returncode == 2
    assert "use auto, drop, keep" in done.stderr


@pytest.mark.parametrize("spoil", ["graph", "missing", "json", "mel"])
def test_a_damaged_net_is_refused(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "voice"
    shutil.copytree(VOICE_MODEL, folder)
    details = json.loads((folder / DETAILS_FILE).read_text())
    if spoil == "graph":
        data = bytearray((folder / GRAPH_FILE).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / GRAPH_FILE).write_bytes(data)
    elif spoil == "missing":
        (folder / GRAPH_FILE).unlink()
    elif spoil == "json":
        (folder / DETAILS_FILE).write_text("{")
    else:
        details["mel"]["n_fft"] = 1024
        (folder / DETAILS_FILE).write_text(json.dumps(details))
    with pytest.raises(ModelError, match="install birdrec again"):
        voice_detector(folder)


def test_a_long_stretch_is_heard_in_tiles_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    sound = (0.05 * rng.standard_normal(25 * 32_000)).astype(np.float32)
    sound[3 * 32_000 : 9 * 32_000] *= 1.0 + np.sin(np.arange(6 * 32_000) / 900.0).astype(np.float32)
    tiled = voice_detector().scores(sound)
    monkeypatch.setattr(voice, "_TILE_TOKENS", 1 << 20)
    np.testing.assert_allclose(tiled, voice_detector().scores(sound), atol=1e-5)
