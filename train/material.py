"""What a training works with: clips and backgrounds, decoded, with an account of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recorder.detect.mel import MelConfig
from recorder.errors import ConfigError
from train.config import TrainConfig
from train.data import Loaded, Noise, Recording, load_noise, load_recordings, other_birds
from train.dataset import Clip, Dataset, core_labels, key, read_dataset, read_split
from train.folds import FOLDS, read_folds
from train.hand_labels import HAND_LABELS, HandLabel, read_hand_labels
from train.scenes import ANY_BIRD
from train.soundscapes import SOUNDSCAPES

Say = Callable[[str], None]

_TOLD = 3
_HELD_OUT_NOISE = 5
"""Every fifth background is kept for the soundscapes that judge."""


@dataclass(frozen=True)
class Jury:
    """What says how good the net is."""

    words: str
    recordings: list[Recording] = field(default_factory=list)
    """Held-out recordings of the core classes, to compose soundscapes from; none when there are
    labelled soundscapes, or nothing at all."""
    noise: list[Noise] = field(default_factory=list)


@dataclass(frozen=True)
class Material:
    """Everything that scenes are made of, and what the net is judged by."""

    recordings: list[Recording]
    noise: list[Noise]
    labels: list[str]
    """The classes in the order of the net's outputs: core, ANY_BIRD if trained, then the others."""
    core: list[str]
    """The classes that are judged and exported."""
    jury: Jury
    account: dict[str, Any]
    """How many clips of each label are used, and which files are not, with the reason."""

    @property
    def clips(self) -> list[Clip]:
        """The clips of the classes, without those of birds of no class."""
        return [one.clip for one in self.recordings if one.clip.label != ANY_BIRD]


def gather(config: TrainConfig, config_path: Path, mel: MelConfig, *, say: Say) -> Material:
    """Read and decode what the configuration names; `say` is told what is wrong with it.

    ConfigError when nothing is left to train on.
    """
    here = config_path.parent
    dataset = read_dataset(here / config.dataset)
    hand_labels = read_hand_labels(dataset.folder / HAND_LABELS)
    account = _account(dataset, hand_labels)
    for line in [*dataset.problems(), *account["hand_labels_of_no_clip"]]:
        say(line)
    clips, held_out = divided(dataset, config.fold, config.labels_excluded)
    strangers = other_birds([here / folder for folder in config.other_birds], ANY_BIRD)
    loaded = load_recordings([*clips, *strangers], mel, hand_labels)
    _tell(loaded, say)
    used = Counter(one.clip.label for one in loaded.recordings if one.clip.label != ANY_BIRD)
    if not used:
        raise ConfigError(f"none of the {len(clips)} clips of {dataset.folder} can be used")
    core = [label for label in core_labels(dataset) if label in used]
    gone = sorted({clip.label for clip in dataset.clips} - set(used) - set(config.labels_excluded))
    if gone:
        say(f"no clip to train on, so no class: {', '.join(gone)}")
    noise = load_noise(
        [here / folder for folder in config.noise], config.noise_excluded, config.noise_unsure
    )
    judges = [clip for clip in held_out if clip.label in core]
    jury = _jury(dataset, load_recordings(judges, mel, hand_labels).recordings, noise)
    say(f"judged by {jury.words}")
    return Material(
        loaded.recordings,
        [one for one in noise if not any(one is kept for kept in jury.noise)],
        [*core, *[ANY_BIRD] * config.any_bird, *sorted(set(used) - set(core))],
        core,
        jury,
        {
            "judged_by": jury.words,
            "clips_used": dict(sorted(used.items())),
            "labels_without_a_clip": gone,
            "unusable": {str(path): reason for path, reason in loaded.unusable.items()},
            "damaged": {str(path): remark for path, remark in loaded.damaged.items()},
            **account,
        },
    )


def divided(dataset: Dataset, fold: int, excluded: Iterable[str]) -> tuple[list[Clip], list[Clip]]:
    """The clips that train and those that are held out.

    By `folds.csv` when a fold is asked for (0 or more), else by `split_by_session.csv`, and
    without that all clips train. ConfigError when the fold is not there.
    """
    words = set(excluded)
    clips = [clip for clip in dataset.clips if clip.label not in words]
    if fold < 0:
        split = read_split(dataset.folder)
        if split is None:
            return clips, []
        parts = [split.get(key(clip), split.get(clip.path.name)) for clip in clips]
        return _where(clips, parts, "train"), _where(clips, parts, "val")
    path = dataset.folder / FOLDS
    if not path.is_file():
        raise ConfigError(f"fold = {fold}, but there is no {path}: run birdrec train folds")
    folds = read_folds(path)
    new = [clip for clip in clips if key(clip) not in folds.of]
    if fold >= folds.count:
        raise ConfigError(f"fold = {fold}, but {path} has the folds 0 to {folds.count - 1}")
    if new:
        raise ConfigError(
            f"{path} lacks {len(new)} clips, the first {key(new[0])}: run birdrec train folds again"
        )
    parts = ["val" if folds.of[key(clip)] == fold else "train" for clip in clips]
    return _where(clips, parts, "train"), _where(clips, parts, "val")


def _where(clips: list[Clip], parts: list[Any], part: str) -> list[Clip]:
    return [clip for clip, one in zip(clips, parts, strict=True) if one == part]


def _jury(dataset: Dataset, held_out: list[Recording], noise: list[Noise]) -> Jury:
    """Labelled soundscapes, or recordings to compose some from, or nobody."""
    if (dataset.folder / SOUNDSCAPES).is_dir():
        return Jury("labelled soundscapes")
    if not held_out:
        return Jury("nothing: no labelled soundscapes, and no recordings held out (fold = 0)")
    kept = noise[::_HELD_OUT_NOISE] if len(noise) >= _HELD_OUT_NOISE else noise
    recordings, labels = len(held_out), len({one.clip.label for one in held_out})
    words = f"soundscapes composed from {recordings} held-out recordings of {labels} labels"
    return Jury(words, held_out, kept)


def _account(dataset: Dataset, hand_labels: dict[str, HandLabel]) -> dict[str, list[str]]:
    strays = sorted(set(hand_labels) - {key(clip) for clip in dataset.clips})
    return {
        "listed_without_audio": [str(path) for path in dataset.missing],
        "audio_not_listed": [str(path) for path in dataset.unlisted],
        "hand_labels_of_no_clip": [f"{HAND_LABELS}: {name} is no clip" for name in strays],
    }


def _tell(loaded: Loaded, say: Say) -> None:
    for files, what in (
        (loaded.unusable, "cannot be used"),
        (loaded.damaged, "are damaged, and used as far as they can be read"),
    ):
        if not files:
            continue
        say(f"{len(files)} clip{'s' if len(files) > 1 else ''} {what}:")
        for path in sorted(files)[:_TOLD]:
            say(f"  {path}: {files[path]}")
        if len(files) > _TOLD:
            say(f"  and {len(files) - _TOLD} more: material.json names them all")
