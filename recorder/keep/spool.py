"""Captured sound that waits on a RAM disk or a disk, by frame number.

A segment is one file: a header and raw frames, nothing after them, so that its length says what a
killed writer had written. Segments of one run lie in any of several folders.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[Any]

_MAGIC = b"birdrec spool 1\n"
_FIXED = struct.Struct("<16sIIQ8sH")
"""Magic, sample rate, channels, first frame, dtype, bytes of the run's id that follow."""
_SEGMENT_S = 10
_SUFFIX = ".spool"


class SpoolFull(Exception):
    """No folder takes more; the message says why."""


class SpoolGap(Exception):
    """Not all of these frames are held."""


@dataclass(frozen=True)
class SpoolFolder:
    """Where segments may lie."""

    path: Path
    limit_bytes: int | None
    """Of all segments in it; None = as much as there is room."""
    min_free_bytes: int
    """Left free on its file system."""


@dataclass
class _Segment:
    path: Path
    first: int
    frames: int
    data_at: int

    @property
    def stop(self) -> int:
        return self.first + self.frames


class Spool:
    """The segments of one run: one thread appends and drops, others read."""

    def __init__(
        self,
        folders: Sequence[SpoolFolder],
        *,
        run_id: str,
        sample_rate_hz: int,
        channels: int,
        dtype: str,
    ) -> None:
        """Find what a run of this id left; OSError when no folder can be made."""
        self._folders, self._run_id = list(folders), run_id
        self._rate_hz, self._channels = sample_rate_hz, channels
        self._dtype = np.dtype(dtype)
        self._frame_bytes = self._dtype.itemsize * channels
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        for folder in self._folders:
            folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._segments = sorted(self._recovered(), key=lambda one: one.first)

    @property
    def newest(self) -> int:
        """One past the last frame held; 0 when there is none."""
        with self._lock:
            return max((one.stop for one in self._segments), default=0)

    @property
    def bytes(self) -> int:
        """Of the frames held."""
        with self._lock:
            return sum(one.frames for one in self._segments) * self._frame_bytes

    def append(self, first_frame: int, frames: Frames) -> None:
        """Add [frames, channels]; a jump in the number is a gap. SpoolFull: nothing was added."""
        data = memoryview(np.ascontiguousarray(frames, self._dtype).tobytes())
        last = self._segments[-1] if self._descriptor is not None else None
        full = last is not None and last.frames >= _SEGMENT_S * self._rate_hz
        if last is None or full or last.stop != first_frame:
            last = self._begin(first_frame)
        assert self._descriptor is not None
        place = last.data_at + last.frames * self._frame_bytes
        try:
            self._write(self._descriptor, data, place)
        except OSError as error:
            # What is torn is beyond the frames that count, and is written over.
            self._end()
            raise SpoolFull(f"{last.path.parent}: {error.strerror or error}") from error
        with self._lock:
            last.frames += len(frames)

    def read(self, first_frame: int, count: int) -> Frames:
        """[count, channels] from a frame on; SpoolGap unless all of them are held."""
        with self._lock:
            wanted = [
                (one.path, one.data_at, one.first, min(one.stop, first_frame + count))
                for one in self._segments
                if one.first < first_frame + count and first_frame < one.stop
            ]
        parts, place = [], first_frame
        for path, data_at, first, stop in wanted:
            if first > place:
                break
            parts.append(
                self._read(path, data_at + (place - first) * self._frame_bytes, stop - place)
            )
            place = stop
        if place < first_frame + count:
            raise SpoolGap(f"frames {place} to {first_frame + count} are not in the spool")
        return np.concatenate(parts) if parts else np.zeros((0, self._channels), self._dtype)

    def have(self, first_frame: int, stop_frame: int) -> list[tuple[int, int]]:
        """The stretches (first, one past the last) of these frames that are held."""
        stretches: list[tuple[int, int]] = []
        with self._lock:
            held = [(one.first, one.stop) for one in self._segments]
        for held_first, held_stop in held:
            first, stop = max(held_first, first_frame), min(held_stop, stop_frame)
            if first >= stop:
                continue
            if stretches and stretches[-1][1] >= first:
                stretches[-1] = (stretches[-1][0], max(stop, stretches[-1][1]))
            else:
                stretches.append((first, stop))
        return stretches

    def drop_before(self, frame: int) -> None:
        """Delete the segments that lie wholly before a frame."""
        with self._lock:
            gone = [one for one in self._segments if one.stop <= frame]
            writing = self._segments[-1] if self._descriptor is not None else None
            gone = [one for one in gone if one is not writing]
            self._segments = [one for one in self._segments if one not in gone]
        for one in gone:
            one.path.unlink(missing_ok=True)

    def close(self) -> None:
        """End the segment that is being written; all stays where it is."""
        self._end()

    def remove(self) -> None:
        """Delete all of this run, and the folders that are empty then."""
        self._end()
        with self._lock:
            gone, self._segments = self._segments, []
        for one in gone:
            one.path.unlink(missing_ok=True)
        for folder in self._folders:
            with suppress(OSError):
                folder.path.rmdir()

    def _begin(self, first_frame: int) -> _Segment:
        self._end()
        header = _FIXED.pack(
            _MAGIC,
            self._rate_hz,
            self._channels,
            first_frame,
            self._dtype.str.encode(),
            len(os.fsencode(self._run_id)),
        ) + os.fsencode(self._run_id)
        reasons = []
        for folder in self._folders:
            try:
                # The spool of a run before this one takes its folders with it when it is done.
                folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                if reason := self._no_room(folder):
                    reasons.append(f"{folder.path}: {reason}")
                    continue
                path = self._new_path(folder.path, first_frame)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except OSError as error:
                reasons.append(f"{folder.path}: {error.strerror or error}")
                continue
            try:
                self._write(descriptor, memoryview(header), 0)
            except OSError as error:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                reasons.append(f"{folder.path}: {error.strerror or error}")
                continue
            segment = _Segment(path, first_frame, 0, len(header))
            self._descriptor = descriptor
            with self._lock:
                self._segments.append(segment)
            return segment
        raise SpoolFull("; ".join(reasons))

    def _end(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _no_room(self, folder: SpoolFolder) -> str:
        free = os.statvfs(folder.path)
        needed = _SEGMENT_S * self._rate_hz * self._frame_bytes
        if free.f_bavail * free.f_frsize - needed < folder.min_free_bytes:
            return f"less than {folder.min_free_bytes / 1e6:.0f} MB are free"
        if folder.limit_bytes is not None:
            with self._lock:
                used = sum(one.frames for one in self._segments if one.path.parent == folder.path)
            if used * self._frame_bytes + needed > folder.limit_bytes:
                return f"its {folder.limit_bytes / 1e6:.0f} MB are used"
        return ""

    def _new_path(self, folder: Path, first_frame: int) -> Path:
        number, path = 0, folder / f"{first_frame:015d}{_SUFFIX}"
        while path.exists():
            number += 1
            path = folder / f"{first_frame:015d}-{number}{_SUFFIX}"
        return path

    @staticmethod
    def _write(descriptor: int, data: memoryview, place: int) -> None:
        while data:
            written = os.pwrite(descriptor, data, place)
            data, place = data[written:], place + written

    def _read(self, path: Path, place: int, count: int) -> Frames:
        try:
            with path.open("rb") as stream:
                stream.seek(place)
                data = stream.read(count * self._frame_bytes)
        except OSError as error:
            raise SpoolGap(f"{path}: {error.strerror}") from error
        if len(data) < count * self._frame_bytes:
            raise SpoolGap(f"{path} is shorter than it was")
        return np.frombuffer(data, self._dtype).reshape(count, self._channels)

    def _recovered(self) -> Iterable[_Segment]:
        form = (self._rate_hz, self._channels, self._dtype.str, self._run_id)
        for path in _segment_files(self._folders):
            header = _read_header(path)
            if header is None or header[1:] != form:
                continue
            data_at = _FIXED.size + len(os.fsencode(self._run_id))
            frames = (path.stat().st_size - data_at) // self._frame_bytes
            if frames > 0:
                yield _Segment(path, header[0], frames, data_at)


def runs_left(folders: Sequence[SpoolFolder]) -> list[str]:
    """The ids of the runs of which there is sound."""
    headers = map(_read_header, _segment_files(folders))
    return sorted({header[4] for header in headers if header is not None})


def remove_runs(folders: Sequence[SpoolFolder], run_ids: Iterable[str]) -> None:
    """Delete the sound of these runs. A segment without a header stays: it may have been begun by
    another thread just now."""
    gone = set(run_ids)
    for path in _segment_files(folders):
        header = _read_header(path)
        if header is not None and header[4] in gone:
            path.unlink(missing_ok=True)


def remove_torn(folders: Sequence[SpoolFolder]) -> None:
    """Delete segments whose writer died before their header was whole; while nobody writes any.

    What cannot be read at the moment stays.
    """
    for path in _segment_files(folders):
        with suppress(OSError):
            if _header_of(path) is None:
                path.unlink()


def _segment_files(folders: Sequence[SpoolFolder]) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.path.glob(f"*{_SUFFIX}"))]


_Header = tuple[int, int, int, str, str]
"""First frame, rate, channels, dtype, run id."""


def _read_header(path: Path) -> _Header | None:
    """Of a segment; None when it is none, or cannot be read."""
    try:
        return _header_of(path)
    except OSError:
        return None


def _header_of(path: Path) -> _Header | None:
    with path.open("rb") as stream:
        fixed = stream.read(_FIXED.size)
        if len(fixed) < _FIXED.size:
            return None
        magic, rate_hz, channels, first, dtype, length = _FIXED.unpack(fixed)
        run_id = stream.read(length)
    if magic != _MAGIC or len(run_id) < length:
        return None
    return (
        first,
        rate_hz,
        channels,
        dtype.rstrip(b"\0").decode("ascii", "replace"),
        os.fsdecode(run_id),
    )
