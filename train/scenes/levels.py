"""How loud sound is, as far as birds are concerned: levels after pre-emphasis.

Rumble, wind and hum hold far more power than birds do; without pre-emphasis they would set the
level of a call that lies over them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

BLOCK_SAMPLES = 640
"""20 ms at 32 kHz."""
CEILING = 0.98
EMPHASIS = 0.9
LOUD_QUANTILE = 0.95
LOUD_FLOOR = 0.01
"""Of the loudest block: 40 dB below it. Where a short call lies in digital silence the quantile is
0, and would raise the call without end."""


def loud_level(samples: Samples) -> float:
    """The level of the loud parts: the 95th percentile over 20-ms blocks, as METHOD.md says."""
    raised = _emphasised(samples)
    blocks = raised[: len(raised) // BLOCK_SAMPLES * BLOCK_SAMPLES].reshape(-1, BLOCK_SAMPLES)
    if not len(blocks):
        return max(rms(raised), 1e-6)
    each = np.sqrt(np.square(blocks).mean(axis=1))
    return max(float(np.quantile(each, LOUD_QUANTILE)), LOUD_FLOOR * float(each.max()), 1e-6)


def steady_level(samples: Samples) -> float:
    """The level of a background: its RMS."""
    return max(rms(_emphasised(samples)), 1e-9)


def rms(samples: NDArray[Any]) -> float:
    """The root of the mean square; 0 of nothing."""
    if not len(samples):
        return 0.0
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float32))))


def from_db(level_db: float) -> float:
    """The factor on amplitudes."""
    return float(10.0 ** (level_db / 20.0))


def limited(mix: Samples) -> Samples:
    """As a recorder would keep it: never above full scale."""
    peak = float(np.abs(mix).max())
    return mix if peak <= CEILING else mix * np.float32(CEILING / peak)


def _emphasised(samples: Samples) -> Samples:
    """x[n] - 0.9 x[n - 1]: 20 dB less at 0 Hz, 6 dB more at the top."""
    return samples[1:] - np.float32(EMPHASIS) * samples[:-1]
