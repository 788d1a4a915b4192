"""Weakly labelled recordings: what is read, what is refused, and where the loud parts lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.signal import lfilter

from recorder.detect.mel import SAMPLE_RATE_HZ, TOKEN_SAMPLES, MelConfig, log_mel, samples_needed
from recorder.errors import ConfigError
from train.clips.dataset import Clip
from train.clips.recordings import (
    ACTIVE_LOUDNESS,
    load_noise,
    load_recordings,
    loudness,
    other_birds,
)

Samples = NDArray[np.float32]

MEL = MelConfig()


def _write_audio(path: Path, samples: Samples) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLE_RATE_HZ, format="OGG", subtype="VORBIS")


def _noise(count: int, *, rms: float, seed: int = 0) -> Samples:
    return (rms * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def test_a_recording_keeps_its_samples_and_one_mark_a_frame(tmp_path: Path) -> None:
    _write_audio(tmp_path / "a.ogg", _noise(SAMPLE_RATE_HZ // 2, rms=0.01))
    loaded = load_recordings([Clip(tmp_path / "a.ogg", "wren")], MEL)
    (recording,) = loaded.recordings
    assert recording.samples.dtype == np.int16
    assert len(recording.samples) == len(recording.calls) == SAMPLE_RATE_HZ // 2
    assert len(recording.active) == len(recording.samples) * 32 // TOKEN_SAMPLES
    assert (loaded.unusable, loaded.damaged) == ({}, {})


def test_files_that_cannot_be_used_are_named_with_a_reason_and_stop_nothing(
    tmp_path: Path,
) -> None:
    names = ("broken.ogg", "empty.wav", "nothing.wav", "good.ogg", "gone.ogg")
    (tmp_path / "broken.ogg").write_bytes(b"not a sound")
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), SAMPLE_RATE_HZ)
    _write_audio(tmp_path / "good.ogg", _noise(SAMPLE_RATE_HZ, rms=0.01))
    loaded = load_recordings([Clip(tmp_path / name, "wren") for name in names], MEL)
    assert [one.clip.path.name for one in loaded.recordings] == ["good.ogg"]
    reasons = {path.name: reason for path, reason in loaded.unusable.items()}
    assert set(reasons) == set(names) - {"good.ogg"}
    assert "0 bytes" in reasons["empty.wav"]
    assert "no samples" in reasons["nothing.wav"]
    assert "cannot be opened" in reasons["gone.ogg"]


def test_samples_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    samples = _noise(SAMPLE_RATE_HZ, rms=0.01)
    samples[100:150] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, SAMPLE_RATE_HZ, subtype="FLOAT")
    loaded = load_recordings([Clip(tmp_path / "nan.wav", "wren")], MEL)
    assert "50 samples" in loaded.damaged[tmp_path / "nan.wav"]
    assert not loaded.recordings[0].samples[110:140].any()


def test_a_recording_of_another_rate_is_resampled(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", _noise(22_050, rms=0.01), 22_050)
    (recording,) = load_recordings([Clip(tmp_path / "a.wav", "wren")], MEL).recordings
    assert abs(len(recording.samples) - SAMPLE_RATE_HZ) <= 2


def test_noise_is_found_in_subfolders_and_excluded_by_a_word_of_its_name(tmp_path: Path) -> None:
    for name in ("wind/a.ogg", "rain/b.ogg", "frogs/owl_c.ogg"):
        _write_audio(tmp_path / name, _noise(3200, rms=0.1))
    (tmp_path / "notes.txt").write_text("not a sound")
    assert len(load_noise([tmp_path], [])) == 3
    assert len(load_noise([tmp_path], ["owl"])) == 2
    with pytest.raises(ConfigError, match="no noise found"):
        load_noise([tmp_path], ["a.ogg", "b.ogg", "c.ogg"])


def test_noise_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    _write_audio(tmp_path / "wind.ogg", _noise(3200, rms=0.1))
    (tmp_path / "broken.ogg").write_bytes(b"not a sound")
    with pytest.raises(ConfigError, match=r"noise .*broken\.ogg cannot be read .*noise_excluded"):
        load_noise([tmp_path], [])
    assert len(load_noise([tmp_path], ["broken"])) == 1


def test_noise_below_a_folder_of_doubt_may_hold_birds(tmp_path: Path) -> None:
    for name in ("wind/a.ogg", "nights/b.ogg"):
        _write_audio(tmp_path / name, _noise(3200, rms=0.1))
    told = [one.may_hold_birds for one in load_noise([tmp_path], [], ["nights"])]
    assert told == [True, False]
    # The path to the folder itself says nothing.
    with pytest.raises(ConfigError, match=f"noise_unsure: no background has '{tmp_path.name}'"):
        load_noise([tmp_path], [], [tmp_path.name])
    with pytest.raises(ConfigError, match="noise_excluded: no background has 'nights'"):
        load_noise([tmp_path], ["nights"])


def test_birds_of_no_class_are_one_clip_a_recording(tmp_path: Path) -> None:
    for name in ("finch/1.ogg", "piha.ogg"):
        _write_audio(tmp_path / name, _noise(3200, rms=0.1))
    clips = other_birds([tmp_path], "bird")
    assert [(clip.path.name, clip.label) for clip in clips] == [
        ("1.ogg", "bird"),
        ("piha.ogg", "bird"),
    ]
    assert len(load_recordings(clips, MEL).recordings) == 2
    assert other_birds([], "bird") == []
    with pytest.raises(ConfigError, match="nowhere"):
        other_birds([tmp_path, tmp_path / "nowhere"], "bird")


@pytest.mark.parametrize("pole", [0.0, 0.9, 0.99, -0.9])
def test_a_burst_in_coloured_noise_is_loud(pole: float) -> None:
    tokens = 32
    count = samples_needed(tokens, MEL)
    samples = lfilter([1.0], [1.0, -pole], _noise(count, rms=0.003)).astype(np.float32)
    seconds = np.arange(count) / SAMPLE_RATE_HZ
    burst = (seconds >= 4.0) & (seconds < 5.0)
    samples[burst] += (0.2 * np.sin(2 * np.pi * 3000 * seconds[burst])).astype(np.float32)
    active = loudness(log_mel(samples, tokens, MEL)) > ACTIVE_LOUDNESS
    starts_s = np.arange(tokens * 32) * 312.5 / SAMPLE_RATE_HZ
    inside = (starts_s > 4.0) & (starts_s < 4.9)
    outside = (starts_s < 3.9) | (starts_s > 5.05)
    assert active[inside].mean() > 0.95
    assert active[outside].mean() < 0.02


def test_nothing_is_loud_in_digital_silence() -> None:
    silence = np.zeros(samples_needed(16, MEL), np.float32)
    assert not loudness(log_mel(silence, 16, MEL)).any()
