"""Weakly labelled clips as they lie on disk: a BirdCLEF layout, or one folder per species.

    BirdCLEF 2021   train_metadata.csv   train_short_audio/LABEL/FILE   filename = FILE
    BirdCLEF 2024   train_metadata.csv   train_audio/LABEL/FILE         filename = LABEL/FILE
    folders         SPECIES/FILE         no table: the folder is the label

Nothing is left out in silence: what a table promises and the disk lacks, and the other way
round, is kept in the `Dataset` and told.
"""

from __future__ import annotations

import ast
import csv
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from recorder.errors import ConfigError
from recorder.sound.files.finder import AUDIO_SUFFIXES

METADATA = "train_metadata.csv"
SPLIT = "split_by_session.csv"
_AUDIO_FOLDERS = ("train_short_audio", "train_audio")
_NOT_SPECIES = frozenset({*_AUDIO_FOLDERS, "train_soundscapes", "noise"})
_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?([01]\d)[-_]?([0-3]\d)(?!\d)")
_TOLD = 3
"""So many names of a kind of problem are told, and the number of the others."""


@dataclass(frozen=True)
class Clip:
    """A recording with one species name for the whole of it."""

    path: Path
    label: str
    secondary_labels: tuple[str, ...] = ()
    scientific_name: str = ""
    common_name: str = ""
    author: str = ""
    licence: str = ""
    url: str = ""
    session: str = ""
    """Recordist and day, as far as they are known: the same bird may sing in all of it."""
    inside: str = ""
    """Its path below the folder of its label; the file name when this is not said."""


@dataclass(frozen=True)
class Dataset:
    """The clips of a folder, and what does not fit together in it."""

    folder: Path
    clips: tuple[Clip, ...]
    missing: tuple[Path, ...] = ()
    """Rows without audio; they are not among the clips."""
    unlisted: tuple[Path, ...] = ()
    """Audio without a row; it is not among the clips."""
    without_session: int = 0
    """Clips whose recordist and date are unknown: each is a session of its own."""

    def problems(self) -> list[str]:
        """One line for each kind of problem, for people."""
        lines = []
        if self.missing:
            lines.append(f"{_some(self.missing, self.folder)} listed in {METADATA} without audio")
        if self.unlisted:
            lines.append(f"{_some(self.unlisted, self.folder)} not listed in {METADATA}")
        if self.without_session:
            lines.append(
                f"{self.without_session} of {len(self.clips)} clips have neither recordist nor "
                "date: clips of the same bird may end up on both sides of a split"
            )
        return lines


def read_dataset(folder: Path) -> Dataset:
    """Read a folder in any of the layouts; ConfigError when there is nothing to learn from."""
    if not folder.is_dir():
        raise ConfigError(f"dataset {folder} is not a folder")
    dataset = _listed(folder) if (folder / METADATA).is_file() else _folders(folder)
    if not dataset.clips:
        problems = "".join(f"; {line}" for line in dataset.problems())
        raise ConfigError(
            f"no clips in {folder}{problems}: it needs {METADATA} and {_AUDIO_FOLDERS[0]}/, or "
            "one folder of recordings per species"
        )
    return dataset


def key(clip: Clip) -> str:
    """LABEL/FILE: what tables call a clip, for file names alone may repeat; LABEL/FOLDER/FILE
    where the folder of a label has folders of its own."""
    return f"{clip.label}/{clip.inside or clip.path.name}"


def read_split(folder: Path) -> dict[str, str] | None:
    """`train` or `val` for each file name in `split_by_session.csv`; None without such a table."""
    path = folder / SPLIT
    if not path.is_file():
        return None
    return {row["filename"]: row["split"] for row in read_table(path, ("filename", "split"))}


def check_labels(dataset: Dataset, key_name: str, labels: Iterable[str]) -> None:
    """ConfigError when one of the labels that a key of the configuration names is that of no clip,
    with the nearest that is."""
    there = {clip.label for clip in dataset.clips}
    for label in labels:
        if label not in there:
            near = difflib.get_close_matches(label, there, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{key_name}: no clip has the label {label!r}{hint}")


def core_labels(dataset: Dataset) -> list[str]:
    """The labels marked `in_core_set` in `split_by_session.csv`, sorted; all without a mark."""
    path = dataset.folder / SPLIT
    if not path.is_file():
        return sorted({clip.label for clip in dataset.clips})
    rows = read_table(path, ("primary_label",))
    return sorted({row["primary_label"] for row in rows if row.get("in_core_set", "1") == "1"})


def read_table(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a CSV, whatever the order of its columns; ConfigError names what it lacks."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            rows = [{key: value or "" for key, value in row.items() if key} for row in reader]
            found = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as a CSV table ({error})") from error
    lacking = [column for column in columns if column not in found]
    if lacking:
        raise ConfigError(
            f"{path}: no column {', '.join(lacking)}; it has {', '.join(found) or 'none'}"
        )
    return rows


def audio_below(folder: Path) -> list[Path]:
    """Every recording below a folder, sorted; hidden files are none."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
    ]


def _listed(folder: Path) -> Dataset:
    table = folder / METADATA
    audio = next((folder / name for name in _AUDIO_FOLDERS if (folder / name).is_dir()), None)
    if audio is None:
        raise ConfigError(f"{folder} has {METADATA} but no folder {' or '.join(_AUDIO_FOLDERS)}")
    rows = read_table(table, ("primary_label", "filename"))
    clips = [_clip(table, audio, row) for row in rows]
    there = set(audio_below(audio))
    kept = tuple(clip for clip in clips if clip.path in there)
    return Dataset(
        folder,
        kept,
        missing=tuple(clip.path for clip in clips if clip.path not in there),
        unlisted=tuple(sorted(there - {clip.path for clip in clips})),
        without_session=sum(clip.session.startswith("file ") for clip in kept),
    )


def _folders(folder: Path) -> Dataset:
    clips = [
        Clip(
            path,
            label.name,
            scientific_name=label.name.replace("_", " "),
            common_name=label.name.replace("_", " "),
            session=_folder_session(label, path),
            inside=path.relative_to(label).as_posix(),
        )
        for label in sorted(folder.iterdir())
        if label.is_dir() and not label.name.startswith(".") and label.name not in _NOT_SPECIES
        for path in audio_below(label)
    ]
    unlisted = [path for path in audio_below(folder) if path.parent == folder]
    unknown = sum(clip.session.startswith("file ") for clip in clips)
    return Dataset(folder, tuple(clips), unlisted=tuple(unlisted), without_session=unknown)


def _clip(table: Path, audio: Path, row: dict[str, str]) -> Clip:
    label, filename = row["primary_label"].strip(), row["filename"].strip()
    if not label or not filename:
        raise ConfigError(f"{table}: a row has no {'filename' if label else 'primary_label'}")
    inside = Path(filename)
    if inside.is_absolute() or ".." in inside.parts:
        raise ConfigError(f"{table}: filename {filename!r} leads out of {audio}")
    author, date = row.get("author", ""), row.get("date", "") or _place(row)
    return Clip(
        path=audio / inside if len(inside.parts) > 1 else audio / label / inside,
        label=label,
        secondary_labels=_secondary(table, row),
        scientific_name=row.get("scientific_name", ""),
        common_name=row.get("common_name", ""),
        author=author,
        licence=row.get("license", ""),
        url=row.get("url", ""),
        session=_session(filename, author=author, date=date),
        inside=Path(*inside.parts[1:]).as_posix() if len(inside.parts) > 1 else filename,
    )


def _secondary(table: Path, row: dict[str, str]) -> tuple[str, ...]:
    try:
        labels = ast.literal_eval(row.get("secondary_labels") or "[]")
        if not isinstance(labels, list):
            raise TypeError(f"a {type(labels).__name__} is not a list")
    except (ValueError, SyntaxError, TypeError) as error:
        raise ConfigError(
            f"{table}: secondary_labels of {row['filename']} is {row['secondary_labels']!r}; it "
            "must be a list such as ['label_a', 'label_b'] or []"
        ) from error
    return tuple(str(label) for label in labels if label)


def _session(filename: str, *, author: str, date: str) -> str:
    """Who recorded, and on which day or at which place, as far as that is known; else the file
    alone."""
    return " ".join(part for part in (author, date) if part) or f"file {filename}"


def _folder_session(label: Path, path: Path) -> str:
    """What a folder of one species recorded on one day; the file alone without a date."""
    date = _date_in(path.stem)
    inside = f"{label.name}/{path.relative_to(label).as_posix()}"
    return _session(inside, author=label.name if date else "", date=date)


def _place(row: dict[str, str]) -> str:
    """Where it was recorded: the next best thing to a date (BirdCLEF 2024 has none)."""
    latitude, longitude = row.get("latitude", ""), row.get("longitude", "")
    return f"{latitude},{longitude}" if latitude and longitude else ""


def _date_in(stem: str) -> str:
    """A date in a file name, as recorders write it: 20240131 or 2024-01-31."""
    found = _DATE.search(stem)
    return "-".join(found.groups()) if found else ""


def _some(paths: tuple[Path, ...], folder: Path) -> str:
    names = ", ".join(str(path.relative_to(folder)) for path in paths[:_TOLD])
    others = f" and {len(paths) - _TOLD} more" if len(paths) > _TOLD else ""
    return f"{len(paths)} file{'s' if len(paths) > 1 else ''} ({names}{others})"
