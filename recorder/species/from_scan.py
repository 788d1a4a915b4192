"""A prior from the user's own results: in which share of an hour's chunks each species was met.

The rows of `detections.csv` are believed as they stand: a person has listened, and taken out those
that were wrong.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

import numpy as np

from recorder.detect.bundle import ANY_BIRD
from recorder.detect.occurrence import HOURS
from recorder.errors import UsageError
from recorder.keep.formats import from_cell
from recorder.species.counted import Doubles, frequencies
from recorder.species.moments import has_hour, of_recording

_DOUBT_CHUNKS = 360.0
"""Half an hour of sound: less does not say much of an hour."""
_NAMES = ("label", "scientific_name", "common_name")

Species = tuple[str, ...]
"""Its names, in the order of `_NAMES`."""


@dataclass(frozen=True)
class OwnPrior:
    """What was counted."""

    table: str
    """A CSV that `--prior` reads."""
    species: int
    hours: float
    """Of sound whose hour of the day is known."""
    left_out: int
    """Recordings whose hour nobody knows."""


def prior_of_scans(folders: Sequence[Path], zone: tzinfo | None) -> OwnPrior:
    """Count finished scans, with hours as `--prior` takes them; UsageError when one is none, or no
    species is left to count."""
    effort = np.zeros(HOURS)
    counts: defaultdict[Species, Doubles] = defaultdict(lambda: np.zeros(HOURS))
    left_out = 0
    for folder in folders:
        starts = _starts(folder)
        dated = {name: start for name, start in starts.items() if has_hour(start, zone)}
        left_out += len(starts) - len(dated)
        for row in _rows(folder / "chunks.csv", ("file", "start_s")):
            _count(effort, row, dated, zone)
        for row in _rows(folder / "detections.csv", ("file", "start_s", *_NAMES)):
            names = tuple(from_cell(row[name]) for name in _NAMES)
            if names[0] != ANY_BIRD[0]:
                _count(counts[names], row, dated, zone)
    heard = {names: each for names, each in sorted(counts.items()) if each.any()}
    if not heard:
        raise UsageError(
            f"nothing to count in {', '.join(map(str, folders))}: no species in a recording whose "
            "hour of the day is known; where recordings say UTC, name the site's --timezone"
        )
    shares = frequencies(np.array(list(heard.values())), effort, doubt=_DOUBT_CHUNKS)
    hours = float(effort.sum()) * 5.0 / 3600.0
    return OwnPrior(_table(list(heard), shares), len(heard), hours, left_out)


def _count(
    hours: Doubles, row: dict[str, str], starts: dict[str, str], zone: tzinfo | None
) -> None:
    start = starts.get(from_cell(row["file"]))
    if start is not None:
        hours[of_recording(start, [float(row["start_s"])], zone).hours[0]] += 1.0


def _table(species: list[Species], shares: Doubles) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_NAMES, "hour", "frequency"])
    for names, each in zip(species, shares, strict=True):
        writer.writerows([*names, hour, f"{share:.6f}"] for hour, share in enumerate(each))
    return text.getvalue()


def _starts(folder: Path) -> dict[str, str]:
    """When each recording with sound begins; empty where nobody knows."""
    try:
        text = (folder / "manifest.jsonl").read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{folder} holds no finished scan (manifest.jsonl: {error.strerror}): name the folder "
            "that --out of `birdrec scan` named"
        ) from error
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["path"]: row.get("start", "") for row in rows if row["seconds_analysed"]}


def _rows(path: Path, needed: tuple[str, ...]) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = set(needed) - set(reader.fieldnames or ())
            if missing:
                raise UsageError(
                    f"{path} has no column {min(missing)}: leave its columns as they are"
                )
            yield from reader
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from error
