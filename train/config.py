"""One TOML file says how a model is trained; an unknown key is an error, never ignored."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from recorder.errors import ConfigError
from train.scenes import SceneConfig
from train.vary import VaryConfig

Kind = TypeVar("Kind")

PRECISIONS = ("auto", "float32", "bfloat16")
_TABLES: dict[str, type[Any]] = {"scenes": SceneConfig, "vary": VaryConfig}
"""Keys that hold a table of their own: [scenes], [scenes.vary]."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training run depends on besides the dataset."""

    name: str
    dataset: str
    """Folder in the BirdCLEF 2021 layout, relative to the configuration file."""
    noise: tuple[str, ...] = ()
    """Folders of backgrounds without birds of interest, relative to the configuration file;
    without any, white and pink noise and the own noise of the clips remain."""
    fold: int = -1
    """This fold of `folds.csv` is held out; -1: `split_by_session.csv` decides, if there is one."""
    labels_excluded: tuple[str, ...] = ()
    """Labels whose clips are left out: unidentified birds may be any class."""
    noise_excluded: tuple[str, ...] = ()
    """Files whose name holds one of these words are left out of the noise."""
    noise_unsure: tuple[str, ...] = ()
    """Noise whose path holds one of these words may hold a bird of no class."""
    any_bird: bool = False
    """Train one output more: does any bird call, known or not?"""
    other_birds: tuple[str, ...] = ()
    """Folders of recordings of birds that are none of the classes, for that output."""
    not_birds: tuple[str, ...] = ()
    """Labels that are no birds (frogs, insects), for that output."""
    seed: int = 1
    steps: int = 3000
    batch_chunks: int = 32
    """5-s chunks a step, however they are cut into scenes."""
    scene_chunks: tuple[int, ...] = (1, 2, 4, 12)
    scene_chances: tuple[float, ...] = (0.35, 0.35, 0.2, 0.1)
    """How often a step's scenes have 5, 10, 20 and 60 s: the head must bear any length."""
    backbone: str = "slim10"
    width: int = 256
    background_tokens: int = 2
    dropout: float = 0.0
    """Share of each token's features that a training step does not see."""
    skip_attention: float = 0.0
    """How often an attention block is passed by in training, scene by scene: the classifier must
    also know a call without its context."""
    pretrained: bool = False
    init_from: str = ""
    """A checkpoint whose averaged weights are the start, relative to the configuration file."""
    focal_gamma: float = 2.0
    """Of the focal loss; 0 is plain cross-entropy."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_steps: int = 100
    average_decay: float = 0.998
    """Of the moving average of the weights that is evaluated and exported."""
    evaluate_every: int = 500
    threads: int = 2
    precision: str = "auto"
    """Of the convolutions: float32, bfloat16, or auto = bfloat16 where the processor has it."""
    scenes: SceneConfig = field(default_factory=SceneConfig)

    def __post_init__(self) -> None:
        if len(self.scene_chunks) != len(self.scene_chances):
            raise ConfigError("scene_chunks and scene_chances must have the same length")
        if abs(sum(self.scene_chances) - 1.0) > 1e-6:
            raise ConfigError(f"scene_chances add up to {sum(self.scene_chances)}, not to 1")
        for name in ("steps", "batch_chunks", "evaluate_every", "threads", "width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be 1 or more")

        for name in ("dropout", "skip_attention"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be in 0 <= x < 1")
        if self.focal_gamma < 0:
            raise ConfigError(f"focal_gamma is {self.focal_gamma}: it must be 0 or more")
        if not 0 < self.scenes.stretch_s[0] <= self.scenes.stretch_s[1]:
            raise ConfigError(f"stretch_s is {self.scenes.stretch_s}: it must rise from above 0")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision {self.precision!r}: use {', '.join(PRECISIONS)}")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def read_config(path: Path) -> TrainConfig:
    """Read and check a configuration; ConfigError names the key and the nearest valid one."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    try:
        return _built(table, TrainConfig, path)
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from error


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
