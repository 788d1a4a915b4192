"""A recording's own noise, taken out of it: what is left over is the calls.

With three to seventeen recordings of a species a net can learn the hiss of each recording instead
of the bird. So calls are mixed with more or less of their own noise, and that noise, without its
calls, becomes a background for other birds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.ndimage import uniform_filter

_FFT_SAMPLES = 1024
_HOP_SAMPLES = 512
_SMOOTH = (5, 3)
"""Frames and bins over which power is averaged, so that single peaks of noise do not survive."""
_QUIET_QUANTILE = 0.2
"""Of a bin's power over the recording: what is there when nobody calls."""
_OVERESTIMATE = 3.0
"""The quiet quantile is below the mean of noise, and noise swells: cut a little more."""


def denoised(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """A Wiener filter against the steady noise of the recording itself, bin by bin.

    Gain 1 - 3 N / P, at least 0; N is the 20 % quantile over time of the smoothed power P of
    the bin. Zero phase: `samples - denoised(samples)` is the noise that was taken out.
    """
    window = np.sqrt(np.hanning(_FFT_SAMPLES + 1)[:-1]).astype(np.float32)
    padded = np.pad(samples.astype(np.float32), _FFT_SAMPLES)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SAMPLES)[::_HOP_SAMPLES]
    spectrum = rfft(frames * window, axis=1)
    power = uniform_filter(np.square(np.abs(spectrum)), _SMOOTH, mode="nearest")
    noise = np.quantile(power[1:-1], _QUIET_QUANTILE, axis=0).astype(np.float32)
    gain = np.maximum(0.0, 1.0 - _OVERESTIMATE * noise / np.maximum(power, 1e-3))
    pieces = irfft(spectrum * gain, axis=1) * window
    # Two neighbours overlap by half: even and odd frames each tile the time axis by themselves.
    out = np.zeros_like(padded)
    for parity in (0, 1):
        tiled = pieces[parity::2].reshape(-1)
        out[parity * _HOP_SAMPLES : parity * _HOP_SAMPLES + len(tiled)] += tiled
    kept = out[_FFT_SAMPLES : _FFT_SAMPLES + len(samples)]
    return np.rint(kept).clip(-32768, 32767).astype(np.int16)
