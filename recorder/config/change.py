"""One value of `birdrec.toml` changed, its comments and order as they were, whole or not at all."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recorder.config.keys import Key, Value, shown
from recorder.config.read import parse_settings, read_text
from recorder.errors import ConfigError


def set_values(path: Path, values: Sequence[tuple[Key, Value]]) -> None:
    """Change values in a file; ConfigError, and the file as it was, when it would not check."""
    text = read_text(path)
    parse_settings(text, str(path))
    for key, value in values:
        text = with_value(text, key, value)
    parse_settings(text, f"{path} would be wrong")
    write_text(path, text)


def parse_value(key: Key, text: str) -> Value:
    """A value from the command line: as TOML, or for words without the quotes; ConfigError."""
    if isinstance(key.default, str) and not text.startswith(('"', "'")):
        return key.checked(text)
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        found = {}
    if found.keys() == {"value"}:
        return key.checked(found["value"])
    raise ConfigError(f"{key.path} = {text}: use {key.allowed}")


def with_value(text: str, key: Key, value: Value) -> str:
    """The text of a file with one value set, comments and order as they are; ConfigError.

    What comes out is parsed and compared: it says the same but for this value, or it is refused.
    """
    expected = tomllib.loads(text)
    table = expected.setdefault(key.table, {})
    changed = None
    if isinstance(table, dict):
        table[key.name] = value
        changed = _edited(text, key, value)
    if changed is not None and _says(changed) == shown_tree(expected):
        return changed
    raise ConfigError(
        f"{key.path} is written in a way that cannot be changed from here: change it in an editor"
    )


def shown_tree(tree: object) -> str:
    """For comparison: nan is nan here, and 1 is not 1.0."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{one}: {shown_tree(tree[one])}" for one in sorted(tree)) + "}"
    return shown(tree)


@dataclass(frozen=True)
class _Statement:
    """A header or a key with its value, from one place of the text to another."""

    begin: int
    end: int
    path: tuple[str, ...]
    is_header: bool


def _edited(text: str, key: Key, value: Value) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    line = f"{key.name} = {shown(value)}"
    last = None
    for one in _statements(text):
        if not one.is_header and one.path == (key.table, key.name):
            return text[: one.begin] + _replaced(text[one.begin : one.end], value) + text[one.end :]
        if one.path[:1] == (key.table,) and len(one.path) <= 2:
            last = one
    if last is not None:
        rest = "" if text[: last.end].endswith("\n") else newline
        return f"{text[: last.end]}{rest}{line}{newline}{text[last.end :]}"
    gap = "" if not text or text.endswith("\n") else newline
    return f"{text}{gap}{newline}[{key.table}]{newline}{line}{newline}"


def _statements(text: str) -> Iterator[_Statement]:
    """Each ends with its line; a value may go over several."""
    table: tuple[str, ...] = ()
    begin = end = 0
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        end += len(line)
        statement = text[begin:end]
        if not statement.strip() or statement.lstrip().startswith("#"):
            begin = end
            continue
        is_header = statement.lstrip().startswith("[")
        with suppress(tomllib.TOMLDecodeError):
            path = _path_in(tomllib.loads(statement))
            table = path if is_header else table
            yield _Statement(begin, end, path if is_header else table + path, is_header)
            begin = end


def _path_in(tree: object) -> tuple[str, ...]:
    """Of the one thing in it."""
    path: list[str] = []
    while isinstance(tree, dict) and len(tree) == 1:
        (name, tree), *_ = tree.items()
        path.append(name)
    return tuple(path)


def _replaced(statement: str, value: Value) -> str:
    """`name = value # comment` with another value; the name, blanks and comment stay."""
    equals = next(
        at
        for at, letter in enumerate(statement)
        if letter == "=" and _says(f"{statement[:at]}= 0") is not None
    )
    body = statement[equals + 1 :]
    content = body.rstrip("\r\n")
    ending = body[len(content) :]
    comment = ""
    wanted = _says(statement)
    for at, letter in enumerate(content):
        if letter == "#" and _says(statement[: equals + 1] + content[:at]) == wanted:
            comment = content[len(content[:at].rstrip()) :]
            break
    return f"{statement[: equals + 1]} {shown(value)}{comment}{ending}"


def _says(text: str) -> str | None:
    """What TOML says, to be compared; None when it is none."""
    try:
        return shown_tree(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return None


def write_text(path: Path, text: str) -> None:
    """The old file or the new one is there, whatever happens; ConfigError when it cannot be.

    The new one has the old one's owner and mode.
    """
    real = Path(os.path.realpath(path))
    temporary = real.with_name(f".{real.name}.{os.getpid()}.tmp")
    try:
        _write_beside(real, temporary, text)
        temporary.replace(real)
        descriptor = os.open(real.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} cannot be written ({error.strerror or error}): it is as it was; "
            "try it with sudo, or make room"
        ) from error


def _write_beside(real: Path, temporary: Path, text: str) -> None:
    status = real.stat()
    with temporary.open("w", encoding="utf-8", newline="") as stream:
        os.fchmod(stream.fileno(), status.st_mode & 0o7777)
        with suppress(PermissionError):
            os.fchown(stream.fileno(), status.st_uid, status.st_gid)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
