"""From scores to what is said: which species in which chunk, and where within it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import ModelBundle
from recorder.detect.mel import TOKENS_PER_CHUNK
from recorder.detect.occurrence import Moments, Occurrence

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_HALF_CHUNK = TOKENS_PER_CHUNK // 2
_EVENT_SHARE = 0.5
"""An event reaches as far as the token score stays above half of its peak."""


@dataclass(frozen=True)
class TokenEvent:
    """A stretch of tokens in which a class is heard."""

    first_token: int
    last_token: int  # exclusive
    label_index: int
    score: float
    """The highest token score, 0..1."""


def thresholds(bundle: ModelBundle, override: float | None = None) -> Floats:
    """The threshold of all that may be said, [said]: the bundle's own, or one for all species."""
    own = [label.threshold for label in bundle.said]
    if override is not None:
        own[: len(bundle.labels)] = [override] * len(bundle.labels)
    return np.array(own, np.float32)


def detected(outputs: Floats, limits: Floats, classes: int) -> Bools:
    """What is said of each chunk, [chunks, said], from [chunks, outputs] and the thresholds [said].

    Any bird, the output after the `classes`, is said only where no species is.
    """
    said: Bools = outputs[:, : len(limits)] >= limits
    said[:, classes:] &= ~said[:, :classes].any(axis=1, keepdims=True)
    return said


@dataclass(frozen=True)
class Verdict:
    """What is said of chunks, and which species a list or a prior took away."""

    said: Bools
    """[chunks, said], as `detected`."""
    rejected: Bools
    """[chunks, classes]: over the threshold by their raw scores, and not said."""
    adjusted: Floats
    """[chunks, outputs]: the scores that were judged."""


def judged(
    outputs: Floats, limits: Floats, classes: int, occurrence: Occurrence, moments: Moments
) -> Verdict:
    """As `detected`, with what can occur here and now (`moments` of the chunks).

    A species is said where its raw score and its adjusted one pass: a subset of what would be said
    without. Any bird is not adjusted: where the species that were heard are all rejected and it
    passes, the chunk holds a `bird`, whoever it was.
    """
    adjusted = occurrence.adjusted(outputs, moments)
    said = detected(adjusted, limits, classes)
    heard = detected(outputs, limits, classes)[:, :classes]
    return Verdict(said, heard & ~said[:, :classes], adjusted)


def token_events(token_scores: Floats, detected: Bools) -> Iterator[TokenEvent]:
    """Events of the detected chunks, in order of time, then class.

    `token_scores` [chunks * 16, classes], `detected` [chunks, classes]. A detected chunk looks
    for its peak half a chunk beyond its edges too, because the sliding window does: a call on
    the border is one event, not two. Touching stretches of one class are one event.
    """
    active: Bools = np.zeros_like(token_scores, dtype=bool)
    for chunk, index in zip(*np.nonzero(detected), strict=True):
        first = max(0, chunk * TOKENS_PER_CHUNK - _HALF_CHUNK)
        last = (chunk + 1) * TOKENS_PER_CHUNK + _HALF_CHUNK
        near = token_scores[first:last, index]
        active[first:last, index] |= near >= _EVENT_SHARE * near.max()
    events = [
        event for index in range(active.shape[1]) for event in _runs(active, token_scores, index)
    ]
    yield from sorted(events, key=lambda event: (event.first_token, event.label_index))


def _runs(active: Bools, token_scores: Floats, index: int) -> Iterator[TokenEvent]:
    column = np.concatenate(([False], active[:, index], [False]))
    edges = np.flatnonzero(column[1:] != column[:-1])
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        peak = float(token_scores[first:last, index].max())
        yield TokenEvent(int(first), int(last), index, peak)
