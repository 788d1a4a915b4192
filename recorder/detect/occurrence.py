"""What can occur here and now: a species list, and how often each species is met by week and hour.

Applied to the scores of chunks after everything else, in logit space (METHOD.md "What later winners
do", 10). It only takes away: a score is never raised, so nothing is said that the net did not say.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

WEEKS = 48
"""Quarters of months, as eBird counts them: days 1-7, 8-14, 15-21, and the rest."""
HOURS = 24
UNKNOWN = -1
"""A week or an hour that nobody knows."""
SMALLEST = 0.001
"""Added to frequencies: never met in so many lists is not impossible."""
RARE = 0.01
"""A species that is met less often than so in its best time is rare here at any time."""
_MARGIN = 1e-7
"""Scores are held so far from 0 and 1 while they are logits."""


@dataclass(frozen=True)
class Moments:
    """When chunks begin, by the calendar and the clock of the site; UNKNOWN where nobody knows."""

    weeks: Ints
    """[chunks], 0..47."""
    hours: Ints
    """[chunks], 0..23."""


@dataclass(frozen=True, eq=False)
class Occurrence:
    """A list and a prior for the classes of one model."""

    allowed: Bools
    """[classes]: is it on the list?"""
    frequency: Doubles
    """[classes, weeks, hours], 0..1; 1 or 48 weeks, 1 or 24 hours; NaN where nothing is known."""
    weight: float
    """How much the prior counts; 0 = not at all."""

    @cached_property
    def key(self) -> str:
        """The same for two that judge the same."""
        words = f"{self.frequency.shape}|{self.weight!r}|".encode()
        values = self.allowed.tobytes() + self.frequency.tobytes()
        return hashlib.sha256(words + values).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Occurrence) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[Any, ...]:
        """To a worker goes what it was made of, not what was worked out since."""
        return Occurrence, (self.allowed, self.frequency, self.weight)

    @property
    def has_weeks(self) -> bool:
        return int(self.frequency.shape[1]) > 1

    @property
    def has_hours(self) -> bool:
        return int(self.frequency.shape[2]) > 1

    def adjusted(self, outputs: Floats, moments: Moments) -> Floats:
        """Scores [chunks, outputs] with list and prior applied to the classes, which come first.

        logit(p') = logit(p) + weight * ln((f + SMALLEST) / (reference + SMALLEST)), with f of the
        chunk's time and the reference that of the species' best time, RARE at least. A species that
        is not on the list gets 0; one of which the prior says nothing keeps its score, bit by bit.
        """
        classes = len(self.allowed)
        result = outputs.copy()
        scores = outputs[:, :classes]
        shift = self._shift(moments)
        inside = np.clip(scores.astype(np.float64), _MARGIN, 1.0 - _MARGIN)
        odds = inside / (1.0 - inside) * np.exp(shift)
        lowered = np.minimum(scores, (odds / (1.0 + odds)).astype(np.float32))
        result[:, :classes] = np.where(shift < 0.0, lowered, scores)
        result[:, :classes][:, ~self.allowed] = 0.0
        return result

    def reason(self, index: int, week: int, hour: int) -> str:
        """Why a class is rejected at a moment, in words; the week is counted from 1."""
        if not self.allowed[index]:
            return "not on the species list"
        place = week if self.has_weeks else UNKNOWN, hour if self.has_hours else UNKNOWN
        frequency = f"prior: {self._known[index, place[0], place[1]]:.3g}"
        when = [f"week {week + 1}"] if place[0] != UNKNOWN else []
        when += [f"hour {hour}"] if place[1] != UNKNOWN else []
        return f"{frequency} in {', '.join(when)}" if when else f"{frequency} on average"

    def _shift(self, moments: Moments) -> Doubles:
        """[chunks, classes], at most 0, and 0 where nothing is known."""
        weeks = moments.weeks if self.has_weeks else np.full_like(moments.weeks, UNKNOWN)
        hours = moments.hours if self.has_hours else np.full_like(moments.hours, UNKNOWN)
        now = self._known[:, weeks, hours].T
        ratio = np.log((now + SMALLEST) / (self._reference + SMALLEST))
        return np.minimum(0.0, np.nan_to_num(self.weight * ratio, nan=0.0))

    @cached_property
    def _reference(self) -> Doubles:
        """[classes]."""
        best = np.where(np.isnan(self.frequency), 0.0, self.frequency).max(axis=(1, 2))
        reference: Doubles = np.maximum(best, RARE)
        return reference

    @cached_property
    def _known(self) -> Doubles:
        """[classes, weeks + 1, hours + 1]: the means over what is unknown lie at UNKNOWN."""
        classes, weeks, hours = self.frequency.shape
        known = np.empty((classes, weeks + 1, hours + 1))
        known[:, :weeks, :hours] = self.frequency
        known[:, UNKNOWN, :hours] = _mean(self.frequency, 1)
        known[:, :weeks, UNKNOWN] = _mean(self.frequency, 2)
        known[:, UNKNOWN, UNKNOWN] = _mean(self.frequency.reshape(classes, -1), 1)
        return known


def _mean(values: Doubles, axis: int) -> Doubles:
    """Of what is known along an axis; NaN where nothing is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=axis)
    sums = np.where(known, values, 0.0).sum(axis=axis)
    mean: Doubles = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return mean
