"""A scan among other programs and on disks that fail: each recording pays for itself alone."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound, ReadCsv, ReadLines

from recorder import onefile
from recorder.crew.tasks import Settings, _loaded
from recorder.detect.bundle import DEFAULT_BUNDLE
from recorder.errors import UsageError
from recorder.keep.alone import SCAN_NOTE, alone_in
from recorder.keep.formats import DetectionRow
from recorder.keep.result import DoneFiles
from recorder.onefile import FileScanner
from recorder.sound.files import audiofile, remote
from recorder.sound.files.extent import Extent
from recorder.sound.files.finder import Found
from recorder.sound.files.patched import PatchedFile
from recorder.ui import Tally

FAILING = OSError(errno.EIO, os.strerror(errno.EIO))


def _scanner() -> FileScanner:
    return _loaded(Settings(DEFAULT_BUNDLE, None, "auto", ""))[1]


def _wav(path: Path, birdlike: MakeSound, seconds: float = 6.0) -> Found:
    soundfile.write(path, birdlike(seconds), 32_000)
    return Found(path, path.name)


def test_a_disk_that_cannot_be_read_is_that_recordings_trouble(
    birdlike: MakeSound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _wav(tmp_path / "a.wav", birdlike)

    def failing(*_: object) -> bytes:
        raise FAILING

    monkeypatch.setattr(Extent, "at", failing)
    row = _scanner().scan(found).manifest
    assert (row.status, row.reason) == ("failed", "cannot be read (Input/output error)")


def test_a_bad_sector_that_only_the_hash_meets_costs_no_sound(
    birdlike: MakeSound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _wav(tmp_path / "a.wav", birdlike)

    def failing(_: Found) -> object:
        raise FAILING

    monkeypatch.setattr(remote, "_opened", failing)
    result = _scanner().scan(found)
    row = result.manifest
    assert (row.status, row.seconds_analysed, row.sha256) == ("partial", 6.0, "")
    assert "cannot be read (Input/output error): its disk or card fails" in row.reason
    assert len(result.chunks) == 2


def test_a_fault_of_ours_is_named_and_stops_no_other(
    birdlike: MakeSound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _wav(tmp_path / "a.wav", birdlike)

    def wrong(*_: object, **__: object) -> object:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(onefile, "file_result", wrong)
    row = _scanner().scan(found).manifest
    assert row.status == "failed"
    assert "a fault of birdrec itself" in row.reason
    assert "ZeroDivisionError: a fault" in row.reason


def test_what_is_written_to_while_it_is_read_is_not_whole(
    birdlike: MakeSound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same size, but other sound."""
    found = _wav(tmp_path / "a.wav", birdlike)
    plain = audiofile.AudioFile._clean

    def meddled(self: audiofile.AudioFile, block: np.ndarray) -> np.ndarray:
        with found.path.open("r+b") as stream:
            stream.seek(60)
            stream.write(b"other")
        return plain(self, block)

    monkeypatch.setattr(audiofile.AudioFile, "_clean", meddled)
    row = _scanner().scan(found).manifest
    assert row.status == "partial"
    assert "it was written to while it was analysed" in row.reason


def test_two_scans_do_not_write_to_one_folder(
    birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path
) -> None:
    _wav(tmp_path / "a.wav", birdlike)
    out = tmp_path / "out"
    (out / ".done").mkdir(parents=True)
    with alone_in(out, SCAN_NOTE):
        done = birdrec("scan", tmp_path / "a.wav", "--out", out)
    assert done.returncode == 2
    assert f"in use by another birdrec (process {os.getpid()})" in done.stderr
    assert not (out / "detections.csv").exists()
    assert birdrec("scan", tmp_path / "a.wav", "--out", out).returncode == 0


def test_a_disk_without_locks_lets_everybody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    with alone_in(tmp_path), pytest.raises(UsageError), alone_in(tmp_path):
        pass
    monkeypatch.setattr("fcntl.flock", unknown)
    with alone_in(tmp_path), alone_in(tmp_path):
        pass


def test_nobody_reads_on(birdlike: MakeSound, tmp_path: Path, read_lines: ReadLines) -> None:
    """`birdrec scan folder | head -1`: the folder is scanned all the same."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        _wav(folder / f"{name}.wav", birdlike)
    command = [sys.executable, "-m", "recorder.cli", "scan", str(folder), "--out", "out"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert "Traceback" not in done.stderr
    rows = read_lines(tmp_path / "out" / "manifest.jsonl")
    assert [row["status"] for row in rows] == ["analysed"] * 3


def test_a_name_that_the_terminal_cannot_show_is_shown_by_its_codes(
    birdlike: MakeSound, tmp_path: Path
) -> None:
    _wav(tmp_path / "鳥.wav", birdlike)
    command = [sys.executable, "-m", "recorder.cli", "scan", str(tmp_path / "鳥.wav")]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\\u9ce5.wav" in done.stdout


def test_a_carriage_return_in_a_name_stays_in_its_cell(
    birdrec: Birdrec, birdlike: MakeSound, read_csv: ReadCsv, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    _wav(folder / "rec\rone.wav", birdlike)
    done = birdrec("scan", folder, "--out", tmp_path / "out", "--threshold", "0.02")
    assert done.returncode == 0, done.stderr
    for name in ("detections.csv", "chunks.csv", "events.csv"):
        content = (tmp_path / "out" / name).read_bytes()
        assert b'"rec\rone.wav"' in content
        assert b"\r\n" not in content
        assert {row["file"] for row in read_csv(tmp_path / "out" / name)} == {"rec\rone.wav"}


def _files(out: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in out.iterdir() if one.is_file()}


def test_an_empty_folder_takes_nothing_from_an_earlier_scan(
    birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path
) -> None:
    """The card is not there today."""
    out = tmp_path / "out"
    card = ("scan", tmp_path / "card", "--out", out)
    (tmp_path / "card").mkdir()
    sound = _wav(tmp_path / "card" / "a.wav", birdlike)
    assert birdrec(*card).returncode == 0
    before = _files(out)
    sound.path.unlink()
    assert birdrec(*card).returncode == 6
    assert _files(out) == before


def test_the_record_says_what_belongs_to_it_and_whether_it_is_complete(
    birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    _wav(folder / "b.wav", birdlike)
    (folder / "a.wav").write_bytes(b"no sound" * 9)
    command = ("scan", folder, "--out", out)
    assert birdrec(*command, "--formats", "csv,jsonl", "--scores").returncode == 1
    run = json.loads((out / "run.json").read_text())
    assert (run["complete"], run["formats"]) == (True, ["csv", "jsonl", "scores"])
    assert (out / "detections.jsonl").exists()
    assert birdrec(*command, "--strict").returncode == 1
    run = json.loads((out / "run.json").read_text())
    assert (run["complete"], run["formats"]) == (False, ["csv"])
    # Of the earlier run, whose thresholds may have been others.
    assert not (out / "detections.jsonl").exists()


def test_species_are_counted_by_files_without_keeping_their_names() -> None:
    tally = Tally()
    for file in ("a.wav", "a.wav", "b.wav"):
        tally.add([DetectionRow(file, 0.0, 5.0, "wren", "W. w.", "Wren", 0.5, 0.1)])
    (line,) = tally.lines()
    assert (line.chunks, line.files) == (3, 2)
    assert not [value for value in vars(tally).values() if isinstance(value, set)]


def test_what_was_kept_is_cleared_away_without_looking_through_the_others(tmp_path: Path) -> None:
    """Beside a million others a look would take a second, after each recording."""
    done = DoneFiles(tmp_path, "settings")
    part = done.part("1|2", "a.wav")
    others = [tmp_path / f"{number}.jsonl" for number in range(20_000)]
    for other in others:
        other.touch()
    pieces = part.with_suffix(".pieces")
    pieces.mkdir()
    (pieces / "0-24.npy").touch()
    part.touch()
    opened: list[object] = []
    sys.addaudithook(lambda event, _: opened.append(event) if event == "os.scandir" else None)
    done.clear(part)
    listed = len(opened)
    assert not part.exists()
    assert not pieces.exists()
    assert listed <= 2, "the folder of the pieces alone"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace makes the disk fail")
def test_a_bad_sector_costs_its_own_sound_alone(birdlike: MakeSound, tmp_path: Path) -> None:
    """Reading fails from the sixtieth time on, for ever; page by page three pages alone do."""
    path = tmp_path / "a.wav"
    soundfile.write(path, birdlike(60.0), 32_000)
    inject = ["-e", "trace=read,pread64", "-e", "inject=read:error=EIO:when=60+"]
    strace = ["strace", "-f", "-qq", "-o", "trace.txt", "-P", str(path), *inject]
    strace += ["-e", "inject=pread64:error=EIO:when=40..42"]
    scan = [sys.executable, "-m", "recorder.cli", "scan", str(path), "--out", "out", "--quiet"]
    done = subprocess.run(
        [*strace, *scan], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if "ptrace" in done.stderr:
        pytest.skip("this machine lets nobody trace")
    assert done.returncode == 0, done.stderr
    (row,) = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").open()]
    assert row["status"] == "partial"
    assert "bytes cannot be read (its disk or card fails)" in row["reason"]
    assert 59.0 < row["seconds_analysed"] < row["seconds_in_file"] == 60.0


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_U8", "ULAW", "ALAW", "FLOAT"])
def test_what_lies_behind_a_bad_sector_is_where_it_was(
    birdlike: MakeSound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtype: str
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, birdlike(20.0), 32_000, subtype=subtype)
    whole, _ = soundfile.read(path, dtype="float32")
    plain_at, plain_read = Extent.at, audiofile.Forwards.read
    reads: list[int] = []

    def at(self: Extent, place: int, count: int) -> bytes:
        if place < 400_000 and place + count > 390_000:
            raise FAILING
        return plain_at(self, place, count)

    def read(self: audiofile.Forwards, *args: object, **named: object) -> object:
        reads.append(1)
        if len(reads) == 3:
            raise soundfile.SoundFileRuntimeError("System error")
        return plain_read(self, *args, **named)

    monkeypatch.setattr(Extent, "at", at)
    monkeypatch.setattr(audiofile.Forwards, "read", read)
    with audiofile.AudioFile(path) as sound:
        heard = np.concatenate(list(sound.blocks(32_000)))
    assert sound.frames_read == len(heard) == len(whole)
    lost = np.flatnonzero(heard != whole)
    bytes_each = {"PCM_16": 2, "FLOAT": 4}.get(subtype, 1)
    assert lost[0] * bytes_each > 380_000
    assert lost[-1] * bytes_each < 410_000
    assert np.abs(heard[lost]).max() < 3e-4
    assert sound.damage is not None
    assert "cannot be read (its disk or card fails)" in sound.damage
    assert 0 < sound.frames_bridged * bytes_each <= 5 * 4096


def test_a_card_that_has_died_is_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(bytes(16 << 20))
    asked: list[int] = []

    def dead(_self: Extent, place: int, _count: int) -> bytes:
        asked.append(place)
        raise FAILING

    with (tmp_path / "a").open("rb") as stream:
        file = PatchedFile(Extent.whole(stream.fileno()), [(0, 16 << 20)])
        monkeypatch.setattr(Extent, "at", dead)
        assert len(file.read(16 << 20) or b"") == 4 << 20
    assert len(asked) < 1100


def test_a_scan_and_a_station_exclude_each_other(
    birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path
) -> None:
    """Though each says elsewhere who it is."""
    _wav(tmp_path / "a.wav", birdlike)
    out = tmp_path / "out"
    out.mkdir()
    with alone_in(out, SCAN_NOTE):
        played = birdrec("listen", "--replay", tmp_path / "a.wav", "--out", out)
        assert played.returncode == 2
        assert f"in use by another birdrec (process {os.getpid()})" in played.stderr
    with alone_in(out):
        assert birdrec("scan", tmp_path / "a.wav", "--out", out).returncode == 2


def test_an_unclosed_wav_with_a_bad_sector_is_read_behind_it(
    birdlike: MakeSound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, birdlike(20.0), 32_000)
    content = bytearray(path.read_bytes())
    content[40:44] = bytes(4)
    path.write_bytes(content)
    plain_at = Extent.at

    def at(self: Extent, place: int, count: int) -> bytes:
        if place < 400_000 and place + count > 399_000:
            raise FAILING
        return plain_at(self, place, count)

    monkeypatch.setattr(Extent, "at", at)
    row = _scanner().scan(Found(path, "a.wav")).manifest
    assert row.status == "partial"
    assert row.seconds_in_file == 20.0
    assert 19.8 < row.seconds_analysed < 20.0
    assert "4096 bytes cannot be read" in row.reason


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3", "a.flac", "a.wav"])
def test_a_look_that_a_disk_refuses_leaves_no_file_open(
    birdlike: MakeSound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """And the decoder, which reads by itself, reads what it can."""
    soundfile.write(tmp_path / name, birdlike(8.0), 32_000)
    plain_at = Extent.at

    def at(self: Extent, place: int, count: int) -> bytes:
        if place + count > 2000:
            raise FAILING
        return plain_at(self, place, count)

    monkeypatch.setattr(Extent, "at", at)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with audiofile.AudioFile(tmp_path / name) as sound:
            assert sum(map(len, sound.blocks(9999))) > 7.9 * 32_000
            assert sound.notes("20260501_060000.wav").start == "2026-05-01T06:00:00"
    assert len(os.listdir("/proc/self/fd")) == before


def test_tables_that_no_scan_has_written_are_left_alone(
    birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path
) -> None:
    _wav(tmp_path / "a.wav", birdlike)
    out = tmp_path / "out"
    out.mkdir()
    (out / "detections.parquet").write_bytes(b"somebody's own")
    for _ in range(2):
        assert birdrec("scan", tmp_path / "a.wav", "--out", out).returncode == 0
    assert (out / "detections.parquet").read_bytes() == b"somebody's own"
