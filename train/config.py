"""One TOML file says how a model is trained; an unknown key is an error, never ignored."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recorder.errors import ConfigError
from train.scenes import SceneConfig

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training run depends on besides the dataset."""

    name: str
    dataset: str
    """Folder in the BirdCLEF 2021 layout, relative to the configuration file."""
    noise: tuple[str, ...]
    """Folders of backgrounds without birds of interest, relative to the configuration file."""
    labels_excluded: tuple[str, ...] = ()
    """Labels whose clips are left out: unidentified birds may be any class."""
    noise_excluded: tuple[str, ...] = ()
    """Files whose name holds one of these words are left out of the noise."""
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
    scenes = table.pop("scenes", {})
    try:
        return TrainConfig(
            **_checked(table, TrainConfig, path),
            scenes=SceneConfig(**_checked(scenes, SceneConfig, path)),
        )
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from error


def _checked(table: dict[str, Any], kind: type, path: Path) -> dict[str, Any]:
    fields = {entry.name: entry for entry in dataclasses.fields(kind) if entry.name != "scenes"}
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: scenes = {table!r} must be a table: [scenes]")
    for key, value in table.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}"
            raise ConfigError(f"{path}: unknown key {key!r}{hint}")
        if not _fits(value, str(fields[key].type)):
            raise ConfigError(f"{path}: {key} = {value!r} must be of type {fields[key].type}")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


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
