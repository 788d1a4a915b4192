"""All recordings of a scan on their way: kept from before, analysed here or by others, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recorder import __version__
from recorder.crew.shared_file import SharedFile
from recorder.crew.tasks import Crew, Settings, whole
from recorder.detect.bundle import ModelBundle
from recorder.keep.result import DoneFiles, FileResult
from recorder.sound.files.finder import Found, identity_of

Floats = NDArray[np.float32]

_AHEAD = 4
"""Tasks handed out per worker before the first must be back: bounds what waits in memory."""


class Advanced(Protocol):
    """Told how many bytes of sound were just dealt with."""

    def advance(self, amount: float) -> None: ...


@dataclass(frozen=True)
class WorkPlan:
    """How a scan's recordings are analysed, and by whom."""

    bundle: ModelBundle
    limits: Floats
    """The threshold of all that may be said."""
    settings: Settings
    done: Path
    """The folder of what is done."""
    workers: int = 1
    cluster: str = ""
    resume: bool = True


def results_of(plan: WorkPlan, found: Sequence[Found], report: Advanced) -> Iterator[FileResult]:
    """The result of each file, in order: kept from before, or made now."""
    settings = plan.settings
    limits = plan.limits.tolist()
    words = f"{plan.bundle.sha256}|{settings.precision}|{__version__}|{limits}|{settings.start}"
    if settings.expectation is not None:
        words += f"|{settings.expectation.key}"
    done = DoneFiles(plan.done, words)
    waiting: deque[tuple[_Job, int]] = deque()
    with _crew(plan) as crew:
        for one in found:
            job = _Job(one, done, resume=plan.resume)
            tasks = job.begin(crew, plan)
            waiting.append((job, tasks))
            ahead = 0 if crew is None else crew.workers * _AHEAD
            while waiting and sum(tasks for _, tasks in waiting) > ahead:
                yield waiting.popleft()[0].result(report)
        while waiting:
            yield waiting.popleft()[0].result(report)


class _Job:
    """One file on its way from being found to its result."""

    def __init__(self, one: Found, done: DoneFiles, *, resume: bool) -> None:
        self._one, self._size, self._done = one, size_of(one), done
        self._part = _part(done, one)
        self._resume = resume
        self._get: Callable[[Advanced], FileResult]

    def begin(self, crew: Crew | None, plan: WorkPlan) -> int:
        """Have it analysed, if it has to be; return how many tasks it waits for."""
        one, part, settings = self._one, self._part if self._resume else None, plan.settings
        kept = self._done.get(part) if part is not None else None
        if kept is not None:
            self._get = lambda report: self._kept(kept, report)
            return 1
        if crew is None:
            self._get = lambda report: whole(settings, one, part, self._progress(report))
            return 1
        shared = SharedFile(
            crew, settings, one, bundle=plan.bundle, thresholds=plan.limits, part=part
        )
        self._get = lambda report: shared.result(self._progress(report))
        return shared.tasks

    def result(self, report: Advanced) -> FileResult:
        """Wait for it, or make it; and keep it, if the file is still what it was."""
        result = self._get(report)
        if self._part is not None:
            if self._part == _part(self._done, self._one):
                self._done.put(self._part, result)
            if result.scores is not None:
                self._done.clear(self._part)
        return result

    def _progress(self, report: Advanced) -> Callable[[float], None]:
        return lambda share: report.advance(share * self._size)

    def _kept(self, kept: FileResult, report: Advanced) -> FileResult:
        report.advance(self._size)
        return kept


def _crew(plan: WorkPlan) -> AbstractContextManager[Crew | None]:
    """Those who analyse; None = this process alone."""
    if plan.cluster:
        from recorder.crew.cluster import ClusterCrew

        return ClusterCrew(plan.cluster, plan.bundle)
    if plan.workers > 1:
        from recorder.crew.local import LocalCrew

        return LocalCrew(plan.workers)
    return nullcontext()


def _part(done: DoneFiles, one: Found) -> Path | None:
    """Where what is known of a file grows; None where there is nothing to know."""
    identity = "" if one.problem else identity_of(one)
    return done.part(identity, one.name) if identity else None


def size_of(one: Found) -> int:
    """Bytes, as far as is known."""
    if one.url:
        return one.size_bytes
    try:
        return one.path.stat().st_size
    except OSError:
        return 0
