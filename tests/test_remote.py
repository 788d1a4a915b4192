"""Recordings at an address: found, fetched whole or in part, and scanned as if they lay here."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound
from crewlab import OPTIONS, results_of

from recorder.crew.jobs import _part
from recorder.crew.pieces import account_of, plan
from recorder.crew.tasks import Settings, digest, piece, whole
from recorder.detect.bundle import DEFAULT_BUNDLE, Bundle
from recorder.errors import AudioFileError, UsageError
from recorder.keep.result import DoneFiles
from recorder.sound.files import remote
from recorder.sound.files.finder import Found, find_recordings
from recorder.sound.files.remote import _stamp, at_hand, find_remote, sha256_of

fsspec = pytest.importorskip("fsspec", reason="the extra `cluster` is not installed")

SETTINGS = Settings(DEFAULT_BUNDLE, None, "auto", "")


@pytest.fixture
def memory() -> Iterator[object]:
    """A file system that is not a disk."""
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def put(system: object, folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            system.pipe_file(f"/wood/{path.relative_to(folder)}", path.read_bytes())  # type: ignore[attr-defined]


def test_what_lies_there_is_found_as_it_would_be_here(recordings: Path, memory: object) -> None:
    put(memory, recordings)
    memory.pipe_file("/wood/notes.txt", b"x")  # type: ignore[attr-defined]
    memory.pipe_file("/wood/._a.wav", b"x")  # type: ignore[attr-defined]
    there = find_remote("memory://wood")
    here = find_recordings([recordings], leave_out=recordings / "none")
    assert [one.name for one in there if not one.harmless] == [one.name for one in here]
    assert [one.name for one in there if one.harmless] == ["._a.wav"]
    alone = find_remote("memory://wood/b/stereo.flac")
    assert [one.name for one in alone] == ["stereo.flac"]
    assert alone[0].size_bytes == (recordings / "b" / "stereo.flac").stat().st_size


def test_it_is_fetched_for_a_while_and_analysed_as_here(recordings: Path, memory: object) -> None:
    put(memory, recordings)
    here = find_recordings([recordings], leave_out=recordings / "none")
    for one, other in zip(find_remote("memory://wood"), here, strict=True):
        with at_hand(one) as fetched:
            assert fetched.path.read_bytes() == other.path.read_bytes()
        assert not fetched.path.exists()
        assert sha256_of(one) == sha256_of(other)
        found, expected = whole(SETTINGS, one), whole(SETTINGS, other)
        assert replace(found.manifest, elapsed_s=0.0) == replace(expected.manifest, elapsed_s=0.0)
        assert found.detections == expected.detections


def test_of_a_long_one_only_what_is_needed_is_fetched(
    bundle: Bundle, memory: object, birdlike: MakeSound, tmp_path: Path
) -> None:
    samples = np.tile(birdlike(60.0, 16_000, seed=2), 51)
    soundfile.write(tmp_path / "long.wav", samples, 16_000)
    put(memory, tmp_path)
    (there,) = find_remote("memory://wood")
    here = Found(tmp_path / "long.wav", "long.wav")
    pieces = plan(there, bundle, workers=2)
    assert pieces == plan(here, bundle, workers=2)
    assert len(pieces) == 2
    for one in pieces:
        with at_hand(there, span=one.span) as fetched:
            blocks = fetched.path.stat().st_blocks * 512
            assert blocks < 0.75 * there.size_bytes
            assert fetched.path.stat().st_size == there.size_bytes
    first = pieces[0]
    fetched_rows, rows = piece(SETTINGS, there, first).rows, piece(SETTINGS, here, first).rows
    assert fetched_rows is not None
    assert rows is not None
    np.testing.assert_array_equal(fetched_rows, rows)
    sha256 = digest(SETTINGS, there)
    assert sha256 == digest(SETTINGS, here) == hashlib.sha256(here.path.read_bytes()).hexdigest()
    of_there = account_of(there, bundle, start="", sha256=sha256)
    assert of_there == account_of(here, bundle, start="", sha256=sha256)


def test_what_is_gone_is_a_row_and_what_cannot_be_listed_an_error(memory: object) -> None:
    memory.pipe_file("/wood/a.wav", b"x" * 100)  # type: ignore[attr-defined]
    (one,) = find_remote("memory://wood")
    memory.rm("/wood/a.wav")  # type: ignore[attr-defined]
    with pytest.raises(AudioFileError, match="cannot be fetched"), at_hand(one):
        pass
    row = whole(SETTINGS, one).manifest
    assert (row.status, "cannot be fetched" in row.reason) == ("failed", True)
    with pytest.raises(UsageError, match="no-such-thing"):
        find_remote("no-such-thing://x")


def test_on_the_web_a_folder_answers_like_a_file(
    memory: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a list of it may not say how long its files are."""

    class Web(fsspec.get_filesystem_class("memory")):  # type: ignore[misc]
        def isfile(self, _path: str) -> bool:
            return True

        def find(self, path: str, **_: object) -> dict[str, dict[str, object]]:
            return {name: {"name": name, "size": None} for name in super().find(path)}

    memory.pipe_file("/wood/a.wav", b"x" * 100)  # type: ignore[attr-defined]
    for path in ("/wood", "/wood/a.wav"):
        monkeypatch.setattr(remote, "_system", lambda _, path=path: (Web(), path))
        (one,) = find_remote(f"web:/{path}")
        assert (one.name, one.size_bytes) == ("a.wav", 100)
        assert one.stamp.startswith("100|")


def test_a_folder_that_refuses_is_named_and_links_to_folders_are_not_followed(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec leaves the first out without a word, and walks through the others in circles."""

    class Picky(fsspec.get_filesystem_class("file")):  # type: ignore[misc]
        def ls(self, path: str, *arguments: object, **named: object) -> object:
            if path.rstrip("/").endswith("closed"):
                raise PermissionError(13, "Permission denied", path)
            return super().ls(path, *arguments, **named)

    wood = tmp_path / "wood"
    shutil.copytree(recordings, wood)
    (wood / "closed").mkdir()
    (wood / "loop").symlink_to(wood)
    monkeypatch.setattr(remote, "_system", lambda url: (Picky(), url.removeprefix("file://")))
    there = find_remote(f"file://{wood}")
    here = find_recordings([wood], leave_out=wood / "none")
    problems = {one.name: one.problem for one in there if one.problem}
    assert problems == {"closed": "folder cannot be read (Permission denied)"}
    assert [one.name for one in there if not one.problem] == [one.name for one in here]
    with pytest.raises(UsageError, match="Permission denied"):
        find_remote(f"file://{wood}/closed")


def test_only_what_changes_with_a_file_is_its_stamp() -> None:
    assert _stamp({"size": 5}) == ""
    assert _stamp({"size": 5, "Last-Modified": "x"}) == "5|x"
    assert _stamp({"size": 5, "modify": "20260101"}) != _stamp({"size": 5, "modify": "20260102"})


def test_without_a_stamp_nothing_is_kept(tmp_path: Path) -> None:
    """Of the same size it may be another."""
    done = DoneFiles(tmp_path, "settings")
    assert _part(done, Found(Path("a.wav"), "a.wav", url="web://a.wav", size_bytes=5)) is None
    assert _part(done, Found(Path("a.wav"), "a.wav", url="web://a.wav", stamp="5|x")) is not None


def test_an_address_is_scanned_like_a_folder(
    recordings: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert birdrec("scan", recordings, "--out", here, *OPTIONS, "--quiet").returncode == 0
    url = f"file://{recordings}"
    assert birdrec("scan", url, "--out", there, *OPTIONS, "--quiet").returncode == 0
    assert results_of(there) == results_of(here)
    assert json.loads((there / "run.json").read_text())["recordings"] == url
    again = birdrec("scan", url, "--out", there, *OPTIONS, "--json")
    assert json.loads(again.stdout)["totals"]["files"] == 4
    two = birdrec("scan", url, recordings, "--out", there)
    assert two.returncode == 2
    assert "scanned alone" in two.stderr


def test_notes_of_megabytes_behind_the_sound_do_not_make_a_recording_longer(
    bundle: Bundle, memory: object, birdlike: MakeSound, tmp_path: Path
) -> None:
    """Its beginning and end are fetched, and where its sound ends is not: it is read whole."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(birdlike(60.0, 8_000, seed=2), 52), 8_000)
    with path.open("ab") as stream:
        stream.write(b"JUNK" + (6_000_000).to_bytes(4, "little") + bytes(6_000_000))
    assert plan(Found(path, path.name), bundle, workers=2)
    put(memory, tmp_path)
    (there,) = find_remote("memory://wood")
    assert plan(there, bundle, workers=2) == []
