"""Weakly labelled recordings: what is read, what is refused, and where the loud parts lie."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.signal import lfilter

from recorder.detect.mel import SAMPLE_RATE_HZ, TOKEN_SAMPLES, MelConfig, log_mel, samples_needed
from recorder.errors import AudioFileError, ConfigError
from train.data import (
    ACTIVE_LOUDNESS,
    core_labels,
    load_noise,
    load_recordings,
    loudness,
    other_birds,
    read_clips,
)

Samples = NDArray[np.float32]

MEL = MelConfig()
_COLUMNS = (
    "primary_label",
    "secondary_labels",
    "scientific_name",
    "common_name",
    "author",
    "filename",
    "license",
    "url",
)


def _row(label: str, filename: str, secondary: str = "[]") -> dict[str, str]:
    values = (label, secondary, f"Genus {label}", label.title(), "A. Author", filename, "CC0", "u")
    return dict(zip(_COLUMNS, values, strict=True))


def _table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _write_audio(path: Path, samples: Samples) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLE_RATE_HZ, format="OGG", subtype="VORBIS")


def _dataset(folder: Path, rows: list[dict[str, str]], splits: dict[str, str]) -> Path:
    _table(folder / "train_metadata.csv", rows)
    marks = [
        {
            "filename": row["filename"],
            "primary_label": row["primary_label"],
            "split": splits[row["filename"]],
            "in_core_set": "0" if row["primary_label"] == "rare" else "1",
        }
        for row in rows
    ]
    _table(folder / "split_by_session.csv", marks)
    for row in rows:
        path = folder / "train_short_audio" / row["primary_label"] / row["filename"]
        _write_audio(path, _noise(SAMPLE_RATE_HZ // 2, rms=0.01))
    return folder


def _noise(count: int, *, rms: float, seed: int = 0) -> Samples:
    return (rms * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    rows = [
        _row("wren", "XC1.ogg", "['todus', 'rare']"),
        _row("todus", "XC2.ogg", ""),
        _row("rare", "XC3.ogg"),
    ]
    return _dataset(tmp_path, rows, {"XC1.ogg": "train", "XC2.ogg": "val", "XC3.ogg": "train"})


def test_a_row_becomes_a_clip_with_its_author_and_its_secondary_labels(dataset: Path) -> None:
    clip = read_clips(dataset, None)[0]
    assert clip.path == dataset / "train_short_audio" / "wren" / "XC1.ogg"
    assert (clip.label, clip.secondary_labels) == ("wren", ("todus", "rare"))
    assert (clip.scientific_name, clip.common_name) == ("Genus wren", "Wren")
    assert (clip.author, clip.licence, clip.url) == ("A. Author", "CC0", "u")


def test_a_split_holds_its_own_clips_and_none_means_all(dataset: Path) -> None:
    def names(split: str | None) -> list[str]:
        return [clip.path.name for clip in read_clips(dataset, split)]

    assert names("train") == ["XC1.ogg", "XC3.ogg"]
    assert names("val") == ["XC2.ogg"]
    assert names(None) == ["XC1.ogg", "XC2.ogg", "XC3.ogg"]


def test_an_empty_cell_of_secondary_labels_is_no_label(dataset: Path) -> None:
    assert read_clips(dataset, "val")[0].secondary_labels == ()


def test_core_labels_are_the_marked_ones_in_order(dataset: Path) -> None:
    assert core_labels(dataset) == ["todus", "wren"]


@pytest.mark.parametrize(
    "cell", ["__import__('pathlib').Path({!r}).touch()", "todus", "'todus'", "['a'", "3"]
)
def test_a_secondary_label_that_is_no_list_is_an_error_that_names_the_file_and_never_runs(
    tmp_path: Path, cell: str
) -> None:
    victim = tmp_path / "victim"
    row = _row("wren", "XC1.ogg", cell.format(str(victim)))
    _dataset(tmp_path, [row], {"XC1.ogg": "train"})
    with pytest.raises(ConfigError, match=r"secondary_labels of XC1\.ogg"):
        read_clips(tmp_path, None)
    assert not victim.exists()


def test_a_clip_without_audio_is_an_error_that_names_its_path(dataset: Path) -> None:
    gone = dataset / "train_short_audio" / "wren" / "XC1.ogg"
    gone.unlink()
    with pytest.raises(ConfigError, match=r"XC1\.ogg") as caught:
        read_clips(dataset, "train")
    assert str(gone) in str(caught.value)
    assert [clip.label for clip in read_clips(dataset, "val")] == ["todus"]


@pytest.mark.parametrize("table", ["train_metadata.csv", "split_by_session.csv"])
def test_a_missing_table_is_an_error_that_names_it(dataset: Path, table: str) -> None:
    (dataset / table).unlink()
    with pytest.raises(ConfigError, match=table):
        read_clips(dataset, "train")


def test_a_recording_keeps_its_samples_and_one_mark_a_frame(dataset: Path) -> None:
    recording = load_recordings(read_clips(dataset, "val"), MEL)[0]
    assert recording.samples.dtype == np.int16
    assert len(recording.samples) == SAMPLE_RATE_HZ // 2
    assert len(recording.active) == len(recording.samples) * 32 // TOKEN_SAMPLES


def test_audio_that_cannot_be_decoded_is_an_error_that_names_it(dataset: Path) -> None:
    broken = dataset / "train_short_audio" / "wren" / "XC1.ogg"
    broken.write_bytes(b"not a sound")
    with pytest.raises(AudioFileError, match=r"XC1\.ogg"):
        load_recordings(read_clips(dataset, "train"), MEL)


def test_noise_is_found_in_subfolders_and_excluded_by_a_word_of_its_name(tmp_path: Path) -> None:
    for name in ("wind/a.ogg", "rain/b.ogg", "frogs/owl_c.ogg"):
        _write_audio(tmp_path / name, _noise(3200, rms=0.1))
    (tmp_path / "notes.txt").write_text("not a sound")
    assert len(load_noise([tmp_path], [])) == 3
    assert len(load_noise([tmp_path], ["owl"])) == 2
    with pytest.raises(ConfigError, match="no noise found"):
        load_noise([tmp_path], ["a.ogg", "b.ogg", "c.ogg"])


def test_noise_below_a_folder_of_doubt_may_hold_birds(tmp_path: Path) -> None:
    for name in ("wind/a.ogg", "nights/b.ogg"):
        _write_audio(tmp_path / name, _noise(3200, rms=0.1))
    told = [one.may_hold_birds for one in load_noise([tmp_path], [], ["nights"])]
    assert told == [True, False]
    # The path to the folder itself says nothing.
    assert not any(one.may_hold_birds for one in load_noise([tmp_path], [], [tmp_path.name]))


def test_birds_of_no_class_are_one_clip_a_recording(tmp_path: Path) -> None:
    for name in ("finch/1.ogg", "piha.ogg"):
        _write_audio(tmp_path / name, _noise(3200, rms=0.1))
    clips = other_birds([tmp_path], "bird")
    assert [(clip.path.name, clip.label) for clip in clips] == [
        ("1.ogg", "bird"),
        ("piha.ogg", "bird"),
    ]
    assert len(load_recordings(clips, MEL)) == 2
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
