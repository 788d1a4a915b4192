"""All that is heard, as FLAC files that follow each other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import soundfile
from numpy.typing import NDArray

_FILE_S = 600
"""What a power cut can damage is the file that is being written."""

_SUBTYPES = {"int16": "PCM_16", "int32": "PCM_24", "float32": "PCM_24"}


class RecordingWriter:
    """Ten-minute files, named by the UTC of their first sample, a folder a day.

    A name is never used twice: after a clock's step back a number is added.
    """

    def __init__(self, folder: Path, sample_rate_hz: int, channels: int) -> None:
        self._folder, self._rate_hz, self._channels = folder, sample_rate_hz, channels
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
                # FLAC holds 24 bits; what was captured in 32 has its value in the upper ones.
                self._file.write(part)
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

    def _open(self, dtype: str, start_utc_s: float) -> None:
        when = datetime.fromtimestamp(start_utc_s, UTC)
        day = self._folder / f"{when:%Y-%m-%d}"
        day.mkdir(parents=True, exist_ok=True)
        stem, number = f"{when:%Y%m%dT%H%M%S}.{when.microsecond // 1000:03d}Z", 1
        path = day / f"{stem}.flac"
        while path.exists():
            number += 1
            path = day / f"{stem}-{number}.flac"
        self._path, self._temporary = path, path.with_suffix(".flac.part")
        try:
            self._file = soundfile.SoundFile(
                self._temporary,
                "w",
                self._rate_hz,
                self._channels,
                _SUBTYPES.get(dtype, "PCM_16"),
                format="FLAC",
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
