"""What is known about one recording, and its place on disk until the scan is complete."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import asdict, dataclass
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
    values_of,
    written,
)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FileResult:
    """Everything that a scan has to say about one file."""

    manifest: ManifestRow
    detections: tuple[DetectionRow, ...] = ()
    chunks: tuple[ChunkRow, ...] = ()
    events: tuple[EventRow, ...] = ()
    scores: Floats | None = None  # [chunks, classes]
    bird: Floats | None = None  # [chunks], any bird, if the model has it
    rejected: tuple[RejectedRow, ...] = ()

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
            content = json.loads(part.with_suffix(".json").read_text(encoding="utf-8"))
            return _from_json(content)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, part: Path, result: FileResult) -> None:
        """Keep a result that was made."""
        if result.scores is None:
            return
        with written(part.with_suffix(".json")) as stream:
            json.dump(_to_json(result), stream)

    def clear(self, part: Path) -> None:
        """What grew is not needed any more."""
        for kept in (part, *self._folder.glob(f"{part.stem}.*")):
            if kept.suffix != ".json":
                kept.unlink(missing_ok=True)


def _to_json(result: FileResult) -> dict[str, Any]:
    assert result.scores is not None
    return {
        "manifest": asdict(result.manifest),
        "detections": [values_of(row) for row in result.detections],
        "chunks": [values_of(row) for row in result.chunks],
        "events": [values_of(row) for row in result.events],
        "classes": result.scores.shape[1],
        "scores": _packed(result.scores),
        "bird": None if result.bird is None else _packed(result.bird),
        "rejected": [values_of(row) for row in result.rejected],
    }


def _from_json(content: dict[str, Any]) -> FileResult:
    scores, bird = _unpacked(content["scores"]), content["bird"]
    return FileResult(
        ManifestRow(**content["manifest"]),
        tuple(DetectionRow(*row) for row in content["detections"]),
        tuple(ChunkRow(*row) for row in content["chunks"]),
        tuple(EventRow(*row) for row in content["events"]),
        scores.reshape(-1, content["classes"]),
        None if bird is None else _unpacked(bird),
        tuple(RejectedRow(*row) for row in content["rejected"]),
    )


def _packed(values: Floats) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _unpacked(text: str) -> Floats:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)
