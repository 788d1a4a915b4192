"""Weakly labelled recordings and backgrounds, decoded and ready to be cropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from recorder.detect.mel import (
    FRAMES_PER_TOKEN,
    SAMPLE_RATE_HZ,
    TOKEN_SAMPLES,
    MelConfig,
    log_mel,
    samples_needed,
)
from recorder.errors import AudioFileError, ConfigError
from recorder.sound.files.whole import read_mono, read_with_remark
from train.clips.dataset import Clip, audio_below, key
from train.clips.denoise import denoised
from train.clips.hand_labels import HandLabel, without_voice

_SMOOTH_FRAMES = 9
_RISE_FLOOR = 0.5
"""A band counts from 5 dB above its own median over the clip..."""
_RISE_CAP = 1.0
"""...and no more than 10 dB further: one loud low band must not outweigh a call."""
ACTIVE_LOUDNESS = 0.08
"""A frame is active from this share of the way up from the quiet to the loud frames."""
_QUIET, _LOUD = 0.1, 0.95
"""The quantiles over the clip that stand for quiet and loud."""


@dataclass(frozen=True)
class Recording:
    """A decoded clip."""

    clip: Clip
    samples: NDArray[np.int16]  # 32 kHz mono, full scale 32767
    loudness: NDArray[np.float32]  # [frames], hop 312.5 samples: 0 quiet, 1 among the loudest
    calls: NDArray[np.int16]  # `samples` without their own steady noise
    nocall: NDArray[np.bool_] | None = None  # [frames], where somebody heard that nothing calls
    pseudo: NDArray[np.uint8] | None = None  # [tokens, classes], pseudo labels: 255 stands for 1

    @property
    def active(self) -> NDArray[np.bool_]:
        """[frames]: where anything is heard."""
        return np.asarray(self.loudness > ACTIVE_LOUDNESS)

    def is_nocall(self, begin: int, length: int) -> bool:
        """Whether all of the recording between these samples lies where nothing calls (§2.2)."""
        if self.nocall is None:
            return False
        first, last = (
            max(0, edge) * FRAMES_PER_TOKEN // TOKEN_SAMPLES for edge in (begin, begin + length)
        )
        inside = self.nocall[first:last]
        return bool(len(inside) and inside.all())

    def own_noise(self, places: NDArray[np.intp]) -> NDArray[np.float32]:
        """What is left of the recording without its calls, at these samples."""
        return self.samples[places].astype(np.float32) - self.calls[places]

    def piece(self, begin: int, length: int, *, own_noise: float = 1.0) -> NDArray[np.float32]:
        """[length] samples from `begin`, silence where the recording has none.

        `own_noise` is the share of the recording's own noise that stays in, 0 to 1.
        """
        out = np.zeros(length, np.float32)
        place = slice(max(0, begin), max(0, begin + length))
        inside = self.samples[place].astype(np.float32)
        if own_noise < 1.0:
            inside += np.float32(1.0 - own_noise) * (self.calls[place] - inside)
        start = max(0, -begin)
        out[start : start + len(inside)] = inside * np.float32(1 / 32767)
        return out

    def with_pseudo(self, pseudo: NDArray[np.uint8] | None) -> Recording:
        """The same recording with these pseudo labels."""
        return replace(self, pseudo=pseudo)


@dataclass(frozen=True)
class Noise:
    """A decoded background."""

    samples: NDArray[np.int16]  # 32 kHz mono
    may_hold_birds: bool = False


@dataclass(frozen=True)
class Loaded:
    """Decoded clips, and what was wrong with the files."""

    recordings: list[Recording]
    unusable: dict[Path, str]
    """Not among the recordings: they cannot be read, or hold nothing."""
    damaged: dict[Path, str]
    """Among the recordings, as far as they can be read."""


Prepare = Callable[[Clip, MelConfig, HandLabel], tuple[Recording, str]]
"""What `prepared` does, or a cache of it (`train.clips.cache`)."""


def prepared(clip: Clip, mel: MelConfig, label: HandLabel) -> tuple[Recording, str]:
    """A clip, decoded, and what is wrong with the part that could be read ("": nothing).

    What somebody marked as a human voice is cut out, and where they marked that nothing calls
    no frame is loud (§2.2). AudioFileError says why nothing of it can be used.
    """
    samples, remark = read_with_remark(clip.path, SAMPLE_RATE_HZ)
    samples, nocall = without_voice(samples, label, SAMPLE_RATE_HZ)
    if not len(samples):
        raise AudioFileError("its hand label says that all of it is a human voice")
    return _recording(clip, samples, nocall, mel), remark


def load_recordings(
    clips: Iterable[Clip],
    mel: MelConfig,
    hand_labels: Mapping[str, HandLabel] | None = None,
    prepare: Prepare = prepared,
) -> Loaded:
    """Prepare every clip; a bad file stops nothing, and is named with its reason."""
    loaded = Loaded([], {}, {})
    for clip in clips:
        try:
            recording, remark = prepare(clip, mel, (hand_labels or {}).get(key(clip), HandLabel()))
        except AudioFileError as error:
            loaded.unusable[clip.path] = str(error)
            continue
        if remark:
            loaded.damaged[clip.path] = remark
        loaded.recordings.append(recording)
    return loaded


def load_noise(
    folders: Iterable[Path], excluded: Iterable[str], unsure: Iterable[str] = ()
) -> list[Noise]:
    """Every background of `background_files`, decoded. ConfigError when one cannot be."""
    return [
        Noise(_background(path), doubt)
        for path, doubt in background_files(folders, excluded, unsure)
    ]


def background_files(
    folders: Iterable[Path], excluded: Iterable[str], unsure: Iterable[str] = ()
) -> list[tuple[Path, bool]]:
    """(file, may it hold birds?) of all below `folders` whose name holds no excluded word.

    Those whose path below the folder holds one of the words `unsure` may hold birds. ConfigError
    when a folder has none, or a word is in no name: misspelt, it would let in what it should not.
    """
    words, unsure_words = tuple(excluded), tuple(unsure)
    files, names = [], []
    for folder in folders:
        below = audio_below(folder)
        found = [path for path in below if not any(word in path.name for word in words)]
        if not found:
            raise ConfigError(f"no noise found in {folder}")
        files += [
            (path, any(w in str(path.relative_to(folder)) for w in unsure_words)) for path in found
        ]
        names += [str(path.relative_to(folder)) for path in below]
    if files:
        _all_are_met("noise_excluded", words, [Path(name).name for name in names])
        _all_are_met("noise_unsure", unsure_words, names)
    return files


def _all_are_met(key_name: str, words: Iterable[str], names: list[str]) -> None:
    for word in words:
        if not any(word in name for name in names):
            raise ConfigError(f"{key_name}: no background has {word!r} in its name")


def _background(path: Path) -> NDArray[np.int16]:
    try:
        return _to_int16(read_mono(path, SAMPLE_RATE_HZ))
    except AudioFileError as error:
        raise ConfigError(
            f"noise {path} cannot be read ({error}): take it out, or name it in noise_excluded"
        ) from error


def other_birds(folders: Iterable[Path], label: str) -> list[Clip]:
    """Clips of birds that are none of the classes: one for each recording below `folders`."""
    clips = []
    for folder in folders:
        paths = audio_below(folder)
        if not paths:
            raise ConfigError(f"no recordings of other birds found in {folder}")
        clips += [Clip(path, label) for path in paths]
    return clips


def loudness(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """How loud each frame of a log-mel [frames, bands] is against the clip's own background.

    The rise of each band over its median, in smoothed log power, is summed over the bands and
    put on a scale from the clip's quiet frames (0) to its loud ones (1): steady noise drops out,
    whatever its colour. (Summing power instead marks gusts and handling noise, which hold far
    more of it than birds do: mean frame F1 .45 on seven strongly labelled recordings, against
    .75 for this above ACTIVE_LOUDNESS, whose constants were chosen on them, and .73 for calling
    every frame active.)
    """
    smooth = uniform_filter1d(frames, _SMOOTH_FRAMES, axis=0)
    rise = smooth - np.median(smooth, axis=0)
    excess = np.clip(rise - _RISE_FLOOR, 0.0, _RISE_CAP).sum(axis=1)
    quiet, loud = np.quantile(excess, (_QUIET, _LOUD))
    scale = np.float32(max(float(loud - quiet), 1e-5))
    share: NDArray[np.float32] = ((excess - np.float32(quiet)) / scale).clip(0.0, 1.0)
    return share.astype(np.float32, copy=False)


def _recording(
    clip: Clip, samples: NDArray[np.float32], nocall: NDArray[np.bool_], mel: MelConfig
) -> Recording:
    tokens = -(-len(samples) // TOKEN_SAMPLES)
    padded = np.pad(samples, (0, max(0, samples_needed(tokens, mel) - len(samples))))
    frames = len(samples) * FRAMES_PER_TOKEN // TOKEN_SAMPLES
    loud = loudness(log_mel(padded, tokens, mel)[: max(1, frames)])
    begins = np.minimum(np.arange(len(loud)) * TOKEN_SAMPLES // FRAMES_PER_TOKEN, len(nocall) - 1)
    silent = nocall[begins]
    kept = _to_int16(samples)
    return Recording(
        clip,
        kept,
        np.where(silent, np.float32(0.0), loud),
        denoised(kept),
        silent if silent.any() else None,
    )


def _to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
