"""Live steps of 5 s in a full window, with a mark at each part for a counter of instructions.

    python bench/arm_step.py SOUND.flac [--precision int8] [--steps 4]

bench/arm runs it under qemu with the plugin arm_instructions.c. The first step that is marked
completes a window of ten minutes: there the head scores the whole window to settle its chunks, as
it does every 5 minutes. The steps after it are as nearly all are.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import recorder
from recorder.detect.bundle import read_bundle
from recorder.detect.head_weights import head_weights
from recorder.detect.incremental import IncrementalHead
from recorder.detect.inference import Networks
from recorder.detect.mel import CHUNK_SAMPLES, SAMPLE_RATE_HZ, TOKENS_PER_CHUNK
from recorder.detect.onnx_file import read_onnx
from recorder.detect.rolling import RollingPipeline
from recorder.sound.files.whole import read_mono

Floats = NDArray[np.float32]

MODEL = Path(recorder.__file__).parent / "models" / "puerto_rico_edge"
STEP_BEGINS, ENCODER_BEGINS, ENCODER_ENDS, STEP_ENDS = range(1, 5)
_MARK = 77
"""No kernel knows such a `which` of getpriority: the call fails, and the plugin sees it."""


class MarkedNetworks(Networks):
    """The networks of a bundle; what need not run to fill a window does not until `begin`.

    An emulated processor takes seconds for a step. The sound repeats, so that each tile is encoded
    once; and what the head says of a window that is not full is not asked for.
    """

    def __init__(self, path: Path, precision: str) -> None:
        bundle = read_bundle(path)
        self._known: dict[bytes, Floats] = {}
        self._filling = True
        self._head_that_slides = _QuietHead(
            head_weights(read_onnx(bundle.head_path)), bundle.window_tokens
        )
        super().__init__(bundle, precision=precision)

    def begin(self) -> None:
        """The window is full but for a chunk: from here on all is as in the field, and marked."""
        self._filling = self._head_that_slides.quiet = False

    def encode(self, log_mel: Floats) -> Floats:
        if not self._filling:
            make_mark(ENCODER_BEGINS)
            tokens = super().encode(log_mel)
            make_mark(ENCODER_ENDS)
            return tokens
        key = log_mel.tobytes()
        if key not in self._known:
            self._known[key] = super().encode(log_mel)
        return self._known[key]

    def incremental_head(self) -> IncrementalHead:
        return self._head_that_slides


class _QuietHead(IncrementalHead):
    """Takes tokens like any other, and says nothing of them while it is quiet."""

    quiet = True

    def logits(self, newest: int) -> Floats:
        if self.quiet:
            return np.zeros((newest, len(self._weights.classify_bias)), np.float32)
        return super().logits(newest)


def make_mark(number: int) -> None:
    """What the plugin sees; of no effect elsewhere."""
    with contextlib.suppress(OSError):
        os.getpriority(_MARK, number)


def run_steps(sound: Floats, precision: str, steps: int) -> None:
    """Fill a window with the sound, again and again, then mark so many steps and the one before."""
    networks = MarkedNetworks(MODEL, precision)
    pipeline = RollingPipeline(networks)
    chunks_in_sound = len(sound) // CHUNK_SAMPLES
    # A chunk is encoded when its halo has been heard, which lies in the next one.
    filling = networks.bundle.window_tokens // TOKENS_PER_CHUNK
    for step in range(filling + 1 + steps):
        at = step % chunks_in_sound * CHUNK_SAMPLES
        if step == filling:
            networks.begin()
        if step < filling:
            pipeline.push(sound[at : at + CHUNK_SAMPLES])
            continue
        make_mark(STEP_BEGINS)
        heard = pipeline.push(sound[at : at + CHUNK_SAMPLES])
        make_mark(STEP_ENDS)
        assert [one.index for one in heard.live] == [step - 1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sound", type=Path)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    run_steps(read_mono(options.sound, SAMPLE_RATE_HZ), options.precision, options.steps)


if __name__ == "__main__":
    main()
