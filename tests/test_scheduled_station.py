"""A station with a schedule: off is off, the account stays exact; clock and card are made up."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound, ReadCsv
from numpy.typing import NDArray

from recorder.detect.bundle import Bundle
from recorder.detect.models import load_model
from recorder.keep.station_log import StationLog
from recorder.sound.live.source import Event, Opened, Rest, Sound
from recorder.station import station
from recorder.station.options import ListenOptions
from recorder.station.schedule import Schedule, make_schedule
from recorder.station.scheduled import Scheduled
from recorder.station.station import Station
from recorder.station.view import Quiet, State

RATE_HZ = 32_000
BLOCK_S = 0.5
NAP_S = 10.0
BOOT_S = 1_000.0
WINDOW_S = 300.0


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@dataclass
class FakeClock:
    """Both clocks go on when somebody moves them."""

    utc_s: float
    began_s: float = field(default=0.0)

    def __post_init__(self) -> None:
        self.began_s = self.utc_s

    def boottime_s(self) -> float:
        return BOOT_S + self.utc_s - self.began_s

    def wall_s(self) -> float:
        return self.utc_s

    def synced(self) -> bool:
        return True

    def boot_id(self) -> str:
        return "one boot"


class Calm(Quiet):
    """Knows how far analysis is behind."""

    lag_s, told = 0.0, 0

    def state(self, state: State) -> None:
        self.lag_s = state.lag_s
        self.told += 1

    def word(self, text: str) -> None: ...


class FakeMicrophone:
    """Takes two seconds to open, then gives half seconds of sound that hang on the hour."""

    def __init__(
        self, clock: FakeClock, sound_at: Callable[[float], NDArray[np.int16]], view: Calm
    ) -> None:
        self._clock, self._sound_at, self._view = clock, sound_at, view
        self._opening_s = 0.0
        self.slept = 0
        self.fails_at_s = float("inf")
        self.ends_at_s = float("inf")
        self.stop = threading.Event()

    def read(self, timeout_s: float) -> Event | None:
        del timeout_s
        self._pace()
        if self._opening_s < 2.0:
            self._opening_s += 1.0
            self._clock.utc_s += 1.0
            return None if self._opening_s < 2.0 else Opened("fake:1", "fake", RATE_HZ, 1)
        frames = self._sound_at(self._clock.utc_s)
        self._clock.utc_s += BLOCK_S
        return Sound(frames[:, np.newaxis], 0, False, round(self._clock.boottime_s() * 1e9))

    def sleep(self, _timeout_s: float) -> None:
        """Of whoever waits for a window."""
        self._pace()
        before = self._view.told
        while not self.stop.is_set() and (self._view.told == before or self._view.lag_s > 6.0):
            time.sleep(0.001)
        self._clock.utc_s += NAP_S

    def rest(self) -> None:
        self.slept += 1
        self._opening_s = 0.0

    def close(self) -> None: ...

    def _pace(self) -> None:
        while self._view.lag_s > 20.0 and not self.stop.is_set():
            time.sleep(0.01)
        if self._clock.utc_s >= self.fails_at_s:
            raise RuntimeError("pulled")
        if self._clock.utc_s >= self.ends_at_s:
            self.stop.set()
            time.sleep(0.05)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the made-up clock does not run ahead of the analysis."""
    monkeypatch.setattr(station, "_SHOW_S", 0.01)


def ledger(out: Path) -> list[tuple[int, int, str, str, str]]:
    base = sqlite3.connect(out / "station.sqlite")
    rows = base.execute("SELECT start_sample, samples, state, reason, start_utc FROM ledger")
    return sorted(rows.fetchall())


def lines(out: Path, kind: str) -> list[dict[str, object]]:
    read = [json.loads(line) for line in (out / "detections.jsonl").open()]
    return [one for one in read if one["kind"] == kind]


def troubles(out: Path) -> set[object]:
    """But that analysis is late: the made-up clock may run ahead of it."""
    return {one["problem"] for one in lines(out, "health")} - {"late"}


class Lab:
    """Stations on one folder, with one clock."""

    def __init__(
        self, out: Path, bundle: Bundle, schedule: Schedule, begin: str,
        sound_at: Callable[[float], NDArray[np.int16]],
    ) -> None:  # fmt: skip
        self.out, self.clock, self.schedule = out, FakeClock(utc(begin)), schedule
        self.sound_at = sound_at
        self.model = load_model(bundle)
        out.mkdir()

    def run(self, *, until: str = "", fails_at: str = "") -> FakeMicrophone:
        view = Calm()
        log = StationLog(self.out, view.said)
        microphone = FakeMicrophone(self.clock, self.sound_at, view)
        if until:
            microphone.ends_at_s = utc(until)
        if fails_at:
            microphone.fails_at_s = utc(fails_at)
        source = Scheduled(microphone, self.schedule, self.clock, sleep=microphone.sleep)
        options = ListenOptions(out=self.out, min_free_mb=1.0, schedule=self.schedule)
        try:
            Station(
                options, model=self.model, log=log, view=view, clock=self.clock,
                stop=microphone.stop,
            ).listen(source)  # fmt: skip
        finally:
            log.close()
        return microphone


def test_two_windows_are_heard_as_two_files_would_be_and_nothing_else_is(
    tmp_path: Path, bundle: Bundle, birdlike: MakeSound, birdrec: Birdrec, read_csv: ReadCsv
) -> None:
    """Each window settles to what a scan says of its sound alone: nothing attends across."""
    heard = [(birdlike(WINDOW_S, seed=seed) * 32_000).astype(np.int16) for seed in (1, 2)]
    begins = [utc("2026-05-01T06:00"), utc("2026-05-01T07:00")]
    elsewhere = (birdlike(30.0, seed=3) * 32_000).astype(np.int16)

    def sound_at(now_s: float) -> NDArray[np.int16]:
        for begin_s, sound in zip(begins, heard, strict=True):
            if begin_s <= now_s < begin_s + WINDOW_S:
                at = round((now_s - begin_s) * RATE_HZ)
                return sound[at : at + round(BLOCK_S * RATE_HZ)]
        return elsewhere[: round(BLOCK_S * RATE_HZ)]

    schedule = make_schedule(
        ["06:00 to 06:05", "07:00 to 07:05"],
        location="", clock="utc", duty_on_min=0.0, duty_every_min=0.0,
    )  # fmt: skip
    # Two seconds to open it, and a block that is dropped: the account begins at 05:50.
    lab = Lab(tmp_path / "out", bundle, schedule, "2026-05-01T05:49:57.500", sound_at)
    microphone = lab.run(until="2026-05-01T07:30")
    assert microphone.slept == 3
    rows = ledger(lab.out)
    fates = [(state, reason) for _, _, state, reason, _ in rows]
    off, on = ("lost", "schedule"), ("analysed", "")
    assert fates == [off, on, off, on, off]
    assert [row[0] for row in rows] == [0, *np.cumsum([row[1] for row in rows])[:-1]]
    assert [row[1] for row in rows[:4]] == [s * RATE_HZ for s in (600, 300, 3300, 300)]
    assert [row[4] for row in rows] == [
        f"2026-05-01T{hour}:00.000Z" for hour in ("05:50", "06:00", "06:05", "07:00", "07:05")
    ]
    elapsed = round((lab.clock.utc_s - utc("2026-05-01T05:50")) * RATE_HZ)
    assert 0 <= elapsed - sum(row[1] for row in rows) <= 10 * RATE_HZ
    assert troubles(lab.out) == set()
    gaps = lines(lab.out, "gap")
    assert [(one["reason"], one["samples"]) for one in gaps] == [
        ("schedule", row[1]) for row in rows if row[2] == "lost"
    ]
    settled, live = lines(lab.out, "settled"), lines(lab.out, "live")
    for number, begin_s in enumerate(begins):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, heard[number], RATE_HZ, subtype="PCM_16")
        assert birdrec("scan", path, "--out", tmp_path / str(number)).returncode == 0
        expected = {
            (begin_s + float(row["start_s"]), row["label"]): float(row["score"])
            for row in read_csv(tmp_path / str(number) / "detections.csv")
        }
        found = {
            (utc(str(one["start_utc"]).rstrip("Z")), one["label"]): float(str(one["score"]))
            for one in settled
            if begin_s <= utc(str(one["start_utc"]).rstrip("Z")) < begin_s + WINDOW_S
        }
        assert found.keys() == expected.keys()
        assert len(found) > 5
        # The chunks beside a gap are smoothed with a half of nothing, those of a file are not.
        edges = (begin_s, begin_s + WINDOW_S - 5.0)
        for key, score in expected.items():
            assert abs(found[key] - score) < (0.1 if key[0] in edges else 1.5e-4)
    for one in (*settled, *live):
        begin_s = utc(str(one["start_utc"]).rstrip("Z"))
        assert any(first <= begin_s < first + WINDOW_S for first in begins)
    assert live


def test_a_duty_cycle_and_a_crash_while_at_rest(
    tmp_path: Path, bundle: Bundle, birdlike: MakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time after the crash is `shutdown`, the rest of the rest is `schedule`, and it is fed."""
    sound = (birdlike(30.0, seed=4) * 32_000).astype(np.int16)
    schedule = make_schedule([], location="", clock="utc", duty_on_min=1.0, duty_every_min=10.0)
    lab = Lab(
        tmp_path / "out", bundle, schedule, "2026-05-01T06:08:58",
        lambda now_s: sound[round(now_s * 2) % 40 * 16_000 :][:16_000],
    )  # fmt: skip
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        manager.settimeout(0.2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        said: list[bytes] = []
        over = threading.Event()

        def hear() -> None:
            while not over.is_set():
                try:
                    said.append(manager.recv(4096))
                except TimeoutError:
                    continue

        listener = threading.Thread(target=hear)
        listener.start()
        try:
            with pytest.raises(RuntimeError, match="pulled"):
                lab.run(fails_at="2026-05-01T06:27:00")
            fed = said.count(b"WATCHDOG=1")
        finally:
            over.set()
            listener.join()
    # 06:09 to 06:27 has 16 minutes of rest in such steps, and two of sound.
    assert fed > 16 * 60 / NAP_S * 0.9
    assert any(b"STATUS=" in one for one in said)
    lab.clock.utc_s = utc("2026-05-01T06:28:30")
    lab.run(until="2026-05-01T06:32:30")
    rows = ledger(lab.out)
    assert [(state, reason) for _, _, state, reason, _ in rows] == [
        ("lost", "schedule"), ("analysed", ""), ("lost", "schedule"), ("analysed", ""),
        ("lost", "schedule"), ("lost", "shutdown"), ("lost", "schedule"), ("analysed", ""),
        ("lost", "schedule"),
    ]  # fmt: skip
    assert [row[0] for row in rows] == [0, *np.cumsum([row[1] for row in rows])[:-1]]
    assert [row[1] for row in rows if row[2] == "analysed"] == [60 * RATE_HZ] * 3
    starts_s = [utc(row[4].rstrip("Z")) for row in rows if row[2] == "analysed"]
    wished_s = [utc(f"2026-05-01T06:{minute}:00") for minute in (10, 20, 30)]
    assert starts_s == pytest.approx(wished_s, abs=0.002)
    shutdown = next(row for row in rows if row[3] == "shutdown")
    # The account on the disk is five minutes old at most.
    assert 80 < shutdown[1] / RATE_HZ < 90 + 310
    assert troubles(lab.out) == set()


class Scripted:
    """A microphone that says what it is told to, each at its time."""

    def __init__(self, clock: FakeClock, events: list[tuple[float, Event | None]]) -> None:
        self._clock, self._events = clock, events
        self.slept = 0

    def read(self, timeout_s: float) -> Event | None:
        del timeout_s
        now_s, event = self._events.pop(0)
        self._clock.utc_s = now_s
        return event

    def rest(self) -> None:
        self.slept += 1

    def close(self) -> None: ...


def sound_of(clock: FakeClock, utc_s: float) -> Sound:
    frames = np.zeros((100, 1), np.int16)
    return Sound(frames, 7, True, round((BOOT_S + utc_s - clock.began_s) * 1e9))


def test_what_was_heard_in_the_window_counts_however_late_it_is_read() -> None:
    schedule = make_schedule(
        ["06:00 to 06:05"], location="", clock="utc", duty_on_min=0.0, duty_every_min=0.0
    )
    clock = FakeClock(utc("2026-05-01T05:59:50"))
    at = clock.began_s
    opened = Opened("x", "x", RATE_HZ, 1)
    late = [sound_of(clock, at + one) for one in (5.0, 11.0, 309.0, 311.0)]
    source = Scheduled(
        Scripted(clock, [(at, opened), (at + 5, late[0]), *((at + 330, one) for one in late[1:])]),
        schedule,
        clock,
        sleep=lambda _: None,
    )
    assert source.read(0) == opened
    assert isinstance(source.read(0), Rest), "before the window"
    first = source.read(0)
    assert isinstance(first, Sound)
    assert (first.lost_frames, first.overflowed) == (0, False)
    assert source.read(0) == late[2], "read after the window's end, heard before it"
    rest = source.read(0)
    assert isinstance(rest, Rest)
    assert rest.reason == "off by schedule until 2026-05-02 06:00 UTC"


def test_a_window_whose_microphone_is_not_there_is_not_called_rest() -> None:
    schedule = make_schedule(
        ["06:00 to 06:05"], location="", clock="utc", duty_on_min=0.0, duty_every_min=0.0
    )
    clock = FakeClock(utc("2026-05-01T05:00:00"))
    at = clock.began_s
    opened = Opened("x", "x", RATE_HZ, 1)
    microphone = Scripted(
        clock, [(at, opened), (at + 1, None), (at + 3_601, None), (at + 3_602, None)]
    )

    def sleep(_timeout_s: float) -> None:
        clock.utc_s += 60.0

    source = Scheduled(microphone, schedule, clock, sleep=sleep)
    assert source.read(0) == opened
    said = [source.read(0) for _ in range(62)]
    assert all(isinstance(one, Rest) for one in said)
    assert [one.over for one in said if isinstance(one, Rest)] == [False] * 61 + [True]
    assert source.read(0) is None
    assert microphone.slept == 1
