"""Which profile suits this machine: settings, and memory limits for the service."""

from __future__ import annotations

import os
import platform
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from recorder.config.keys import Key, Value
from recorder.config.read import find_key
from recorder.errors import ConfigError, UsageError

FOLDER = Path(__file__).parents[1] / "profiles"
GENERIC = "generic"
_MODEL = Path("/proc/device-tree/model")
_SHARE = 1.5
"""Two thirds of the memory at most: a board with less than its profile expects gets less."""


@dataclass(frozen=True)
class Profile:
    """What suits a kind of board."""

    name: str
    title: str
    models: tuple[str, ...]
    """How the board's own name begins."""
    settings: tuple[tuple[Key, Value], ...]
    memory_high_mb: int
    """systemd slows the service down from here on..."""
    memory_max_mb: int
    """...and ends it here."""


@dataclass(frozen=True)
class Machine:
    """What the profiles are chosen by."""

    model: str
    """Of the board; empty where nothing says it."""
    memory_mb: int
    cores: int
    architecture: str


def this_machine(model: Path = _MODEL) -> Machine:
    """As the kernel describes it."""
    try:
        name = model.read_bytes().rstrip(b"\0\n").decode("utf-8", "replace")
    except OSError:
        name = ""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(name, memory_bytes // 1_000_000, os.cpu_count() or 1, platform.machine())


def profile_names() -> list[str]:
    """Of those that come with birdrec."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_profile(name: str) -> Profile:
    """UsageError when there is none of this name; ConfigError when it is wrong."""
    if name not in profile_names():
        raise UsageError(f"there is no profile {name!r}: use {', '.join(profile_names())}")
    path = FOLDER / f"{name}.toml"
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    keys = [(find_key(key), value) for key, value in found["settings"].items()]
    try:
        return Profile(
            name,
            found["title"],
            tuple(found["models"]),
            tuple((key, key.checked(value)) for key, value in keys),
            int(found["unit"]["memory_high_mb"]),
            int(found["unit"]["memory_max_mb"]),
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def suggest(machine: Machine) -> Profile:
    """The profile of the board, or the generic one; a small memory lowers its limits."""
    profiles = [read_profile(name) for name in profile_names()]
    fitting = [one for one in profiles if machine.model.startswith(one.models or ("\0",))]
    chosen = fitting[0] if fitting else read_profile(GENERIC)
    most_mb = round(machine.memory_mb / _SHARE)
    if chosen.memory_max_mb <= most_mb:
        return chosen
    high_mb = round(most_mb * chosen.memory_high_mb / chosen.memory_max_mb)
    return replace(chosen, memory_high_mb=high_mb, memory_max_mb=most_mb)
