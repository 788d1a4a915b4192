"""Many machines, on a scheduler of Dask that somebody else has started.

A worker gets the model with its task, and the path of the recording. What it could not read, this
process reads itself: a disk that is not there over there makes nothing be left out.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from recorder import __version__
from recorder.crew.tasks import Settings, WorkerCannotError, WorkerLostError
from recorder.detect.bundle import ModelBundle
from recorder.errors import ClusterError, ModelError, UsageError
from recorder.keep.result import FileResult
from recorder.memory import keep

_ADDRESS = re.compile(r"((tcp|tls|ws|wss|ucx)://)?[^/\s]+:\d+")
_CONNECT_S = 10
_COUNTED_S = 2.0
"""How long a count of the workers holds."""
_DEATHS = 3
"""A scheduler gives a task up when so many workers died of it, unless it is told otherwise."""
_UNREAD = ("failed", "partial")


class ClusterCrew:
    """The workers of a scheduler; they may join, leave and die at any time."""

    def __init__(self, address: str, bundle: ModelBundle) -> None:
        """UsageError when nobody answers at the address, or Dask is not installed."""
        self._address, self._bundle = address, bundle
        self._client = _connected(address)
        with warnings.catch_warnings():
            # Ten megabytes are "a large graph"; they are sent once.
            warnings.simplefilter("ignore", UserWarning)
            self._model = self._client.submit(
                _same, _shipped(bundle), key=f"birdrec-{bundle.sha256}"
            )
        self._counted_at, self._count = float("-inf"), 0
        self._warned = False

    def __enter__(self) -> Self:
        if self.workers and not self._count:
            print(f"No worker has joined {self._address} yet: waiting.", file=sys.stderr)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Futures that are let go are not worked on any more.
        self._client.close()

    here = False

    @property
    def workers(self) -> int:
        """Threads of all workers that are there now; at least 1."""
        if time.monotonic() - self._counted_at > _COUNTED_S:
            # A scheduler that is lost is seen where its results are waited for.
            with suppress(OSError):
                self._count = sum(self._client.nthreads().values())
            self._counted_at = time.monotonic()
        return max(1, self._count)

    def submit(self, task: Callable[..., Any], settings: Settings, *args: Any) -> ClusterWork:
        """Have `task(settings, *args)` done by some worker."""
        future = self._client.submit(
            _on_worker,
            self._model,
            __version__,
            task,
            settings,
            *args,
            key=f"birdrec-{task.__name__}-{uuid.uuid4()}",
            pure=False,
            allow_other_workers=False,
        )
        return ClusterWork(future, self._address)

    def trusted(self, result: FileResult) -> bool:
        """A disk may have been lost over there: what is not read whole is read again here."""
        row = result.manifest
        if row.status not in _UNREAD:
            return True
        if not self._warned:
            self._warned = True
            print(
                f"A worker could not read {row.path} whole ({row.reason}): it is read here. Do all "
                "workers have the recordings under the same path?",
                file=sys.stderr,
            )
        return False


class ClusterWork:
    """One task over there."""

    def __init__(self, future: Any, address: str) -> None:
        self._future, self._address = future, address

    def result(self) -> Any:
        """Wait for it. WorkerLostError when it has killed several workers; ClusterError when the
        scheduler is lost, or a worker cannot do such tasks at all."""
        from distributed import CancelledError, KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            return self._future.result()
        except KilledWorker as error:
            raise WorkerLostError(f"{_DEATHS} workers died while they analysed it") from error
        except ModuleNotFoundError as error:
            raise ClusterError(
                f"a worker of {self._address} has no {error.name}: install birdrec "
                f"{__version__} with 'birdrec[cluster]' there, and start it again"
            ) from error
        except (CancelledError, CommClosedError, TimeoutError, OSError) as error:
            raise ClusterError(
                f"the scheduler at {self._address} was lost: start it again, then the same "
                "command, which goes on from there"
            ) from error


def _connected(address: str) -> Any:
    if not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"--cluster {address}: no address of a scheduler; use what `dask scheduler` prints, "
            "such as tcp://10.0.0.5:8786"
        )
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--cluster needs {error.name}, which is not installed: pip install 'birdrec[cluster]'"
        ) from error
    # What matters of what it logs is said by the errors here.
    for name in [one for one in logging.root.manager.loggerDict if one.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    client: Any = distributed.Client
    try:
        return client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--cluster {address}: no scheduler answers there ({_one_line(error)}); use the "
            "address that `dask scheduler` prints, such as tcp://10.0.0.5:8786"
        ) from error


def _shipped(bundle: ModelBundle) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.path.iterdir() if path.is_file()}


def _same(files: dict[str, bytes]) -> dict[str, bytes]:
    """A task, unlike data that are sent, is done again when the worker that has it dies."""
    return files


def _on_worker(
    model: dict[str, bytes],
    version: str,
    task: Callable[..., Any],
    settings: Settings,
    *args: Any,
) -> Any:
    if version != __version__:
        raise ClusterError(
            f"a worker has birdrec {__version__}, the scan was started with {version}: install the "
            "same everywhere"
        )
    try:
        return task(_here(model, settings), *args)
    except (OSError, ModelError) as error:
        # Its disk is lost or full: by its own name this would be taken for the scheduler's end.
        raise WorkerCannotError(str(error)) from None


def _here(model: dict[str, bytes], settings: Settings) -> Settings:
    """With the model as a folder of this worker."""
    return replace(settings, bundle=_unpacked(_Model(model)))


class _Model:
    """Files of a bundle, equal when their `model.json` is: it has the hashes of the others."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def __hash__(self) -> int:
        return hash(self.files["model.json"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Model) and self.files["model.json"] == other.files["model.json"]


@lru_cache(maxsize=4)
def _unpacked(model: _Model) -> Path:
    """In the worker's own folder, which Dask clears away, even after a kill."""
    from distributed import get_worker

    keep()
    folder = Path(tempfile.mkdtemp(prefix="birdrec-model-", dir=get_worker().local_directory))
    for name, content in model.files.items():
        (folder / name).write_bytes(content)
    return folder


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
