"""A user's own list: the species that can occur here."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recorder.errors import ConfigError
from recorder.species.names import Names
from recorder.species.text import NAME_COLUMNS, TextFile, plain_lines, table_header, table_rows

_COMMENT = re.compile(r"\s#")


@dataclass(frozen=True)
class SpeciesList:
    """A list, as far as the model knows its names."""

    allowed: NDArray[np.bool_]
    """[classes]."""
    unknown: tuple[str, ...]
    """Names that mean no class of the model."""


def read_species_list(file: TextFile, names: Names, classes: int) -> SpeciesList:
    """One name a line, or a CSV with a column that names species.

    ConfigError when there is no name in it, or none that the model knows.
    """
    entries = list(_entries(file))
    if not entries:
        raise ConfigError(f"{file.path} names no species: write one a line")
    allowed = np.zeros(classes, bool)
    unknown = []
    for one in entries:
        found = names.find(one)
        allowed[list(found)] = True
        if not found:
            unknown.append(one[0])
    if not allowed.any():
        raise ConfigError(_nothing(file, names, unknown))
    return SpeciesList(allowed, tuple(unknown))


def _entries(file: TextFile) -> list[tuple[str, ...]]:
    header = table_header(file)
    if header is not None:
        return [row.names for row in table_rows(file, header)]
    return [(_COMMENT.split(line, 1)[0].strip(),) for _, line in plain_lines(file)]


def _nothing(file: TextFile, names: Names, unknown: list[str]) -> str:
    near = next((near for one in unknown if (near := names.nearest(one))), "")
    guess = f" (did you mean {near}?)" if near else ""
    return (
        f"{file.path}: the model knows none of its {len(unknown)} names, the first is "
        f"{unknown[0]!r}{guess}: use a label, a scientific or a common name a line "
        f"(`birdrec model info` lists them), or a CSV with one of the columns "
        f"{', '.join(NAME_COLUMNS)} in its header"
    )
