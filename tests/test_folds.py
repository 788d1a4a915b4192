"""Folds: no session on both sides, labels spread, and nothing moves when data grow."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import ConfigError, UsageError
from train.clips.dataset import Clip, Dataset, key
from train.clips.folds import Folds, make_folds, read_folds, write_folds

Birdrec = Callable[..., subprocess.CompletedProcess[str]]


def _dataset(sessions: int, *, seed: int = 0, first: int = 0) -> Dataset:
    """Sessions of 1 to 4 clips, each of one of three labels."""
    rng = np.random.default_rng(seed)
    clips = [
        Clip(
            Path(f"{session}_{number}.ogg"),
            label=f"label_{(session + number) % 3}",
            session=f"Recordist {session}",
        )
        for session in range(first, first + sessions)
        for number in range(int(rng.integers(1, 5)))
    ]
    return Dataset(Path("data"), tuple(clips))


def _sessions(folds: Folds, dataset: Dataset) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for clip in dataset.clips:
        found.setdefault(clip.session, set()).add(folds.of[key(clip)])
    return found


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(8, 30))
def test_every_clip_has_a_fold_and_no_session_is_split(seed: int, count: int, size: int) -> None:
    dataset = _dataset(size, seed=seed)
    folds = make_folds(dataset, count, seed=seed, kept={})
    assert set(folds.of) == {key(clip) for clip in dataset.clips}
    assert set(folds.of.values()) == set(range(count))
    assert all(len(found) == 1 for found in _sessions(folds, dataset).values())


def test_labels_are_spread_over_the_folds() -> None:
    dataset = _dataset(60)
    folds = make_folds(dataset, 4, seed=1, kept={})
    for row in folds.table(dataset.clips).values():
        assert max(row) <= 2 * min(row)


def test_a_seed_decides_and_the_order_of_the_clips_does_not() -> None:
    dataset = _dataset(20)
    turned = Dataset(dataset.folder, dataset.clips[::-1])
    first = make_folds(dataset, 5, seed=1, kept={})
    assert make_folds(turned, 5, seed=1, kept={}).of == first.of
    assert make_folds(dataset, 5, seed=2, kept={}).of != first.of


@given(st.integers(0, 1000), st.integers(1, 20))
def test_clips_stay_in_their_fold_when_data_grow(seed: int, more: int) -> None:
    small = _dataset(15, seed=seed)
    before = make_folds(small, 3, seed=seed, kept={})
    large = Dataset(small.folder, small.clips + _dataset(more, seed=seed, first=15).clips)
    after = make_folds(large, 3, seed=seed + 1, kept=before.of)
    assert all(after.of[name] == fold for name, fold in before.of.items())
    assert set(after.of) == {key(clip) for clip in large.clips}
    assert all(len(found) == 1 for found in _sessions(after, large).values())


def test_new_sessions_go_where_their_label_is_rare() -> None:
    def clips(label: str, *sessions: str) -> tuple[Clip, ...]:
        return tuple(Clip(Path(f"{one}.ogg"), label, session=one) for one in sessions)

    old = clips("wren", "s0", "s1") + clips("todus", "s2")
    kept = {"wren/s0.ogg": 0, "wren/s1.ogg": 1, "todus/s2.ogg": 2}
    grown = Dataset(Path("data"), old + clips("wren", "s3") + clips("todus", "s4"))
    folds = make_folds(grown, 3, seed=1, kept=kept)
    assert folds.of["wren/s3.ogg"] == 2
    assert folds.of["todus/s4.ogg"] == 0


def test_a_new_clip_of_a_known_session_joins_it() -> None:
    session = [Clip(Path(f"{n}.ogg"), "wren", session="A") for n in range(3)]
    other = [Clip(Path("b.ogg"), "wren", session="B")]
    dataset = Dataset(Path("data"), (*session, *other))
    folds = make_folds(dataset, 2, seed=1, kept={"wren/0.ogg": 1, "wren/b.ogg": 1})
    assert {folds.of[f"wren/{n}.ogg"] for n in range(3)} == {1}


@pytest.mark.parametrize("count", [0, 1, 4])
def test_more_folds_than_sessions_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="use 2 to 3"):
        make_folds(_dataset(3), count, seed=1, kept={})


def test_a_table_that_splits_a_session_or_has_other_folds_is_refused() -> None:
    clips = tuple(Clip(Path(f"{n}.ogg"), "wren", session="AB"[n % 2]) for n in range(4))
    dataset = Dataset(Path("data"), clips)
    with pytest.raises(ConfigError, match="'A' lies in the folds"):
        make_folds(dataset, 2, seed=1, kept={"wren/0.ogg": 0, "wren/2.ogg": 1})
    with pytest.raises(UsageError, match="--folds 5"):
        make_folds(dataset, 2, seed=1, kept={"wren/0.ogg": 4})


def test_the_table_reads_back_and_is_the_same_twice(tmp_path: Path) -> None:
    dataset = _dataset(12)
    folds = make_folds(dataset, 3, seed=1, kept={})
    for name in ("a.csv", "b.csv"):
        write_folds(tmp_path / name, folds, dataset.clips)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert read_folds(tmp_path / "a.csv") == folds
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filename,primary_label,session,fold\n", "holds no folds"),
        ("filename,primary_label,session,fold\nwren/a.ogg,wren,A,first\n", "'first', not a number"),
        ("filename,fold\nwren/a.ogg,1\n", "no column primary_label, session"),
    ],
)
def test_a_table_that_is_none_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "folds.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_folds(path)


def test_the_command_writes_the_table_and_says_what_is_in_it(
    birdrec: Birdrec, tmp_path: Path
) -> None:
    for label in ("wren", "todus"):
        for number in range(3):
            path = tmp_path / "data" / label / f"{number}_2020050{number + 1}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    done = birdrec("train", "folds", tmp_path / "data", "--folds", 3)
    assert done.returncode == 0, done.stderr
    assert "6 clips, 6 of them new" in done.stdout
    first = (tmp_path / "data" / "folds.csv").read_bytes()
    (tmp_path / "data" / "wren" / "9_20200509.wav").touch()
    again = birdrec("train", "folds", tmp_path / "data", "--folds", 3)
    assert "7 clips, 1 of them new" in again.stdout
    rows = (tmp_path / "data" / "folds.csv").read_bytes().splitlines()
    assert set(first.splitlines()) < set(rows)
    refused = birdrec("train", "folds", tmp_path / "data", "--folds", 30)
    assert refused.returncode == 2
    assert "use 2 to 7" in " ".join(refused.stderr.split())
