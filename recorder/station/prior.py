"""What the last run left when it did not end: a kill, a crash, a power cut, or a long backlog."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from recorder.detect.mel import CHUNK_S
from recorder.keep.ledger import LOST, Entry, Ledger
from recorder.keep.spool import Spool
from recorder.keep.store import Store
from recorder.sound.live.clock import Clock, utc_seconds
from recorder.station.backlog import Piece
from recorder.station.rows import FixedTimes, RunInfo

_WINDOW_CHUNKS = 180
"""A chunk settles in a window that starts at most ten minutes before it; the hop is five more."""

REPLAY_BOOT = "replay"
"""Stands for the boot of a run that heard a file: no clock ran beside it."""
_STEP_S = 10
"""Read from the spool at once."""


@dataclass(frozen=True)
class Prior:
    """A run that did not end, as the tables know it."""

    info: RunInfo
    entries: tuple[Entry, ...]
    """Of the ledger, counted from the run's start."""
    settled_until: int
    live_chunks: int
    until_boottime_s: float
    """When the last frame in the ledger had been heard."""
    times: FixedTimes

    @property
    def known(self) -> int:
        """Where its ledger ends; the spool may have more."""
        return self.entries[-1].stop if self.entries else 0

    def ended_boottime_s(self, end: int) -> float:
        """When the last frame before `end` had been heard."""
        return self.until_boottime_s + (end - self.known) / self.info.sample_rate


def last_run(store: Store) -> RunInfo | None:
    """The run that was begun last, ended or not."""
    found = store.rows("SELECT details FROM runs ORDER BY run DESC LIMIT 1")
    if not found:
        return None
    details = json.loads(found[0][0])
    return RunInfo(**{one: details[one] for one in RunInfo.__dataclass_fields__ if one in details})


def unfinished(store: Store) -> Prior | None:
    """The last run, if it did not end."""
    info = last_run(store)
    if info is None or store.setting("ended") == "1":
        return None
    rows = store.rows(
        "SELECT start_sample, samples, state, reason, start_utc FROM ledger WHERE run = ? "
        "ORDER BY start_sample",
        info.run,
    )
    entries = tuple(Entry(row[0] - info.start_sample, *row[1:4]) for row in rows)
    start_utc_s = utc_seconds(rows[-1][4] if rows else info.start_utc)
    frame = entries[-1].start if entries else 0
    said = store.rows(
        "SELECT coalesce(max(chunk), -1) FROM detections WHERE run = ? AND kind = 'live'", info.run
    )
    # Of the moment when its times were written, where the ledger says so: a clock that was right
    # at the start may have been set wrong since.
    synced = store.setting("synced") if rows else None
    return Prior(
        info,
        entries,
        int(store.setting("settled_until") or 0) if rows else 0,
        max(int(store.setting("live_chunks") or 0) if rows else 0, said[0][0] + 1),
        float(store.setting("until_boottime_s") or 0.0) if rows else 0.0,
        FixedTimes(frame, start_utc_s, info.sample_rate, _is_synced(synced, info)),
    )


def _is_synced(written: str | None, info: RunInfo) -> bool:
    return info.time_quality == "synced" if written is None else written == "1"


def next_start_sample(store: Store) -> int:
    """Where the ledger goes on."""
    return int(store.rows("SELECT coalesce(max(start_sample + samples), 0) FROM ledger")[0][0])


def restored_ledger(prior: Prior, spool: Spool | None) -> Ledger:
    """What was settled stays; what was pending is pending where the spool has it, lost where not.

    The spool may have more than the ledger knew of: sound that was taken in after its last commit.
    """
    ledger = Ledger(_before(prior.entries, prior.settled_until))
    known = prior.known
    held = spool.have(ledger.end, max(known, spool.newest)) if spool is not None else []
    for first, stop in held:
        _lose_until(ledger, first, prior.entries)
        ledger.heard(stop - ledger.end)
    _lose_until(ledger, known, prior.entries)
    return ledger


def pieces_to_repeat(prior: Prior, end: int, spool: Spool | None) -> Iterator[Piece]:
    """From the window on in which the first chunk settles that has not: sound of the spool, gaps.

    Sound from before what is pending, where the spool still has it, is there for the window.
    """
    chunk_frames = CHUNK_S * prior.info.sample_rate
    chunk = int(prior.settled_until // chunk_frames)
    begin = int(max(0, chunk - _WINDOW_CHUNKS) * chunk_frames)
    held = spool.have(begin, end) if spool is not None else []
    place, step = 0, _STEP_S * prior.info.sample_rate
    for first, stop in held:
        if first > place:
            yield Piece(place, first - place, None)
        for at in range(first, stop, step):
            count = min(step, stop - at)
            yield Piece(at, count, spool.read(at, count) if spool is not None else None)
        place = stop
    if end > place:
        yield Piece(place, end - place, None)


def downtime_frames(prior: Prior, end: int, clock: Clock | None, *, ago_s: float) -> int:
    """From frame `end` of a run to the start of this one, `ago_s` ago; 0 if no clock can say."""
    if clock is None:
        return 0
    if prior.info.boot == clock.boot_id() and prior.until_boottime_s > 0.0:
        gone_s = clock.boottime_s() - ago_s - prior.ended_boottime_s(end)
    elif prior.times.synced and clock.synced():
        gone_s = clock.wall_s() - ago_s - prior.times.utc_s(end)
    else:
        return 0
    return max(0, round(gone_s * prior.info.sample_rate))


def _before(entries: tuple[Entry, ...], frame: int) -> list[Entry]:
    return [
        Entry(one.start, min(one.stop, frame) - one.start, one.state, one.reason)
        for one in entries
        if one.start < frame
    ]


def _lose_until(ledger: Ledger, frame: int, entries: tuple[Entry, ...]) -> None:
    """Up to the frame nothing is held: for the reason that was known, or because birdrec ended."""
    for one in entries:
        first, stop = max(one.start, ledger.end), min(one.stop, frame)
        if first < stop:
            ledger.lost(first - ledger.end, "shutdown")
            ledger.lost(stop - first, one.reason if one.state == LOST else "shutdown")
    if frame > ledger.end:
        ledger.lost(frame - ledger.end, "shutdown")
