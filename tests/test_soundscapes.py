"""Labelled soundscapes: which judge a fold, and which of their stretches are background."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recorder.detect.mel import CHUNK_SAMPLES, SAMPLE_RATE_HZ, MelConfig
from recorder.errors import ConfigError
from train.clips.dataset import read_dataset
from train.clips.folds import make_folds, write_folds
from train.clips.soundscapes import Soundscape, of_fold, read_soundscapes, silent_stretches
from train.config import TrainConfig
from train.invented.toys import write_toy_dataset
from train.material.gather import gather


def _soundscape(name: str, truth: list[bool]) -> Soundscape:
    rows = np.array(truth)[:, np.newaxis]
    return Soundscape(Path(name), rows, np.ones_like(rows), ~rows.any(axis=1))


def test_every_soundscape_judges_one_fold() -> None:
    all_of_them = [_soundscape(name, [True]) for name in ("c", "a", "b", "d", "e")]
    parts = [of_fold(all_of_them, fold, 2) for fold in (0, 1)]
    names = [sorted(str(one.path) for one in judging) for judging, _ in parts]
    assert names == [["a", "c", "e"], ["b", "d"]]
    for judging, others in parts:
        assert len(judging) + len(others) == 5
        assert not {one.path for one in judging} & {one.path for one in others}
    assert of_fold(all_of_them, -1, 1) == (all_of_them, [])


def test_a_fold_without_a_judge_is_an_error() -> None:
    with pytest.raises(ConfigError, match="1 soundscapes for 3 folds leave none to judge fold 2"):
        of_fold([_soundscape("a", [True])], 2, 3)


def test_stretches_in_which_surely_nothing_calls_are_background(tmp_path: Path) -> None:
    level = np.repeat(np.arange(1, 7) / 10, CHUNK_SAMPLES).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", level, SAMPLE_RATE_HZ)
    soundscape = _soundscape("a", [False, False, True, False, False, False])
    soundscape.known[4] = False
    stretches = silent_stretches(replace(soundscape, path=tmp_path / "a.wav"))
    assert [len(one) // CHUNK_SAMPLES for one in stretches] == [2, 1, 1]
    found = [sorted(set(np.round(one / 32767, 2).tolist())) for one in stretches]
    assert found == [[0.1, 0.2], [0.4], [0.6]]


def test_soundscapes_of_other_folds_are_background_and_those_of_this_one_judge(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    write_toy_dataset(
        data, species=2, clips_per_species=5, soundscapes=4, soundscape_s=30.0, seed=1
    )
    dataset = read_dataset(data)
    write_folds(tmp_path / "mine.csv", make_folds(dataset, 2, seed=1, kept={}), dataset.clips)
    config = TrainConfig(name="toy", dataset="data", fold=1, folds="mine.csv")
    plain = gather(config, tmp_path / "toy.toml", MelConfig(), say=lambda _: None)
    assert (len(plain.jury.soundscapes), len(plain.noise)) == (4, 0)
    noisy = gather(
        replace(config, soundscape_noise=True), tmp_path / "toy.toml", MelConfig(), say=print
    )
    assert len(noisy.jury.soundscapes) == 2
    others = [one for one in plain.jury.soundscapes if one.path not in _paths(noisy.jury)]
    expected = [stretch for one in others for stretch in silent_stretches(one)]
    assert len(noisy.noise) == len(expected) > 0
    for noise, stretch in zip(noisy.noise, expected, strict=True):
        np.testing.assert_array_equal(noise.samples, stretch)


def _paths(jury: object) -> set[Path]:
    return {one.path for one in jury.soundscapes}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("90200,5,", "90200,6,", "seconds is 6, not the end of a 5-s chunk"),
        ("90200,5,", "90200,soon,", "seconds is 'soon', not a number"),
        ("TOY,90200,5,", "TOY,1,5,", r"labels 1 soundscapes that are not in .*first 1_TOY"),
        ("seconds", "second", "no column seconds"),
    ],
)
def test_a_table_of_labels_that_cannot_be_understood_is_named(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    write_toy_dataset(
        tmp_path, species=1, clips_per_species=1, soundscapes=1, soundscape_s=15.0, seed=1
    )
    table = tmp_path / "train_soundscape_labels.csv"
    table.write_text(table.read_text("utf-8").replace(old, new, 1))
    with pytest.raises(ConfigError, match=words):
        read_soundscapes(tmp_path, ["toy_upsweep"])


def test_a_call_of_no_class_is_no_silence(tmp_path: Path) -> None:
    write_toy_dataset(
        tmp_path, species=1, clips_per_species=1, soundscapes=1, soundscape_s=30.0, seed=1
    )
    (as_known,) = read_soundscapes(tmp_path, ["toy_upsweep"])
    (as_stranger,) = read_soundscapes(tmp_path, [])
    assert as_known.truth.any()
    assert as_stranger.nocall.tolist() == as_known.nocall.tolist()
    assert (as_known.nocall == ~as_known.truth[:, 0]).all()


def test_a_chunk_that_no_row_labels_is_unknown_and_no_silence(tmp_path: Path) -> None:
    write_toy_dataset(
        tmp_path, species=1, clips_per_species=1, soundscapes=1, soundscape_s=15.0, seed=1
    )
    table = tmp_path / "train_soundscape_labels.csv"
    head, first, _, last = table.read_text("utf-8").splitlines()
    table.write_text("\n".join([head, first, last]) + "\n")
    (soundscape,) = read_soundscapes(tmp_path, ["toy_upsweep"])
    assert soundscape.known[:, 0].tolist() == [True, False, True]
    assert not soundscape.nocall[1]
