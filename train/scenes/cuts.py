"""Where to cut into a recording: around its calls, by loudness or by pseudo labels."""

from __future__ import annotations

import numpy as np

from recorder.detect.mel import FRAMES_PER_TOKEN, SAMPLE_RATE_HZ, TOKEN_SAMPLES
from train.clips.recordings import Recording
from train.scenes.pseudo_targets import call_token

SURE_FRAMES = 10
"""0.1 s of loud frames hold the call; with fewer it is unknown."""


def loud_frame(rng: np.random.Generator, recording: Recording) -> int:
    """A frame to cut a stretch around, the louder the likelier."""
    weight = np.cumsum(np.where(recording.active, recording.loudness, 0.0), dtype=np.float64)
    return int(np.searchsorted(weight, rng.uniform(0.0, max(float(weight[-1]), 1e-9))))


def call_frame(rng: np.random.Generator, recording: Recording, column: int) -> int:
    """A frame of a call of the class in `column`: by pseudo labels if there are any, else loud."""
    token = call_token(rng, recording, column)
    if token is None:
        return loud_frame(rng, recording)
    return token * FRAMES_PER_TOKEN + int(rng.integers(FRAMES_PER_TOKEN))


def smart_crop(
    rng: np.random.Generator,
    recording: Recording,
    length: int,
    edge_share: float,
    column: int,
    draws: int = 3,
) -> int:
    """Where a crop of `length` samples begins.

    With pseudo labels anywhere that a call of the class in `column` lies inside (§2.4 step 2).
    Without, §2.2(1): a share of them in the first or last 5 s, moved inwards by 0-2 s; else
    anywhere, drawn again up to so many `draws` in all until something is loud in it. Before 0 when
    the recording is too short: it is padded there.
    """
    spare = len(recording.samples) - length
    if spare <= 0:
        return -int(rng.integers(0, -spare + 1))
    token = call_token(rng, recording, column)
    if token is not None:
        begin = token * TOKEN_SAMPLES - int(rng.uniform(0.0, 1.0) * (length - TOKEN_SAMPLES))
        return int(np.clip(begin, 0, spare))
    if rng.random() < edge_share:
        shift = min(spare, int(rng.uniform(0.0, 2.0) * SAMPLE_RATE_HZ))
        return shift if rng.random() < 0.5 else spare - shift
    begin = 0
    for _ in range(draws):
        begin = int(rng.integers(0, spare + 1))
        first = begin * FRAMES_PER_TOKEN // TOKEN_SAMPLES
        frames = length * FRAMES_PER_TOKEN // TOKEN_SAMPLES
        if recording.active[first : first + frames].sum() >= SURE_FRAMES:
            break
    return begin
