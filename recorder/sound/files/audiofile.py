"""A recording on disk as a stream of mono blocks, with an account of what could not be read."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from recorder.errors import AudioFileError
from recorder.sound.files.decoder import (
    LARGEST_CHANNELS,
    POSSIBLE_HZ,
    Forwards,
    bridged,
    one_line,
    open_regular,
    promised,
)
from recorder.sound.files.extent import Extent
from recorder.sound.files.flac_frames import FlacFrames, second_behind
from recorder.sound.files.mp3_frames import mp3_frames
from recorder.sound.files.notes import Notes, read_notes
from recorder.sound.files.opening import opened
from recorder.sound.files.plain import around_bad_sectors, is_plain, silence_of

LARGEST_SAMPLE = 1e4
"""Full scale is 1. Beyond this a value is damage, and its power would overflow float32."""
_NO_PLACES = ("MP3", "MPEG")
"""Formats whose decoder goes on behind damage without saying how much it left out."""
_STEP_FRAMES = 4096
"""Decoded at once: where decoding stops, no more than this is lost."""
_PLAIN_STEP_FRAMES = 32_768
"""Where nothing is decoded, nothing can stop: fewer calls."""
_UNKNOWN_FRAMES = 1 << 40
"""libsndfile says 2**63 - 1 for a stream whose length it cannot tell."""

Samples = NDArray[np.float32]


class AudioFile:
    """One readable recording.

    `sample_rate_hz`, `channels` and `frames` (claimed by the header; None when it cannot tell)
    are known from the start; after `blocks` has been consumed `frames_read`, of which
    `frames_bridged` could not be decoded and are silence in their place, `bad_samples` (NaN, Inf
    or absurdly large: replaced by silence), `repair` (what the file said of itself was wrong, and
    nothing is missing) and `damage` (what is missing).
    """

    def __init__(self, path: Path) -> None:
        """Raises AudioFileError with the reason when nothing can be read from `path`."""
        extent = Extent.whole(open_regular(path))
        self._changed_ns = os.fstat(extent.descriptor).st_mtime_ns
        try:
            found = opened(extent)
        except BaseException:
            os.close(extent.descriptor)
            raise
        self._sound, self._extent, self._ogg = found.decoder, found.extent, found.ogg
        mend = found.mend
        self._stretch = 0
        self._patched = None if mend is None else mend.file
        """What the decoder reads instead of the file; it reads around bad sectors."""
        if self._patched is not None:
            self._patched.silence = silence_of(self._sound)
        self.sample_rate_hz: int = self._sound.samplerate
        self.channels: int = self._sound.channels
        frames = self._sound.frames
        self.frames: int | None = frames if 0 <= frames < _UNKNOWN_FRAMES else None
        self._log: str = self._sound.extra_info
        if self._ogg is not None:
            self.frames = self._ogg.frames(self.sample_rate_hz)
        elif mend is not None and mend.promised:
            self.frames = mend.promised
        elif self.frames is not None:
            self.frames = promised(self.frames, self._log)
        self._read_until = found.read_until
        self.frames_read = 0
        self.frames_bridged = 0 if mend is None else mend.silence
        self._holes: list[str] = []
        self.bad_samples = 0
        self.growth = ""
        """What has happened to its length between opening and closing; empty if nothing has."""
        self.repair = "" if mend is None else mend.repair
        self._in_front = found.in_front
        self._first_damage = "" if mend is None else mend.damage
        if self.sample_rate_hz not in POSSIBLE_HZ:
            self.close()
            raise AudioFileError(
                f"the header says {self.sample_rate_hz} Hz: 1 kHz to 1 MHz can be real"
            )
        if self.channels > LARGEST_CHANNELS:
            self.close()
            raise AudioFileError(
                f"the header says {self.channels} channels: 1 to {LARGEST_CHANNELS} can be real"
            )

    def notes(self, name: str) -> Notes:
        """What the recorder wrote down beside the sound, and in the file's name."""
        comment = str(self._sound.comment or "")
        try:
            return read_notes(self._extent, name, comment)
        except OSError:
            # Its disk fails there; the name is known.
            return read_notes(Extent(self._extent.descriptor, 0, 0), name, comment)

    def excerpt(self, first_frame: int, frames: int) -> Samples:
        """Mono float32 [up to frames] from a frame on, without reading what is before it.

        AudioFileError where its format or its damage does not let it.
        """
        try:
            self._sound.seek(first_frame)
            return self._clean(self._sound.read(frames, dtype="float32", always_2d=True))
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise AudioFileError(f"cannot be read from there ({one_line(error)})") from error

    @property
    def damage(self) -> str | None:
        """What is missing: what was met first says most."""
        return "; ".join(filter(None, (self._in_front, self._first_damage))) or None

    @property
    def begins_anywhere(self) -> bool:
        """Is every frame to be had without decoding those before it, with the same bits?"""
        return self._sound.format == "FLAC" or is_plain(self._sound)

    def begin_at(self, frame: int) -> None:
        """`blocks` will give what follows this frame; for a file that `begins_anywhere`.

        AudioFileError where its damage does not let it.
        """
        try:
            self._sound.seek(frame)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise AudioFileError(f"cannot be read from there ({one_line(error)})") from error
        self.frames_read = frame

    def blocks(self, block_frames: int) -> Iterator[Samples]:
        """Yield mono float32 blocks [up to block_frames] at the file's own rate."""
        pieces: list[Samples] = []
        held = 0
        for piece in self._pieces():
            start = 0
            while held + len(piece) - start >= block_frames:
                stop = start + block_frames - held
                yield np.concatenate([*pieces, piece[start:stop]])
                pieces, held, start = [], 0, stop
            if start < len(piece):
                pieces.append(piece[start:])
                held += len(piece) - start
        if pieces:
            yield np.concatenate(pieces)

    def _pieces(self) -> Iterator[Samples]:
        """Small steps: where decoding stops, only the step has to be decoded anew."""
        if self._ogg is not None:
            yield from self._until_stretch()
        while True:
            try:
                piece = self._sound.read(self._step(), dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                if self._past_bad_sectors() or (yield from self._bridged()):
                    continue
                self._damaged(f"decoding stopped ({one_line(error)})")
                break
            if not len(piece):
                if (yield from self._next_stretch()):
                    continue
                break
            self.frames_read += len(piece)
            yield self._clean(piece)
        self._count_bad_sectors()
        if self._holes:
            self._damaged(bridged(self._holes))
        elif self._sound.format == "FLAC" and not self._first_damage:
            with suppress(OSError):
                self._behind_the_end()
        if "lacks an end-of-stream bit" in self._log:
            self._damaged("the stream ends before its last page")
        if self.frames is not None and self.frames_read < self.frames:
            short = f"the header promises {self.frames} samples, {self.frames_read} are there"
            no_places = self._sound.format in _NO_PLACES and not self._first_damage
            if no_places and not self._has_frames():
                missing_s = (self.frames - self.frames_read) / self.sample_rate_hz
                short += (
                    f"; if some are missing before its end, times are up to {missing_s:.2f} s early"
                )
            self._damaged(short)

    def _past_bad_sectors(self) -> bool:
        """Read on behind what a disk or card cannot read, with silence in its place; False where
        that is not what is wrong, or the format has no place for it."""
        if not is_plain(self._sound) or self._patched is not None:
            return False
        around = around_bad_sectors(self._extent, self._sound, self.frames_read)
        if around is None:
            return False
        self._sound, self._patched = around
        return True

    @property
    def bad_bytes(self) -> int:
        """What a disk or card could not read so far, and is silence."""
        return 0 if self._patched is None else self._patched.bad_bytes

    def _count_bad_sectors(self) -> None:
        if not self.bad_bytes:
            return
        share = self.bad_bytes / max(1, self._extent.size)
        promised_frames = max(self.frames or 0, self.frames_read)
        frames = (
            min(self.frames_read, round(share * promised_frames)) if is_plain(self._sound) else 0
        )
        self.frames_bridged += frames
        words = f"{self.bad_bytes} bytes cannot be read (its disk or card fails)"
        if frames:
            words += f", some {frames / self.sample_rate_hz:.3g} s: silence in their place"
        if self.frames_read < promised_frames:
            missing_s = (promised_frames - self.frames_read) / self.sample_rate_hz
            words += f"; the last {missing_s:.3g} s are not read"
        self._first_damage = words

    def _has_frames(self) -> bool:
        """Do frames of an MP3 say where each belongs? Not known where its disk fails."""
        try:
            return mp3_frames(self._extent) is not None
        except OSError:
            return False

    def _behind_the_end(self) -> None:
        """A decoder stops after the last sample that the header speaks of, whatever follows."""
        second_at = second_behind(self._extent, self._read_until())
        if second_at:
            here_s = self.frames_read / self.sample_rate_hz
            self._damaged(
                f"from {here_s:.2f} s on it is another FLAC, which is not read: cut the file after "
                f"{second_at} bytes"
            )

    def _next_stretch(self) -> Generator[Samples, None, bool]:
        """On to what is whole behind a damaged part of an Ogg stream; False when nothing is."""
        if self._ogg is None or self._stretch + 1 >= len(self._ogg.stretches):
            return False
        self._stretch += 1
        try:
            self._sound = Forwards(self._ogg.stretches[self._stretch].file, closefd=False)
        except soundfile.SoundFileError:
            return (yield from self._next_stretch())
        if self._sound.samplerate != self.sample_rate_hz:
            at_s = self.frames_read / self.sample_rate_hz
            self._damaged(
                f"from {at_s:.2f} s on it is a recording at {self._sound.samplerate} Hz, which is "
                "not read: cut the file there"
            )
            return False
        yield from self._until_stretch()
        return True

    def _until_stretch(self) -> Iterator[Samples]:
        """Silence for what is missing before the stretch of an Ogg stream that is open now."""
        assert self._ogg is not None
        first = self._ogg.first_frame(self._stretch, self._sound.frames, self.sample_rate_hz)
        yield from self._silence(first - self.frames_read)

    def _step(self) -> int:
        """Never beyond what the header promises: some decoders fail there."""
        step = _PLAIN_STEP_FRAMES if is_plain(self._sound) else _STEP_FRAMES
        if self.frames is None:
            return step
        return max(0, min(step, self.frames - self.frames_read))

    def _bridged(self) -> Generator[Samples, None, bool]:
        """Go on behind what is damaged, with silence in its place; False when nothing follows.

        FLAC says where each of its frames belongs; in other formats nothing does.
        """
        try:
            frames = self._flac_frames
        except (ValueError, OSError):
            return False
        found = frames.next_whole(self.frames_read)
        if found is None:
            return False
        self._sound, first, piece = found
        yield from self._silence(first - self.frames_read)
        self.frames_read += len(piece)
        yield self._clean(piece)
        return True

    @cached_property
    def _flac_frames(self) -> FlacFrames:
        """Made once, however many holes there are."""
        return FlacFrames(self._extent)

    def _silence(self, count: int) -> Iterator[Samples]:
        if count <= 0:
            return
        self._holes.append(
            f"{count / self.sample_rate_hz:.3g} s at {self.frames_read / self.sample_rate_hz:.2f} s"
        )
        self.frames_bridged += count
        self.frames_read += count
        for start in range(0, count, _STEP_FRAMES):
            yield np.zeros(min(_STEP_FRAMES, count - start), np.float32)

    def _damaged(self, words: str) -> None:
        self._first_damage = self._first_damage or words

    def _clean(self, block: NDArray[np.float32]) -> Samples:
        bad = ~(np.abs(block) <= LARGEST_SAMPLE)
        if bad.any():
            self.bad_samples += int(bad.sum())
            block[bad] = 0.0
        if block.shape[1] == 1:
            return np.ascontiguousarray(block[:, 0])
        mixed: Samples = block.mean(axis=1, dtype=np.float32)
        return mixed

    def _growth(self) -> str:
        status = os.fstat(self._extent.descriptor)
        more = status.st_size - self._extent.stop
        if more == 0 and status.st_mtime_ns == self._changed_ns:
            return ""
        if more == 0:
            return (
                "it was written to while it was analysed: scan again when its recorder has closed "
                "it"
            )
        what = "grew" if more > 0 else "shrank"
        return (
            f"it {what} by {abs(more)} bytes while it was analysed: scan again when its recorder "
            "has closed it"
        )

    def close(self) -> None:
        self.growth = self._growth()
        self._sound.close()
        os.close(self._extent.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
