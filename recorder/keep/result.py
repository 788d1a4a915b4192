"""What is known about one recording, and its place on disk until the scan is complete."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recorder.keep.formats import (
    ChunkRow,
    DetectionRow,
    EventRow,
    ManifestRow,
    RejectedRow,
    written,
)
from recorder.keep.rows import Rows

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FileResult:
    """Everything that a scan has to say about one file."""

    manifest: ManifestRow
    detections: Rows[DetectionRow] = field(default_factory=lambda: Rows(DetectionRow))
    chunks: Rows[ChunkRow] = field(default_factory=lambda: Rows(ChunkRow))
    events: Rows[EventRow] = field(default_factory=lambda: Rows(EventRow))
    scores: Floats | None = None  # [chunks, classes]
    bird: Floats | None = None  # [chunks], any bird, if the model has it
    rejected: Rows[RejectedRow] = field(default_factory=lambda: Rows(RejectedRow))

    @property
    def chunk_end_s(self) -> list[float]:
        return [row.end_s for row in self.chunks]


class DoneFiles:
    """Finished recordings, so that a scan that was interrupted goes on where it was.

    A result is found again only for the same name, the same `identity` (size and time of its last
    change, or what another system has instead), model, thresholds, list, prior
    and version of birdrec; failed files are tried again.
    """

    def __init__(self, folder: Path, settings: str) -> None:
        self._folder = folder
        self._settings = settings

    def part(self, identity: str, name: str) -> Path:
        """Where what is known of a recording grows while it is analysed."""
        key = f"{self._settings}|{name}|{identity}"
        return self._folder / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.part"

    def get(self, part: Path) -> FileResult | None:
        """The kept result, or None: also when it cannot be read, for then it is made again."""
        try:
            with part.with_suffix(".jsonl").open(encoding="utf-8") as lines:
                return _from_lines(lines)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, part: Path, result: FileResult) -> None:
        """Keep a result that was made."""
        if result.scores is None:
            return
        with written(part.with_suffix(".jsonl")) as stream:
            for line in _lines(result):
                stream.write(json.dumps(line))
                stream.write("\n")

    def clear(self, part: Path) -> None:
        """What grew is not needed any more."""
        part.unlink(missing_ok=True)
        shutil.rmtree(pieces_of(part), ignore_errors=True)


def pieces_of(part: Path) -> Path:
    """The folder in which the pieces of a recording grow: it has one of its own, for nobody lists
    a folder of millions of files after each of them."""
    return part.with_suffix(".pieces")


def _lines(result: FileResult) -> Iterator[dict[str, Any]]:
    """One at a time: together they are megabytes of a day of sound."""
    assert result.scores is not None
    yield {"manifest": asdict(result.manifest), "classes": result.scores.shape[1]}
    yield {"detections": result.detections.packed()}
    yield {"chunks": result.chunks.packed()}
    yield {"events": result.events.packed()}
    yield {"rejected": result.rejected.packed()}
    yield {"scores": _packed(result.scores)}
    yield {"bird": None if result.bird is None else _packed(result.bird)}


def _from_lines(lines: Iterable[str]) -> FileResult:
    content: dict[str, Any] = {}
    for line in lines:
        content |= json.loads(line)
    scores, bird = _unpacked(content["scores"]), content["bird"]
    return FileResult(
        ManifestRow(**content["manifest"]),
        Rows.unpacked(DetectionRow, content["detections"]),
        Rows.unpacked(ChunkRow, content["chunks"]),
        Rows.unpacked(EventRow, content["events"]),
        scores.reshape(-1, content["classes"]),
        None if bird is None else _unpacked(bird),
        Rows.unpacked(RejectedRow, content["rejected"]),
    )


def _packed(values: Floats) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _unpacked(text: str) -> Floats:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)
