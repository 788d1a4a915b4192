"""Recordings: all that is heard, as long as there is room and no limit says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recorder import __version__
from recorder.keep.flac import Tags
from recorder.keep.guano import OWN, guano_text
from recorder.keep.journal import Record
from recorder.keep.kept_files import thin
from recorder.keep.recording import RecordingWriter, recordings_in
from recorder.keep.retention import Limits
from recorder.sound.live.clock import utc_text
from recorder.station.backlog import Piece
from recorder.station.options import ListenOptions
from recorder.station.rows import RowMaker, RunInfo, Times
from recorder.station.voice import Silenced, VoiceFilter, VoiceScreen

FOLDER = "recordings"
SOFTWARE = f"birdrec {__version__}"


class AudioKeeper:
    """Recordings; a disk that takes nothing stops none of the rest."""

    def __init__(
        self,
        options: ListenOptions,
        info: RunInfo,
        times: Times,
        *,
        voice: VoiceFilter | None = None,
    ) -> None:
        """With a filter of voices the recordings are silent where somebody speaks."""
        self._out, self._info, self._times = options.out, info, times
        self._rows = RowMaker(info, times)
        self._screen = None if voice is None else VoiceScreen(voice, info.sample_rate)
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
        screen = self._screen
        said = self._keep(iter([Silenced(piece, ())]) if screen is None else screen.push(piece))
        if self._ended:
            self._ended.clear()
            said += self._thin(piece.stop)
        return said

    def _keep(self, pieces: Iterator[Silenced]) -> list[Record]:
        said: list[Record] = []
        for one in pieces:
            said += [self._rows.withheld(*ends, score=best) for *ends, best in one.spoken]
            try:
                if one.piece.frames is None:
                    self._recording.close()
                else:
                    self._recording.write(one.piece.frames, self._times.utc_s(one.piece.first))
                self.trouble = ""
            except OSError as error:
                self.trouble = f"sound is not kept: {error.strerror or error}"
        return said

    def close(self) -> list[Record]:
        """The run ends; rows that say where somebody spoke at its end."""
        said = [] if self._screen is None else self._keep(self._screen.finish())
        try:
            self._recording.close()
        except OSError as error:
            self.trouble = f"sound is not kept: {error.strerror or error}"
        return said

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
