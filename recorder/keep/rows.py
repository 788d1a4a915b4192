"""Rows of one kind in little memory: a day of sound can have a hundred thousand."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Generic, Self, TypeVar, overload

from recorder.keep.formats import Row, values_of

R = TypeVar("R", bound=Row)

_KNOWN_TEXTS = 1024
"""So many different texts of a column are looked up; a column with more has a new one each time."""


class _Texts:
    """One column of texts: each that comes again is kept once."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._which = array("I")
        self._ends = array("Q", [0])
        self._joined = bytearray()

    def append(self, text: str) -> None:
        number = self._known.get(text)
        if number is None:
            number = len(self._ends) - 1
            # Names of files need not be UTF-8.
            self._joined += text.encode("utf-8", "surrogatepass")
            self._ends.append(len(self._joined))
            if len(self._known) < _KNOWN_TEXTS:
                self._known[text] = number
        self._which.append(number)

    def __getitem__(self, place: int) -> str:
        number = self._which[place]
        text = self._joined[self._ends[number] : self._ends[number + 1]]
        return text.decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))

    def __len__(self) -> int:
        return len(self._which)

    def packed(self) -> list[str]:
        return [_packed(self._which), _packed(self._ends), _text(bytes(self._joined))]

    @classmethod
    def unpacked(cls, content: list[str]) -> Self:
        """ValueError where it is damaged."""
        texts = cls()
        texts._which, texts._ends = _unpacked("I", content[0]), _unpacked("Q", content[1])
        texts._joined = bytearray(base64.b64decode(content[2], validate=True))
        ends = texts._ends.tolist()
        if ends[:1] != [0] or ends[-1] != len(texts._joined) or ends != sorted(ends):
            raise ValueError("its texts are damaged")
        if any(number >= len(ends) - 1 for number in texts._which):
            raise ValueError("its texts are damaged")
        for number in range(len(ends) - 1):
            texts._joined[ends[number] : ends[number + 1]].decode("utf-8", "surrogatepass")
        return texts


class Rows(Sequence[R], Generic[R]):
    """A sequence of rows that are made when they are asked for."""

    def __init__(self, kind: type[R], rows: Iterable[R] = ()) -> None:
        self._kind = kind
        self.names = [field.name for field in fields(kind)]
        """Of the columns."""
        self._columns: list[array[float] | _Texts] = [
            _Texts() if field.type == "str" else array("d") for field in fields(kind)
        ]
        for row in rows:
            self.append(row)

    def append(self, row: R) -> None:
        """Copy it to the end."""
        for column, value in zip(self._columns, values_of(row), strict=True):
            column.append(value)

    @overload
    def __getitem__(self, place: int) -> R: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[R, ...]: ...

    def __getitem__(self, place: int | slice) -> R | tuple[R, ...]:
        if isinstance(place, slice):
            return tuple(self._row(one) for one in range(*place.indices(len(self))))
        return self._row(range(len(self))[place])

    def __iter__(self) -> Iterator[R]:
        return map(self._row, range(len(self)))

    def __len__(self) -> int:
        return len(self._columns[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def values(self) -> Iterator[tuple[Any, ...]]:
        """Of each row what `values_of` says, without making the row."""
        return zip(*self._columns, strict=True)

    def _row(self, place: int) -> R:
        values: list[Any] = [column[place] for column in self._columns]
        return self._kind(*values)

    def packed(self) -> list[Any]:
        """As JSON can hold it."""
        return [
            column.packed() if isinstance(column, _Texts) else _packed(column)
            for column in self._columns
        ]

    @classmethod
    def unpacked(cls, kind: type[R], content: list[Any]) -> Self:
        """What `packed` gave; ValueError where that is damaged."""
        rows = cls(kind)
        rows._columns = [
            _Texts.unpacked(one) if isinstance(column, _Texts) else _unpacked("d", one)
            for column, one in zip(rows._columns, content, strict=True)
        ]
        if len({len(column) for column in rows._columns}) != 1:
            raise ValueError("its columns are not of one length")
        return rows


def _packed(numbers: array[Any]) -> str:
    """Little-endian, in base64."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return _text(numbers.tobytes())


def _unpacked(code: str, text: str) -> array[Any]:
    numbers: array[Any] = array(code, base64.b64decode(text, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
