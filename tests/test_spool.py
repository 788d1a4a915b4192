"""What was appended is read back, whatever is dropped, torn or found again."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.keep.spool import (
    Spool,
    SpoolFolder,
    SpoolFull,
    SpoolGap,
    remove_runs,
    remove_torn,
    runs_left,
)

RATE_HZ = 100


def folders(path: Path, limit_bytes: int | None = None) -> list[SpoolFolder]:
    return [SpoolFolder(path / "ram", limit_bytes, 0), SpoolFolder(path / "disk", None, 0)]


def spool(where: list[SpoolFolder], run_id: str = "1") -> Spool:
    return Spool(where, run_id=run_id, sample_rate_hz=RATE_HZ, channels=2, dtype="int16")


def sound(first: int, count: int) -> NDArray[np.int16]:
    """[count, 2], each frame different."""
    at = np.arange(first, first + count)
    return np.stack([at % 30_000, -at % 30_000], axis=1).astype(np.int16)


def test_the_end_of_an_older_run_takes_no_room_from_the_next(tmp_path: Path) -> None:
    where = folders(tmp_path, limit_bytes=2_000)
    older, newer = spool(where, "1"), spool(where, "2")
    older.append(0, sound(0, 10))
    older.remove()
    newer.append(0, sound(0, 400))
    newer.append(400, sound(400, 5_000))
    newer.append(5_400, sound(5_400, 5_000))
    assert newer.have(0, 10_400) == [(0, 10_400)]
    np.testing.assert_array_equal(newer.read(0, 400), sound(0, 400))


@given(st.lists(st.tuples(st.sampled_from("aaagdr"), st.integers(1, 2_500)), max_size=20))
def test_it_holds_what_it_was_given(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int]]
) -> None:
    where = folders(tmp_path_factory.mktemp("spool"), limit_bytes=8_000)
    held, place, one = set[int](), 0, spool(where)
    for kind, count in moves:
        if kind == "a":
            one.append(place, sound(place, count))
            held |= set(range(place, place + count))
            place += count
        elif kind == "g":
            place += count
        elif kind == "d":
            one.drop_before(count)
            assert all(first in held for part in one.have(0, place) for first in part[:1])
            held = {at for first, stop in one.have(0, place) for at in range(first, stop)} | {
                at for at in held if at >= count
            }
        else:
            one.close()
            one = spool(where)
        found = one.have(0, place)
        assert {at for first, stop in found for at in range(first, stop)} == held
        for first, stop in found:
            np.testing.assert_array_equal(one.read(first, stop - first), sound(first, stop - first))
    assert one.newest == max(held, default=-1) + 1
    assert one.bytes == 4 * len(held)
    one.remove()
    assert runs_left(where) == []
    assert not any(folder.path.exists() for folder in where)


@given(st.integers(0, 4_500))
def test_a_torn_end_costs_what_was_not_written(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("spool")
    one = spool(folders(path))
    one.append(7, sound(7, 900))
    one.close()
    (file,) = (path / "ram").iterdir()
    os.truncate(file, max(0, file.stat().st_size - cut))
    again = spool(folders(path))
    left = max(0, 900 - -(-cut // 4))
    assert again.have(0, 10_000) == ([(7, 7 + left)] if left else [])
    np.testing.assert_array_equal(again.read(7, left), sound(7, left))


def test_frames_that_are_not_there_are_a_gap(tmp_path: Path) -> None:
    one = spool(folders(tmp_path))
    one.append(0, sound(0, 10))
    one.append(20, sound(20, 10))
    with pytest.raises(SpoolGap, match="frames 10 to 25"):
        one.read(0, 25)
    assert one.have(5, 25) == [(5, 10), (20, 25)]


def test_the_second_folder_takes_what_the_first_has_no_room_for(tmp_path: Path) -> None:
    one = spool(folders(tmp_path, limit_bytes=9_000))
    for first in range(0, 5_000, 500):
        one.append(first, sound(first, 500))
    assert len(list((tmp_path / "ram").iterdir())) == 2
    assert len(list((tmp_path / "disk").iterdir())) == 3
    np.testing.assert_array_equal(one.read(0, 5_000), sound(0, 5_000))


def test_where_nothing_has_room_it_says_why_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = [SpoolFolder(tmp_path / "a", 10, 0), SpoolFolder(tmp_path / "b", None, 1 << 60)]
    with pytest.raises(SpoolFull, match=r"MB are used.*MB are free"):
        spool(never).append(0, sound(0, 5))
    one, write = spool(folders(tmp_path)), os.pwrite
    one.append(0, sound(0, 50))

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(SpoolFull, match="No space"):
        one.append(50, sound(50, 50))
    with pytest.raises(SpoolFull, match="No space"):
        one.append(50, sound(50, 50))
    np.testing.assert_array_equal(one.read(0, 50), sound(0, 50))
    monkeypatch.setattr(os, "pwrite", write)
    one.append(100, sound(100, 50))
    assert one.have(0, 200) == [(0, 50), (100, 150)]


def test_runs_do_not_see_each_other(tmp_path: Path) -> None:
    where = folders(tmp_path)
    one, other = spool(where, "1"), spool(where, "2")
    one.append(0, sound(0, 10))
    other.append(0, sound(500, 20))
    (tmp_path / "ram" / "torn.spool").write_bytes(b"birdrec")
    assert runs_left(where) == ["1", "2"]
    assert spool(where, "1").have(0, 100) == [(0, 10)]
    np.testing.assert_array_equal(spool(where, "2").read(0, 20), sound(500, 20))
    remove_runs(where, ["1"])
    assert runs_left(where) == ["2"]
    remove_torn(where)
    assert not (tmp_path / "ram" / "torn.spool").exists()
    assert runs_left(where) == ["2"]


def test_a_segment_that_is_begun_while_others_are_removed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new run hears already when the sound of the run before it goes."""
    where = folders(tmp_path)
    spool(where, "1").append(0, sound(0, 10))
    write = os.pwrite

    def interrupted(*arguments: Any) -> int:
        remove_runs(where, ["1"])
        return write(*arguments)

    monkeypatch.setattr(os, "pwrite", interrupted)
    spool(where, "2").append(0, sound(500, 20))
    assert runs_left(where) == ["2"]
    assert spool(where, "2").have(0, 100) == [(0, 20)]
