"""Toy data sets: they parse like the real ones and repeat for a seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recorder.errors import UsageError
from train.invented.toys import toy_species, write_toy_dataset

ReadCsv = Callable[[Path], list[dict[str, str]]]
RATE_HZ = 32000
ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "puerto_rico"
needs_recordings = pytest.mark.skipif(not REAL.is_dir(), reason="no recordings beside the tree")


def make_toys(folder: Path) -> Path:
    return write_toy_dataset(
        folder, species=3, clips_per_species=4, soundscapes=1, soundscape_s=30.0, seed=7
    )


def test_there_are_only_so_many_toys() -> None:
    with pytest.raises(UsageError, match="choose 1 to 8"):
        toy_species(9, rng=np.random.default_rng(0))


def test_a_toy_dataset_parses_like_the_real_one(tmp_path: Path, read_csv: ReadCsv) -> None:
    noise = make_toys(tmp_path / "birds")
    folder = tmp_path / "birds"
    clips, split = (
        read_csv(folder / "train_metadata.csv"),
        read_csv(folder / "split_by_session.csv"),
    )
    assert [row["filename"] for row in clips] == [row["filename"] for row in split]
    by_split: dict[str, set[tuple[str, str]]] = {"train": set(), "val": set()}
    for row, part in zip(clips, split, strict=True):
        by_split[part["split"]].add((row["author"], row["date"]))
        path = folder / "train_short_audio" / row["primary_label"] / row["filename"]
        assert soundfile.info(path).samplerate == RATE_HZ
        assert 6.0 <= soundfile.info(path).duration <= 12.0
    assert len(clips) == 12
    assert by_split["train"].isdisjoint(by_split["val"])
    assert all(by_split.values())
    (soundscape,) = (folder / "train_soundscapes").iterdir()
    audio_id, site, _ = soundscape.stem.split("_")
    chunks = read_csv(folder / "train_soundscape_labels.csv")
    assert [row["row_id"] for row in chunks] == [f"{audio_id}_{site}_{s}" for s in range(5, 31, 5)]
    events = read_csv(folder / "train_soundscape_events.csv")
    heard = {row["label"] for row in events}
    assert {bird for row in chunks for bird in row["birds"].split()} - {"nocall"} == heard
    assert {row["file"] for row in events} == {soundscape.name}
    assert noise == tmp_path / "noise"
    assert len(list(noise.rglob("*.ogg"))) == 4


def test_a_toy_dataset_repeats_for_a_seed(tmp_path: Path) -> None:
    for part in ("one", "two"):
        make_toys(tmp_path / part / "birds")
    files = sorted(path for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 4 + 12 + 1 + 4
    for path in files:
        twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
        if path.suffix == ".csv":
            assert path.read_bytes() == twin.read_bytes()
        else:
            assert np.array_equal(soundfile.read(path)[0], soundfile.read(twin)[0])


@needs_recordings
def test_a_toy_dataset_has_the_real_one_s_columns(tmp_path: Path) -> None:
    make_toys(tmp_path / "birds")
    for path in (tmp_path / "birds").glob("*.csv"):
        real = (REAL / path.name).read_text("utf-8").splitlines()[0]
        assert path.read_text("utf-8").splitlines()[0] == real
