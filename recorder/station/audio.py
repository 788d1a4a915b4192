"""Recordings: all that is heard, as long as there is room and no limit says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recorder import __version__
from recorder.keep.flac import Tags
from recorder.keep.guano import OWN, guano_text
from recorder.keep.journal import Record
from recorder.keep.kept_files import thin
from recorder.keep.recording import RecordingWriter, recordings_in
from recorder.keep.retention import Limits
from recorder.sound.clock import utc_text
from recorder.sound.source import Frames
from recorder.station.backlog import Piece
from recorder.station.options import ListenOptions
from recorder.station.rows import RunInfo, Times

FOLDER = "recordings"
SOFTWARE = f"birdrec {__version__}"

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
        self._out, self._info, self._times = options.out, info, times
        self._may_keep = may_keep
        self._limits = Limits(
            days=options.keep_days,
            bytes=None if options.keep_gb is None else round(options.keep_gb * 1e9),
        )
        self._ended: list[Path] = []
        self._recording = RecordingWriter(
            options.out / FOLDER,
            info.sample_rate,
            info.channels,
            min_free_bytes=round(options.min_free_mb * 1e6),
            tags=self._tags,
            ended=self._ended.append,
        )
        self.trouble = ""
        """Why sound is not kept at the moment; empty when it is."""

    def take(self, piece: Piece) -> list[Record]:
        """The next piece goes into the recording; rows that say what had to go for it."""
        try:
            if piece.frames is None:
                self._recording.close()
            elif self._may_keep(piece.frames, self._info.sample_rate):
                self._recording.write(piece.frames, self._times.utc_s(piece.first))
            self.trouble = ""
        except OSError as error:
            self.trouble = f"sound is not kept: {error.strerror or error}"
        if not self._ended:
            return []
        self._ended.clear()
        return self._thin(piece.stop)

    def close(self) -> None:
        """The run ends."""
        try:
            self._recording.close()
        except OSError as error:
            self.trouble = f"sound is not kept: {error.strerror or error}"

    def _thin(self, now_frame: int) -> list[Record]:
        """Old recordings go only where a limit was asked for; a full disk stops the new instead."""
        kept = recordings_in(self._out, FOLDER)
        now_utc_s = self._times.utc_s(now_frame) if self._times.synced else None
        said: list[Record] = []
        try:
            said.extend(thin(self._out, kept, self._limits, now_utc_s=now_utc_s))
        except OSError as error:
            self.trouble = f"recordings cannot be removed: {error.strerror or error}"
        return said

    def _tags(self, start_utc_s: float) -> Tags:
        start_utc = utc_text(start_utc_s)
        quality = "synced" if self._times.synced else "unsynced"
        fields = {
            "Timestamp": start_utc,
            "Samplerate": self._info.sample_rate,
            f"{OWN}|Run": self._info.run,
            f"{OWN}|Time Quality": quality,
            f"{OWN}|Device": self._info.device,
        }
        return Tags(f"{self._info.device}, {start_utc}", start_utc, guano_text(fields), SOFTWARE)
