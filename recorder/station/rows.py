"""Chunks, gaps and notes as the lines of `detections.jsonl`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import Label, ModelBundle
from recorder.detect.decide import detected
from recorder.detect.mel import CHUNK_S
from recorder.detect.occurrence import Moments
from recorder.detect.pipeline import ChunkResult
from recorder.keep.journal import Record
from recorder.keep.ledger import Entry
from recorder.sound.live.clock import utc_text
from recorder.sound.live.health import HealthChange
from recorder.sound.live.source import Lost, Opened
from recorder.sound.live.timeline import ClockStep
from recorder.species.expectation import Expectation
from recorder.species.rejection import reject
from recorder.station.intake import Noted

Floats = NDArray[np.float32]


class Times(Protocol):
    """From frames since the start to the time of day."""

    @property
    def synced(self) -> bool:
        """Is the time of day that of a clock that somebody sets?"""

    def utc_s(self, frame: int) -> float:
        """Seconds since 1970."""


@dataclass(frozen=True)
class FixedTimes:
    """Where no clock runs beside: a file, or what was left of a run that is over."""

    frame: int
    frame_utc_s: float
    sample_rate_hz: int
    synced: bool

    def utc_s(self, frame: int) -> float:
        """Seconds since 1970, at the device's own pace."""
        return self.frame_utc_s + (frame - self.frame) / self.sample_rate_hz


@dataclass(frozen=True)
class RunInfo:
    """One time that birdrec listened, from its start to its end."""

    run: int
    boot: str
    """Of the machine; the time before a clock is set can be told from it."""
    start_sample: int
    """Of the ledger, which goes on from run to run."""
    sample_rate: int
    channels: int
    dtype: str
    device: str
    model: str
    start_utc: str
    time_quality: str
    expected: str = ""
    """Species list and prior, in words; empty where there are none."""

    def record(self) -> Record:
        return {"kind": "run", **asdict(self)}


class RowMaker:
    """Lines of one run."""

    def __init__(self, info: RunInfo, times: Times, expectation: Expectation | None = None) -> None:
        self._info, self._times, self._expectation = info, times, expectation

    @property
    def synced(self) -> bool:
        """Are the times of the rows, at this moment, those of a clock that somebody sets?"""
        return self._times.synced

    def detections(
        self, kind: str, results: Sequence[ChunkResult], bundle: ModelBundle, limits: Floats
    ) -> tuple[list[Record], list[Record]]:
        """(said, rejected): a line for each species over its threshold [said], as `scan` decides,
        and for each that list or prior took away."""
        if not results:
            return [], []
        outputs = np.stack([result.scores for result in results])
        hits = detected(outputs, limits, len(bundle.labels))
        taken = reject(
            hits,
            outputs,
            limits,
            bundle=bundle,
            expectation=self._expectation,
            moments_of=lambda places: self._moments([results[place].index for place in places]),
        )
        rejected = [
            {
                **self._detection("rejected", results[one.place], one.index, one.label, limits),
                "adjusted": round(one.adjusted, 6),
                "reason": one.reason,
            }
            for one in taken
        ]
        said = [
            self._detection(kind, result, index, bundle.said[index], limits)
            for result, found in zip(results, hits, strict=True)
            for index in sorted(
                np.flatnonzero(found).tolist(), key=lambda one: bundle.said[one].label
            )
        ]
        return said, rejected

    def _moments(self, chunks: list[int]) -> Moments:
        """When chunks begin."""
        assert self._expectation is not None
        after_s = [chunk * CHUNK_S for chunk in chunks]
        frames = [round(one * self._info.sample_rate) for one in after_s]
        return self._expectation.heard(after_s, [self._times.utc_s(frame) for frame in frames])

    def _detection(
        self, kind: str, result: ChunkResult, index: int, label: Label, limits: Floats
    ) -> Record:
        return {
            "kind": kind,
            **self._chunk(result.index),
            "label": label.label,
            "scientific_name": label.scientific_name,
            "common_name": label.common_name,
            "score": round(float(result.scores[index]), 6),
            "threshold": round(float(limits[index]), 6),
        }

    def gap(self, first: int, count: int, reason: str) -> Record:
        """A stretch of frames that was lost."""
        return {
            "kind": "gap",
            **self._stretch(first, first + count),
            "reason": reason,
            "start_sample": self._info.start_sample + first,
            "samples": count,
        }

    def clip(self, detection: Record, first: int, stop: int) -> Record:
        """A stretch of frames that is kept because of a detection."""
        names = ("label", "scientific_name", "common_name", "score")
        return {
            "kind": "clip",
            **self._stretch(first, stop),
            **{name: detection[name] for name in names},
            "start_sample": self._info.start_sample + first,
            "samples": stop - first,
        }

    def withheld(self, first: int, stop: int, *, score: float) -> Record:
        """A stretch of frames whose sound is not kept, because somebody speaks in it."""
        return {
            "kind": "withheld",
            **self._stretch(first, stop),
            "reason": "voice",
            "score": round(score, 4),
            "start_sample": self._info.start_sample + first,
            "samples": stop - first,
        }

    def health(self, frame: int, problem: str, *, begins: bool, detail: str) -> Record:
        """Something about the microphone, the disk or the clock that a person should know."""
        place = self._stretch(frame, frame)
        return {"kind": "health", **place, "problem": problem, "begins": begins, "detail": detail}

    def note(self, noted: Noted) -> Record | None:
        """What the intake said besides sound."""
        note, frame = noted.note, noted.frame
        if isinstance(note, HealthChange):
            return self.health(frame, note.problem, begins=note.begins, detail=note.detail)
        if isinstance(note, ClockStep):
            place = self._stretch(frame, frame)
            quality = "synced" if note.synced else "unsynced"
            return {"kind": "clock", **place, "step_s": note.step_s, "time_quality": quality}
        if isinstance(note, Lost) and note.reason:
            problem = "source" if note.final else "gone"
            return self.health(frame, problem, begins=True, detail=note.reason)
        if isinstance(note, Opened):
            return self.health(frame, "gone", begins=False, detail=f"{note.name} is back")
        return None

    def ledger_rows(self, entries: Sequence[Entry]) -> list[list[object]]:
        """(start_sample, samples, state, reason, start_utc) of entries."""
        origin = self._info.start_sample
        return [
            [
                origin + one.start,
                one.samples,
                one.state,
                one.reason,
                utc_text(self._times.utc_s(one.start)),
            ]
            for one in entries
        ]

    def _chunk(self, index: int) -> Record:
        rate_hz = self._info.sample_rate
        first = round(index * CHUNK_S * rate_hz)
        return {"chunk": index, **self._stretch(first, round((index + 1) * CHUNK_S * rate_hz))}

    def _stretch(self, first: int, stop: int) -> Record:
        return {
            "run": self._info.run,
            "start_s": round(first / self._info.sample_rate, 4),
            "end_s": round(stop / self._info.sample_rate, 4),
            "start_utc": utc_text(self._times.utc_s(first)),
            "end_utc": utc_text(self._times.utc_s(stop)),
            "time_quality": "synced" if self._times.synced else "unsynced",
            "boot": self._info.boot,
        }
