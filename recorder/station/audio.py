"""Sound that is kept: all of it, or none."""

from __future__ import annotations

from collections.abc import Callable

from recorder.keep.recording import RecordingWriter
from recorder.sound.source import Frames
from recorder.station.backlog import Piece
from recorder.station.options import ListenOptions
from recorder.station.rows import RunInfo, Times

MayKeep = Callable[[Frames, int], bool]
"""Told sound and its rate; False when it must not be kept (a person speaks)."""


class AudioKeeper:
    """Recordings; a disk that takes nothing stops none of the rest."""

    def __init__(
        self,
        options: ListenOptions,
        info: RunInfo,
        times: Times,
        *,
        may_keep: MayKeep = lambda _frames, _rate: True,
    ) -> None:
        self._info, self._times = info, times
        self._may_keep = may_keep
        self._recording = (
            RecordingWriter(options.out / "recordings", info.sample_rate, info.channels)
            if options.keep_audio == "all"
            else None
        )
        self.trouble = ""
        """Why sound is not kept at the moment; empty when it is."""

    def take(self, piece: Piece) -> None:
        """With `all`: the next piece goes into the recording."""
        if self._recording is None:
            return
        try:
            if piece.frames is None:
                self._recording.close()
            elif self._may_keep(piece.frames, self._info.sample_rate):
                self._recording.write(piece.frames, self._times.utc_s(piece.first))
            self.trouble = ""
        except OSError as error:
            self.trouble = f"sound is not kept: {error.strerror or error}"

    def close(self) -> None:
        """The run ends."""
        if self._recording is None:
            return
        try:
            self._recording.close()
        except OSError as error:
            self.trouble = f"sound is not kept: {error.strerror or error}"
