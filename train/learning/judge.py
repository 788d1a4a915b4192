"""How good a net is while it trains: figures on soundscapes of sessions that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from recorder.detect.mel import SAMPLE_RATE_HZ, MelConfig
from recorder.detect.metrics import any_bird_auc, any_bird_threshold, best_threshold, evaluate
from recorder.sound.files.whole import read_mono
from train.clips.recordings import Noise, Recording
from train.clips.soundscapes import Soundscape, stacked
from train.nets.predict import Features, features_of, field_scores
from train.scenes.maker import SceneMaker
from train.scenes.scene import SceneConfig
from train.scenes.vary import VaryConfig

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
    """Scores a net on labelled soundscapes, each of them in one window, as the recorder will."""

    def __init__(
        self,
        soundscapes: list[Soundscape],
        features: Sequence[Features],
        *,
        classes: int,
        any_bird: bool = False,
    ) -> None:
        self._soundscapes = soundscapes
        self._features = features
        self._classes = classes
        self._any_bird = any_bird

    def judge(self, net: nn.Module) -> dict[str, float]:
        """The threshold that is best on these soundscapes, and the figures with it."""
        every = np.concatenate(
            [
                field_scores(net, one, self._classes, any_bird=self._any_bird)
                for one in self._features
            ]
        )
        scores = every[:, : self._classes]
        truth, known = stacked(self._soundscapes)
        threshold = best_threshold(scores, truth, known)
        result = {"threshold": threshold, **vars(evaluate(scores, truth, known, threshold))}
        if self._any_bird:
            silent = np.concatenate([one.nocall for one in self._soundscapes])
            bird = every[:, self._classes]
            result["bird_auc"] = any_bird_auc(bird, silent, truth, known)
            result["bird_threshold"] = any_bird_threshold(bird, silent, truth, known)
        return result


def dataset_judge(
    soundscapes: list[Soundscape],
    core: list[str],
    mel: MelConfig,
    *,
    any_bird: bool = False,
    model: str = "segmenter",
) -> Judge:
    """By labelled soundscapes, read for the classes `core`."""
    features = [
        features_of(read_mono(one.path, SAMPLE_RATE_HZ), len(one.truth), mel, model)
        for one in soundscapes
    ]
    return Judge(soundscapes, features, classes=len(core), any_bird=any_bird)


def composed_judge(
    held_out: list[Recording],
    noise: list[Noise],
    core: list[str],
    mel: MelConfig,
    *,
    any_bird: bool = False,
    model: str = "segmenter",
) -> Judge:
    """By minutes composed from recordings that were held out, the same ones every time."""
    maker = SceneMaker(held_out, noise, labels=core, core=set(core), config=_AS_RECORDED, mel=mel)
    soundscapes, features = [], []
    for number in range(_COMPOSED):
        scene = maker.compose(
            np.random.default_rng(number), _COMPOSED_CHUNKS, _SOURCES[number % len(_SOURCES)]
        )
        truth = scene.target > 0.5
        known = truth | (scene.known > 0)
        silent = np.asarray(~truth.any(axis=1))
        soundscapes.append(Soundscape(Path(f"composed_{number}"), truth, known, silent))
        features.append(features_of(maker.render(scene), _COMPOSED_CHUNKS, mel, model))
    return Judge(soundscapes, features, classes=len(core), any_bird=any_bird)
