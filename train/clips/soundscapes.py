"""Labelled soundscapes: the truth per 5-s chunk, and what a model says about them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import CHUNK_S, CHUNK_SAMPLES, SAMPLE_RATE_HZ
from recorder.errors import ConfigError
from recorder.sound.files.whole import read_mono
from train.clips.dataset import read_table

SOUNDSCAPES = "train_soundscapes"
LABELS = "train_soundscape_labels.csv"
_COLUMNS = ("site", "audio_id", "seconds", "birds")

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Soundscape:
    """One recording with labels for every chunk."""

    path: Path
    truth: Bools  # [chunks, classes]
    known: Bools  # [chunks, classes]: False where a background species may be audible
    nocall: Bools  # [chunks]: where the labels say that nothing calls, of any class or none


def read_soundscapes(dataset: Path, labels: list[str]) -> list[Soundscape]:
    """All labelled soundscapes of a BirdCLEF 2021 layout; ConfigError when there is none, when
    labels have no audio, or when the table cannot be understood.

    `train_soundscape_events.csv`, where it exists, names in `possible` the species that may be
    in the background of a source clip: unknown in the rows it touches.
    """
    folder = dataset / SOUNDSCAPES
    paths = {_row_prefix(path): path for path in sorted(folder.glob("*.ogg"))}
    if not paths:
        raise ConfigError(f"no soundscape (*.ogg) in {folder}")
    column = {label: index for index, label in enumerate(labels)}
    ends = _labels(dataset / LABELS)
    without = sorted(set(ends) - set(paths))
    if without:
        raise ConfigError(
            f"{dataset / LABELS} labels {len(without)} soundscapes that are not in {folder}, the "
            f"first {without[0]}: add their audio, or take their rows out"
        )
    possible = _possible(dataset / "train_soundscape_events.csv")
    result = []
    for prefix, path in paths.items():
        if prefix not in ends:
            continue
        chunks = max(ends[prefix]) // int(CHUNK_S)
        truth, nocall = np.zeros((chunks, len(labels)), bool), np.zeros(chunks, bool)
        for end_s, birds in ends[prefix].items():
            nocall[end_s // int(CHUNK_S) - 1] = birds in ([], ["nocall"])
            for bird in birds:
                if bird in column:
                    truth[end_s // int(CHUNK_S) - 1, column[bird]] = True
        # Of a chunk without a row nobody said anything.
        known = np.zeros_like(truth)
        known[[end_s // int(CHUNK_S) - 1 for end_s in ends[prefix]]] = True
        for start_s, end_s_event, birds in possible.get(path.name, []):
            rows = slice(int(start_s // CHUNK_S), int(np.ceil(end_s_event / CHUNK_S)))
            for bird in birds:
                if bird in column:
                    known[rows, column[bird]] = False
        result.append(Soundscape(path, truth, known | truth, nocall))
    return result


def of_fold(
    soundscapes: list[Soundscape], fold: int, folds: int
) -> tuple[list[Soundscape], list[Soundscape]]:
    """Those that judge a fold and the others; with one fold all judge.

    They are dealt out in the order of their names.
    """
    if folds < 2:
        return soundscapes, []
    turns = list(enumerate(sorted(soundscapes, key=lambda one: one.path.name)))
    judging = [one for turn, one in turns if turn % folds == fold]
    if not judging:
        raise ConfigError(
            f"{len(soundscapes)} soundscapes for {folds} folds leave none to judge fold {fold}: "
            "use fewer folds, or soundscape_noise = false"
        )
    return judging, [one for turn, one in turns if turn % folds != fold]


def silent_stretches(soundscape: Soundscape) -> list[NDArray[np.int16]]:
    """The sound of its chunks in which surely nothing calls, 32 kHz; neighbours stay together."""
    samples = read_mono(soundscape.path, SAMPLE_RATE_HZ)
    silent = soundscape.nocall & soundscape.known.all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], silent, [False])).astype(np.int8)))
    pieces = [
        samples[first * CHUNK_SAMPLES : last * CHUNK_SAMPLES]
        for first, last in edges.reshape(-1, 2)
    ]
    return [
        np.rint(piece.clip(-1.0, 1.0) * 32767).astype(np.int16) for piece in pieces if len(piece)
    ]


def stacked(soundscapes: list[Soundscape]) -> tuple[Bools, Bools]:
    """(truth, known) over the rows of all soundscapes, [rows, classes] each."""
    truth = np.concatenate([soundscape.truth for soundscape in soundscapes])
    known = np.concatenate([soundscape.known for soundscape in soundscapes])
    return truth, known


def _labels(path: Path) -> dict[str, dict[int, list[str]]]:
    """By `<audio id>_<site>` and the end of the chunk in seconds: what calls."""
    ends: dict[str, dict[int, list[str]]] = {}
    for row in read_table(path, _COLUMNS):
        try:
            end_s = int(float(row["seconds"]))
        except ValueError as error:
            raise ConfigError(f"{path}: seconds is {row['seconds']!r}, not a number") from error
        if end_s < CHUNK_S or end_s % CHUNK_S:
            raise ConfigError(f"{path}: seconds is {end_s}, not the end of a 5-s chunk")
        ends.setdefault(f"{row['audio_id']}_{row['site']}", {})[end_s] = row["birds"].split()
    return ends


def _possible(path: Path) -> dict[str, list[tuple[float, float, list[str]]]]:
    found: dict[str, list[tuple[float, float, list[str]]]] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                entry = (float(row["start_s"]), float(row["end_s"]), row["possible"].split())
                found.setdefault(row["file"], []).append(entry)
    return found


def _row_prefix(path: Path) -> str:
    """`<audio id>_<site>` of `<audio id>_<site>_<date>.ogg`."""
    return "_".join(path.stem.split("_")[:2])
