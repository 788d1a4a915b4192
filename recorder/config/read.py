"""`birdrec.toml` read and checked: an unknown key or a wrong value is an error, never ignored."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorder.config.keys import KEYS, TABLES, Key, Value, shown
from recorder.errors import ConfigError
from recorder.station.schedule import Schedule, make_schedule
from recorder.ui import printable

_LARGEST_BYTES = 1_000_000


@dataclass(frozen=True)
class Settings:
    """Every key with its value."""

    values: Mapping[str, Value]
    """By path: microphone.device."""
    given: frozenset[str]
    """Those that the file says; the others have their defaults."""

    def __getitem__(self, path: str) -> Any:
        return self.values[path]

    @property
    def schedule(self) -> Schedule:
        """When to listen; ConfigError when the keys do not fit each other."""
        return make_schedule(
            self["schedule.windows"],
            location=self["site.location"],
            clock=self["schedule.clock"],
            duty_on_min=self["schedule.duty_on_min"],
            duty_every_min=self["schedule.duty_every_min"],
        )


def defaults() -> Settings:
    """What holds without a file."""
    return Settings({key.path: key.default for key in KEYS}, frozenset())


def read_text(path: Path) -> str:
    """The file; ConfigError when it is not there or no text."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): `birdrec config template > {path}` writes "
            "one with all keys"
        ) from error
    if len(data) > _LARGEST_BYTES:
        raise ConfigError(f"{path} is larger than a megabyte: that is no configuration")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8: save it as UTF-8") from error


def read_settings(path: Path) -> Settings:
    """Read and check a file; ConfigError names the file, the key, the value, what is allowed."""
    return parse_settings(read_text(path), str(path))


def parse_settings(text: str, name: str) -> Settings:
    """As `read_settings`, of the text of a file that is called `name` in messages."""
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{name} is no TOML: {printable(str(error))}") from error
    try:
        settings = _checked(found)
        settings.schedule  # noqa: B018
    except ConfigError as error:
        raise ConfigError(f"{name}: {printable(str(error))}") from error
    return settings


def _checked(found: Mapping[str, Any]) -> Settings:
    values = {key.path: key.default for key in KEYS}
    given = set()
    for table, content in found.items():
        if table not in TABLES:
            raise ConfigError(_unknown(table, content))
        if not isinstance(content, dict):
            raise ConfigError(f"{table} = {shown(content)}: use a table, [{table}]")
        for name, value in content.items():
            key = find_key(f"{table}.{name}")
            values[key.path] = key.checked(value)
            given.add(key.path)
    return Settings(values, frozenset(given))


def _unknown(name: str, content: object) -> str:
    """A word that is no table: perhaps a key that lost its table."""
    near = difflib.get_close_matches(name, TABLES, 1, 0.5)
    if not isinstance(content, dict):
        paths = {key.name: key.path for key in KEYS}
        near_keys = difflib.get_close_matches(name, paths, 1, 0.6)
        if near_keys:
            table, key = paths[near_keys[0]].split(".")
            return f"{name} is in no table: use {key} below [{table}]"
    guess = f"did you mean [{near[0]}]? There are" if near else "there are"
    return f"unknown table [{name}]: {guess} {', '.join(f'[{one}]' for one in TABLES)}"


def find_key(path: str) -> Key:
    """The key that is called microphone.device; ConfigError names the nearest one."""
    by_path = {key.path: key for key in KEYS}
    if path in by_path:
        return by_path[path]
    table, _, name = path.partition(".")
    elsewhere = [one for one, key in by_path.items() if key.name == (name or table)]
    nearest = difflib.get_close_matches(path, by_path, 1, 0.0)
    raise ConfigError(f"unknown key {path}: did you mean {(elsewhere + nearest)[0]}?")


def template() -> str:
    """A file with every key, its default, and what it says."""
    parts = [
        "# birdrec.toml: what `birdrec listen --config FILE` does. Every key is here, with its\n"
        "# default; what is left out has it too. `birdrec config check FILE` reads it strictly.\n"
    ]
    for table, says in TABLES.items():
        parts.append(f"\n# {says}\n[{table}]\n")
        for key in KEYS:
            if key.table == table:
                comment = "".join(f"# {line}\n" for line in key.says.splitlines())
                parts.append(f"\n{comment}{key.name} = {shown(key.default)}\n")
    return "".join(parts)
