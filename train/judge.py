"""How good a net is while it trains: figures on soundscapes of sessions that it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recorder.detect.mel import TOKENS_PER_CHUNK, MelConfig, log_mel
from recorder.detect.metrics import any_bird_auc, best_threshold, evaluate
from recorder.detect.postprocess import ANY_BIRD_EXPONENT, gated
from train.data import Noise, Recording
from train.scenes import SceneConfig, SceneMaker
from train.soundscapes import (
    Soundscape,
    read_soundscapes,
    score_soundscapes,
    soundscape_log_mel,
    stacked,
)
from train.vary import VaryConfig

Floats = NDArray[np.float32]

_COMPOSED = 32
_COMPOSED_CHUNKS = 12
_SOURCES = (0, 1, 1, 2)
"""Birds in a composed minute, in turn: somewhat more than half of all chunks are silent."""
_AS_RECORDED = SceneConfig(
    composed_share=1.0,
    snr_db=(0.0, 18.0),
    own_noise_chance=0.0,
    vary=VaryConfig(speed_chance=0.0, colour_chance=0.0, echo_chance=0.0, own_noise_chance=0.0),
)


class Judge:
    """Scores a net on labelled soundscapes, each of them in one window."""

    def __init__(
        self,
        soundscapes: list[Soundscape],
        log_mels: list[Floats],
        *,
        classes: int,
        any_bird: bool = False,
    ) -> None:
        self._soundscapes = soundscapes
        self._log_mels = log_mels
        self._classes = classes
        self._any_bird = any_bird

    def judge(self, net: nn.Module) -> dict[str, float]:
        """The threshold that is best on these soundscapes, and the figures with it."""

        def token_logits(frames: Floats) -> Floats:
            with torch.no_grad():
                logits: Tensor = net(torch.from_numpy(frames).unsqueeze(0))
            return logits[0].numpy()

        every = np.concatenate(score_soundscapes(self._log_mels, token_logits))
        if self._any_bird:
            every = gated(every, self._classes, ANY_BIRD_EXPONENT)
        scores = every[:, : self._classes]
        truth, known = stacked(self._soundscapes)
        threshold = best_threshold(scores, truth, known)
        result = {"threshold": threshold, **vars(evaluate(scores, truth, known, threshold))}
        if self._any_bird:
            result["bird_auc"] = any_bird_auc(every[:, self._classes], truth, known)
        return result


def dataset_judge(
    dataset: Path, core: list[str], mel: MelConfig, *, any_bird: bool = False
) -> Judge:
    """By the labelled soundscapes of a dataset; ConfigError when it has none."""
    soundscapes = read_soundscapes(dataset, core)
    log_mels = [soundscape_log_mel(one, mel) for one in soundscapes]
    return Judge(soundscapes, log_mels, classes=len(core), any_bird=any_bird)


def composed_judge(
    held_out: list[Recording],
    noise: list[Noise],
    core: list[str],
    mel: MelConfig,
    *,
    any_bird: bool = False,
) -> Judge:
    """By minutes composed from recordings that were held out, the same ones every time."""
    maker = SceneMaker(held_out, noise, labels=core, core=set(core), config=_AS_RECORDED, mel=mel)
    soundscapes, log_mels = [], []
    for number in range(_COMPOSED):
        scene = maker.compose(
            np.random.default_rng(number), _COMPOSED_CHUNKS, _SOURCES[number % len(_SOURCES)]
        )
        truth = scene.target > 0.5
        soundscapes.append(Soundscape(Path(f"composed_{number}"), truth, truth | (scene.known > 0)))
        log_mels.append(log_mel(scene.samples, _COMPOSED_CHUNKS * TOKENS_PER_CHUNK, mel))
    return Judge(soundscapes, log_mels, classes=len(core), any_bird=any_bird)
