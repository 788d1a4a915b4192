"""How a scene sounds, decided but not made yet: a bed, and pieces of recordings laid over it.

What is decided is small and the same everywhere. `Renderer` makes the samples of it on a CPU,
`train.scenes.render_torch` those of a whole batch on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.clips.recordings import Recording
from train.scenes.beds import BedDraft, NoiseBeds
from train.scenes.levels import limited, loud_level, steady_level
from train.scenes.vary import Variation, varied

Samples = NDArray[np.float32]

FADE_SAMPLES = 640


@dataclass(frozen=True)
class Layer:
    """A piece of a recording that lies over a bed."""

    recording: int
    begin: int
    """The sample of the recording that it starts at; before 0 it is silence."""
    size: int
    own_noise: float
    """The share of the recording's own noise that stays in."""
    variation: Variation
    faded: bool
    sounding: tuple[int, int]
    """From and to which of its samples its level is taken."""
    gain: float
    """Its loud parts, relative to the level of the bed."""
    place: int
    """The sample of the scene that it starts at; before 0 its beginning is not heard."""


@dataclass(frozen=True)
class Draft:
    """A scene's sound."""

    bed: BedDraft
    layers: tuple[Layer, ...]


class Renderer:
    """Makes sound of drafts by the recordings and beds that they were drawn from."""

    def __init__(self, recordings: Sequence[Recording], beds: NoiseBeds) -> None:
        self._recordings = recordings
        self._beds = beds

    def render(self, draft: Draft) -> Samples:
        """[samples], never above full scale."""
        mix = self._beds.render(draft.bed)
        bed_level = steady_level(mix)
        for layer in draft.layers:
            samples = self.layer(layer)
            level = loud_level(samples[slice(*layer.sounding)])
            _add(mix, samples * np.float32(layer.gain * bed_level / level), layer.place)
        return limited(mix)

    def layer(self, layer: Layer) -> Samples:
        """[size] samples, before their gain."""
        recording = self._recordings[layer.recording]
        raw = recording.piece(layer.begin, layer.size, own_noise=layer.own_noise)
        samples = varied(raw, layer.variation)
        return faded(samples) if layer.faded else samples


def faded(samples: Samples) -> Samples:
    """20 ms ramps, so that the cut itself is not a sound."""
    ramp = np.linspace(0.0, 1.0, min(FADE_SAMPLES, len(samples) // 2), dtype=np.float32)
    if len(ramp):
        samples = samples.copy()
        samples[: len(ramp)] *= ramp
        samples[-len(ramp) :] *= ramp[::-1]
    return samples


def _add(mix: Samples, samples: Samples, begin: int) -> None:
    start, stop = max(0, begin), min(len(mix), begin + len(samples))
    if stop > start:
        mix[start:stop] += samples[start - begin : stop - begin]
