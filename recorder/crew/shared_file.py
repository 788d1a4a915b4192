"""One recording that others analyse, in pieces where that helps, and its result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.crew.pieces import Piece, account_of, plan
from recorder.crew.tasks import (
    Crew,
    PieceResult,
    Settings,
    Work,
    WorkerCannotError,
    WorkerLostError,
    digest,
    piece,
    whole,
)
from recorder.detect.bundle import ModelBundle
from recorder.errors import AudioFileError, ClusterError, ModelError, UsageError
from recorder.file_rows import Gathered, columns, file_result, unpacked
from recorder.keep.part_file import load_piece, save_piece
from recorder.keep.result import FileResult, pieces_of
from recorder.onefile import blank_row
from recorder.sound.files.finder import Found, identity_of
from recorder.ui import printable

Floats = NDArray[np.float32]

Progress = Callable[[float], None]
"""Told which share of the file was just analysed, 0 to 1."""


class SharedFile:
    """Submitted when it is made; `result` waits for it."""

    def __init__(
        self,
        crew: Crew,
        settings: Settings,
        found: Found,
        *,
        bundle: ModelBundle,
        thresholds: Floats,
        part: Path | None,
    ) -> None:
        """`part` is where pieces are kept that are done; None where nothing is."""
        self._crew, self._settings, self._found = crew, settings, found
        self._bundle, self._thresholds, self._part = bundle, thresholds, part
        pieces = [] if found.problem else plan(found, bundle, workers=crew.workers)
        self._before = identity_of(found)
        self._pieces = [(one, self._begun(one)) for one in pieces]
        self._digest = crew.submit(digest, settings, found) if pieces else None
        self._whole = None if pieces else self._all_of_it()

    @property
    def tasks(self) -> int:
        """How many it was made into."""
        return len(self._pieces) + 1 if self._pieces else 1

    def result(self, progress: Progress) -> FileResult:
        """Of the whole recording: a problem ends in its manifest row, never in an exception."""
        joined = self._joined(progress) if self._pieces else None
        if joined is not None:
            return joined
        try:
            work = self._whole or self._all_of_it()
            result: FileResult = work.result()
        except WorkerLostError as error:
            row = blank_row(self._found, self._bundle)
            return FileResult(replace(row, reason=str(error)))
        except WorkerCannotError:
            return whole(self._settings, self._found, progress=progress)
        if not self._crew.trusted(result):
            result = whole(self._settings, self._found)
        if not self._pieces:
            progress(1.0)
        return result

    def _all_of_it(self) -> Work:
        return self._crew.submit(whole, self._settings, self._found, self._kept_in(self._part))

    def _kept_in(self, part: Path | None) -> Path | None:
        """Where a worker keeps what it has of its task, if it can."""
        return part if self._crew.here else None

    def _begun(self, one: Piece) -> Work | Floats:
        """What an interrupted scan has left of it, or the work on it."""
        place = self._place(one)
        kept = load_piece(place, columns(self._bundle.outputs))
        if kept is not None:
            return kept
        growing = None if place is None else self._kept_in(place.with_suffix(".rows"))
        return self._crew.submit(piece, self._settings, self._found, one, growing)

    def _joined(self, progress: Progress) -> FileResult | None:
        """None where a piece was not plain, or could not be had."""
        rows, elapsed_s = [], 0.0
        outputs = self._bundle.outputs
        try:
            for one, work in self._pieces:
                done = PieceResult(work, 0.0) if isinstance(work, np.ndarray) else work.result()
                if done.rows is None:
                    return None
                save_piece(self._place(one), done.rows)
                rows.append(done.rows)
                elapsed_s += done.elapsed_s
                progress(1.0 / len(self._pieces))
            assert self._digest is not None
            sha256 = self._digest.result()
            row, heard_s = account_of(
                self._found, self._bundle, start=self._settings.start, sha256=sha256
            )
        except (AudioFileError, ModelError, WorkerCannotError, WorkerLostError, OSError):
            # Analysed at once, it says what is wrong with it.
            return None
        except (ClusterError, UsageError):
            raise
        except Exception as error:
            # A fault of ours: at once it may not be met, or costs this recording alone.
            print(
                f"birdrec: {printable(self._found.name)} is analysed at once, for its pieces met a "
                f"fault of birdrec itself, please report it ({type(error).__name__}: {error})",
                file=sys.stderr,
            )
            return None
        if identity_of(self._found) != self._before:
            # The pieces are of different states of it.
            return None
        gathered = Gathered(self._bundle, self._thresholds, self._settings.expectation)
        for one_piece in rows:
            gathered.add(unpacked(one_piece, outputs))
        return file_result(gathered, replace(row, elapsed_s=round(elapsed_s, 3)), heard_s)

    def _place(self, one: Piece) -> Path | None:
        if self._part is None:
            return None
        stop = "end" if one.stop_window is None else one.stop_window
        return pieces_of(self._part) / f"{one.first_window}-{stop}.npy"
