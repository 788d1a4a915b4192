"""When a recording was made and by what: GUANO, an AudioMoth's comment, a name, an option."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import soundfile
from conftest import Birdrec, MakeSound, ReadLines

from recorder.keep.formats import wall_time
from recorder.sound.files.audiofile import AudioFile
from recorder.sound.files.extent import Extent
from recorder.sound.files.notes import Notes, read_notes, with_start

MOTH = (
    "Recorded at 19:17:30 19/09/2019 (UTC+5:30) by AudioMoth 24F319055FDF2CE2 at medium gain "
    "while battery was 3.6V and temperature was -2.3C."
)
GUANO = (
    "GUANO|Version: 1.0\nTimestamp: 2021-06-01T04:05:06.250+02:00\nMake: Wildlife Acoustics\n"
    "Model: Song Meter Mini\nSerial: SMM07\nTemperature Int: 11.5\nNote: dawn: cold\n"
)


def wav_with(path: Path, *chunks: tuple[bytes, bytes]) -> Path:
    """Chunks before and after the sound, as recorders write them."""
    soundfile.write(path, [0.0] * 999, 32_000)
    content = path.read_bytes()
    extra = b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        for kind, data in chunks
    )
    content = content[:36] + extra + content[36:] + b"\0" * (len(content) % 2) + extra
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    return path


def comment(text: str) -> tuple[bytes, bytes]:
    data = text.encode() + b"\0"
    return b"LIST", b"INFO" + b"ICMT" + struct.pack("<I", len(data)) + data


def notes_of(path: Path, name: str = "a.wav") -> Notes:
    with AudioFile(path) as sound:
        list(sound.blocks(999))
        assert sound.frames_read == 999
        return sound.notes(name)


def test_an_audiomoths_comment(tmp_path: Path) -> None:
    notes = notes_of(wav_with(tmp_path / "a.wav", comment(MOTH)))
    assert notes == Notes(
        start="2019-09-19T19:17:30+05:30",
        start_from="comment",
        recorder="AudioMoth 24F319055FDF2CE2",
        gain="medium",
        temperature_c=-2.3,
        battery_v=3.6,
    )


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("(UTC)", "2019-09-19T19:17:30Z"),
        ("(UTC-3)", "2019-09-19T19:17:30-03:00"),
        ("(UTC+12:45)", "2019-09-19T19:17:30+12:45"),
        ("(UTC+30)", "2019-09-19T19:17:30"),
    ],
)
def test_an_audiomoths_zones(tmp_path: Path, zone: str, start: str) -> None:
    text = MOTH.replace("(UTC+5:30)", zone).replace(
        "battery was 3.6V", "battery was greater than 4.9V"
    )
    notes = notes_of(wav_with(tmp_path / "a.wav", comment(text)))
    assert (notes.start, notes.battery_v) == (start, 4.9)


def test_guano_knows_better_than_comment_and_name(tmp_path: Path) -> None:
    path = wav_with(tmp_path / "a.wav", comment(MOTH), (b"guan", GUANO.encode()))
    notes = notes_of(path, "SMM07_20210601_000000.wav")
    assert notes == Notes(
        start="2021-06-01T04:05:06.250+02:00",
        start_from="guano",
        recorder="Wildlife Acoustics Song Meter Mini SMM07",
        gain="medium",
        temperature_c=11.5,
        battery_v=3.6,
    )


def test_guano_in_a_flacs_comment(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", 32_000, 1) as file:
        file.comment = GUANO
        file.write([0.0] * 999)
    assert notes_of(path).start == "2021-06-01T04:05:06.250+02:00"


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("20190919_191730.WAV", "2019-09-19T19:17:30"),
        ("deep/S4A03895_20190522_000000.wav", "2019-05-22T00:00:00"),
        ("SMA_20190522-120305_x.flac", "2019-05-22T12:03:05"),
        ("2019-05-22T12:03:05.wav", "2019-05-22T12:03:05"),
        ("20261126T114322.123Z.flac", "2026-11-26T11:43:22Z"),
        ("A_20190522_120305+0200.wav", "2019-05-22T12:03:05+02:00"),
        # Of two times the first: the other is that of the last sample.
        (
            "S20240815T091156.982648+1000_E20240815T101251.967555+1000_-12.34567+78.98102.wav",
            "2024-08-15T09:11:56+10:00",
        ),
        ("20210501_060000-20210501_070000.wav", "2021-05-01T06:00:00"),
        # What follows is no zone: nobody lives there, or it goes on.
        ("20190522_000000-48000Hz.wav", "2019-05-22T00:00:00"),
        ("20210501_060000-070000.wav", "2021-05-01T06:00:00"),
        ("SITE1_20190919_191730-0001.wav", "2019-09-19T19:17:30"),
        ("SITE1_20190919_191730-1200.wav", "2019-09-19T19:17:30"),
        ("20190522_000000+9999.wav", "2019-05-22T00:00:00"),
        ("20190522_000000Zone3.wav", "2019-05-22T00:00:00"),
        ("20190522_000000+0545.wav", "2019-05-22T00:00:00+05:45"),
        ("20191399_191730.wav", ""),
        ("20190919_251730.wav", ""),
        ("120190919_191730.wav", ""),
        ("90100_CMP_20140301.wav", ""),
        ("birds.wav", ""),
    ],
)
def test_the_time_in_a_name(tmp_path: Path, name: str, start: str) -> None:
    soundfile.write(tmp_path / "a.wav", [0.0] * 999, 32_000)
    notes = notes_of(tmp_path / "a.wav", name)
    assert (notes.start, notes.start_from) == (start, "name" if start else "")


def test_an_option_is_believed_and_nonsense_is_not() -> None:
    notes = with_start(Notes(start="x", start_from="name"), "2026-05-01T06:00:00+02:00")
    assert (notes.start, notes.start_from) == ("2026-05-01T06:00:00+02:00", "option")
    with pytest.raises(ValueError, match="is no time"):
        with_start(Notes(), "yesterday")


def test_a_year_that_cannot_be_is_no_time(tmp_path: Path) -> None:
    late = GUANO.replace("2021-06-01", "9999-12-31")
    path = wav_with(tmp_path / "a.wav", (b"guan", late.encode()))
    assert notes_of(path).start == ""
    with pytest.raises(ValueError, match="is no time"):
        with_start(Notes(), "9999-12-31T23:59:59")


@pytest.mark.parametrize("sound", [bytes(100_000), b"LIST" + bytes(100_000)], ids=["zeros", "odd"])
def test_sound_is_not_searched_for_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: bytes
) -> None:
    """A header that was never closed: what follows is no chunk."""
    header = wav_with(tmp_path / "a.wav").read_bytes()[:40]
    (tmp_path / "open.wav").write_bytes(header + bytes(4) + sound)
    looks: list[int] = []
    plain = Extent.at

    def counted(self: Extent, place: int, count: int) -> bytes:
        looks.append(place)
        return plain(self, place, count)

    monkeypatch.setattr(Extent, "at", counted)
    with (tmp_path / "open.wav").open("rb") as stream:
        assert read_notes(Extent.whole(stream.fileno()), "", "") == Notes()
    assert len(looks) < 9


def test_notes_behind_the_sound_of_an_rf64(tmp_path: Path) -> None:
    """Its chunk `data` says all ones; how long it is stands elsewhere."""
    path = tmp_path / "a.wav"
    soundfile.write(path, [0.0] * 999, 32_000, format="RF64", subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data += bytes(len(data) % 2) + b"guan" + struct.pack("<I", len(GUANO)) + GUANO.encode()
    path.write_bytes(data)
    assert notes_of(path).start == "2021-06-01T04:05:06.250+02:00"


def test_times_of_day_over_midnight() -> None:
    assert wall_time("2019-12-31T23:59:58Z", 5.5) == "2020-01-01T00:00:03.500Z"
    assert wall_time("2019-12-31T23:59:58+05:30", 5.0) == "2020-01-01T00:00:03+05:30"
    assert wall_time("2019-12-31T23:59:58", 2.0) == "2020-01-01T00:00:00"
    assert wall_time("", 2.0) == ""


def test_the_manifest_and_the_rows_know_the_time(
    birdrec: Birdrec, birdlike: MakeSound, read_lines: ReadLines, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "S4A03895_20190522_235955.wav", birdlike(12.0), 32_000)
    out, options = tmp_path / "out", ("--threshold", "0.02", "--formats", "csv,jsonl", "--quiet")
    assert birdrec("scan", folder, "--out", out, *options).returncode == 0
    (row,) = read_lines(out / "manifest.jsonl")
    assert (row["start"], row["start_from"]) == ("2019-05-22T23:59:55", "name")
    times = {one["start_s"]: one["start_time"] for one in read_lines(out / "detections.jsonl")}
    assert times[5.0] == "2019-05-23T00:00:00"
    given = birdrec("scan", folder, "--out", out, *options, "--start", "2020-01-01T00:00:00Z")
    assert given.returncode == 0, given.stderr
    (row,) = read_lines(out / "manifest.jsonl")
    assert (row["start"], row["start_from"]) == ("2020-01-01T00:00:00Z", "option")
    soundfile.write(folder / "b.wav", birdlike(1.0), 32_000)
    for start, word in (("2020-01-01T00:00:00Z", "one recording"), ("noon", "is no time")):
        wrong = birdrec("scan", folder, "--out", out, *options, "--start", start)
        assert wrong.returncode == 2
        assert word in wrong.stderr
