"""What a training is made of, in short, so that it does not go on with something else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from train.clips.dataset import Clip, audio_below
from train.clips.hand_labels import HAND_LABELS
from train.clips.soundscapes import SOUNDSCAPES
from train.config import TrainConfig
from train.scenes.pseudo import PROVENANCE


def made_of(
    config: TrainConfig, here: Path, dataset: Path, clips: Iterable[Clip]
) -> dict[str, str]:
    """A hash of each: of tables by their bytes, of sound by the names and sizes of its files."""
    noise = [
        path
        for folder in config.noise
        for path in audio_below(here / folder)
        if not any(word in path.name for word in config.noise_excluded)
    ]
    soundscapes = audio_below(dataset / SOUNDSCAPES) if config.soundscape_noise else []
    pseudo_labels = here / config.pseudo_labels / PROVENANCE if config.pseudo_labels else None
    hand_labels = here / config.hand_labels if config.hand_labels else dataset / HAND_LABELS
    return {
        "recordings": _of_files(clip.path for clip in clips),
        "backgrounds": _of_files([*noise, *soundscapes]),
        "hand labels": _of_table(hand_labels),
        "pseudo labels": _of_table(pseudo_labels) if pseudo_labels else "",
    }


def _of_files(paths: Iterable[Path]) -> str:
    lines = sorted(f"{path.parent.name}/{path.name} {_size(path)}" for path in paths)
    return _hash("\n".join(lines).encode("utf-8", "surrogateescape"))


def _size(path: Path) -> int:
    """Bytes; -1 of a file that has gone since it was read."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _of_table(path: Path) -> str:
    return _hash(path.read_bytes()) if path.is_file() else ""


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
