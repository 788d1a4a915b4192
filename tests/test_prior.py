"""What a run left that did not end: the account is closed, whatever happened in between."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recorder.keep.ledger import ANALYSED, LOST, PENDING, Entry
from recorder.keep.spool import Spool, SpoolFolder
from recorder.keep.station_log import StationLog
from recorder.station.prior import (
    Prior,
    downtime_frames,
    pieces_to_repeat,
    restored_ledger,
    unfinished,
)
from recorder.station.rows import FixedTimes, RunInfo

RATE_HZ = 1_000
WALL_S = 1_795_000_000.0
INFO = RunInfo(
    run=3, boot="this", start_sample=70_000, sample_rate=RATE_HZ, channels=1, dtype="int16",
    device="usb:1", model="m", start_utc="2026-11-26T12:00:00.000Z", time_quality="synced",
)  # fmt: skip
ENTRIES = (
    Entry(0, 300_000, ANALYSED),
    Entry(300_000, 5_000, LOST, "overrun"),
    Entry(305_000, 10_000, PENDING),
)


class Clock:
    """Ten seconds after the last sample of which the ledger knew."""

    def __init__(self, boot: str, *, synced: bool = True, wall_s: float = WALL_S + 325.0) -> None:
        self._boot, self._synced, self._wall_s = boot, synced, wall_s

    def boottime_s(self) -> float:
        return 1_325.0

    def wall_s(self) -> float:
        return self._wall_s

    def synced(self) -> bool:
        return self._synced

    def boot_id(self) -> str:
        return self._boot


@pytest.fixture
def prior() -> Prior:
    times = FixedTimes(305_000, WALL_S + 305.0, RATE_HZ, synced=True)
    return Prior(INFO, ENTRIES, 300_000, 60, 1_315.0, times)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    folder = SpoolFolder(tmp_path / "spool", None, 0)
    return Spool([folder], run_id="x", sample_rate_hz=RATE_HZ, channels=1, dtype="int16")


def entries(prior: Prior, spool: Spool | None) -> list[tuple[int, int, str, str]]:
    ledger = restored_ledger(prior, spool)
    return [(one.start, one.samples, one.state, one.reason) for one in ledger.tail(0)]


def test_what_the_spool_has_is_pending_and_it_may_have_more(prior: Prior, spool: Spool) -> None:
    spool.append(305_000, np.ones((12_000, 1), np.int16))
    assert entries(prior, spool) == [
        (0, 300_000, ANALYSED, ""),
        (300_000, 5_000, LOST, "overrun"),
        (305_000, 12_000, PENDING, ""),
    ]


def test_after_a_power_cut_what_was_pending_is_lost(prior: Prior, spool: Spool) -> None:
    """The RAM disk is empty: of 15 s five were lost before, and ten are now."""
    expected = [
        (0, 300_000, ANALYSED, ""),
        (300_000, 5_000, LOST, "overrun"),
        (305_000, 10_000, LOST, "shutdown"),
    ]
    assert entries(prior, spool) == expected
    assert entries(prior, None) == expected


def test_a_hole_in_the_spool_is_lost_alone(prior: Prior, spool: Spool) -> None:
    spool.append(305_000, np.ones((2_000, 1), np.int16))
    spool.append(311_000, np.ones((4_000, 1), np.int16))
    assert entries(prior, spool)[2:] == [
        (305_000, 2_000, PENDING, ""),
        (307_000, 4_000, LOST, "shutdown"),
        (311_000, 4_000, PENDING, ""),
    ]


def test_pieces_come_in_order_without_a_hole(prior: Prior, spool: Spool) -> None:
    spool.append(290_000, np.full((10_000, 1), 7, np.int16))
    spool.append(305_000, np.full((10_000, 1), 8, np.int16))
    pieces = list(pieces_to_repeat(prior, 315_000, spool))
    assert pieces[0].first == 0
    assert all(a.stop == b.first for a, b in itertools.pairwise(pieces))
    assert pieces[-1].stop == 315_000
    heard = [(one.first, int(one.frames[0, 0])) for one in pieces if one.frames is not None]
    assert heard == [(290_000, 7), (305_000, 8)]


@pytest.mark.parametrize(
    ("clock", "lost_s"),
    [
        (Clock("this"), 10.0),
        (Clock("this", synced=False, wall_s=5.0), 10.0),
        (Clock("another"), 10.0),
        # After a power cut without a clock nobody knows how long it was off.
        (Clock("another", synced=False, wall_s=5.0), 0.0),
        # The clock went backwards over the boot.
        (Clock("another", wall_s=WALL_S), 0.0),
        (None, 0.0),
    ],
)
def test_the_time_without_birdrec_is_known_where_a_clock_knows_it(
    prior: Prior, clock: Clock | None, lost_s: float
) -> None:
    frames = downtime_frames(prior, 315_000, clock, ago_s=0.0)
    assert frames == round(lost_s * RATE_HZ)
    # What was read of the spool beyond the ledger is no downtime; nor is the start itself.
    if lost_s:
        assert downtime_frames(prior, 317_000, clock, ago_s=1.0) == round((lost_s - 3) * RATE_HZ)


def test_an_unsynced_run_says_nothing_over_a_boot(prior: Prior) -> None:
    unsynced = replace(prior, times=replace(prior.times, synced=False))
    assert downtime_frames(unsynced, 315_000, Clock("another"), ago_s=0.0) == 0


@pytest.mark.parametrize(("synced", "known"), [(1, True), (0, False), (None, True)])
def test_a_clock_that_was_set_wrong_after_the_start_is_not_trusted(
    tmp_path: Path, synced: int | None, known: bool
) -> None:
    """The run began with the right time; what counts is the moment of its last line."""
    log = StationLog(tmp_path, lambda _: None)
    row = [INFO.start_sample, 1_000, ANALYSED, "", "2026-11-21T12:00:00.000Z"]
    ledger: dict[str, object] = {
        "run": INFO.run, "from": INFO.start_sample, "rows": [row], "settled_until": 1_000,
        "live_chunks": 0, "until_boottime_s": 7.0, "ended": 0,
    }  # fmt: skip
    if synced is not None:
        ledger["synced"] = synced
    log.commit([INFO.record()], ledger)
    found = unfinished(log.store)
    log.close()
    assert found is not None
    assert found.times.synced is known
