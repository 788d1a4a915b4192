"""`birdrec report`: one page about a scan or a station, whole and harmless."""

from __future__ import annotations

import base64
import io
import re
import shutil
import sqlite3
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound

from recorder.report.data import Example, Report, Species, read_report
from recorder.report.media import media_of
from recorder.report.page import page

RATE_HZ = 32_000
EVIL = "=<script>alert(1)<_script>&_20260502_235950.wav"


@pytest.fixture(scope="module")
def scanned(
    tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound, birdrec: Birdrec
) -> Path:
    """Two nights, one of them over midnight, and a file that is none."""
    folder = tmp_path_factory.mktemp("nights")
    recordings = folder / "in"
    recordings.mkdir()
    soundfile.write(recordings / "A_20260501_050000.wav", birdlike(21.0, seed=1), RATE_HZ)
    soundfile.write(recordings / EVIL, birdlike(21.0, seed=2), RATE_HZ)
    (recordings / "none.wav").write_text("no birds")
    done = birdrec("scan", recordings, "--out", folder / "out", "--threshold", "0.05", "--quiet")
    assert done.returncode == 1
    return folder / "out"


class Tags(HTMLParser):
    """What is really in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_of_a_scan(scanned: Path, birdrec: Birdrec) -> None:
    done = birdrec("report", scanned)
    assert done.returncode == 0, done.stderr
    text = (scanned / "report.html").read_text(encoding="utf-8")
    tags = Tags(text)
    assert tags.open == []
    names = {tag for tag, _ in tags.found}
    assert not names & {"script", "link", "iframe", "object", "base", "form"}
    # Nothing is fetched: every address holds what it leads to.
    addresses = [
        value for _, attributes in tags.found for key, value in attributes.items()
        if key in ("src", "href", "data", "action")
    ]  # fmt: skip
    assert addresses
    assert all(str(one).startswith("data:") for one in addresses)
    assert not any(key.startswith("on") for _, attributes in tags.found for key in attributes)
    report = read_report(scanned, recordings=None, examples=2)
    for species in report.species.values():
        assert species.name.replace("'", "&#x27;") in text
    for words in ("2026-05-01", "2026-05-03", "not audio that can be decoded", "0.05 for every"):
        assert words in text
    assert EVIL.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in text


def test_hours_days_and_species_are_counted(scanned: Path) -> None:
    report = read_report(scanned, recordings=None, examples=1)
    assert report.clock == "the recorder's own"
    assert {hour: s for hour, s in report.effort.items() if s} == {5: 21.0, 23: 10.0, 0: 11.0}
    assert set(report.days) == {"2026-05-01", "2026-05-02", "2026-05-03"}
    lines = (scanned / "detections.csv").read_text().splitlines()[1:]
    assert sum(one.chunks for one in report.species.values()) == len(lines)
    assert sum(report.days.values()) == len(lines)
    for species in report.species.values():
        assert sum(species.hours.values()) == species.chunks
        (best,) = species.best
        scores = [float(line.rsplit(",", 2)[1]) for line in lines if f",{species.label}," in line]
        assert best.score == max(scores)
    assert report.statuses == {"analysed": 2, "failed": 1}


def test_an_example_is_a_picture_and_sound_of_its_place(tmp_path: Path) -> None:
    time_s = np.arange(20 * RATE_HZ) / RATE_HZ
    tone = 0.1 * np.sin(2 * np.pi * 4_000 * time_s) * ((time_s >= 10) & (time_s < 15))
    soundfile.write(tmp_path / "a.flac", tone, RATE_HZ)
    media = media_of(tmp_path, Example(0.9, "a.flac", 10.0, 15.0, ""))
    assert media is not None
    mp3 = base64.b64decode(media.sound.removeprefix("data:audio/mpeg;base64,"))
    sound, rate_hz = soundfile.read(io.BytesIO(mp3))
    assert len(sound) / rate_hz == pytest.approx(7.0, abs=0.1)
    assert np.abs(sound).max() == pytest.approx(0.8, abs=0.1)
    assert np.abs(sound[: int(0.8 * rate_hz)]).max() < 0.02
    pixels = read_png(base64.b64decode(media.picture.removeprefix("data:image/png;base64,")))
    assert pixels.shape[0] == 128
    middle = pixels[:, pixels.shape[1] // 2]
    assert middle.min() == 0
    assert pixels[int(middle.argmin()), 20] == 15


def read_png(data: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Four bits of grey, unfiltered."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, body, size = 8, b"", (0, 0)
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        content = data[place + 8 : place + 8 + length]
        checksum = int.from_bytes(data[place + 8 + length : place + 12 + length], "big")
        assert checksum == zlib.crc32(kind + content)
        if kind == b"IHDR":
            size = struct.unpack_from(">II", content)
        if kind == b"IDAT":
            body += content
        place += 12 + length
    width, height = size
    lines = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, -1)
    assert (lines[:, 0] == 0).all()
    pairs = np.stack([lines[:, 1:] >> 4, lines[:, 1:] & 15], axis=2)
    return pairs.reshape(height, -1)[:, :width]


def test_recordings_that_have_moved(scanned: Path, birdrec: Birdrec, tmp_path: Path) -> None:
    copy = tmp_path / "out"
    shutil.copytree(scanned, copy)
    shutil.copytree(scanned.parent / "in", tmp_path / "elsewhere")
    gone = birdrec("report", copy, "--recordings", tmp_path / "nowhere")
    assert gone.returncode == 2
    assert "nowhere is no folder" in gone.stderr
    (tmp_path / "empty").mkdir()
    gone = birdrec("report", copy, "--recordings", tmp_path / "empty")
    assert gone.returncode == 0, gone.stderr
    text = (copy / "report.html").read_text()
    assert "the sound is not there any more" in text
    assert "<audio" not in text
    found = birdrec(
        "report", copy, "--recordings", tmp_path / "elsewhere", "--page", tmp_path / "p"
    )
    assert found.returncode == 0, found.stderr
    assert "<audio" in (tmp_path / "p").read_text()
    none = birdrec("report", copy, "--examples", "0")
    assert none.returncode == 0, none.stderr
    assert "How they sounded" not in (copy / "report.html").read_text()


def test_the_page_of_a_station(birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(61.0, seed=4), RATE_HZ)
    out = tmp_path / "station"
    done = birdrec(
        "listen", "--replay", tmp_path / "a.wav", "--speed", "max", "--out", out, "--keep-audio",
        "clips", "--threshold", "0.1", "--min-free-mb", "1", "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    base = sqlite3.connect(out / "station.sqlite")
    base.execute(
        "INSERT INTO ledger VALUES (1952000, 64000, 'lost', 'device', '1970-01-01T00:01:01Z', 1)"
    )
    base.commit()
    base.close()
    assert birdrec("report", out).returncode == 0
    text = (out / "report.html").read_text()
    assert Tags(text).open == []
    assert "lost (device)" in text
    assert "2.00 s lost" in text
    assert "<audio" in text
    report = read_report(out, recordings=None, examples=1)
    assert report.clock == "UTC"
    assert report.seconds["analysed"] == 61.0
    assert report.effort[0] == 61.0


def test_what_is_no_result_and_what_cannot_be_written(
    scanned: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    for arguments, words in (
        ((tmp_path,), "neither a finished scan"),
        ((scanned, "--examples", "-1"), "use 0 to 50"),
        ((scanned, "--page", tmp_path), "cannot be written"),
    ):
        done = birdrec("report", *arguments)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    (tmp_path / "station.sqlite").write_text("no table")
    done = birdrec("report", tmp_path)
    assert (done.returncode, "cannot be read" in done.stderr) == (2, True)


def test_a_season_without_a_bird_and_without_a_clock() -> None:
    text = page(Report("nothing", Path()))
    assert "No species was over its threshold" in text
    assert "Nobody knows at what time of day" in text
    many = Report("many", Path(), clock="UTC", unit="day")
    many.species["x"] = Species("x", "X x", "")
    for day in range(100):
        name = f"2026-{1 + day // 28:02d}-{1 + day % 28:02d}"
        many.days[name] += day
        many.by_unit[name] = {"x"}
    text = page(many)
    assert "The last 62 of 100 days." in text
    assert re.search(r"nan|inf", re.sub(r"<style>.*?</style>", "", text, flags=re.S)) is None
