"""Journal and tables together: acknowledged rows are safe in both, whatever happens to either."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder.keep.journal import Journal, Record
from recorder.keep.station_log import Allowance, StationLog
from recorder.keep.store import Store

RUN: Record = {
    "kind": "run", "run": 1, "boot": "b", "start_sample": 0, "sample_rate": 32_000, "channels": 1,
    "device": "usb:1", "model": "m", "start_utc": "2026-05-01T00:00:00.000Z",
    "time_quality": "synced",
}  # fmt: skip


def detection(chunk: int, kind: str = "live") -> Record:
    return {
        "kind": kind, "run": 1, "chunk": chunk, "start_s": 5.0 * chunk, "end_s": 5.0 * chunk + 5,
        "label": "coqui", "common_name": "Coquí", "score": 0.5,
    }  # fmt: skip


def ledger(analysed: int, pending: int) -> Record:
    rows = [[0, analysed, "analysed", "", "t"], [analysed, pending, "pending", "", "t"]]
    return {"run": 1, "from": 0, "rows": [row for row in rows if row[1]], "settled_until": analysed}


def chunks(log: StationLog, kind: str) -> list[int]:
    found = log.store.rows("SELECT chunk FROM detections WHERE kind = ? ORDER BY chunk", kind)
    return [row[0] for row in found]


def test_rows_are_acknowledged_in_order_and_are_in_both(tmp_path: Path) -> None:
    said: list[Record] = []
    log = StationLog(tmp_path, said.extend)
    log.add([RUN], 0.0)
    log.add([detection(0)], 5.0)
    log.commit([detection(0, "settled")], ledger(160_000, 99))
    assert [one["kind"] for one in said] == ["run", "live", "settled", "ledger"]
    assert [one["kind"] for one, _ in log.journal.read()] == [one["kind"] for one in said]
    assert chunks(log, "live") == chunks(log, "settled") == [0]
    assert log.store.rows("SELECT start_sample, samples, state FROM ledger") == [
        (0, 160_000, "analysed"),
        (160_000, 99, "pending"),
    ]
    assert log.store.setting("settled_until") == "160000"
    assert log.store.rows("PRAGMA journal_mode") == [("wal",)]
    assert log.waiting == 0
    log.close()


def test_a_later_ledger_stands_in_place_of_what_it_reaches_back_to(tmp_path: Path) -> None:
    log = StationLog(tmp_path, lambda _: None)
    log.commit([], ledger(100, 50))
    log.commit([], {**ledger(0, 0), "from": 0, "rows": [[0, 170, "analysed", "", "t"]]})
    assert log.store.rows("SELECT start_sample, samples, state FROM ledger") == [
        (0, 170, "analysed")
    ]
    log.close()


def test_the_tables_are_made_again_from_the_journal(tmp_path: Path) -> None:
    log = StationLog(tmp_path, lambda _: None)
    log.add([RUN, detection(3)], 0.0)
    log.commit([], ledger(100, 50))
    log.close()
    for name in ("station.sqlite", "station.sqlite-wal", "station.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    again = StationLog(tmp_path, lambda _: None)
    assert chunks(again, "live") == [3]
    assert again.store.rows("SELECT sum(samples) FROM ledger") == [(150,)]
    assert again.store.remade == ""
    again.close()


@pytest.mark.parametrize("seed", range(30))
def test_damage_anywhere_in_the_tables_costs_no_row(tmp_path: Path, seed: int) -> None:
    log = StationLog(tmp_path, lambda _: None)
    log.add([RUN, *[detection(chunk) for chunk in range(200)]], 0.0)
    log.commit([], ledger(100, 50))
    log.close()
    path, rng = tmp_path / "station.sqlite", np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    begin = int(rng.integers(0, len(data) - 200))
    data[begin : begin + 200] = rng.bytes(200)
    path.write_bytes(data)
    again = StationLog(tmp_path, lambda _: None)
    try:
        found = chunks(again, "live")
    except sqlite3.DatabaseError:
        pytest.fail("a damaged table was opened as sound")
    if again.store.remade:
        assert found == list(range(200))
        assert (tmp_path / "station.sqlite.damaged1").exists()
    again.close()


def test_a_full_disk_stops_nothing_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Record] = []
    log = StationLog(tmp_path, said.extend)
    write = os.pwrite

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    log.add([detection(0)], 0.0)
    log.commit([detection(0, "settled")], ledger(160_000, 0))
    assert said == []
    assert log.waiting == 3
    assert "No space" in log.trouble
    monkeypatch.setattr(os, "pwrite", write)
    log.add([detection(1)], 5.0)
    assert [one["kind"] for one in said] == ["live", "settled", "ledger", "live"]
    assert log.trouble == ""
    log.commit([], ledger(320_000, 0))
    assert chunks(log, "live") == [0, 1]
    log.close()


def test_a_disk_that_does_not_sync_acknowledges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Record] = []
    log = StationLog(tmp_path, said.extend)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        log.add([detection(0)], 0.0)
        assert said == []
        assert log.waiting == 1
    log.commit([], ledger(1, 0))
    assert [one["kind"] for one in said] == ["live", "ledger"]
    log.close()


def test_a_table_that_is_damaged_while_it_runs_costs_no_acknowledged_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Record] = []
    log = StationLog(tmp_path, said.extend)

    def malformed(_: object) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with monkeypatch.context() as patch:
        patch.setattr(log.store, "_apply", malformed)
        log.commit([detection(0)], ledger(1, 0))
        log.add([detection(1)], 0.0)
    assert [one["kind"] for one in said] == ["live", "ledger", "live"]
    assert "malformed" in log.trouble
    log.commit([], ledger(2, 0))
    assert log.trouble == ""
    assert chunks(log, "live") == [0, 1]
    log.close()


def test_the_allowance_lets_bursts_through_and_a_day_only_so_much() -> None:
    allowance = Allowance(400)
    assert sum(allowance.take(0.0) for _ in range(100)) == 40
    taken = sum(allowance.take(second) for second in range(0, 86_400, 5))
    assert 398 <= taken <= 401
    assert not allowance.take(0.0)


def test_rows_wait_for_one_another_when_the_allowance_is_used_up(tmp_path: Path) -> None:
    said: list[Record] = []
    log = StationLog(tmp_path, said.extend, times_a_day=86_400 / 100)
    for chunk in range(45):
        log.add([detection(chunk)], 0.0)
    assert len(said) == 40
    assert log.waiting == 5
    # A kill takes nothing of them: they are in the file already.
    assert len(list(Journal(tmp_path / "detections.jsonl").read())) == 45
    log.add([], 100.0)
    assert len(said) == 45
    log.close()


def test_a_store_that_knows_more_than_the_journal_reads_on(tmp_path: Path) -> None:
    log = StationLog(tmp_path, lambda _: None)
    log.commit([detection(0)], ledger(1, 0))
    log.close()
    os.truncate(tmp_path / "detections.jsonl", 0)
    journal = Journal(tmp_path / "detections.jsonl")
    store = Store(tmp_path / "station.sqlite", journal)
    journal.append([detection(1)])
    store.catch_up(journal)
    assert [row[0] for row in store.rows("SELECT chunk FROM detections ORDER BY chunk")] == [0, 1]
    store.close()
    journal.close()
