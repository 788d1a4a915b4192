"""What a training works with: clips and backgrounds, decoded, with an account of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import SAMPLE_RATE_HZ, TOKEN_SAMPLES, MelConfig
from recorder.errors import ConfigError
from train.clips.cache import ClipCache
from train.clips.dataset import SPLIT, Clip, Dataset, check_labels, core_labels, key, read_dataset
from train.clips.folds import divided
from train.clips.hand_labels import HAND_LABELS, HandLabel, read_hand_labels
from train.clips.recordings import (
    Loaded,
    Noise,
    Prepare,
    Recording,
    load_recordings,
    other_birds,
    prepared,
)
from train.config import TrainConfig
from train.invented.imagined import imagined_recordings, is_imagined
from train.material.jury import Jury, folds_table, is_labelled, jury_and_noise
from train.material.made_of import made_of
from train.scenes.pseudo import read_pseudo_labels
from train.scenes.pseudo_targets import found_nowhere
from train.scenes.scene import ANY_BIRD

Say = Callable[[str], None]

_TOLD = 3


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
    made_of: dict[str, str]
    """A hash of each kind of file that it was made of."""

    @property
    def clips(self) -> list[Clip]:
        """The clips of the classes: without birds of no class, and those that do not exist."""
        return [one.clip for one in self.recordings if _is_real(one.clip.label)]


def gather(config: TrainConfig, config_path: Path, mel: MelConfig, *, say: Say) -> Material:
    """Read and decode what the configuration names; `say` is told what is wrong with it.

    ConfigError when nothing is left to train on.
    """
    if config.segmentation_share and not config.pseudo_labels:
        raise ConfigError(
            f"step {config.step} needs pseudo labels: make them with `birdrec train pseudo-label`, "
            "and name their folder with --pseudo-labels"
        )
    here = config_path.parent
    listed = _listed(config, here, say)
    decode = _decoder(config, here, mel, listed.hand_labels, say)
    strangers = other_birds([here / folder for folder in config.other_birds], ANY_BIRD)
    loaded = decode([*listed.clips, *strangers])
    _tell(loaded, say)
    recordings, too_long = _short_enough(loaded.recordings, config.max_clip_s)
    if too_long:
        say(f"{len(too_long)} clips are longer than {config.max_clip_s:g} s, and do not train")
    used = Counter(one.clip.label for one in recordings if _is_real(one.clip.label))
    if not used:
        raise ConfigError(f"none of the {len(listed.clips)} clips of {config.dataset} can be used")
    core = [label for label in core_labels(listed.dataset) if label in used]
    there = {clip.label for clip in listed.dataset.clips} - set(config.labels_excluded)
    gone = sorted(there - set(used))
    if gone:
        say(f"no clip to train on, so no class: {', '.join(gone)}")
    imagined = imagined_recordings(config.imagined_species, config.imagined_each, config.seed)
    others = sorted((set(used) | {one.clip.label for one in imagined}) - set(core))
    labels = [*core, *[ANY_BIRD] * config.any_bird, *others]
    labelled = is_labelled(config, listed.dataset.folder)
    judges = [] if labelled else [clip for clip in listed.held_out if clip.label in core]
    unseen = decode(judges)
    _tell(unseen, say)
    jury, noise = jury_and_noise(config, here, listed.dataset.folder, core, unseen.recordings)
    say(f"judged by {jury.words}")
    recordings = _with_pseudo_labels([*recordings, *imagined], labels, config, here)
    without, nowhere = _unsure(recordings, labels) if config.pseudo_labels else (0, 0)
    if without:
        say(f"{without} clips have no pseudo labels: no token of them is sure")
    if nowhere:
        say(
            f"in {nowhere} clips the pseudo labels find the clip's own species nowhere: they are "
            "cut as in step 1"
        )
    account = {
        "judged_by": jury.words,
        "clips_used": dict(sorted(used.items())),
        "labels_without_a_clip": gone,
        "too_long": [str(clip.path) for clip in too_long],
        "without_pseudo_labels": without,
        "found_nowhere_by_pseudo_labels": nowhere,
        "unusable": _reasons({**loaded.unusable, **unseen.unusable}),
        "damaged": _reasons({**loaded.damaged, **unseen.damaged}),
        **listed.account,
    }
    return Material(
        recordings,
        noise,
        labels,
        core,
        jury,
        account,
        made_of(config, here, listed.dataset.folder, [one.clip for one in loaded.recordings]),
    )


@dataclass(frozen=True)
class _Listed:
    """Which clips there are, before any is decoded."""

    dataset: Dataset
    hand_labels: dict[str, HandLabel]
    clips: list[Clip]
    held_out: list[Clip]
    account: dict[str, list[str]]


def _listed(config: TrainConfig, here: Path, say: Say) -> _Listed:
    dataset = read_dataset(here / config.dataset)
    marks = here / config.hand_labels if config.hand_labels else dataset.folder / HAND_LABELS
    if config.hand_labels and not marks.is_file():
        raise ConfigError(f"hand_labels: {marks} is not there")
    hand_labels = read_hand_labels(marks)
    account = _account(dataset, hand_labels)
    for line in [*dataset.problems(), *account["hand_labels_of_no_clip"]]:
        say(line)
    for key_name in ("labels_excluded", "not_birds"):
        check_labels(dataset, key_name, getattr(config, key_name))
    table = folds_table(config, here, dataset.folder)
    clips, held_out = divided(
        dataset, config.fold, config.labels_excluded, table, with_val=config.train_on_val
    )
    nowhere = _in_no_part(dataset, [*clips, *held_out], config)
    if nowhere:
        say(f"{len(nowhere)} clips are in no part of {SPLIT}, and not used: {nowhere[0]} first")
    account["in_no_part_of_the_split"] = nowhere
    return _Listed(dataset, hand_labels, clips, held_out, account)


def _in_no_part(dataset: Dataset, divided_clips: list[Clip], config: TrainConfig) -> list[str]:
    """Clips that the split forgot: it names neither `train` nor `val` for them."""
    if config.fold >= 0:
        return []
    left = set(dataset.clips) - set(divided_clips)
    return sorted(key(clip) for clip in left if clip.label not in config.labels_excluded)


def _is_real(label: str) -> bool:
    return label != ANY_BIRD and not is_imagined(label)


def _decoder(
    config: TrainConfig, here: Path, mel: MelConfig, hand_labels: dict[str, HandLabel], say: Say
) -> Callable[[list[Clip]], Loaded]:
    """What decodes clips, through the cache if there is one."""
    prepare: Prepare = prepared
    if config.cache:
        prepare = ClipCache(here / config.cache, config.cache_gb * 1e9, say=say).prepare
    return lambda clips: load_recordings(clips, mel, hand_labels, prepare)


def _short_enough(
    recordings: list[Recording], longest_s: float
) -> tuple[list[Recording], list[Clip]]:
    """§2.2(2): in long clips more stretches are silent. 0 takes them all."""
    if not longest_s:
        return recordings, []
    most = longest_s * SAMPLE_RATE_HZ
    short = [one for one in recordings if len(one.samples) <= most]
    return short, [one.clip for one in recordings if len(one.samples) > most]


def _with_pseudo_labels(
    recordings: list[Recording], labels: list[str], config: TrainConfig, here: Path
) -> list[Recording]:
    """The recordings with the pseudo labels of steps 2 and 3."""
    if not config.pseudo_labels:
        return recordings
    pseudo = read_pseudo_labels(
        here / config.pseudo_labels, [label for label in labels if not is_imagined(label)]
    )
    return [_with_pseudo(one, pseudo.of(one.clip, labels)) for one in recordings]


def _unsure(recordings: list[Recording], labels: list[str]) -> tuple[int, int]:
    """How many clips have no pseudo labels, and in how many these find its species nowhere."""
    own = [one for one in recordings if _is_real(one.clip.label)]
    nowhere = [one for one in own if found_nowhere(one, labels.index(one.clip.label))]
    without = sum(one.pseudo is None for one in own)
    return without, len(nowhere) - without


def _with_pseudo(recording: Recording, scores: NDArray[np.uint8] | None) -> Recording:
    tokens = -(-len(recording.samples) // TOKEN_SAMPLES)
    if scores is not None and len(scores) != tokens:
        raise ConfigError(
            f"the pseudo labels of {key(recording.clip)} have {len(scores)} tokens, the clip has "
            f"{tokens}: they were made of another file, or with other hand labels"
        )
    return recording.with_pseudo(scores)


def _account(dataset: Dataset, hand_labels: dict[str, HandLabel]) -> dict[str, list[str]]:
    strays = sorted(set(hand_labels) - {key(clip) for clip in dataset.clips})
    return {
        "listed_without_audio": [str(path) for path in dataset.missing],
        "audio_not_listed": [str(path) for path in dataset.unlisted],
        "hand_labels_of_no_clip": [f"{HAND_LABELS}: {name} is no clip" for name in strays],
    }


def _reasons(files: dict[Path, str]) -> dict[str, str]:
    return {str(path): reason for path, reason in files.items()}


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
