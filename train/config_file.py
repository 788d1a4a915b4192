"""One TOML file says how a model is trained; an unknown key is an error, never ignored."""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from recorder.errors import ConfigError
from train.config import TrainConfig
from train.scenes.scene import SceneConfig
from train.scenes.vary import VaryConfig
from train.steps import RECIPES

Kind = TypeVar("Kind")

_TABLES: dict[str, type[Any]] = {"scenes": SceneConfig, "vary": VaryConfig}


def read_config(
    path: Path,
    step: int = 1,
    given: Mapping[str, Path | list[Path] | None] | None = None,
    seed: int | None = None,
) -> TrainConfig:
    """Read and check a configuration; ConfigError names the key and the nearest valid one.

    `step` is one of `train.steps`; a table [step_2] or [step_3] holds what differs in it. `given`
    are paths of a command line: they count from the current folder, those in the file from its own.
    A `seed` replaces that of the file.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    of_steps = {number: table.pop(f"step_{number}", {}) for number in RECIPES}
    if step not in RECIPES:
        raise ConfigError(f"step {step}: use {', '.join(map(str, RECIPES))}")
    if not isinstance(of_steps[step], dict):
        raise ConfigError(f"{path}: step_{step} must be a table: [step_{step}]")
    try:
        changes = RECIPES[step](_built(table, TrainConfig, path))
        paths = {
            name: [os.path.relpath(one, path.parent) for one in value]
            if isinstance(value, list)
            else os.path.relpath(value, path.parent)
            for name, value in (given or {}).items()
            if value
        }
        chosen = paths if seed is None else {**paths, "seed": seed}
        whole = _merged(_merged(_merged(table, changes), of_steps[step]), chosen)
        return _built(whole, TrainConfig, path)
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from error


def _merged(table: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`table` with the entries of `over`, tables within tables too."""
    result = dict(table)
    for key, value in over.items():
        inner = result.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            result[key] = _merged(inner, value)
        else:
            result[key] = value
    return result


def _built(table: Any, kind: type[Kind], path: Path, name: str = "") -> Kind:
    """An instance of the dataclass `kind`, tables within the table for dataclasses within it."""
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name} = {table!r} must be a table: [{name}]")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}"
            raise ConfigError(f"{path}: unknown key {key!r}{hint}")
        if key in _TABLES:
            full_name = f"{name}.{key}" if name else key
            values[key] = _built(value, _TABLES[key], path, full_name)
        elif _fits(value, str(fields[key].type)):
            values[key] = tuple(value) if isinstance(value, list) else value
        else:
            raise ConfigError(f"{path}: {key} = {value!r} must be of type {fields[key].type}")
    return kind(**values)


def _fits(value: Any, wanted: str) -> bool:
    kinds: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (int, float),
        "str": (str,),
        "bool": (bool,),
    }
    if wanted.startswith("tuple["):
        inner = [kind.strip() for kind in wanted[len("tuple[") : -1].split(",")]
        if not isinstance(value, list):
            return False
        if inner[-1] == "...":
            inner = inner[:1] * len(value)
        return len(inner) == len(value) and all(map(_fits, value, inner))
    return isinstance(value, kinds[wanted]) and (wanted == "bool" or not isinstance(value, bool))
