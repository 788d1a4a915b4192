"""The log-mel front end: the one definition that training, export and the field share.

Frame k starts at sample floor(k * 312.5): two interleaved framings with stride 625. Then 5 s
are exactly 512 frames = 16 tokens and 10 minutes 1920 tokens, with no drift (a whole-number hop
of 313 would drift by 0.96 s in 10 minutes). There is no normalisation per clip or per window:
the stream must equal the file. Paper §2.1; METHOD.md "Audio and geometry".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recorder.detect.scipy_parts import (
    FFT_PART,
    SPARSE_PART,
    compiled_part,
    real_fft,
    sparse_product,
)

Samples = NDArray[np.float32]
"""Mono sound at 32 kHz, full scale = 1, shape [samples]."""

LogMel = NDArray[np.float32]
"""log10 of the mel power, shape [frames, mel_bands]."""

SAMPLE_RATE_HZ = 32_000
FRAMES_PER_TOKEN = 32
TOKEN_SAMPLES = 10_000
TOKEN_S = TOKEN_SAMPLES / SAMPLE_RATE_HZ
TOKENS_PER_CHUNK = 16
CHUNK_SAMPLES = TOKEN_SAMPLES * TOKENS_PER_CHUNK
CHUNK_S = CHUNK_SAMPLES / SAMPLE_RATE_HZ

PICTURE_HOP_SAMPLES = 512
"""Of the classifier's picture..."""
PICTURE_FRAMES = 313
"""...which has so many frames in 5 s."""

_FRAME_PAIR_SAMPLES = 625
"""Two hops of 312.5 samples."""
_ODD_FRAME_SAMPLES = 312
"""floor(312.5): where the odd framing starts."""
_LAST_FRAME_SAMPLES = 9_687
"""Where the last (32nd) frame of a token starts, counted from the token's start."""
_TOKENS_AT_ONCE = 4
"""Bounds the working memory. Work is always done in whole tokens (32 frames), so that the
FFT's vector lanes see the same neighbours whatever the block size: the result is bit-equal."""


@dataclass(frozen=True)
class MelConfig:
    """The parameters that define the front end; they travel in every model bundle."""

    sample_rate_hz: int = SAMPLE_RATE_HZ
    n_fft: int = 2048
    mel_bands: int = 128
    fmin_hz: float = 50.0
    fmax_hz: float = 15_000.0
    power_floor: float = 1e-6
    """Added to the mel power before log10: about -90 dBFS of white noise."""

    def to_dict(self) -> dict[str, Any]:
        """As stored in `model.json`, with the fixed geometry spelled out for other readers."""
        return {
            **asdict(self),
            "hop_samples": 312.5,
            "frame_start": "(k * 625) // 2",
            "window": "hann (periodic)",
            "mel_scale": "slaney",
            "mel_norm": "none (triangles of height 1)",
            "log": "log10(mel_power + power_floor)",
            "frames_per_token": FRAMES_PER_TOKEN,
            "tokens_per_chunk": TOKENS_PER_CHUNK,
        }


def hz_to_mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's mel scale: linear below 1 kHz, logarithmic above."""
    linear = frequency_hz / (200.0 / 3.0)
    above = 15.0 + np.log(np.maximum(frequency_hz, 1.0) / 1000.0) / (np.log(6.4) / 27.0)
    return np.where(frequency_hz < 1000.0, linear, above)


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `hz_to_mel`."""
    linear = mel * (200.0 / 3.0)
    above = 1000.0 * np.exp((mel - 15.0) * (np.log(6.4) / 27.0))
    return np.where(mel < 15.0, linear, above)


def band_edges_hz(config: MelConfig) -> NDArray[np.float64]:
    """The corners of the triangles, shape [mel_bands + 2]: band b spans edges b to b + 2."""
    lowest, highest = hz_to_mel(np.array([config.fmin_hz, config.fmax_hz]))
    return mel_to_hz(np.linspace(lowest, highest, config.mel_bands + 2))


def mel_matrix(config: MelConfig) -> NDArray[np.float64]:
    """The triangles as a dense matrix, shape [n_fft // 2 + 1, mel_bands]."""
    edges = band_edges_hz(config)
    bins_hz = np.arange(config.n_fft // 2 + 1) * (config.sample_rate_hz / config.n_fft)
    rising = (bins_hz[:, None] - edges[None, :-2]) / np.diff(edges)[None, :-1]
    falling = (edges[None, 2:] - bins_hz[:, None]) / np.diff(edges)[None, 1:]
    return np.maximum(0.0, np.minimum(rising, falling))


@dataclass(frozen=True)
class _Tables:
    """What a piece of log-mel is computed with; made once for a configuration."""

    window: NDArray[np.float32]  # [n_fft]
    bins: slice  # the FFT bins that carry any weight
    to_bands: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    """Power [bins, frames] to [mel_bands, frames]."""


@lru_cache(maxsize=8)
def _tables(config: MelConfig) -> _Tables:
    matrix = mel_matrix(config)
    if (matrix.sum(axis=0) == 0).any():
        raise ValueError(
            f"{config.mel_bands} mel bands from {config.fmin_hz} to {config.fmax_hz} Hz leave "
            f"bands without an FFT bin at n_fft {config.n_fft}: use fewer bands or a larger n_fft"
        )
    used = np.flatnonzero(matrix.sum(axis=1))
    bins = slice(int(used[0]), int(used[-1]) + 1)
    phase = 2.0 * np.pi * np.arange(config.n_fft) / config.n_fft
    return _Tables(
        window=(0.5 - 0.5 * np.cos(phase)).astype(np.float32),
        bins=bins,
        to_bands=sparse_product(compiled_part(SPARSE_PART), matrix[bins].T.astype(np.float32)),
    )


@cache
def _rfft() -> Callable[[NDArray[np.float32]], NDArray[np.complex64]]:
    return real_fft(compiled_part(FFT_PART))


def samples_needed(tokens: int, config: MelConfig) -> int:
    """How many samples the frames of `tokens` whole tokens cover, the last frame included."""
    return (tokens - 1) * TOKEN_SAMPLES + _LAST_FRAME_SAMPLES + config.n_fft


def log_mel(samples: Samples, tokens: int, config: MelConfig) -> LogMel:
    """The log-mel of `tokens` tokens that start at the first sample.

    Returns [tokens * 32, mel_bands] float32. Raises ValueError when `samples` is shorter than
    `samples_needed(tokens, config)`: padding is the caller's decision, never a side effect.
    """
    if len(samples) < samples_needed(tokens, config):
        raise ValueError(
            f"{tokens} tokens need {samples_needed(tokens, config)} samples, got {len(samples)}"
        )
    samples = np.ascontiguousarray(samples)
    out = np.empty((tokens * FRAMES_PER_TOKEN, config.mel_bands), np.float32)
    for token in range(0, tokens, _TOKENS_AT_ONCE):
        count = min(_TOKENS_AT_ONCE, tokens - token)
        begin = token * TOKEN_SAMPLES
        piece = samples[begin : begin + samples_needed(count, config)]
        rows = slice(token * FRAMES_PER_TOKEN, (token + count) * FRAMES_PER_TOKEN)
        out[rows] = _log_mel_piece(piece, count, config)
    return out


def chunk_picture(samples: Samples, config: MelConfig) -> LogMel:
    """The log-mel of one 5-s chunk as the classifier sees it, [313, mel_bands] (§2.1).

    A hop of 512 samples, frames centred, the chunk mirrored at its ends: nothing beside the chunk
    is looked at. Raises ValueError unless there are exactly 160,000 samples.
    """
    if len(samples) != CHUNK_SAMPLES:
        raise ValueError(f"a chunk has {CHUNK_SAMPLES} samples, got {len(samples)}")
    padded = np.pad(samples, config.n_fft // 2, mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, config.n_fft)[::PICTURE_HOP_SAMPLES]
    return _log_mel_of(views * _tables(config).window, config)


def _log_mel_piece(samples: Samples, tokens: int, config: MelConfig) -> LogMel:
    tables = _tables(config)
    pairs = tokens * FRAMES_PER_TOKEN // 2
    frames = np.empty((pairs * 2, config.n_fft), np.float32)
    for row, first in enumerate((0, _ODD_FRAME_SAMPLES)):
        every = _overlapping(samples[first:], pairs, config.n_fft)
        np.multiply(every, tables.window, out=frames[row::2])
    return _log_mel_of(frames, config)


def _overlapping(samples: Samples, frames: int, n_fft: int) -> Samples:
    """A view [frames, n_fft], two hops apart; numpy's own take a tenth of the time of the FFT."""
    step = samples.itemsize
    return np.ndarray(
        (frames, n_fft), samples.dtype, samples, strides=(_FRAME_PAIR_SAMPLES * step, step)
    )


def _log_mel_of(frames: NDArray[np.float32], config: MelConfig) -> LogMel:
    """Windowed frames [frames, n_fft] to log-mel [frames, mel_bands]."""
    tables = _tables(config)
    spectrum = _rfft()(frames)[tables.bins]
    power = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    mel = tables.to_bands(power)
    mel += np.float32(config.power_floor)
    return np.log10(mel, out=mel).T


class LogMelStream:
    """The same log-mel from blocks of any size: `push` samples, get whole tokens of frames."""

    def __init__(self, config: MelConfig) -> None:
        self._config = config
        self._pending: Samples = np.empty(0, np.float32)
        self._samples_in = 0
        self._tokens_out = 0

    def push(self, samples: Samples) -> LogMel:
        """Take [samples], return the frames of the tokens they complete, [tokens*32, bands]."""
        self._samples_in += len(samples)
        self._pending = np.concatenate([self._pending, samples])
        spare = len(self._pending) - samples_needed(1, self._config)
        return self._emit(0 if spare < 0 else spare // TOKEN_SAMPLES + 1)

    def finish(self, tokens_total: int) -> LogMel:
        """Pad with silence and return the frames up to `tokens_total` tokens since the start.

        Raises ValueError when samples would be left out: nothing that came in is dropped.
        """
        if self._samples_in > tokens_total * TOKEN_SAMPLES:
            raise ValueError(f"{tokens_total} tokens cannot hold {self._samples_in} samples")
        missing = tokens_total - self._tokens_out
        if missing <= 0:
            return self._emit(0)
        silence = samples_needed(missing, self._config) - len(self._pending)
        self._pending = np.concatenate([self._pending, np.zeros(max(0, silence), np.float32)])
        return self._emit(missing)

    def _emit(self, tokens: int) -> LogMel:
        if tokens == 0:
            return np.empty((0, self._config.mel_bands), np.float32)
        frames = log_mel(self._pending, tokens, self._config)
        self._pending = self._pending[tokens * TOKEN_SAMPLES :].copy()
        self._tokens_out += tokens
        return frames
