"""A long recording in pieces, each analysed by whoever is free, with the same bits as at once.

A piece is some ten-minute windows of it, and needs five minutes of sound more than it has results.
Only what is plain is taken from pieces: a file in which anything is met that has to be accounted
for (damage, samples that are no numbers) is analysed at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import Bundle, ModelBundle
from recorder.detect.mel import CHUNK_S, TOKEN_S, TOKENS_PER_CHUNK
from recorder.detect.models import Model, Resumption
from recorder.detect.pipeline import ChunkResult, needs_from_sample
from recorder.errors import AudioFileError
from recorder.file_rows import columns, packed
from recorder.keep.formats import ManifestRow
from recorder.keep.part_file import PartFile
from recorder.onefile import account, blank_row
from recorder.sound.files.audiofile import AudioFile
from recorder.sound.files.finder import Found
from recorder.sound.files.notes import with_start
from recorder.sound.files.remote import at_hand, has_spans
from recorder.sound.resample import (
    StreamResampler,
    section_before,
    section_needs_from_s,
    section_start_s,
)

Floats = NDArray[np.float32]

_BLOCK_S = 10
_FEWEST_WINDOWS = 4
"""In a piece: of fewer too much sound would be encoded twice."""
_MOST_WINDOWS = 24
"""Two hours: what is lost when a worker dies."""
_SHORTEST_BYTES = 4 << 20
"""A smaller file is not looked into: 50 minutes are more, but of silence."""


@dataclass(frozen=True)
class Piece:
    """The windows [first_window, stop_window) of a recording; None = to its end."""

    first_window: int
    stop_window: int | None
    span: tuple[float, float] = (0.0, 1.0)
    """Which share of the file is looked at."""


def plan(found: Found, bundle: ModelBundle, *, workers: int) -> list[Piece]:
    """How a recording is shared out; empty when it is better analysed at once."""
    seconds = _plain_seconds(found) if isinstance(bundle, Bundle) else 0.0
    if not isinstance(bundle, Bundle) or not seconds:
        return []
    tokens = math.ceil(seconds / CHUNK_S) * TOKENS_PER_CHUNK
    # One window less than there are: what rounding may take from the end.
    windows = (tokens - bundle.window_tokens) // bundle.hop_tokens
    each = min(max(_FEWEST_WINDOWS, math.ceil(windows / workers)), _MOST_WINDOWS)
    if windows < 2 * _FEWEST_WINDOWS:
        return []
    starts = list(range(0, windows - _FEWEST_WINDOWS + 1, each))

    def span(first: int, stop: int | None) -> tuple[float, float]:
        begin_s = section_needs_from_s(_section(bundle, first))
        last = math.inf if stop is None else (stop - 1) * bundle.hop_tokens + bundle.window_tokens
        return begin_s / seconds, min(1.0, (last * TOKEN_S + _BLOCK_S * 3) / seconds)

    ends = [*pairwise(starts), (starts[-1], None)]
    return [Piece(first, stop, span(first, stop)) for first, stop in ends]


def analyse_piece(
    model: Model, path: Path, piece: Piece, part: Path | None = None
) -> Floats | None:
    """[chunks, 17 * outputs] as `file_rows.packed`; None when the file is not plain.

    What is settled grows in `part`; what an interrupted scan has left there is not made again.
    AudioFileError when the file cannot be read; ModelError when the net returns NaN.
    """
    assert model.resumption is not None
    growing = PartFile(part, columns(model.bundle.outputs))
    known, window = _known(model.resumption, growing, piece)
    rate_hz = model.bundle.sample_rate_hz
    section = _section(model.resumption.bundle, window)
    pipeline = model.resumption.pipeline(
        first_window=window,
        stop_window=piece.stop_window,
        first_sample=section_start_s(section) * rate_hz,
    )
    results: list[ChunkResult] = []
    with AudioFile(path) as sound:
        resampler = StreamResampler(sound.sample_rate_hz, rate_hz, section=section)
        if section:
            sound.begin_at(section_needs_from_s(section) * sound.sample_rate_hz)
        for block in sound.blocks(_BLOCK_S * sound.sample_rate_hz):
            settled = pipeline.push(resampler.push(block))
            results += settled
            if sound.bad_samples or sound.bad_bytes or sound.damage or sound.growth:
                return None
            growing.append(packed(settled, model.bundle.outputs))
            if pipeline.over:
                break
    if sound.bad_samples or sound.bad_bytes or sound.damage or sound.growth:
        return None
    if piece.stop_window is None:
        results += pipeline.push(resampler.finish())
        results += pipeline.finish()
    elif not pipeline.over:
        return None
    return np.concatenate([known, packed(results, model.bundle.outputs)])


def _known(resumption: Resumption, part: PartFile, piece: Piece) -> tuple[Floats, int]:
    """(rows of the piece that are settled already, the window from which on it goes on)."""
    rows, window = part.read(), piece.first_window
    before = resumption.settled_before(window)
    stop = math.inf if piece.stop_window is None else piece.stop_window - 1
    while window < stop and resumption.settled_before(window + 1) - before <= len(rows):
        window += 1
    known = rows[: resumption.settled_before(window) - before]
    part.cut(len(known))
    return known, window


def account_of(
    found: Found, bundle: ModelBundle, *, start: str, sha256: str
) -> tuple[ManifestRow, float]:
    """(the manifest's row, seconds of sound) of a file whose pieces were all plain."""
    with at_hand(found, span=(0.0, 0.0)) as here, AudioFile(here.path) as sound:
        notes = with_start(sound.notes(found.name), start)
    assert sound.frames is not None
    sound.frames_read = sound.frames
    row = account(blank_row(found, bundle), sound, found, sha256=sha256)
    row = replace(row, **vars(notes))
    return row, sound.frames / sound.sample_rate_hz


def _plain_seconds(found: Found) -> float:
    """How long a recording is that can be shared out; 0 for any other."""
    try:
        size_bytes = found.size_bytes if found.url else found.path.stat().st_size
        if size_bytes < _SHORTEST_BYTES or not has_spans(found):
            return 0.0
        with at_hand(found, span=(0.0, 0.0)) as here, AudioFile(here.path) as sound:
            if not sound.begins_anywhere or sound.frames is None or sound.damage:
                return 0.0
            if found.url and sound.repair:
                # Perhaps only for want of what was not fetched.
                return 0.0
            return sound.frames / sound.sample_rate_hz
    except (AudioFileError, OSError):
        return 0.0


def _section(bundle: Bundle, window: int) -> int:
    """Of resampling, in which the sound begins that a window needs."""
    return section_before(needs_from_sample(bundle, window) / bundle.sample_rate_hz)
