"""Clips: the sound around each bird that was settled, the best of each species kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from recorder.detect.mel import CHUNK_S
from recorder.keep.disk import missing_bytes
from recorder.keep.flac import Tags, utc_stem, write_flac
from recorder.keep.guano import OWN, guano_text
from recorder.keep.journal import Record
from recorder.keep.kept_files import thin
from recorder.keep.retention import Kept, Limits, is_wanted
from recorder.keep.spool import Spool, SpoolGap
from recorder.keep.store import Store
from recorder.sound.live.clock import utc_seconds
from recorder.sound.live.source import Frames
from recorder.station.audio import SOFTWARE
from recorder.station.options import ListenOptions
from recorder.station.rows import RowMaker, RunInfo
from recorder.station.voice import VoiceFilter

FOLDER = "clips"
_MOST_CHUNKS = 6
"""A bird that does not stop gives clips of half a minute, so that the best of them can be kept."""
_BEST_WHATEVER_AGE = 10
_FREE_FACTOR = 2
"""Clips stop while there is still room for everything else."""


@dataclass(frozen=True)
class _Event:
    """Chunks that follow each other, in which one species was settled."""

    chunk: int
    chunks: int
    record: Record
    """Of the chunk with the best score."""


def events(records: Sequence[Record]) -> Iterator[_Event]:
    """Settled rows, by species; no event is longer than half a minute."""
    by_label: dict[str, list[Record]] = {}
    for record in records:
        by_label.setdefault(str(record["label"]), []).append(record)
    for rows in by_label.values():
        start = 0
        for at in range(1, len(rows) + 1):
            goes_on = at < len(rows) and rows[at]["chunk"] == rows[at - 1]["chunk"] + 1
            if goes_on and at - start < _MOST_CHUNKS:
                continue
            best = max(rows[start:at], key=lambda row: float(row["score"]))
            yield _Event(rows[start]["chunk"], at - start, best)
            start = at


class ClipKeeper:
    """Writes and removes the clips of one run; a disk that takes none stops nothing else."""

    def __init__(
        self,
        options: ListenOptions,
        info: RunInfo,
        rows: RowMaker,
        *,
        spool: Spool,
        store: Store,
        voice: VoiceFilter | None = None,
    ) -> None:
        """The sound comes from the spool, in the form in which it was captured.

        With a filter of voices no clip is written in which somebody speaks.
        """
        self._out, self._info, self._rows = options.out, info, rows
        self._spool, self._voice = spool, voice
        self._context = round(options.clip_context_s * info.sample_rate)
        self._min_free_bytes = round(_FREE_FACTOR * options.min_free_mb * 1e6)
        self._limits = Limits(
            per_label=options.clips_per_species,
            days=options.keep_days,
            bytes=None if options.keep_gb is None else round(options.keep_gb * 1e9),
            best_whatever_age=_BEST_WHATEVER_AGE,
        )
        self._kept = _clips_of(store)
        self._paths = {
            (int(chunk), str(label)): str(path)
            for path, chunk, label in store.rows(
                "SELECT path, chunk, label FROM clips WHERE run = ? AND removed = ''", info.run
            )
        }
        self.trouble = ""
        """Why no clips are written at the moment; empty when they are."""

    def settled(self, records: Sequence[Record]) -> list[Record]:
        """Write the clips of settled rows; rows that say which were written, and removed."""
        said: list[Record] = []
        for event in events(records):
            try:
                said += self._write(event)
                self.trouble = ""
            except (OSError, SpoolGap) as error:
                reason = error.strerror if isinstance(error, OSError) else None
                self.trouble = f"clips are not kept: {reason or error}"
        if records:
            said += self._thin(0, _now(records[-1]))
        return said

    def _write(self, event: _Event) -> list[Record]:
        label, score = str(event.record["label"]), float(event.record["score"])
        if not is_wanted(list(self._kept.values()), label, score, self._limits):
            return []
        rate_hz = self._info.sample_rate
        first = round(event.chunk * CHUNK_S * rate_hz)
        stop = round((event.chunk + event.chunks) * CHUNK_S * rate_hz)
        start, frames = self._sound(max(0, first - self._context), stop + self._context)
        if self._voice is not None:
            spoken, best = self._voice.heard(frames)
            if spoken:
                return [self._rows.withheld(start, start + len(frames), score=best)]
        record = self._rows.clip(event.record, start, start + len(frames))
        record |= {"chunk": event.chunk, "chunks": event.chunks}
        start_utc_s = utc_seconds(str(record["start_utc"]))
        said = self._make_room(frames.nbytes, _now(record))
        path = self._paths.get((event.chunk, label)) or self._new_path(event, start_utc_s)
        record["bytes"] = write_flac(self._out / path, frames, rate_hz, self._tags(record))
        record["path"] = path
        self._paths[event.chunk, label] = path
        self._kept[path] = Kept(path, label, score, start_utc_s, int(record["bytes"]))
        return [*said, record]

    def _sound(self, first: int, stop: int) -> tuple[int, Frames]:
        """(first frame, [frames, channels]) of what is held of a stretch; silence in its gaps.

        SpoolGap when nothing is held.
        """
        held = self._spool.have(first, stop)
        if not held:
            raise SpoolGap("their sound is not held any more")
        begin, end = held[0][0], held[-1][1]
        parts = [(one, self._spool.read(one, until - one)) for one, until in held]
        frames: Frames = np.zeros((end - begin, self._info.channels), parts[0][1].dtype)
        for at, part in parts:
            frames[at - begin : at - begin + len(part)] = part
        return begin, frames

    def _new_path(self, event: _Event, start_utc_s: float) -> str:
        """`clips/<label>/<UTC>_<score>_<run>-<chunk>.flac`: run and chunk are never used twice."""
        score = round(100 * float(event.record["score"]))
        name = f"{utc_stem(start_utc_s)}_{score:02d}_{self._info.run}-{event.chunk}.flac"
        return str(PurePosixPath(FOLDER, folder_of(str(event.record["label"])), name))

    def _tags(self, record: Record) -> Tags:
        said = str(record["common_name"] or record["scientific_name"] or record["label"])
        fields = {
            "Timestamp": record["start_utc"],
            "Length": round(record["end_s"] - record["start_s"], 3),
            "Samplerate": self._info.sample_rate,
            "Species Auto ID": record["scientific_name"] or record["label"],
            f"{OWN}|Label": record["label"],
            f"{OWN}|Score": record["score"],
            f"{OWN}|Chunk Start": record["chunk"] * CHUNK_S - record["start_s"],
            f"{OWN}|Chunks": record["chunks"],
            f"{OWN}|Run": record["run"],
            f"{OWN}|Ledger Sample": record["start_sample"],
            f"{OWN}|Time Quality": record["time_quality"],
            f"{OWN}|Device": self._info.device,
            f"{OWN}|Model": self._info.model,
        }
        title = f"{said}, score {record['score']:.2f}"
        return Tags(title, str(record["start_utc"]), guano_text(fields), SOFTWARE)

    def _make_room(self, needed_bytes: int, now_utc_s: float | None) -> list[Record]:
        """Lesser clips go for a better one; OSError from the writing when that is not enough."""
        missing = missing_bytes(self._out, needed_bytes, self._min_free_bytes)
        if missing <= 0:
            return []
        said = self._thin(missing, now_utc_s)
        missing = missing_bytes(self._out, needed_bytes, self._min_free_bytes)
        if missing > 0:
            raise OSError(
                f"less than {self._min_free_bytes / 1e6:.0f} MB would be left free, and no lesser "
                "clip can go"
            )
        return said

    def _thin(self, missing: int, now_utc_s: float | None) -> list[Record]:
        said: list[Record] = []
        kept = list(self._kept.values())
        try:
            for record in thin(
                self._out, kept, self._limits, now_utc_s=now_utc_s, missing_bytes=missing
            ):
                del self._kept[record["path"]]
                said.append(record)
        except OSError as error:
            self.trouble = f"clips cannot be removed: {error.strerror or error}"
        return said


def _now(record: Record) -> float | None:
    """When a row ends, where its clock was set."""
    return utc_seconds(str(record["end_utc"])) if record["time_quality"] == "synced" else None


def folder_of(label: str) -> str:
    """A species' folder: its label, where that is a name for a folder."""
    return re.sub(r"[^\w-]", "_", label)[:100]


def _clips_of(store: Store) -> dict[str, Kept]:
    rows = store.rows("SELECT path, label, score, start_utc, bytes FROM clips WHERE removed = ''")
    return {
        path: Kept(path, label, score, utc_seconds(start_utc), size)
        for path, label, score, start_utc, size in rows
    }
