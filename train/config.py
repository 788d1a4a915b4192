"""How a model is trained: every value with its meaning, and what it may be."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from recorder.errors import ConfigError
from train.scenes.scene import SceneConfig

PRECISIONS = ("auto", "float32", "bfloat16")
OPTIMIZERS = ("adamw", "over9000")
MODELS = ("segmenter", "classifier")
N_FFTS = (1024, 2048)
JUDGES = ("auto", "composed")
ATTENTION_BLOCKS = (1, 2)
STEPS = (1, 2, 3)
"""The paper's (§2.4): weak, segment, shift; `train.steps` has their recipes."""
_NOT_NEGATIVE = (
    *("focal_gamma", "warmup_steps", "imagined_species", "imagined_each", "weight_decay"),
    *("learning_rate", "head_learning_rate", "max_clip_s"),
)
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
    """This fold is held out; -1: `split_by_session.csv` decides, if there is one."""
    train_on_val: bool = False
    """What `split_by_session.csv` holds out trains too. Labelled soundscapes may be made of it, so
    they do not judge then: a fold does, or nobody."""
    folds: str = ""
    """The table of folds, relative to the configuration file; without it DATASET/folds.csv."""
    hand_labels: str = ""
    """A table of hand labels, relative to the configuration file; without it
    DATASET/hand_labels.csv, if there is one."""
    max_clip_s: float = 0.0
    """Only clips of at most this length train (the paper's classifier: 60); 0: all."""
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
    imagined_species: int = 0
    """So many birds that do not exist are classes too, see `train.invented.imagined`."""
    imagined_each: int = 4
    """Recordings of each of them."""
    not_birds: tuple[str, ...] = ()
    """Labels that are no birds (frogs, insects), for that output."""
    judge: str = "auto"
    """Who judges: auto = labelled soundscapes where there are some; composed = soundscapes made of
    the clips that are held out, for cross-validation."""
    soundscape_noise: bool = False
    """Silent stretches of the labelled soundscapes are backgrounds too; needs a `fold`, whose
    soundscapes are left out and judge."""
    step: int = 1
    """Of the paper's three (§2.4): 1 weak, 2 segment, 3 shift; see `train.steps`."""
    pseudo_labels: str = ""
    """What `birdrec train pseudo-label` wrote, for steps 2 and 3."""
    segmentation_share: float = 0.0
    """Of the loss, for what pseudo labels are sure of; the rest is the loss of records."""
    teachers: tuple[str, ...] = ()
    """Checkpoints of segmenters whose mean the net learns to say, see `train.learning.teachers`."""
    distil_share: float = 0.7
    """Of the loss, for what the teachers say; without teachers nothing."""
    model: str = "segmenter"
    """segmenter (§2.3) or classifier (§2.2)."""
    n_fft: int = 2048
    cache: str = ""
    """A folder for decoded clips, relative to the configuration file, where they do not fit into
    memory; without it they are kept there."""
    cache_gb: float = 50.0
    """What was used least recently makes room when the cache is larger."""
    seed: int = 1
    steps: int = 3000
    batch_chunks: int = 32
    """5-s chunks a step, however they are cut into scenes."""
    scene_chunks: tuple[int, ...] = (1, 2, 4, 12)
    scene_chances: tuple[float, ...] = (0.35, 0.35, 0.2, 0.1)
    """How often a step's scenes have 5, 10, 20 and 60 s: the head must bear any length."""
    backbone: str = "slim10"
    width: int = 256
    attention_blocks: int = 2
    """Of the segmenter's head; the paper has 2, one costs half."""
    background_tokens: int = 2
    dropout: float = 0.0
    """Share of each token's features that a training step does not see."""
    skip_attention: float = 0.0
    """How often an attention block is passed by in training, scene by scene: the classifier must
    also know a call without its context."""
    batch_norm: bool = False
    """Batch normalisation of the backbone learns; else it keeps the statistics that it starts with
    (none of a new net's, so that the input's level stays, see docs/experiments.md)."""
    pretrained: str = ""
    """Weights of the backbone: "timm" fetches them, else a file relative to the configuration."""
    init_from: str = ""
    """A checkpoint whose averaged weights are the start, relative to the configuration file."""
    focal_gamma: float = 2.0
    """Of the focal loss; 0 is plain cross-entropy."""
    optimizer: str = "adamw"
    """adamw, or over9000: the paper's."""
    learning_rate: float = 2e-3
    """Of the backbone, and of the rest where `head_learning_rate` is 0."""
    head_learning_rate: float = 0.0
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

        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{entry.name} is {value}: it must be a number")
        for name in ("dropout", "skip_attention", "average_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be in 0 <= x < 1")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be 0 or more")
        if min((*self.scene_chances, *self.scene_chunks), default=0) < 0:
            raise ConfigError("scene_chances and scene_chunks must be 0 or more, each")
        if self.scenes.class_exponent < 0:
            raise ConfigError(
                f"class_exponent is {self.scenes.class_exponent}: it must be 0 or more"
            )
        if not 0 < self.scenes.stretch_s[0] <= self.scenes.stretch_s[1]:
            raise ConfigError(f"stretch_s is {self.scenes.stretch_s}: it must rise from above 0")
        for name, allowed in (
            ("precision", PRECISIONS),
            ("optimizer", OPTIMIZERS),
            ("model", MODELS),
            ("judge", JUDGES),
            ("n_fft", N_FFTS),
            ("attention_blocks", ATTENTION_BLOCKS),
            ("step", STEPS),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigError(f"{name} {value!r}: use {', '.join(map(str, allowed))}")
        if self.cache_gb <= 0:
            raise ConfigError(f"cache_gb is {self.cache_gb}: it must be above 0")
        for name in ("segmentation_share", "distil_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be in 0 <= x <= 1")
        if self.teachers and self.model == "classifier":
            raise ConfigError("teachers: only a segmenter can learn from them, token by token")
        if self.segmentation_share and self.model == "classifier":
            raise ConfigError(
                "segmentation_share: a classifier has no tokens; steps 2 and 3 are "
                "those of the segmenter"
            )
        if self.soundscape_noise and self.fold < 0:
            raise ConfigError(
                "soundscape_noise needs a fold: its soundscapes judge, others are noise"
            )

    @property
    def scene_lengths(self) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """How many chunks scenes have, and how often; a classifier sees one."""
        if self.model == "classifier":
            return (1,), (1.0,)
        return self.scene_chunks, self.scene_chances

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
