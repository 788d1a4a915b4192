"""What a training works with: clips and backgrounds, decoded, with an account of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorder.detect.mel import MelConfig
from recorder.errors import ConfigError
from train.config import TrainConfig
from train.data import Noise, Recording, load_noise, load_recordings, other_birds
from train.dataset import Clip, Dataset, core_labels, key, read_dataset, read_split
from train.hand_labels import HAND_LABELS, read_hand_labels
from train.scenes import ANY_BIRD

Say = Callable[[str], None]

_TOLD = 3


@dataclass(frozen=True)
class Material:
    """Everything that scenes are made of."""

    recordings: list[Recording]
    noise: list[Noise]
    labels: list[str]
    """The classes in the order of the net's outputs: core, ANY_BIRD if trained, then the others."""
    core: list[str]
    """The classes that are judged and exported."""
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
    for line in dataset.problems():
        say(line)
    clips = training_clips(dataset, config.labels_excluded)
    strangers = other_birds([here / folder for folder in config.other_birds], ANY_BIRD)
    hand_labels = read_hand_labels(dataset.folder / HAND_LABELS)
    loaded = load_recordings([*clips, *strangers], mel, hand_labels)
    strays = sorted(set(hand_labels) - {key(clip) for clip in dataset.clips})
    if strays:
        say(f"{len(strays)} rows of {HAND_LABELS} name no clip, the first {strays[0]}")
    _tell(loaded.unusable, "cannot be used", say)
    _tell(loaded.damaged, "are damaged, and used as far as they can be read", say)
    used = Counter(one.clip.label for one in loaded.recordings if one.clip.label != ANY_BIRD)
    if not used:
        raise ConfigError(f"none of the {len(clips)} clips of {dataset.folder} can be used")
    core = [label for label in core_labels(dataset) if label in used]
    gone = sorted({clip.label for clip in dataset.clips} - set(used) - set(config.labels_excluded))
    if gone:
        say(f"no clip to train on, so no class: {', '.join(gone)}")
    noise_folders = [here / folder for folder in config.noise]
    return Material(
        loaded.recordings,
        load_noise(noise_folders, config.noise_excluded, config.noise_unsure),
        [*core, *[ANY_BIRD] * config.any_bird, *sorted(set(used) - set(core))],
        core,
        {
            "clips_used": dict(sorted(used.items())),
            "labels_without_a_clip": gone,
            "hand_labels_of_no_clip": strays,
            "listed_without_audio": [str(path) for path in dataset.missing],
            "audio_not_listed": [str(path) for path in dataset.unlisted],
            "unusable": {str(path): reason for path, reason in loaded.unusable.items()},
            "damaged": {str(path): remark for path, remark in loaded.damaged.items()},
        },
    )


def training_clips(dataset: Dataset, excluded: Iterable[str]) -> list[Clip]:
    """The clips of the split `train`, or all of them when there is no split."""
    split = read_split(dataset.folder)
    words = set(excluded)
    return [
        clip
        for clip in dataset.clips
        if clip.label not in words and (split is None or _part(split, clip) == "train")
    ]


def _part(split: dict[str, str], clip: Clip) -> str | None:
    """A split may name `FILE`, or `LABEL/FILE` where file names repeat."""
    return split.get(key(clip), split.get(clip.path.name))


def _tell(files: dict[Path, str], what: str, say: Say) -> None:
    if not files:
        return
    say(f"{len(files)} clip{'s' if len(files) > 1 else ''} {what}:")
    for path in sorted(files)[:_TOLD]:
        say(f"  {path}: {files[path]}")
    if len(files) > _TOLD:
        say(f"  and {len(files) - _TOLD} more: material.json names them all")
