"""From counts by hour of the day to frequencies that a prior can be made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def frequencies(counts: Doubles, effort: Doubles, *, doubt: float) -> Doubles:
    """How often each species is met in each hour, [species, 24], 0..1; or in each month, of 12.

    `counts` [species, 24] are units in which a species was heard, of `effort` [24] units listened
    to. An hour is averaged with half of each neighbour, and drawn to the species' mean over the
    day by `doubt` units: where nobody listened it is that mean.
    """
    heard, listened = _smooth(counts), _smooth(effort)
    mean = heard.sum(axis=1, keepdims=True) / max(listened.sum(), 1.0)
    result: Doubles = np.minimum(1.0, (heard + doubt * mean) / (listened + doubt))
    return result


def _smooth(hours: Doubles) -> Doubles:
    """With half of the hour before and of the hour after; midnight is no edge."""
    beside: Doubles = np.roll(hours, 1, axis=-1) + np.roll(hours, -1, axis=-1)
    return hours + 0.5 * beside
