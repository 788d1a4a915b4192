"""What it learns from: voices as somebody near or far would be heard, over everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import SAMPLE_RATE_HZ, TOKEN_SAMPLES, log_mel, samples_needed
from recorder.detect.voice import MEL
from recorder.errors import AudioFileError, UsageError
from recorder.sound.files.whole import read_mono
from train.clips.dataset import audio_below
from train.scenes.levels import from_db, limited, loud_level, rms, steady_level
from train.scenes.vary import VaryConfig, vary

Samples = NDArray[np.float32]
States = NDArray[np.int8]

SCENE_TOKENS = 24
"""7.5 s."""
VOICE, SILENT, UNKNOWN = 1, 0, -1
_VARY = VaryConfig(speed=0.12, echo_chance=0.5, own_noise_chance=0.0)
_FRAME_SAMPLES = 320
_AUDIBLE_DB = -25.0
"""Of a voice's loud parts: what is quieter is a pause."""
_SPOKEN_SHARE = 0.3
"""A token holds a voice when it does in so much of its time; in less, it is neither."""
_HEARD_DB = -8.0
"""A voice that lies deeper under the rest teaches nothing."""
_SHORTEST_SAMPLES = SAMPLE_RATE_HZ // 4


@dataclass(frozen=True)
class Source:
    """A recording, and whether people speak in it."""

    path: Path
    samples: Samples


def read_sources(
    folders: list[Path], excluded: Sequence[str] = ()
) -> tuple[list[Source], list[str]]:
    """Every recording below the folders, mono at 32 kHz, and what could not be used.

    Those with an excluded word in their path are not looked at. UsageError when nothing can be.
    """
    sources, bad = [], []
    for path in sorted(one for folder in folders for one in audio_below(folder)):
        if any(word in str(path) for word in excluded):
            continue
        try:
            samples = read_mono(path, SAMPLE_RATE_HZ)
        except AudioFileError as error:
            bad.append(f"{path.name}: {error}")
            continue
        if len(samples) >= _SHORTEST_SAMPLES:
            sources.append(Source(path, samples))
        else:
            bad.append(f"{path.name}: shorter than .25 s")
    if not sources:
        raise UsageError(f"no recording in {', '.join(map(str, folders))}: {'; '.join(bad[:3])}")
    return sources, bad


class VoiceScenes:
    """Draws scenes: half of them with a voice."""

    def __init__(self, voices: list[Source], others: list[Source]) -> None:
        """By folder of `others` each kind of sound is heard as often, whatever its length."""
        self._voices, self._others = voices, others
        folders = [one.path.parent for one in others]
        self._chances = np.array([1.0 / folders.count(folder) ** 0.5 for folder in folders])
        self._chances /= self._chances.sum()

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.float16], States]:
        """(log-mel [tokens * 32, bands], state of each token)."""
        length = samples_needed(SCENE_TOKENS, MEL)
        bed = self._bed(rng, length)
        states = np.zeros(SCENE_TOKENS, np.int8)
        if rng.random() < 0.5:
            bed, states = self._with_voice(rng, bed)
        level = from_db(rng.uniform(-45.0, 0.0)) / max(float(np.abs(bed).max()), 1e-6)
        mix = limited((bed * np.float32(level)).astype(np.float32))
        return log_mel(mix, SCENE_TOKENS, MEL).astype(np.float16), states

    def _bed(self, rng: np.random.Generator, length: int) -> Samples:
        """One or two recordings over each other, over a little white noise."""
        bed = self._stretch(rng, length)
        if rng.random() < 0.4:
            bed = bed + self._stretch(rng, length) * np.float32(from_db(rng.uniform(-20.0, 0.0)))
        hiss = rng.standard_normal(length, np.float32)
        return bed + hiss * np.float32(from_db(rng.uniform(-60.0, -15.0)))

    def _stretch(self, rng: np.random.Generator, length: int) -> Samples:
        """[length] samples of RMS 1 of any recording, varied."""
        samples = self._others[int(rng.choice(len(self._others), p=self._chances))].samples
        begin = int(rng.integers(max(1, len(samples) - length + 1)))
        piece = np.zeros(length, np.float32)
        part = samples[begin : begin + length]
        at = int(rng.integers(length - len(part) + 1))
        piece[at : at + len(part)] = part
        varied, _ = vary(rng, piece, _VARY)
        return varied / np.float32(max(rms(varied), 1e-6))

    def _with_voice(self, rng: np.random.Generator, bed: Samples) -> tuple[Samples, States]:
        voice = np.zeros(len(bed), np.float32)
        at = int(rng.integers(-SAMPLE_RATE_HZ, len(bed) - SAMPLE_RATE_HZ))
        while at < len(bed):
            said = self._voices[int(rng.integers(len(self._voices)))].samples
            if len(said) > len(bed):
                first = int(rng.integers(len(said) - len(bed)))
                said = said[first : first + len(bed)]
            begin, stop = max(0, at), max(0, min(len(bed), at + len(said)))
            voice[begin:stop] += said[begin - at : stop - at]
            at += len(said) + int(rng.exponential(2.0) * SAMPLE_RATE_HZ)
        voice, _ = vary(rng, voice, _VARY)
        snr_db = float(rng.uniform(-10.0, 30.0))
        loud = loud_level(voice)
        if loud <= 1e-6:
            return bed, np.zeros(SCENE_TOKENS, np.int8)
        gain = from_db(snr_db) * steady_level(bed) / loud
        states = spoken(voice)
        if snr_db < _HEARD_DB:
            states[states == VOICE] = UNKNOWN
        return bed + voice * np.float32(gain), states


def spoken(voice: Samples) -> States:
    """The state of each token of a voice alone, [tokens]."""
    whole = len(voice) // TOKEN_SAMPLES * TOKEN_SAMPLES
    frames = voice[:whole].reshape(-1, _FRAME_SAMPLES)
    level = np.sqrt(np.square(frames).mean(axis=1))
    loud = float(np.quantile(level[level > 0], 0.95)) if (level > 0).any() else 0.0
    audible = level > max(loud * from_db(_AUDIBLE_DB), 1e-7)
    # Frames do not fit into tokens: each belongs to the token in which it begins.
    token = np.arange(len(frames)) * _FRAME_SAMPLES // TOKEN_SAMPLES
    share = np.bincount(token, weights=audible) / np.bincount(token)
    states = np.full(len(share), UNKNOWN, np.int8)
    states[share >= _SPOKEN_SHARE] = VOICE
    states[share == 0.0] = SILENT
    return states[:SCENE_TOKENS]
