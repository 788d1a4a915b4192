"""What a user says can be expected at the site, ready for one model: list, prior, time zone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

import numpy as np

from recorder.detect.bundle import ModelBundle
from recorder.detect.occurrence import Moments, Occurrence
from recorder.errors import ConfigError, UsageError
from recorder.species.moments import of_clock, of_recording
from recorder.species.names import Names
from recorder.species.prior_table import PriorTable, read_prior
from recorder.species.species_list import SpeciesList, read_species_list
from recorder.species.text import TextFile, read_text_file
from recorder.time_zone import parse_clock

DEFAULT_WEIGHT = 0.5
"""Measured: docs/prior.md."""
HIGHEST_WEIGHT = 10.0
_MOST_NAMED = 8


@dataclass(frozen=True)
class Asked:
    """What the command line, or the configuration, names."""

    species: Path | None = None
    prior: Path | None = None
    weight: float = DEFAULT_WEIGHT
    timezone: str = ""
    """Of the site; empty = what recordings carry, and of a microphone the machine's."""

    def check(self) -> None:
        """UsageError for what cannot be."""
        if not 0.0 <= self.weight <= HIGHEST_WEIGHT:
            raise UsageError(f"--prior-weight {self.weight}: use 0 to {HIGHEST_WEIGHT:g}")
        self.zone()

    def zone(self) -> tzinfo | None:
        """Of the site; UsageError when there is none like it."""
        if not self.timezone:
            return None
        try:
            zone = parse_clock(self.timezone)
        except ConfigError as error:
            raise UsageError(f"--timezone: {error}") from error
        if zone is None:
            raise UsageError(f"--timezone {self.timezone}: use utc, or as America/Puerto_Rico")
        return zone


@dataclass(frozen=True)
class Expectation:
    """A list and a prior for one model, and whose hours they are; it travels to any worker."""

    occurrence: Occurrence
    timezone: str = ""
    """Its name: a machine may not know it, and is to say so."""
    recording: str | None = None
    """Of a recording that is heard as if by a microphone: when it begins, empty = not known."""

    @property
    def key(self) -> str:
        """The same for two that judge the same."""
        return f"{self.occurrence.key}|{self.timezone}|{self.recording}"

    @property
    def zone(self) -> tzinfo | None:
        """Of the site; None = what recordings carry. ConfigError where nobody knows it here."""
        return parse_clock(self.timezone) if self.timezone else None

    def in_recording(self, start: str, after_s: Sequence[float]) -> Moments:
        """When chunks of a recording begin, by the site's calendar and clock."""
        return of_recording(start, after_s, self.zone)

    def heard(self, after_s: Sequence[float], utc_s: Sequence[float]) -> Moments:
        """When chunks of a stream begin: seconds since its start, and since 1970."""
        if self.recording is not None:
            return self.in_recording(self.recording, after_s)
        return of_clock(utc_s, self.zone)


@dataclass(frozen=True)
class Read:
    """What was made of the user's files."""

    expectation: Expectation | None
    """None where no file was named."""
    record: dict[str, Any]
    """For `run.json`: files, hashes, how many names were known."""
    words: tuple[str, ...]
    """What a person should know."""

    @property
    def said(self) -> str:
        """In one line; empty where nothing is expected."""
        parts = [
            f"{kind} {about['file']} (sha256 {about['sha256'][:16]}, {about['species']} species"
            + (f", weight {about['weight']:g}" if "weight" in about else "")
            + (f", hours of {about['timezone']}" if about.get("timezone") else "")
            + ")"
            for kind, about in self.record.items()
        ]
        return "; ".join(parts)


NOTHING_EXPECTED = Read(None, {}, ())


def read_expectation(asked: Asked, bundle: ModelBundle) -> Read:
    """Read list and prior for a model; UsageError, and ConfigError naming file and line."""
    asked.check()
    names, classes = Names(bundle.labels), len(bundle.labels)
    allowed = np.ones(classes, bool)
    frequency = np.full((classes, 1, 1), math.nan)
    record: dict[str, Any] = {}
    words: list[str] = []
    if asked.species is not None:
        file = read_text_file(asked.species)
        listed = read_species_list(file, names, classes)
        allowed = listed.allowed
        record["species"] = _list_record(file, listed)
        words += names.unknown(str(file.path), listed.unknown)
    if asked.prior is not None:
        file = read_text_file(asked.prior)
        table = read_prior(file, names, classes)
        frequency = table.frequency
        without = [
            one.label
            for one, known in zip(bundle.labels, ~np.isnan(frequency), strict=True)
            if not known.any()
        ]
        record["prior"] = _prior_record(file, table, asked, without)
        words += _of_prior(file, names, table, without)
    if not record:
        return NOTHING_EXPECTED
    occurrence = Occurrence(allowed, frequency, asked.weight)
    return Read(Expectation(occurrence, asked.timezone), record, tuple(words))


def _list_record(file: TextFile, listed: SpeciesList) -> dict[str, Any]:
    return {
        "file": file.path.name,
        "sha256": file.sha256,
        "species": int(listed.allowed.sum()),
        "unknown_names": len(set(listed.unknown)),
    }


def _prior_record(
    file: TextFile, table: PriorTable, asked: Asked, without: list[str]
) -> dict[str, Any]:
    return {
        "file": file.path.name,
        "sha256": file.sha256,
        "form": table.form,
        "weight": asked.weight,
        "timezone": asked.timezone,
        "species": len(table.frequency) - len(without),
        "unknown_names": len(table.unknown),
        "says_nothing_of": without,
    }


def _of_prior(file: TextFile, names: Names, table: PriorTable, without: list[str]) -> list[str]:
    """A bar chart has every species of a place: what the model does not know of it is no news."""
    words = names.unknown(str(file.path), table.unknown) if table.form == "CSV" else []
    if without:
        more = f" and {len(without) - _MOST_NAMED} more" if len(without) > _MOST_NAMED else ""
        words.append(
            f"{file.path} says nothing of {', '.join(without[:_MOST_NAMED])}{more}: their scores "
            "stay as they are"
        )
    return words
