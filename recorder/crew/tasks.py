"""What a worker is asked for, wherever it runs: a whole recording, or a piece of one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recorder.crew.pieces import Piece, analyse_piece
from recorder.detect.decide import thresholds
from recorder.detect.models import Model, load_model, read_model
from recorder.errors import AudioFileError
from recorder.keep.result import FileResult
from recorder.onefile import FileScanner, Progress
from recorder.sound.files.finder import Found
from recorder.sound.files.remote import at_hand, sha256_of
from recorder.species.expectation import Expectation

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """What every recording of a scan is analysed with."""

    bundle: Path
    threshold: float | None
    precision: str
    start: str
    expectation: Expectation | None = None
    """List and prior themselves, not their files: a worker may not have those."""


class Work(Protocol):
    """Something that was asked for."""

    def result(self) -> Any:
        """Wait for it. WorkerLostError when whoever did it died, and would again."""


class Crew(Protocol):
    """Those who do what they are asked for."""

    here: bool
    """Do they work on this machine, so that they can keep on its disk what they have?"""

    @property
    def workers(self) -> int:
        """How many there are now."""

    def submit(self, task: Callable[..., Any], settings: Settings, *args: Any) -> Work:
        """Have `task(settings, *args)` done."""

    def trusted(self, result: FileResult) -> bool:
        """Is what a worker says of a file it could not read what this process would say?"""


class WorkerLostError(Exception):
    """Nobody survived this task."""


class WorkerCannotError(Exception):
    """A worker has no place to work in; another, or this process, has."""


@dataclass(frozen=True)
class PieceResult:
    """Of one piece of a recording."""

    rows: Floats | None
    """As `analyse_piece`."""
    elapsed_s: float


def whole(
    settings: Settings,
    found: Found,
    part: Path | None = None,
    progress: Progress = lambda _: None,
) -> FileResult:
    """A recording at once; never an exception for what is wrong with it."""
    scanner = _loaded(settings)[1]
    try:
        with at_hand(found) as here:
            return scanner.scan(here, progress, part)
    except AudioFileError as error:
        return scanner.failed(found, str(error))


def piece(settings: Settings, found: Found, wanted: Piece, part: Path | None = None) -> PieceResult:
    """A piece of one, which grows in `part`; AudioFileError or ModelError when it cannot be had."""
    started = time.monotonic()
    with at_hand(found, span=wanted.span) as here:
        rows = analyse_piece(_loaded(settings)[0], here.path, wanted, part)
    return PieceResult(rows, time.monotonic() - started)


def digest(settings: Settings, found: Found) -> str:
    """Of a whole recording whose pieces others analyse; AudioFileError when it has vanished."""
    del settings
    return sha256_of(found)


_own = threading.local()


def _loaded(settings: Settings) -> tuple[Model, FileScanner]:
    if getattr(_own, "settings", None) != settings:
        bundle = read_model(settings.bundle)
        model = load_model(bundle, settings.precision)
        limits = thresholds(bundle, settings.threshold)
        scanner = FileScanner(model, limits, start=settings.start, expectation=settings.expectation)
        _own.loaded = model, scanner
        _own.settings = settings
    loaded: tuple[Model, FileScanner] = _own.loaded
    return loaded
