"""Folds for cross-validation: stratified by label, grouped by session, stable when data grow.

One bird may sing in all recordings of a session (recordist and day), so a session is never split
(METHOD.md: splitting by file flatters a model). A clip that has a fold keeps it; only new
sessions are dealt out, so that models trained before stay out of fold for what they never saw.
"""

from __future__ import annotations

import csv
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recorder.errors import ConfigError, UsageError
from train.clips.dataset import Clip, Dataset, key, read_split, read_table

FOLDS = "folds.csv"
_COLUMNS = ("filename", "primary_label", "session", "fold")


@dataclass(frozen=True)
class Folds:
    """A fold for each clip."""

    count: int
    of: dict[str, int]
    """By `LABEL/FILE`."""

    def table(self, clips: Iterable[Clip]) -> dict[str, list[int]]:
        """For each label, sorted, how many clips it has in each fold."""
        rows: dict[str, list[int]] = {}
        for clip in sorted(clips, key=key):
            rows.setdefault(clip.label, [0] * self.count)[self.of[key(clip)]] += 1
        return rows


def make_folds(dataset: Dataset, count: int, *, seed: int, kept: Mapping[str, int]) -> Folds:
    """A fold from 0 to `count` - 1 for each clip; those in `kept` stay where they are.

    UsageError when there are fewer sessions than folds.
    """
    sessions: dict[str, list[Clip]] = defaultdict(list)
    for clip in dataset.clips:
        sessions[clip.session].append(clip)
    if not 2 <= count <= len(sessions):
        raise UsageError(
            f"{count} folds: use 2 to {len(sessions)}, the number of sessions (recordist and day) "
            f"in {dataset.folder}"
        )
    known = _known(sessions, kept, count)
    fresh = _grown(sessions, known, count) if known else _dealt(dataset.clips, count, seed)
    return Folds(count, {key(clip): fresh[clip.session] for clip in dataset.clips})


def read_folds(path: Path) -> Folds:
    """Read what `write_folds` wrote; ConfigError names the first row that is wrong."""
    of = {}
    for row in read_table(path, _COLUMNS):
        if not row["fold"].isdecimal():
            raise ConfigError(f"{path}: fold of {row['filename']} is {row['fold']!r}, not a number")
        of[row["filename"]] = int(row["fold"])
    if not of:
        raise ConfigError(f"{path} holds no folds: delete it and make them again")
    return Folds(max(of.values()) + 1, of)


def write_folds(path: Path, folds: Folds, clips: Iterable[Clip]) -> None:
    """One row a clip, sorted; the whole file or nothing (temporary file, fsync, rename)."""
    rows = sorted((key(clip), clip.label, clip.session, folds.of[key(clip)]) for clip in clips)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(rows)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror}): choose another with --out"
        ) from error


def divided(
    dataset: Dataset,
    fold: int,
    excluded: Iterable[str],
    folds_path: Path | None = None,
    *,
    with_val: bool = False,
) -> tuple[list[Clip], list[Clip]]:
    """The clips that train and those that are held out.

    By a fold when one is asked for (0 or more) in `folds_path` or DATASET/folds.csv; what
    `split_by_session.csv` marks as `val` then is neither, because labelled soundscapes may be made
    of it. Else by that split, and without it all clips train. `with_val` makes no difference
    between what that split calls `train` and `val`. ConfigError when the fold is not there.
    """
    words = set(excluded)
    clips = [clip for clip in dataset.clips if clip.label not in words]
    split = read_split(dataset.folder)
    of_split = {clip: "train" if split is None else _part(split, clip) for clip in clips}
    if with_val:
        of_split = {clip: "train" if part == "val" else part for clip, part in of_split.items()}
    if fold < 0:
        return _where(of_split, "train"), _where(of_split, "val")
    path = folds_path or dataset.folder / FOLDS
    if not path.is_file():
        raise ConfigError(f"fold = {fold}, but there is no {path}: run birdrec train folds")
    folds = read_folds(path)
    if fold >= folds.count:
        raise ConfigError(f"fold = {fold}, but {path} has the folds 0 to {folds.count - 1}")
    new = [clip for clip in clips if key(clip) not in folds.of]
    if new:
        raise ConfigError(
            f"{path} lacks {len(new)} clips, the first {key(new[0])}: run birdrec train folds again"
        )
    trained = _where(of_split, "train")
    of_fold = {clip: "val" if folds.of[key(clip)] == fold else "train" for clip in trained}
    return _where(of_fold, "train"), _where(of_fold, "val")


def _part(split: Mapping[str, str], clip: Clip) -> str:
    return split.get(key(clip)) or split.get(clip.path.name, "")


def _where(parts: Mapping[Clip, str], part: str) -> list[Clip]:
    return [clip for clip, one in parts.items() if one == part]


def _known(
    sessions: Mapping[str, list[Clip]], kept: Mapping[str, int], count: int
) -> dict[str, int]:
    """The fold of each session that has one already."""
    known: dict[str, int] = {}
    for session, clips in sessions.items():
        folds = {kept[key(clip)] for clip in clips if key(clip) in kept}
        if len(folds) > 1:
            raise ConfigError(
                f"session {session!r} lies in the folds {sorted(folds)}: a session must stay "
                "together; delete the file of folds and make them again"
            )
        if folds and max(folds) >= count:
            raise UsageError(
                f"there is a fold {max(folds)} already: use --folds {max(kept.values()) + 1}"
            )
        if folds:
            known[session] = folds.pop()
    return known


def _dealt(clips: Iterable[Clip], count: int, seed: int) -> dict[str, int]:
    """The fold of each session by scikit-learn's stratified group folds."""
    from sklearn.model_selection import StratifiedGroupKFold

    ordered = sorted(clips, key=key)
    labels = np.array([clip.label for clip in ordered])
    groups = np.array([clip.session for clip in ordered])
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    fold_of: dict[str, int] = {}
    with warnings.catch_warnings():
        # Labels with fewer clips than folds are usual here; the table tells which they are.
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
            fold_of.update({str(session): fold for session in groups[held_out]})
    return fold_of


def _grown(
    sessions: Mapping[str, list[Clip]], known: Mapping[str, int], count: int
) -> dict[str, int]:
    """New sessions, large ones first, go where their labels are rarest, then where room is."""
    fold_of = dict(known)
    held: list[Counter[str]] = [Counter() for _ in range(count)]
    for session, fold in known.items():
        held[fold].update(clip.label for clip in sessions[session])
    new = sorted(set(sessions) - set(known), key=lambda name: (-len(sessions[name]), name))
    for session in new:
        labels = [clip.label for clip in sessions[session]]
        fold = min(
            range(count), key=lambda n: (sum(held[n][one] for one in labels), held[n].total(), n)
        )
        fold_of[session] = fold
        held[fold].update(labels)
    return fold_of
