"""A scene, how scenes may be made, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from train.clips.recordings import Recording
from train.scenes.drafts import Draft, Layer
from train.scenes.vary import Variation, VaryConfig

Floats = NDArray[np.float32]

ANY_BIRD = "bird"
"""The label of the output that says: a bird, known or not."""


@dataclass(frozen=True)
class SceneConfig:
    """How scenes are made; levels in dB, times in seconds."""

    composed_share: float = 0.67
    snr_db: tuple[float, float] = (-3.0, 20.0)
    weak_snr_db: tuple[float, float] = (0.0, 25.0)
    bed_dbfs: tuple[float, float] = (-60.0, -25.0)
    bed_chance: float = 0.9
    own_noise_chance: float = 0.3
    """How often the own noise of some recording lies in a bed, without that recording's calls."""
    stretch_s: tuple[float, float] = (0.5, 8.0)
    """Log-uniform: a single call is as likely as a long song."""
    vary: VaryConfig = field(default_factory=VaryConfig)
    mixup_chance: float = 0.5
    mixup_alpha: float = 4.5
    edge_crop_share: float = 0.2
    """§2.2: this share of weak crops comes from a clip's first or last 5 s."""
    loud_crops: bool = True
    """Other crops are drawn up to three times until something is loud in them; the paper's (§2.2)
    come from anywhere."""
    secondary_target: float = 0.995
    secondary_chunks: int = 4
    """In weak crops shorter than this a secondary label is unknown instead: nobody says that
    the background species sings in these 5 seconds."""
    class_exponent: float = 0.5
    """A class is drawn as often as its number of clips to this power: 1 is every clip alike, as in
    the paper, 0 every class alike."""
    auxiliary_weight: float = 0.5
    """How often a class outside the core set is drawn, relative to one inside."""
    imagined_weight: float = 0.05
    """The same for a bird that does not exist, see `train.invented.imagined`."""


@dataclass(frozen=True)
class Scene:
    """One training example of `chunks` 5-s chunks."""

    draft: Draft  # of samples_needed(chunks * 16) samples
    target: Floats  # [chunks, classes] in 0..1
    known: Floats  # [chunks, classes]: 0 leaves the pair out of the loss
    weak: bool
    """The label is true of the record, not of each chunk: all rows of `target` are equal."""
    token_target: Floats  # [tokens, classes] in 0..1
    token_known: Floats  # [tokens, classes]: what pseudo labels are sure of


@dataclass(frozen=True)
class Stretch:
    """A piece of a recording, ready to be placed in a scene."""

    recording: Recording
    size: int
    """In samples."""
    loudness: NDArray[np.float32]  # [frames], of each frame as it is played
    begin: int
    """The sample of the recording that it starts at."""
    own_noise: float = 1.0
    variation: Variation = field(default_factory=Variation)

    def layer(self, number: int, gain: float, place: int) -> Layer:
        """As the scene has it; `number` is that of the recording."""
        return Layer(
            number,
            self.begin,
            self.size,
            self.own_noise,
            self.variation,
            faded=True,
            sounding=(0, self.size),
            gain=gain,
            place=place,
        )
