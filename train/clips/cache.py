"""Prepared clips on disk, for more of them than fit into memory: each is decoded once.

They are found by a hash of all that their arrays depend on: path, size and time of the clip, hand
label, front end, and the versions of what prepares them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import scipy
import soundfile
import soxr
from numpy.typing import NDArray

from recorder.detect.mel import MelConfig
from recorder.errors import AudioFileError, ConfigError
from train.clips.dataset import Clip
from train.clips.hand_labels import HandLabel
from train.clips.limited_folder import LimitedFolder, Note
from train.clips.recordings import Recording, prepared

_VERSION = 1
"""Counts up whenever `prepared` gives other numbers for the same file, or the format changes."""
_OPEN = 8
"""So many clips are open at once: files and address space are limited as well."""


class ClipCache:
    """Prepares clips as `train.clips.recordings.prepared` does, and keeps them in a folder.

    The recordings hold nothing: their arrays are memory-mapped when they are used, and when they
    had to make room, or are found damaged, the clip is decoded again.
    """

    def __init__(self, folder: Path, limit_bytes: float, *, say: Callable[[str], None]) -> None:
        """`say` is told once when the folder is full, holds damage or cannot be written to."""
        self._files = LimitedFolder(folder, limit_bytes, say=say)
        self._open: OrderedDict[str, Recording] = OrderedDict()

    def prepare(self, clip: Clip, mel: MelConfig, label: HandLabel) -> tuple[Recording, str]:
        """As `train.clips.recordings.prepared`, for `load_recordings`.

        A recording raises ConfigError when its clip has to be decoded again and has changed.
        """
        name = _name(clip.path, mel, label)
        if name is None:
            return prepared(clip, mel, label)  # which says why it cannot be read
        note = self._files.note(name)
        if note is None:
            recording, remark = prepared(clip, mel, label)
            if _name(clip.path, mel, label) != name:
                return recording, remark  # it is being written: no name is right
            self._keep(name, recording, remark)
        else:
            remark = str(note["remark"])
        return CachedRecording(clip, partial(self._opened, name, clip, mel, label)), remark

    def _opened(self, name: str, clip: Clip, mel: MelConfig, label: HandLabel) -> Recording:
        recording = self._open.pop(name, None)
        if recording is None:
            found = self._files.get(name)
            recording = _cut(clip, *found) if found else self._again(name, clip, mel, label)
        self._open[name] = recording
        if len(self._open) > _OPEN:
            self._open.popitem(last=False)
        return recording

    def _again(self, name: str, clip: Clip, mel: MelConfig, label: HandLabel) -> Recording:
        try:
            recording, remark = prepared(clip, mel, label)
        except AudioFileError as error:
            raise ConfigError(
                f"{clip.path} can no longer be read ({error}): bring it back, and the same "
                "command goes on from the last checkpoint"
            ) from error
        if _name(clip.path, mel, label) != name:
            raise ConfigError(f"{clip.path} has changed since the training began: start it again")
        self._keep(name, recording, remark)
        return recording

    def _keep(self, name: str, recording: Recording, remark: str) -> None:
        marks = [] if recording.nocall is None else [recording.nocall.tobytes()]
        arrays = (recording.samples, recording.calls, recording.loudness)
        raw = b"".join([*(array.tobytes() for array in arrays), *marks])
        sizes = {"samples": len(recording.samples), "frames": len(recording.loudness)}
        self._files.put(name, raw, {**sizes, "marked": bool(marks), "remark": remark})


class CachedRecording(Recording):
    """A recording whose arrays are opened when they are used."""

    def __init__(
        self, clip: Clip, opened: Callable[[], Recording], pseudo: NDArray[np.uint8] | None = None
    ) -> None:
        self._clip = clip
        self._opened = opened
        self._pseudo = pseudo

    @property
    def clip(self) -> Clip:
        return self._clip

    @property
    def samples(self) -> NDArray[np.int16]:
        return self._opened().samples

    @property
    def loudness(self) -> NDArray[np.float32]:
        return self._opened().loudness

    @property
    def calls(self) -> NDArray[np.int16]:
        return self._opened().calls

    @property
    def nocall(self) -> NDArray[np.bool_] | None:
        return self._opened().nocall

    @property
    def pseudo(self) -> NDArray[np.uint8] | None:
        return self._pseudo

    def with_pseudo(self, pseudo: NDArray[np.uint8] | None) -> Recording:
        return CachedRecording(self._clip, self._opened, pseudo)


def _cut(clip: Clip, raw: NDArray[np.uint8], note: Note) -> Recording:
    lengths = [2 * note["samples"], 2 * note["samples"], 4 * note["frames"]]
    samples, calls, loudness, nocall = np.split(raw, np.cumsum(lengths))
    return Recording(
        clip,
        samples.view(np.int16),
        loudness.view(np.float32),
        calls.view(np.int16),
        nocall.view(np.bool_) if note["marked"] else None,
    )


def _name(path: Path, mel: MelConfig, label: HandLabel) -> str | None:
    """None when there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    decided_by = [
        _VERSION,
        sys.byteorder,
        [library.__version__ for library in (np, scipy, soundfile, soxr)],
        soundfile.__libsndfile_version__,
        [os.path.realpath(path), status.st_size, status.st_mtime_ns],
        dataclasses.asdict(label),
        dataclasses.asdict(mel),
    ]
    return hashlib.sha256(json.dumps(decided_by).encode()).hexdigest()
