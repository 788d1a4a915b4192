"""`scan` onto a disk without room: clear words, nothing lost, and it goes on when there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Birdrec
from crewlab import OPTIONS, results_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A disk in memory of a size that can be changed."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", place], check=True)

    def resized(size: str) -> Path:
        subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)
        return place

    yield resized
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_says_so_and_goes_on_when_there_is_room(
    recordings: Path,
    birdrec: Birdrec,
    tmp_path: Path,
    disk: Callable[[str], Path],
    workers: str,
) -> None:
    options = (*OPTIONS, "--threshold", "0.0001", "--quiet", "--workers", workers)
    out = disk("96k") / "out"
    done = birdrec("scan", recordings, "--out", out, *options)
    assert done.returncode == 2
    assert "takes no more (No space left on device): make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / "manifest.jsonl").exists()
    assert birdrec("scan", recordings, "--out", disk("50m") / "out", *options).returncode == 0
    assert birdrec("scan", recordings, "--out", tmp_path / "else", *options).returncode == 0
    assert results_of(out) == results_of(tmp_path / "else")


def test_a_disk_that_is_full_already_is_said_before_any_work(
    recordings: Path, birdrec: Birdrec, disk: Callable[[str], Path]
) -> None:
    place = disk("96k")
    (place / "other").write_bytes(bytes(90 << 10))
    done = birdrec("scan", recordings, "--out", place / "out", "--quiet")
    assert done.returncode == 2
    assert "cannot be written to (No space left on device): choose another folder" in done.stderr
