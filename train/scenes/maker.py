"""Training scenes: weak crops, and soundscapes composed on the fly from loud stretches.

A *weak* scene is a crop with the clip's label on the whole of it (§2.2 smart crop, §2.1 union
MixUp). A *composed* scene places loud stretches of 0 to a few clips over a noise bed; because it
is known where they lie, every 5-s chunk has its own label. Mixing happens on waveforms. With
pseudo labels (§2.4 steps 2 and 3) a scene says token by token, too, what is sure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import (
    CHUNK_S,
    FRAMES_PER_TOKEN,
    SAMPLE_RATE_HZ,
    TOKEN_SAMPLES,
    TOKENS_PER_CHUNK,
    MelConfig,
    samples_needed,
)
from train.clips.recordings import Noise, Recording
from train.invented.imagined import is_imagined
from train.scenes.beds import BedDraft, NoiseBeds
from train.scenes.cuts import SURE_FRAMES, call_frame, smart_crop
from train.scenes.drafts import Draft, Layer, Renderer
from train.scenes.levels import from_db
from train.scenes.pseudo_targets import TokenStates, may_call
from train.scenes.scene import ANY_BIRD, Scene, SceneConfig, Stretch
from train.scenes.vary import draw_variation

Samples = NDArray[np.float32]
Floats = NDArray[np.float32]

_FRAMES_PER_CHUNK = FRAMES_PER_TOKEN * TOKENS_PER_CHUNK
_SURE_LOUDNESS = 0.25
"""A frame from here on is loud enough to be the call itself, not its echo."""


class SceneMaker:
    """Makes scenes of any length from decoded recordings and noise."""

    def __init__(
        self,
        recordings: list[Recording],
        noise: list[Noise],
        *,
        labels: list[str],
        core: set[str],
        config: SceneConfig,
        mel: MelConfig,
        not_birds: frozenset[str] = frozenset(),
    ) -> None:
        self._recordings = recordings
        self._beds = NoiseBeds(noise, recordings)
        self._renderer = Renderer(recordings, self._beds)
        self._config = config
        self._mel = mel
        self._index = {label: index for index, label in enumerate(labels)}
        self._birds = [index for label, index in self._index.items() if label not in not_birds]
        self._by_label = {
            label: [number for number, one in enumerate(recordings) if one.clip.label == label]
            for label in labels
        }
        draws = np.array(
            [
                len(self._by_label[label]) ** config.class_exponent * _weight(label, core, config)
                if self._by_label[label]
                else 0.0
                for label in labels
            ]
        )
        self._labels = labels
        self._chances = draws / draws.sum()

    def make(self, rng: np.random.Generator, chunks: int) -> Scene:
        """One scene of `chunks` chunks, all of it decided by `rng`."""
        length = samples_needed(chunks * TOKENS_PER_CHUNK, self._mel)
        if rng.random() < self._config.composed_share:
            return self.compose(rng, chunks, _source_count(rng, chunks))
        return self._weak(rng, chunks, length)

    def render(self, scene: Scene) -> Samples:
        """How it sounds, [samples]."""
        return self._renderer.render(scene.draft)

    def compose(self, rng: np.random.Generator, chunks: int, sources: int) -> Scene:
        """A soundscape of `chunks` chunks in which `sources` individuals call."""
        config = self._config
        length = samples_needed(chunks * TOKENS_PER_CHUNK, self._mel)
        target = np.zeros((chunks, len(self._labels)), np.float32)
        known = np.ones_like(target)
        states = TokenStates(chunks * TOKENS_PER_CHUNK, len(self._labels))
        bed, layers = self._bed(rng, length), []
        for _ in range(sources):
            number = self._draw(rng)
            recording = self._recordings[number]
            snr_db = rng.uniform(*config.snr_db)
            for _ in range(1 + rng.poisson(chunks * CHUNK_S / 15.0) if chunks > 1 else 1):
                stretch = self._stretch(rng, recording, length)
                gain = from_db(snr_db + rng.uniform(-2, 2))
                begin = int(rng.integers(-stretch.size // 3, length - stretch.size + 1))
                layers.append(stretch.layer(number, gain, begin))
                self._label(target, known, stretch, begin)
                place = slice(begin, begin + stretch.size)
                source = (stretch.begin, stretch.variation.speed)
                states.place(recording, self._columns(recording), source, place)
        return self._scene(Draft(bed, tuple(layers)), (target, known), states, weak=False)

    def _weak(self, rng: np.random.Generator, chunks: int, length: int) -> Scene:
        config = self._config
        record = np.zeros(len(self._labels), np.float32)
        known = np.ones_like(record)
        states = TokenStates(chunks * TOKENS_PER_CHUNK, len(self._labels))
        share = rng.beta(config.mixup_alpha, config.mixup_alpha)
        gains = (share, 1.0 - share) if rng.random() < config.mixup_chance else (1.0,)
        bed, layers = self._bed(rng, length), []
        snr = from_db(rng.uniform(*config.weak_snr_db))
        for gain in gains:
            number = self._draw(rng)
            recording = self._recordings[number]
            own = self._index[recording.clip.label]
            draws = 3 if config.loud_crops else 1
            own_noise = self._own_share(rng)
            variation = draw_variation(rng, config.vary)
            # Played slower, the end of a crop is not heard.
            heard = min(length, int(length * variation.speed))
            begin = smart_crop(rng, recording, heard, config.edge_crop_share, own, draws)
            sounding = _sounding(begin, length, len(recording.samples), variation.speed)
            layers.append(
                Layer(
                    number,
                    begin,
                    length,
                    own_noise,
                    variation,
                    faded=False,
                    sounding=sounding,
                    gain=gain * snr,
                    place=0,
                )
            )
            source = (begin, variation.speed)
            states.place(recording, self._columns(recording), source, slice(0, length))
            if recording.is_nocall(begin, heard):
                continue
            for label in recording.clip.secondary_labels:
                if label in self._index and chunks >= config.secondary_chunks:
                    column = self._index[label]
                    record[column] = max(record[column], config.secondary_target)
                elif label in self._index:
                    known[self._index[label]] = 0.0
            record[own] = 1.0
        known[record == 1.0] = 1.0
        rows = np.tile(record, (chunks, 1)), np.tile(known, (chunks, 1))
        return self._scene(Draft(bed, tuple(layers)), rows, states, weak=True)

    def _scene(
        self,
        draft: Draft,
        rows: tuple[Floats, Floats],
        states: TokenStates,
        *,
        weak: bool,
    ) -> Scene:
        target, known = rows
        may_hold_birds = draft.bed.may_hold_birds
        self._any_bird(target, known, may_hold_birds)
        column = self._index.get(ANY_BIRD)
        if column is not None:
            states.any_bird(column, self._birds, may_hold_birds=may_hold_birds)
        return Scene(draft, target, known, weak, *states.arrays())

    def _any_bird(self, target: Floats, known: Floats, may_hold_birds: bool) -> None:
        """Fill the column of ANY_BIRD from the others: yes where any bird is, no where all are
        known to be absent, else unknown."""
        column = self._index.get(ANY_BIRD)
        if column is None:
            return
        present = target[:, self._birds].max(axis=1)
        sure_absent = (known[:, self._birds] == 1.0).all(axis=1) & (not may_hold_birds)
        target[:, column] = present
        known[:, column] = np.where((present > 0) | sure_absent, 1.0, 0.0)

    def _draw(self, rng: np.random.Generator) -> int:
        """The number of a recording."""
        label = self._labels[int(rng.choice(len(self._labels), p=self._chances))]
        numbers = self._by_label[label]
        return numbers[int(rng.integers(len(numbers)))]

    def _bed(self, rng: np.random.Generator, length: int) -> BedDraft:
        config = self._config
        return self._beds.draw(
            rng,
            length,
            level=from_db(rng.uniform(*config.bed_dbfs)),
            recorded_chance=config.bed_chance,
            own_chance=config.own_noise_chance,
        )

    def _own_share(self, rng: np.random.Generator) -> float:
        """How much of a source's own noise stays in it: all of it, or less."""
        return float(rng.random() if rng.random() < self._config.vary.own_noise_chance else 1.0)

    def _columns(self, recording: Recording) -> list[int]:
        """The classes that the recording's metadata name, its own first."""
        clip = recording.clip
        named = (clip.label, *clip.secondary_labels)
        return [self._index[label] for label in named if label in self._index]

    def _stretch(self, rng: np.random.Generator, recording: Recording, length: int) -> Stretch:
        """A loud stretch, faded at both ends, with the loudness of each frame as it is played."""
        low, high = np.log(self._config.stretch_s)
        wanted = int(np.exp(rng.uniform(low, high)) * SAMPLE_RATE_HZ)
        size = min(wanted, length, len(recording.samples))
        own = self._index[recording.clip.label]
        begin = call_frame(rng, recording, own) * TOKEN_SAMPLES // FRAMES_PER_TOKEN
        begin -= int(rng.uniform(0.1, 0.9) * size)
        begin = int(np.clip(begin, 0, len(recording.samples) - size))
        first = begin * FRAMES_PER_TOKEN // TOKEN_SAMPLES
        own_noise = self._own_share(rng)
        variation = draw_variation(rng, self._config.vary)
        speed = variation.speed
        frames = np.arange(size * FRAMES_PER_TOKEN // TOKEN_SAMPLES)
        # Played faster, frame 10 sounds what was recorded further on, and the end is silence.
        places = first + (frames * speed).astype(int)
        loud = np.append(recording.loudness, np.float32(0.0))
        inside = places < first + len(frames)
        # Loud is not enough where pseudo labels say that somebody else is.
        heard = inside & may_call(recording, own, places // FRAMES_PER_TOKEN)
        loudness = loud[np.where(heard, np.minimum(places, len(loud) - 1), len(loud) - 1)]
        return Stretch(recording, size, loudness, begin, own_noise, variation)

    def _label(self, target: Floats, known: Floats, stretch: Stretch, begin: int) -> None:
        """Write a placed stretch into the chunk labels; what is not sure becomes unknown."""
        chunks = len(target)
        first = begin * FRAMES_PER_TOKEN // TOKEN_SAMPLES
        frames = first + np.arange(len(stretch.loudness))
        inside = (frames >= 0) & (frames < chunks * _FRAMES_PER_CHUNK)
        chunk_of = frames[inside] // _FRAMES_PER_CHUNK
        loud = np.bincount(chunk_of, stretch.loudness[inside] >= _SURE_LOUDNESS, minlength=chunks)
        touched = np.bincount(chunk_of, minlength=chunks) > 0
        sure = loud >= SURE_FRAMES
        column, *others = self._columns(stretch.recording)
        known[touched & ~sure & (target[:, column] == 0), column] = 0.0
        target[sure, column] = 1.0
        known[sure, column] = 1.0
        for other in others:
            known[touched & (target[:, other] == 0), other] = 0.0


def _weight(label: str, core: set[str], config: SceneConfig) -> float:
    if label in core:
        return 1.0
    return config.imagined_weight if is_imagined(label) else config.auxiliary_weight


def _source_count(rng: np.random.Generator, chunks: int) -> int:
    """How many individuals call; longer scenes hold more, and some hold none."""
    if chunks == 1:
        return int(rng.choice(4, p=(0.2, 0.4, 0.28, 0.12)))
    return int(min(6, rng.poisson(1.0 + 0.5 * chunks**0.5)))


def _sounding(begin: int, length: int, recorded: int, speed: float) -> tuple[int, int]:
    """Where a crop of `length` samples from `begin` holds sound, once it is played `speed` times as
    fast: the padding around short clips must not set their level. All of the crop when nothing is
    left of the clip in it."""
    first, last = max(0, -begin), min(length, recorded - begin)
    start, stop = int(first / speed), min(length, int(last / speed))
    return (start, stop) if stop > start else (0, length)
