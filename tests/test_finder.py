"""Which files a scan finds, in what order and under what names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recorder.sound.files.finder import Found, find_recordings

NOWHERE = Path("no-such-output-folder")


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def find(*paths: Path, leave_out: Path = NOWHERE) -> list[Found]:
    return find_recordings(paths, leave_out=leave_out)


def names(found: list[Found]) -> list[str]:
    return [one.name for one in found]


def test_audio_in_all_folders_is_found_and_sorted_by_the_bytes_of_its_name(tmp_path: Path) -> None:
    make(tmp_path, "b.wav", "B.WAV", "a/z.flac", "a/a.ogg", "a.mp3", "é.opus", "c/d/e/f.aiff")
    make(tmp_path, "notes.txt", "a/picture.png", "wav", "a.wav.bak")
    found = find(tmp_path)
    expected = ["B.WAV", "a.mp3", "a/a.ogg", "a/z.flac", "b.wav", "c/d/e/f.aiff", "é.opus"]
    assert names(found) == expected
    assert not any(one.problem or one.harmless for one in found)
    assert [one.path for one in found] == [tmp_path / name for name in expected]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "a/x.wav")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert names(find(tmp_path)) == ["a/x.wav"]


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    make(tmp_path, "in/x.wav")
    (tmp_path / "in" / "y.wav").symlink_to(tmp_path / "in" / "x.wav")
    assert names(find(tmp_path / "in")) == ["x.wav", "y.wav"]


def test_the_results_are_not_searched(tmp_path: Path) -> None:
    make(tmp_path, "x.wav", "out/clips/y.wav", "deeper/out/z.wav")
    assert names(find(tmp_path, leave_out=tmp_path / "out")) == ["deeper/out/z.wav", "x.wav"]


def test_relative_paths_are_left_out_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "x.wav", "out/y.wav")
    monkeypatch.chdir(tmp_path)
    assert names(find(Path("."), leave_out=Path("out"))) == ["x.wav"]


def test_a_macs_shadow_file_is_harmless(tmp_path: Path) -> None:
    make(tmp_path, "._x.wav", "x.wav")
    shadow, sound = find(tmp_path)
    assert (shadow.name, shadow.harmless) == ("._x.wav", True)
    assert "shadow" in shadow.problem
    assert (sound.name, sound.problem) == ("x.wav", "")


def test_a_link_to_nowhere_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "x.wav").symlink_to(tmp_path / "gone.wav")
    (one,) = find(tmp_path)
    assert (one.name, one.problem, one.harmless) == ("x.wav", "a link to nowhere", False)


def test_a_link_that_cannot_be_followed_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "x.wav").symlink_to("a" * 300)
    (one,) = find(tmp_path)
    assert one.problem == "a link that cannot be followed (File name too long)"


def test_a_missing_path_is_a_problem(tmp_path: Path) -> None:
    make(tmp_path, "x.wav")
    found = find(tmp_path / "x.wav", tmp_path / "gone")
    assert [(one.name, bool(one.problem)) for one in found] == [("gone", True), ("x.wav", False)]
    assert "no such file or folder" in found[0].problem


def test_a_named_file_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    make(tmp_path, "recording.bin")
    assert find(tmp_path / "recording.bin") == [Found(tmp_path / "recording.bin", "recording.bin")]
    assert find(tmp_path) == []


def test_names_are_relative_to_what_two_roots_have_in_common(tmp_path: Path) -> None:
    make(tmp_path, "site/a/x.wav", "site/b/x.wav", "site/c/x.wav")
    found = find(tmp_path / "site" / "b", tmp_path / "site" / "a")
    assert names(found) == ["a/x.wav", "b/x.wav"]


def test_a_file_given_twice_is_found_once(tmp_path: Path) -> None:
    make(tmp_path, "a/x.wav", "y.wav")
    assert names(find(tmp_path, tmp_path / "a", tmp_path / "y.wav")) == ["a/x.wav", "y.wav"]


def test_an_empty_folder_has_nothing(tmp_path: Path) -> None:
    assert find(tmp_path) == []


def test_names_that_are_not_utf_8_keep_their_bytes(tmp_path: Path) -> None:
    try:
        make(tmp_path, os.fsdecode(b"p\xe4jaro.wav"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (one,) = find(tmp_path)
    assert os.fsencode(one.name) == b"p\xe4jaro.wav"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    make(tmp_path, "closed/x.wav", "y.wav")
    (tmp_path / "closed").chmod(0)
    try:
        found = find(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert names(found) == ["closed", "y.wav"]
    assert "cannot be read" in found[0].problem
