"""A world for scene tests: recordings of tone bursts in silence, and makers of scenes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import CHUNK_SAMPLES, SAMPLE_RATE_HZ, MelConfig
from train.clips.dataset import Clip
from train.clips.recordings import Noise, Recording
from train.scenes import beds
from train.scenes.maker import SceneMaker
from train.scenes.scene import Scene, SceneConfig
from train.scenes.vary import VaryConfig

MEL = MelConfig()
LABELS = ["burst", "second", "other"]
TONE_HZ = 3000.0
UNVARIED = VaryConfig(speed_chance=0.0, colour_chance=0.0, echo_chance=0.0, own_noise_chance=0.0)
COMPOSED = SceneConfig(
    composed_share=1.0,
    snr_db=(25.0, 30.0),
    bed_dbfs=(-60.0, -50.0),
    bed_chance=0.0,
    own_noise_chance=0.0,
    vary=UNVARIED,
)
WEAK = SceneConfig(composed_share=0.0)


def burst_recording(
    label: str,
    duration_s: float,
    burst_s: tuple[float, float],
    *,
    secondary: tuple[str, ...] = (),
    tone_hz: float = TONE_HZ,
) -> Recording:
    """A tone burst in silence, its active frames marked exactly."""
    clip = Clip(Path(f"{label}.ogg"), label, secondary)
    seconds = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = 10_000 * np.sin(2 * np.pi * tone_hz * seconds)
    samples = np.where((seconds >= burst_s[0]) & (seconds < burst_s[1]), tone, 0.0)
    frames_s = np.arange(max(1, len(seconds) * 2 // 625)) * 312.5 / SAMPLE_RATE_HZ
    active = (frames_s >= burst_s[0]) & (frames_s < burst_s[1])
    kept = samples.astype(np.int16)
    return Recording(clip, kept, active.astype(np.float32), calls=kept)


def scene_maker(
    config: SceneConfig,
    *recordings: Recording,
    extra: tuple[str, ...] = (),
    not_birds: frozenset[str] = frozenset(),
    noise_may_hold_birds: bool = False,
) -> SceneMaker:
    pool = beds.coloured_noise()
    noise = [Noise((3000 * pool[2][:50_000]).astype(np.int16), noise_may_hold_birds)]
    labels = [label for label in LABELS if any(r.clip.label == label for r in recordings)]
    labels += [
        label for label in LABELS if label not in labels and _is_secondary(label, recordings)
    ]
    labels += extra
    return SceneMaker(
        list(recordings),
        noise,
        labels=labels,
        core=set(labels),
        config=config,
        mel=MEL,
        not_birds=not_birds,
    )


def _is_secondary(label: str, recordings: tuple[Recording, ...]) -> bool:
    return any(label in recording.clip.secondary_labels for recording in recordings)


def scene_of(maker: SceneMaker, seed: int, chunks: int) -> Scene:
    """The scene that a seed decides."""
    return maker.make(np.random.default_rng(seed), chunks)


def sound_of(maker: SceneMaker, seed: int, chunks: int) -> NDArray[np.float32]:
    """How the scene sounds that a seed decides."""
    return maker.render(scene_of(maker, seed, chunks))


def tone_s(samples: NDArray[np.float32], chunks: int) -> NDArray[np.float64]:
    """Seconds of tone in each chunk: 10-ms blocks with more than half of their power in it."""
    samples = samples[: chunks * CHUNK_SAMPLES].astype(np.float64)
    turn = np.exp(-2j * np.pi * TONE_HZ * np.arange(len(samples)) / SAMPLE_RATE_HZ)
    tone = 2.0 * np.abs((samples * turn).reshape(-1, 320).mean(axis=1)) ** 2
    heard = tone > 0.5 * np.square(samples).reshape(-1, 320).mean(axis=1)
    return np.asarray(heard.reshape(chunks, -1).sum(axis=1) * 0.01)
