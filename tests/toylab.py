"""The smallest training there is, for tests that need a trained net: one step on toy species."""

from __future__ import annotations

from pathlib import Path

from train.config import TrainConfig
from train.invented.toys import write_toy_dataset

TINY = TrainConfig(
    name="toy",
    dataset="data",
    noise=("noise",),
    steps=1,
    batch_chunks=2,
    scene_chunks=(1,),
    scene_chances=(1.0,),
    width=32,
    warmup_steps=1,
    evaluate_every=1,
    threads=1,
)
"""For a configuration file in the folder that `write_lab` made."""


def write_lab(folder: Path, *, clips_per_species: int = 3, soundscapes: int = 1) -> Path:
    """`data` of two toy species (one session in four is `val`) and its `noise` in the folder."""
    write_toy_dataset(
        folder / "data",
        species=2,
        clips_per_species=clips_per_species,
        soundscapes=soundscapes,
        soundscape_s=15.0,
        seed=1,
    )
    return folder
