"""A net that scores windows of sound, on a stream without an end: a chunk settles when it is over.

Such a net looks no further than its window, so that the live row is the settled one. What was lost
is silence within a chunk; a chunk of which nothing was heard has no row.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recorder.detect.classifier import ClassifierNetwork, ClassifierPipeline
from recorder.detect.mel import CHUNK_S
from recorder.detect.pipeline import ChunkResult
from recorder.detect.rolling import Heard

Floats = NDArray[np.float32]


class RollingClassifier:
    """Samples at the bundle's rate and gaps in, rows out. Pure."""

    def __init__(self, network: ClassifierNetwork) -> None:
        self._network = network
        self._chunk = round(CHUNK_S * network.bundle.sample_rate_hz)
        self._samples = 0
        self._gap = 0
        self._settled = 0
        self._begin(0)

    @property
    def settled_samples(self) -> int:
        """Everything before this sample has been settled, or was lost."""
        return self._settled * self._chunk

    @property
    def needed_from_sample(self) -> int:
        """From here on the sound is still needed to settle what has not been settled."""
        before = -(-self._network.bundle.window_samples // self._chunk)
        return max(0, self._settled - before) * self._chunk

    def push(self, samples: Floats) -> Heard:
        """Take mono samples; ModelError when the net returns what is no probability."""
        if not len(samples):
            return Heard()
        silence, self._gap = self._gap, 0
        self._samples += silence
        if not self._open:
            self._begin(self._samples // self._chunk)
            silence = self._samples % self._chunk
        self._samples += len(samples)
        results = self._pipeline.push(np.zeros(silence, np.float32))
        return self._heard(results + self._pipeline.push(samples))

    def skip(self, samples: int) -> Heard:
        """So many samples were lost; what is lost one after the other is one gap."""
        self._gap += samples
        stop = (self._samples + self._gap) // self._chunk
        if self._open and -(-self._samples // self._chunk) < stop:
            heard = self._end()
            self._settled = stop
            return heard
        if not self._open:
            self._settled = max(self._settled, stop)
        return Heard()

    def finish(self) -> Heard:
        """The stream ends: silence fills its last chunk."""
        return self._end() if self._open else Heard()

    def _begin(self, chunk: int) -> None:
        self._open, self._first = True, chunk
        self._pipeline = ClassifierPipeline(self._network)

    def _end(self) -> Heard:
        self._open = False
        return self._heard(self._pipeline.finish())

    def _heard(self, results: list[ChunkResult]) -> Heard:
        rows = [replace(one, index=one.index + self._first) for one in results]
        self._settled += len(rows)
        return Heard(live=list(rows), settled=rows)
