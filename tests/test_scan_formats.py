"""One sound, written in every format, rate and channel layout, is one result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from recorder.detect.bundle import Bundle
from recorder.detect.decide import thresholds
from recorder.detect.inference import Networks
from recorder.detect.models import Model
from recorder.detect.pipeline import Pipeline
from recorder.detect.rolling import RollingPipeline
from recorder.keep.result import FileResult
from recorder.onefile import FileScanner
from recorder.sound.files.finder import Found

Floats = NDArray[np.float32]
Scan = Callable[[Path], FileResult]

SECONDS = 12
HIGHEST_HZ = 13_500
"""Below what every rate from 32 kHz up, and the resampler, carries unchanged."""


@dataclass(frozen=True)
class Case:
    """How the sound is written, and how far its scores may be from the original's."""

    name: str
    rate_hz: int = 32_000
    channels: int = 1
    container: str = "WAV"
    subtype: str | None = "PCM_16"
    tolerance: float = 1e-3


# The sound itself is rounded to 16 bits first: what keeps 16 bits or more keeps it exactly.
SAME_RATE = [
    Case("a.wav"),
    Case("a24.wav", subtype="PCM_24"),
    Case("a32.wav", subtype="PCM_32"),
    Case("float.wav", subtype="FLOAT"),
    Case("double.wav", subtype="DOUBLE"),
    Case("A.WAV"),
    Case("a.flac", container="FLAC"),
    Case("a24.flac", container="FLAC", subtype="PCM_24"),
    Case("a.aiff", container="AIFF"),
    Case("extensible.wav", container="WAVEX"),
    Case("long.wav", container="RF64"),
    Case("stereo.wav", channels=2),
    Case("stereo.flac", channels=2, container="FLAC"),
    Case("quad.wav", channels=4),
    Case("octo.wav", channels=8),
]
# The sound is band-limited and computed at each rate exactly, so what differs is the resampler's
# ripple (1e-5), 16 bits taken at other instants, and its ringing at the ends of the file.
OTHER_RATES = [
    Case(f"{rate_hz}.wav", rate_hz=rate_hz, tolerance=2e-2)
    for rate_hz in (44_100, 48_000, 64_000, 88_200, 96_000, 192_000)
] + [Case("stereo48.flac", 48_000, 2, "FLAC", tolerance=2e-2)]
# Eight bits add noise at -59 dB, and the codecs are made to change what people do not hear:
# quiet bands move, the chirps stay. A net's answer may move with them, but not from no to yes.
LOSSY = [
    Case("u8.wav", subtype="PCM_U8", tolerance=0.3),
    Case("a.ogg", container="OGG", subtype="VORBIS", tolerance=0.3),
    Case("a.oga", channels=2, container="OGG", subtype="VORBIS", tolerance=0.3),
    Case("a.mp3", container="MP3", subtype="MPEG_LAYER_III", tolerance=0.3),
    Case("a.opus", rate_hz=48_000, container="OGG", subtype="OPUS", tolerance=0.3),
]
# Half the band or less is missing: another sound, of which only the accounting must be right.
LOW_RATES = [Case(f"{rate_hz}.wav", rate_hz=rate_hz) for rate_hz in (8_000, 16_000, 22_050, 24_000)]


@lru_cache(maxsize=8)
def sound_at(rate_hz: int) -> Floats:
    """Chirps and noise below 13.5 kHz, exact at any rate: one spectrum, sampled as asked."""
    generator = np.random.default_rng(11)
    base_hz = 48_000
    time_s = np.arange(SECONDS * base_hz) / base_hz
    sound = 0.01 * generator.standard_normal(len(time_s))
    for begin_s in np.arange(0.4, SECONDS - 0.6, 0.7):
        since = time_s - begin_s
        shape = np.where((since >= 0) & (since < 0.4), np.sin(np.pi * since / 0.4) ** 2, 0.0)
        start_hz, slope = generator.uniform(1_500, 6_000), generator.uniform(-3_000, 6_000)
        sound += 0.3 * shape * np.sin(2 * np.pi * (start_hz + slope * since) * since)
    # Silence at both ends: a spectrum's sound is periodic, a file is not.
    sound *= np.clip(np.minimum(time_s, SECONDS - time_s) / 0.1 - 0.5, 0.0, 1.0)
    spectrum = np.fft.rfft(sound)
    spectrum[HIGHEST_HZ * SECONDS :] = 0.0
    count = SECONDS * rate_hz
    kept = np.zeros(count // 2 + 1, complex)
    shared = min(len(kept) - 1, len(spectrum))
    kept[:shared] = spectrum[:shared]
    sampled = np.fft.irfft(kept, count) * (count / len(sound))
    return (np.round(sampled * 2**15) / 2**15).astype(np.float32)


def write(folder: Path, case: Case) -> Path:
    samples = np.repeat(sound_at(case.rate_hz)[:, None], case.channels, axis=1)
    path = folder / case.name
    soundfile.write(path, samples, case.rate_hz, format=case.container, subtype=case.subtype)
    return path


@pytest.fixture(scope="module")
def scan(networks: Networks) -> Scan:
    model = Model(networks.bundle, lambda: Pipeline(networks), lambda: RollingPipeline(networks))
    scanner = FileScanner(model, thresholds(networks.bundle))

    def one(path: Path) -> FileResult:
        return scanner.scan(Found(path, path.name))

    return one


@pytest.fixture(scope="module")
def original(scan: Scan, tmp_path_factory: pytest.TempPathFactory) -> FileResult:
    """The 32 kHz mono float WAV, and a guard against a sound about which the net says nothing."""
    folder = tmp_path_factory.mktemp("original")
    result = scan(write(folder, Case("original.wav", subtype="FLOAT")))
    assert result.scores is not None
    assert np.ptp(result.scores) > 1e-3
    return result


def assert_accounted(result: FileResult, case: Case) -> None:
    manifest = result.manifest
    assert (manifest.status, manifest.reason) == ("analysed", "")
    assert (manifest.sample_rate, manifest.channels) == (case.rate_hz, case.channels)
    assert manifest.seconds_in_file == manifest.seconds_analysed == SECONDS
    assert len(result.chunks) == 3
    assert [row.end_s for row in result.chunks] == [5.0, 10.0, 15.0]


@pytest.mark.parametrize("case", SAME_RATE, ids=lambda case: case.name)
def test_lossless_files_at_the_models_rate_are_the_original(
    tmp_path: Path, scan: Scan, original: FileResult, case: Case
) -> None:
    result = scan(write(tmp_path, case))
    assert_accounted(result, case)
    np.testing.assert_allclose(result.scores, original.scores, atol=case.tolerance)
    assert [row.birds for row in result.chunks] == [row.birds for row in original.chunks]


@pytest.mark.parametrize("case", OTHER_RATES + LOSSY, ids=lambda case: case.name)
def test_resampled_and_lossy_files_are_nearly_the_original(
    tmp_path: Path, bundle: Bundle, scan: Scan, original: FileResult, case: Case
) -> None:
    result = scan(write(tmp_path, case))
    assert_accounted(result, case)
    assert result.scores is not None
    assert original.scores is not None
    assert original.bird is not None
    np.testing.assert_allclose(result.scores, original.scores, atol=case.tolerance, rtol=0)
    outputs = np.column_stack((original.scores, original.bird))
    for chunk, other, scores in zip(result.chunks, original.chunks, outputs, strict=True):
        differing = set(chunk.birds.split()) ^ set(other.birds.split())
        # Only a score within the tolerance of its threshold may change sides; with the last
        # species what is said instead of one does.
        near = np.abs(scores - thresholds(bundle)) <= case.tolerance
        allowed = {bundle.said[index].label for index in np.flatnonzero(near)}
        assert differing <= allowed | ({"nocall", "bird"} if allowed else set())


@pytest.mark.parametrize("case", LOW_RATES, ids=lambda case: case.name)
def test_low_rates_are_analysed_in_full(tmp_path: Path, scan: Scan, case: Case) -> None:
    result = scan(write(tmp_path, case))
    assert_accounted(result, case)
    assert result.scores is not None
    assert np.isfinite(result.scores).all()


@pytest.mark.parametrize(("seconds", "chunks"), [(0.1, 1), (3.0, 1), (5.0, 1), (5.01, 2), (7.0, 2)])
@pytest.mark.parametrize("rate_hz", [32_000, 44_100])
def test_short_files_are_padded_never_dropped(
    tmp_path: Path, scan: Scan, seconds: float, chunks: int, rate_hz: int
) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, sound_at(rate_hz)[: round(seconds * rate_hz)], rate_hz)
    result = scan(path)
    assert len(result.chunks) == chunks
    assert result.manifest.status == "analysed"
    assert result.manifest.seconds_analysed == pytest.approx(seconds, abs=1e-3)
    assert result.manifest.seconds_in_file == result.manifest.seconds_analysed
    assert result.chunks[-1].end_s == 5.0 * chunks
    assert all(row.end_s <= seconds + 1e-3 for row in result.events)
