"""Hand labels: voices are cut out, and where nothing calls no label says otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from recorder.detect.mel import SAMPLE_RATE_HZ, MelConfig
from recorder.errors import ConfigError
from train.clips.dataset import Clip
from train.clips.hand_labels import HandLabel, read_hand_labels, without_voice
from train.clips.recordings import Noise, load_recordings
from train.scenes.maker import SceneMaker
from train.scenes.scene import SceneConfig

HEADER = "row_id,human_voice,nocall,t_range\n"


def _table(folder: Path, *rows: str) -> Path:
    path = folder / "hand_labels.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_the_two_rows_of_the_paper_are_understood(tmp_path: Path) -> None:
    path = _table(
        tmp_path, 'bcnher/XC545676.ogg,0,1,"[[1.5,7]]"', 'whiwre1/XC518092.ogg,1,0,"[[25,1000]]"'
    )
    assert read_hand_labels(path) == {
        "bcnher/XC545676.ogg": HandLabel(nocall_s=((1.5, 7.0),)),
        "whiwre1/XC518092.ogg": HandLabel(voice_s=((25.0, 1000.0),)),
    }


def test_a_clip_may_have_both_marks_and_several_ranges(tmp_path: Path) -> None:
    path = _table(tmp_path, 'a/1.ogg,1,0,"[[0,1],[5,6]]"', 'a/1.ogg,0,1,"[[2,3]]"')
    assert read_hand_labels(path) == {
        "a/1.ogg": HandLabel(voice_s=((0.0, 1.0), (5.0, 6.0)), nocall_s=((2.0, 3.0),))
    }


def test_no_table_is_no_hand_label(tmp_path: Path) -> None:
    assert read_hand_labels(tmp_path / "hand_labels.csv") == {}


@pytest.mark.parametrize(
    "row",
    [
        'a/1.ogg,0,1,"[[7,1.5]]"',
        'a/1.ogg,0,1,"[[-1,2]]"',
        'a/1.ogg,0,1,"[[1]]"',
        'a/1.ogg,0,1,"[]"',
        "a/1.ogg,0,1,7",
        "a/1.ogg,0,1,",
        'a/1.ogg,0,1,"__import__(1)"',
        'a/1.ogg,0,0,"[[1,2]]"',
        'a/1.ogg,yes,0,"[[1,2]]"',
    ],
)
def test_a_row_that_cannot_be_understood_is_named(tmp_path: Path, row: str) -> None:
    with pytest.raises(ConfigError, match=r"hand_labels\.csv.*a/1\.ogg"):
        read_hand_labels(_table(tmp_path, row))


ranges = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 40)).map(lambda r: (r[0] / 4, (r[0] + r[1]) / 4)),
    max_size=4,
).map(tuple)


@given(ranges, ranges, st.integers(0, 1000))
def test_cutting_agrees_with_the_definition_sample_by_sample(
    voice: tuple[tuple[float, float], ...], nocall: tuple[tuple[float, float], ...], count: int
) -> None:
    rate_hz = 100
    kept, marked = without_voice(
        np.arange(count, dtype=np.float32), HandLabel(voice, nocall), rate_hz
    )
    wanted = [
        (n, any(a <= n / rate_hz < b for a, b in nocall))
        for n in range(count)
        if not any(a <= n / rate_hz < b for a, b in voice)
    ]
    assert list(zip(kept.astype(int).tolist(), marked.tolist(), strict=True)) == wanted


def _bursts(path: Path, seconds: float, *begins_s: float) -> Clip:
    times = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    heard = np.any([(times >= one) & (times < one + 0.5) for one in begins_s], axis=0)
    rng = np.random.default_rng(0)
    sound = 0.3 * heard * np.sin(2 * np.pi * 3000 * times) + 0.001 * rng.standard_normal(len(times))
    soundfile.write(path, sound, SAMPLE_RATE_HZ)
    return Clip(path, "wren")


def test_a_clip_is_shorter_by_its_voice_and_silent_where_nothing_calls(tmp_path: Path) -> None:
    clip = _bursts(tmp_path / "a.wav", 12.0, 1.0, 5.0, 9.0)
    label = HandLabel(voice_s=((0.0, 3.0),), nocall_s=((8.0, 1000.0),))
    (recording,) = load_recordings([clip], MelConfig(), {"wren/a.wav": label}).recordings
    assert len(recording.samples) == 9 * SAMPLE_RATE_HZ
    loud_s = np.flatnonzero(recording.loudness > 0.5) * 312.5 / SAMPLE_RATE_HZ
    # The burst at 5 s lies 3 s earlier now; the one at 9 s is marked as no call.
    assert 1.8 < loud_s.min() < 2.1
    assert 2.3 < loud_s.max() < 2.7
    assert recording.is_nocall(5 * SAMPLE_RATE_HZ, 5 * SAMPLE_RATE_HZ)
    assert not recording.is_nocall(4 * SAMPLE_RATE_HZ, 5 * SAMPLE_RATE_HZ)
    assert not recording.is_nocall(20 * SAMPLE_RATE_HZ, SAMPLE_RATE_HZ)


def test_a_clip_that_is_all_voice_cannot_be_used(tmp_path: Path) -> None:
    clip = _bursts(tmp_path / "a.wav", 3.0, 1.0)
    label = {"wren/a.wav": HandLabel(voice_s=((0.0, 1000.0),))}
    loaded = load_recordings([clip], MelConfig(), label)
    assert not loaded.recordings
    assert "human voice" in loaded.unusable[clip.path]


def test_a_weak_crop_where_nothing_calls_is_nocall(tmp_path: Path) -> None:
    clip = _bursts(tmp_path / "a.wav", 40.0, 1.0)
    labels = {"wren/a.wav": HandLabel(nocall_s=((6.0, 1000.0),))}
    (recording,) = load_recordings([clip], MelConfig(), labels).recordings
    maker = SceneMaker(
        [recording],
        [Noise(np.ones(1000, np.int16))],
        labels=["wren"],
        core={"wren"},
        config=SceneConfig(composed_share=0.0, mixup_chance=0.0, edge_crop_share=1.0),
        mel=MelConfig(),
    )
    # With edge crops only, half of them start within 2 s of the start and hold the call.
    scenes = [maker.make(np.random.default_rng(seed), 1) for seed in range(40)]
    labelled = [bool(scene.target.any()) for scene in scenes]
    assert 0.25 < np.mean(labelled) < 0.75
    assert all(scene.known.all() for scene in scenes)
