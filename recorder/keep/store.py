"""`station.sqlite`: what the journal says, in tables to ask questions of.

WAL with synchronous FULL: a committed row survives a power cut. It is made from the journal alone,
remembers how far it has read, and is put aside and made again when it is damaged.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recorder.keep.journal import Journal, Record

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    run INTEGER PRIMARY KEY, boot TEXT, start_sample INTEGER, sample_rate INTEGER,
    channels INTEGER, device TEXT, model TEXT, start_utc TEXT, time_quality TEXT, details TEXT);
CREATE TABLE IF NOT EXISTS detections (
    kind TEXT, run INTEGER, chunk INTEGER, start_s REAL, end_s REAL, start_utc TEXT, end_utc TEXT,
    time_quality TEXT, boot TEXT, label TEXT, scientific_name TEXT, common_name TEXT, score REAL,
    threshold REAL);
CREATE TABLE IF NOT EXISTS rejected (
    run INTEGER, chunk INTEGER, start_s REAL, end_s REAL, start_utc TEXT, end_utc TEXT,
    time_quality TEXT, boot TEXT, label TEXT, scientific_name TEXT, common_name TEXT, score REAL,
    threshold REAL, adjusted REAL, reason TEXT);
CREATE TABLE IF NOT EXISTS ledger (
    start_sample INTEGER PRIMARY KEY, samples INTEGER, state TEXT, reason TEXT, start_utc TEXT,
    run INTEGER);
CREATE TABLE IF NOT EXISTS health (
    run INTEGER, start_s REAL, start_utc TEXT, problem TEXT, begins INTEGER, detail TEXT);
CREATE TABLE IF NOT EXISTS clock (
    run INTEGER, boot TEXT, start_s REAL, step_s REAL, time_quality TEXT);
CREATE TABLE IF NOT EXISTS clips (
    path TEXT PRIMARY KEY, run INTEGER, chunk INTEGER, chunks INTEGER, label TEXT, score REAL,
    start_s REAL, end_s REAL, start_utc TEXT, end_utc TEXT, time_quality TEXT, bytes INTEGER,
    removed TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS withheld (
    run INTEGER, start_sample INTEGER, samples INTEGER, start_utc TEXT, end_utc TEXT, reason TEXT,
    score REAL);
"""
_DETECTION = (
    "kind", "run", "chunk", "start_s", "end_s", "start_utc", "end_utc", "time_quality", "boot",
    "label", "scientific_name", "common_name", "score", "threshold",
)  # fmt: skip
_TABLES = {
    "rejected": ("rejected", (*_DETECTION[1:], "adjusted", "reason")),
    "live": ("detections", _DETECTION),
    "settled": ("detections", _DETECTION),
    "health": ("health", ("run", "start_s", "start_utc", "problem", "begins", "detail")),
    "clock": ("clock", ("run", "boot", "start_s", "step_s", "time_quality")),
    "withheld": (
        "withheld",
        ("run", "start_sample", "samples", "start_utc", "end_utc", "reason", "score"),
    ),
    "clip": (
        "clips",
        (
            "path", "run", "chunk", "chunks", "label", "score", "start_s", "end_s", "start_utc",
            "end_utc", "time_quality", "bytes",
        ),
    ),
}  # fmt: skip
_READ = "journal_bytes"


class Store:
    """The tables of one station; to be used by one thread."""

    def __init__(self, path: Path, journal: Journal) -> None:
        """Open or make it, and read what it has not read of the journal; OSError when it cannot."""
        self.path = path
        self.remade = ""
        """Why the file that was there was put aside; empty when it was not."""
        try:
            self._open(journal)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise OSError(f"{path} cannot be opened ({error})") from error
            self.remade = str(error)
            self._put_aside()
            self._open(journal)

    def _open(self, journal: Journal) -> None:
        self._base = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            problem = self._base.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise sqlite3.DatabaseError(problem)
            self._base.executescript(_SCHEMA)
            if int(self.setting(_READ) or 0) > journal.bytes:
                # A disk that lied: the tables have what the journal lost. Go on from here.
                self._set(_READ, str(journal.bytes))
            self.catch_up(journal)
        except BaseException:
            # Whatever it was goes on up; the file must not stay open.
            self._base.close()
            raise

    def _put_aside(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            old = self.path.with_name(self.path.name + suffix)
            if old.exists():
                number = 1
                while (new := old.with_name(f"{old.name}.damaged{number}")).exists():
                    number += 1
                old.rename(new)

    def catch_up(self, journal: Journal) -> None:
        """Read what the journal has gained; one transaction, or nothing (OSError)."""
        read = int(self.setting(_READ) or 0)
        if read == journal.bytes:
            return
        try:
            with self._base:
                self._base.execute("BEGIN IMMEDIATE")
                self._apply(record for record, _ in journal.read(read))
                self._set(_READ, str(journal.bytes))
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.path} takes no more rows ({error})") from error

    def setting(self, key: str) -> str | None:
        row = self._base.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a question brings back."""
        return self._base.execute(query, values).fetchall()

    def close(self) -> None:
        self._base.close()

    def _set(self, key: str, value: str) -> None:
        self._base.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))

    def _apply(self, records: Iterable[Record]) -> None:
        for record in records:
            kind = str(record.get("kind"))
            if kind in _TABLES:
                table, columns = _TABLES[kind]
                values = [record.get(column) for column in columns]
                marks = ", ".join("?" * len(columns))
                names = ", ".join(columns)
                self._base.execute(
                    f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", values
                )
            elif kind == "ledger":
                self._apply_ledger(record)
            elif kind == "run":
                self._apply_run(record)
            elif kind == "removed":
                self._base.execute(
                    "UPDATE clips SET removed = ? WHERE path = ?",
                    (str(record.get("reason")), str(record.get("path"))),
                )
            elif kind == "setting":
                self._set(str(record.get("key")), str(record.get("value")))

    def _apply_ledger(self, record: Record) -> None:
        """The entries from some sample on stand in place of those that were there."""
        self._base.execute("DELETE FROM ledger WHERE start_sample >= ?", (record["from"],))
        rows = [(*row, record["run"]) for row in record["rows"]]
        self._base.executemany("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?)", rows)
        for key in ("settled_until", "live_chunks", "until_boottime_s", "synced", "ended"):
            if key in record:
                self._set(key, str(record[key]))

    def _apply_run(self, record: Record) -> None:
        columns = (
            "run", "boot", "start_sample", "sample_rate", "channels", "device", "model",
            "start_utc", "time_quality",
        )  # fmt: skip
        values = [record.get(column) for column in columns]
        marks = ", ".join("?" * (len(columns) + 1))
        self._base.execute(
            f"INSERT OR REPLACE INTO runs VALUES ({marks})", (*values, json.dumps(record))
        )
