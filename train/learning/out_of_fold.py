"""Pseudo labels are made out of fold (§2.4): a net remembers the clips that it was trained on, so
each clip is read by the nets whose fold held it out, and by no other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recorder import __version__
from recorder.detect.mel import TOKEN_SAMPLES, log_mel, samples_needed
from recorder.detect.postprocess import sigmoid
from recorder.errors import ConfigError
from recorder.keep.formats import make_writable, write_json
from train.clips.dataset import Clip, Dataset, key, read_dataset
from train.clips.folds import divided
from train.clips.hand_labels import HAND_LABELS, read_hand_labels
from train.clips.recordings import Recording, load_recordings
from train.learning.checkpoint import Checkpoint, read_checkpoint
from train.learning.distributed import own_device
from train.nets.predict import average_known, token_logits
from train.scenes.pseudo import PROVENANCE, write_clip


def write_pseudo_labels(
    checkpoints: list[Path],
    dataset_folder: Path,
    out: Path,
    *,
    folds: Path | None = None,
    hand_labels: Path | None = None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Let each net read the clips that it never saw; returns the provenance.

    `folds` and `hand_labels` are the tables that the nets were trained with, by default those of
    the dataset. Nets of one fold are combined by their power average (§2.5(2)); of a class that
    none of them has, because the fold holds all clips of it, nothing is known. ConfigError when a
    net is a classifier, held nothing out or was trained on what it should have held out;
    UsageError when `out` cannot be written to.
    """
    make_writable(out)
    (out / PROVENANCE).unlink(missing_ok=True)
    dataset = read_dataset(dataset_folder)
    nets = [read_checkpoint(path) for path in checkpoints]
    _check_kind(nets, checkpoints)
    for one in nets:
        one.net.to(own_device())
    readers = _readers(nets, checkpoints, dataset, folds)
    labels = list(dict.fromkeys(label for net in nets for label in net.content["labels"]))
    marks = read_hand_labels(hand_labels or dataset.folder / HAND_LABELS)
    read, done = [0] * len(nets), []
    mel = nets[0].mel
    for clip in sorted({clip for clips in readers for clip in clips}, key=key):
        loaded = load_recordings([clip], mel, marks)
        for path, reason in loaded.unusable.items():
            say(f"{path} cannot be read, and has no pseudo labels: {reason}")
        for recording in loaded.recordings:
            those = [index for index, clips in enumerate(readers) if clip in clips]
            each = [token_scores(nets[index], recording, labels) for index in those]
            write_clip(out, clip, average_known(each, nobody=np.nan))
            done.append(key(clip))
            for index in those:
                read[index] += 1
    lonely = [clip for clip in dataset.clips if not any(clip in clips for clips in readers)]
    if lonely:
        say(f"{len(lonely)} clips were held out by no net, and have no pseudo labels")
    provenance = {
        "birdrec": __version__,
        "dataset": dataset.folder.name,
        "labels": labels,
        "nets": [
            {
                "checkpoint": path.name,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "fold": net.content["config"]["fold"],
                "step": net.content["config"].get("step", 1),
                "clips_read": count,
            }
            for path, net, count in zip(checkpoints, nets, read, strict=True)
        ],
        "clips_without": len(lonely),
        "clips": done,
    }
    write_json(out / PROVENANCE, provenance)
    return provenance


def token_scores(net: Checkpoint, recording: Recording, labels: list[str]) -> NDArray[np.float32]:
    """[tokens, len(labels)]: all of the recording in one window, the last token padded by silence;
    NaN for a class that the net does not have."""
    tokens = -(-len(recording.samples) // TOKEN_SAMPLES)
    samples = recording.piece(0, samples_needed(tokens, net.mel))
    scores = sigmoid(token_logits(net.net, log_mel(samples, tokens, net.mel)))
    result = np.full((tokens, len(labels)), np.nan, np.float32)
    result[:, [labels.index(label) for label in net.content["labels"]]] = scores
    return result


def _readers(
    nets: list[Checkpoint], paths: Iterable[Path], dataset: Dataset, folds: Path | None
) -> list[set[Clip]]:
    """The clips that each net never saw: those that its configuration held out."""
    readers = []
    for net, path in zip(nets, paths, strict=True):
        config = net.content["config"]
        held_out = divided(
            dataset,
            config["fold"],
            config["labels_excluded"],
            folds,
            with_val=config.get("train_on_val", False),
        )[1]
        if not held_out:
            raise ConfigError(f"{path} held no clip out: train it with a fold")
        _check_unseen(net, path, held_out)
        readers.append(set(held_out))
    return readers


def _check_unseen(net: Checkpoint, path: Path, held_out: list[Clip]) -> None:
    """Neither the net nor those that it starts from, or is taught by, have trained on the clips."""
    itself = {"name": "a training", "clips": net.content.get("clips")}
    for one in [itself, *net.content.get("ancestors", [])]:
        if one["clips"] is None:
            raise ConfigError(
                f"{path} comes from {one['name']}, of which nobody knows what it was trained on: "
                "pseudo labels would not be out of fold"
            )
        both = sorted(set(one["clips"]) & {key(clip) for clip in held_out})
        if both:
            whom = path if one is itself else f"{one['name']}, from which {path} comes,"
            raise ConfigError(
                f"{whom} was trained on {len(both)} of the clips that its fold should have held "
                f"out, the first {both[0]}: the folds have changed since, or it is of another fold"
            )


def _check_kind(nets: list[Checkpoint], paths: list[Path]) -> None:
    for net, path in zip(nets, paths, strict=True):
        if net.kind != "segmenter":
            raise ConfigError(f"{path} is a {net.kind}: only segmenters say when a bird calls")
