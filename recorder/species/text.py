"""Files that people make by hand or in a spreadsheet: read as text, or refused in words."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recorder.errors import ConfigError

_LARGEST_BYTES = 50_000_000
_SEPARATORS = (",", ";", "\t")
NAME_COLUMNS = ("label", "species_code", "scientific_name", "common_name", "species")
"""In a table any of them says which species is meant; the first that the model knows counts."""


@dataclass(frozen=True)
class TextFile:
    """A file that was read whole."""

    path: Path
    text: str
    """Without a byte-order mark; any line ends."""
    sha256: str

    def error(self, line: int, words: str) -> ConfigError:
        """What is wrong in a line, counted from 1."""
        return ConfigError(f"{self.path}, line {line}: {words}")


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    line: int
    cells: dict[str, str]
    """By the header's names; without blanks around them."""

    @property
    def names(self) -> tuple[str, ...]:
        """What it calls the species."""
        return tuple(self.cells[one] for one in NAME_COLUMNS if self.cells.get(one))


def read_text_file(path: Path) -> TextFile:
    """Read a file; ConfigError when it is not there, no file, too large or not UTF-8."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): name a text file or a CSV"
        ) from error
    if len(data) > _LARGEST_BYTES:
        raise ConfigError(f"{path} is larger than {_LARGEST_BYTES // 10**6} MB: no list is so long")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8: save it as UTF-8") from error
    return TextFile(path, text, hashlib.sha256(data).hexdigest())


def plain_lines(file: TextFile) -> Iterator[tuple[int, str]]:
    """(number, line) of what says something: no blank lines, no comments."""
    for number, line in enumerate(file.text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line


def table_header(file: TextFile) -> tuple[int, list[str], str] | None:
    """(its line, its columns, the separator) of a CSV; None where no column names a species."""
    number, first = next(plain_lines(file), (0, ""))
    for separator in _SEPARATORS:
        columns = [cell.casefold() for cell in _cells(file, number, first, separator)]
        if set(columns) & set(NAME_COLUMNS):
            return number, columns, separator
    return None


def table_rows(file: TextFile, header: tuple[int, list[str], str]) -> Iterator[Row]:
    """What follows the header; ConfigError for a row that has not its number of columns."""
    number, columns, separator = header
    if len(set(columns)) < len(columns):
        raise file.error(number, f"a column is there twice in {', '.join(columns)}")
    for line, text in plain_lines(file):
        if line <= number:
            continue
        cells = _cells(file, line, text, separator)
        if len(cells) != len(columns):
            raise file.error(line, f"{len(cells)} columns: the header has {len(columns)}")
        row = Row(line, dict(zip(columns, cells, strict=True)))
        if not row.names:
            raise file.error(line, "it names no species")
        yield row


def _cells(file: TextFile, line: int, text: str, separator: str) -> list[str]:
    """Of one line: no cell goes over several."""
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=separator), [])]
    except csv.Error as error:
        raise file.error(line, f"not a line of a CSV ({error})") from error
