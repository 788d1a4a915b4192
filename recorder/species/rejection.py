"""What a list and a prior take away of what a net heard, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import Label, ModelBundle
from recorder.detect.decide import judged
from recorder.detect.occurrence import Moments
from recorder.species.expectation import Expectation

Floats = NDArray[np.float32]

MomentsOf = Callable[[list[int]], Moments]
"""Of some chunks of those that are judged, by their places."""


@dataclass(frozen=True)
class Rejection:
    """A species in a chunk, over its threshold and not said."""

    place: int
    """Of the chunk, among those that are judged."""
    index: int
    """Of the class."""
    label: Label
    adjusted: float
    reason: str


def reject(
    hits: NDArray[np.bool_],
    outputs: Floats,
    limits: Floats,
    *,
    bundle: ModelBundle,
    expectation: Expectation | None,
    moments_of: MomentsOf,
) -> list[Rejection]:
    """Take what is not expected out of the hits [chunks, said], which are changed.

    `outputs` [chunks, outputs] and `limits` [said] are what the hits were made of
    (`detect.decide`). Sorted by chunk, then label.
    """
    classes = len(bundle.labels)
    places = np.flatnonzero(hits[:, :classes].any(axis=1)).tolist()
    if expectation is None or not places:
        return []
    moments, occurrence = moments_of(places), expectation.occurrence
    verdict = judged(outputs[places], limits, classes, occurrence, moments)
    hits[places] = verdict.said
    found = []
    for row, index in np.argwhere(verdict.rejected).tolist():
        when = int(moments.weeks[row]), int(moments.hours[row])
        reason, adjusted = occurrence.reason(index, *when), float(verdict.adjusted[row, index])
        found.append(Rejection(places[row], index, bundle.labels[index], adjusted, reason))
    return sorted(found, key=lambda one: (one.place, one.label.label))
