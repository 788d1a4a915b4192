"""What a net says of sound that is known from its first to its last chunk.

A segmenter reads the log-mel of the whole record at once; a classifier reads the pictures of its
chunks and, for the sliding window (§2.5(3)), of the chunks between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recorder.detect.mel import (
    CHUNK_SAMPLES,
    FRAMES_PER_TOKEN,
    TOKENS_PER_CHUNK,
    MelConfig,
    chunk_picture,
    log_mel,
    samples_needed,
)
from recorder.detect.postprocess import (
    ANY_BIRD_EXPONENT,
    OWN_SHARE,
    PAPER_OWN_SHARE,
    RECURRENCE_EXPONENT,
    chunk_and_between,
    gated,
    global_correction,
    recurrent,
    sigmoid,
    sliding_window,
)
from recorder.errors import ModelError

Floats = NDArray[np.float32]

_PICTURES_AT_ONCE = 32


@dataclass(frozen=True)
class Pictures:
    """What a classifier reads of a record."""

    own: Floats  # [chunks, 313, mel_bands]
    between: Floats  # [chunks - 1, 313, mel_bands], 2.5 s later


Features = Floats | Pictures
"""Log-mel [chunks * 512, mel_bands] for a segmenter, pictures for a classifier."""


def features_of(samples: Floats, chunks: int, mel: MelConfig, model: str) -> Features:
    """What a net of this kind ("segmenter" or "classifier") reads of the first `chunks` chunks.

    Sound past them is left out, and what is missing is silence.
    """
    whole = chunks * CHUNK_SAMPLES
    if model == "classifier":
        padded = np.pad(samples[:whole], (0, max(0, whole - len(samples))))
        starts = range(0, whole, CHUNK_SAMPLES)
        half = CHUNK_SAMPLES // 2
        own = [chunk_picture(padded[at : at + CHUNK_SAMPLES], mel) for at in starts]
        shifted = [padded[at + half :][:CHUNK_SAMPLES] for at in starts[:-1]]
        between = [chunk_picture(chunk, mel) for chunk in shifted]
        return Pictures(np.stack(own), np.array(between, np.float32).reshape(-1, *own[0].shape))
    tokens = chunks * TOKENS_PER_CHUNK
    needed = samples_needed(tokens, mel)
    kept = samples[:whole]
    return log_mel(np.pad(kept, (0, max(0, needed - len(kept)))), tokens, mel)


def chunk_scores(net: nn.Module, features: Features, own_share: float = OWN_SHARE) -> Floats:
    """Probabilities after the sliding window, [chunks, outputs], as the recorder has them."""
    return sliding_window(*unsmoothed(net, features), own_share)


def field_scores(net: nn.Module, features: Features, classes: int, *, any_bird: bool) -> Floats:
    """What the recorder has of one net, [chunks, outputs]: of a classifier's bundle the scores of
    chunks as they are, of a segmenter `final_scores`."""
    if isinstance(features, Pictures):
        return sigmoid(_logits(net, features.own))
    return final_scores(net, features, classes, any_bird=any_bird)


def final_scores(net: nn.Module, features: Features, classes: int, *, any_bird: bool) -> Floats:
    """All post-processing of one net, [chunks, outputs]: a segmenter's classes are gated and lifted
    as in the field; a classifier's get the paper's sliding window and global correction (§2.5)."""
    if isinstance(features, Pictures):
        return global_correction(chunk_scores(net, features, PAPER_OWN_SHARE))
    scores = chunk_scores(net, features)
    scores = gated(scores, classes, ANY_BIRD_EXPONENT if any_bird else 0.0)
    return recurrent(scores, classes, RECURRENCE_EXPONENT)


def unsmoothed(net: nn.Module, features: Features, *, alone: bool = False) -> tuple[Floats, Floats]:
    """Probabilities of the chunks [chunks, outputs] and of those between [chunks - 1, outputs].

    `alone`: a segmenter reads each chunk without the others, for comparison (§3).
    """
    if isinstance(features, Pictures):
        return sigmoid(_logits(net, features.own)), sigmoid(_logits(net, features.between))
    return chunk_and_between(
        _chunk_by_chunk(net, features) if alone else token_logits(net, features)
    )


def token_logits(net: nn.Module, frames: Floats) -> Floats:
    """A segmenter's logits for one record, all of it in one window, [tokens, outputs]."""
    device = _device(net)
    with torch.no_grad():
        logits: Tensor = net(torch.from_numpy(frames).unsqueeze(0).to(device))
    return _numbers(logits[0])


def _chunk_by_chunk(net: nn.Module, frames: Floats) -> Floats:
    """As `token_logits`, but no chunk knows of the others."""
    per_chunk = TOKENS_PER_CHUNK * FRAMES_PER_TOKEN
    each = [frames[at : at + per_chunk] for at in range(0, len(frames), per_chunk)]
    return np.concatenate([token_logits(net, chunk) for chunk in each])


def _logits(net: nn.Module, pictures: Floats) -> Floats:
    """A classifier's logits, [pictures, outputs]; there may be none."""
    parts = torch.split(torch.from_numpy(pictures), _PICTURES_AT_ONCE)
    with torch.no_grad():
        return _numbers(torch.cat([net(part.to(_device(net))) for part in parts]))


def _numbers(logits: Tensor) -> Floats:
    """On the CPU; ModelError unless all are numbers, for NaN must never pass for "no bird"."""
    if not torch.isfinite(logits).all():
        raise ModelError("the net says what is no number: its weights are damaged, or it diverged")
    return logits.cpu().numpy()


def _device(net: nn.Module) -> torch.device:
    first = next(net.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def average_known(each: Sequence[Floats], *, nobody: float = 0.0) -> Floats:
    """The power average of arrays of one shape over those that know a class; NaN is not to know,
    and `nobody` what nobody knows."""
    squares = np.square(np.stack(each))
    known = ~np.isnan(squares)
    total = np.where(known, squares, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    result: Floats = np.sqrt(total / np.maximum(count, 1)).astype(np.float32)
    result[count == 0] = nobody
    return result
