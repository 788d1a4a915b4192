"""Several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self

from recorder.crew.tasks import Settings, WorkerLostError
from recorder.keep.result import FileResult


class LocalCrew:
    """A pool of processes that is made anew when one of them dies."""

    here = True

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, task: Callable[..., Any], settings: Settings, *args: Any) -> LocalWork:
        """Have `task(settings, *args)` done by the next process that is free."""
        if self._pool is None:
            self._pool = _pool(self.workers)
        try:
            return LocalWork(self._pool.submit(task, settings, *args), task, settings, *args)
        except BrokenProcessPool:
            self._pool = None
            return self.submit(task, settings, *args)

    def trusted(self, result: FileResult) -> bool:
        """All see the same files."""
        del result
        return True


class LocalWork:
    """When a process died, nobody knows which of the tasks was to blame: each is done alone."""

    def __init__(
        self, future: Future[Any], task: Callable[..., Any], settings: Settings, *args: Any
    ) -> None:
        self._future = future
        self._again = (task, settings, *args)

    def result(self) -> Any:
        """Wait for it; WorkerLostError when the process that did it alone died too."""
        try:
            return self._future.result()
        except BrokenProcessPool:
            pass
        with _pool(1) as alone:
            try:
                return alone.submit(*self._again).result()
            except BrokenProcessPool as error:
                raise WorkerLostError("the process that analysed it was killed, twice") from error


def _pool(workers: int) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=spawn, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """A pool's process would wait for ever for the next task of a parent that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
