"""All that is heard, as FLAC files that follow each other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import soundfile
from numpy.typing import NDArray

from recorder.keep.disk import ensure_free
from recorder.keep.flac import PART, Tags, open_flac, utc_stem
from recorder.keep.retention import Kept

_STEM = "%Y%m%dT%H%M%S.%fZ"
_FILE_S = 600
"""What a power cut can damage is the file that is being written."""


class RecordingWriter:
    """Ten-minute files, named by the UTC of their first sample, a folder a day.

    A name is never used twice: after a clock's step back a number is added.
    """

    def __init__(
        self,
        folder: Path,
        sample_rate_hz: int,
        channels: int,
        *,
        min_free_bytes: int = 0,
        tags: Callable[[float], Tags] = lambda _utc_s: Tags(),
        ended: Callable[[Path], None] = lambda _path: None,
    ) -> None:
        """`tags` of a file that begins at a UTC time; `ended` is told each file that is whole."""
        self._folder, self._rate_hz, self._channels = folder, sample_rate_hz, channels
        self._min_free_bytes, self._tags, self._ended = min_free_bytes, tags, ended
        self._file: soundfile.SoundFile | None = None
        self._path, self._temporary = folder, folder
        self._frames = 0

    def write(self, frames: NDArray[Any], start_utc_s: float) -> None:
        """Append [frames, channels]; OSError when the disk takes no more."""
        while len(frames):
            if self._file is None:
                self._open(str(frames.dtype), start_utc_s)
            assert self._file is not None
            room = _FILE_S * self._rate_hz - self._frames
            part = frames[:room]
            try:
                ensure_free(self._folder, part.nbytes, self._min_free_bytes)
                self._file.write(part)
            except OSError:
                self.close()
                raise
            except soundfile.SoundFileError as error:
                self.close()
                raise OSError(f"{self._path} takes no more sound ({error})") from error
            self._frames += len(part)
            start_utc_s += len(part) / self._rate_hz
            frames = frames[len(part) :]
            if self._frames >= _FILE_S * self._rate_hz:
                self.close()

    def close(self) -> None:
        """End the file; the next sound begins another."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        except soundfile.SoundFileError as error:
            raise OSError(f"{self._path} cannot be ended ({error})") from error
        finally:
            # The name was free when the file was begun, and this process alone writes here.
            self._temporary.rename(self._path)
            self._ended(self._path)

    def _open(self, dtype: str, start_utc_s: float) -> None:
        stem, number = utc_stem(start_utc_s), 1
        day = self._folder / f"{stem[:4]}-{stem[4:6]}-{stem[6:8]}"
        day.mkdir(parents=True, exist_ok=True)
        path = day / f"{stem}.flac"
        while path.exists():
            number += 1
            path = day / f"{stem}-{number}.flac"
        ensure_free(day, 0, self._min_free_bytes)
        self._path, self._temporary = path, path.with_name(path.name + PART)
        try:
            self._file = open_flac(
                self._temporary, dtype, self._rate_hz, self._channels, self._tags(start_utc_s)
            )
        except soundfile.SoundFileError as error:
            raise OSError(f"{path} cannot be begun ({error})") from error
        self._frames = 0


def recover_recordings(folder: Path) -> list[Path]:
    """Give files that a crash left half-written their final names: what is in them can be read."""
    found = []
    for part in sorted(folder.glob("*/*.flac.part")):
        final = part.with_suffix("")
        if not final.exists() and part.stat().st_size > 0:
            part.rename(final)
            found.append(final)
    return found


def recordings_in(out: Path, folder: str) -> list[Kept]:
    """Those that are whole, equal in score: the oldest are wanted least."""
    found = []
    for path in sorted((out / folder).glob("*/*.flac")):
        try:
            size = path.stat().st_size
            begun = datetime.strptime(path.name[:20], _STEM).replace(tzinfo=UTC)
        except (OSError, ValueError):
            # Not ours, or gone in this moment.
            continue
        name = path.relative_to(out).as_posix()
        found.append(Kept(name, "", 0.0, begun.timestamp(), size))
    return found
