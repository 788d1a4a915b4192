"""A file as it should be read, and what was wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from recorder.sound.patched import PatchedFile


@dataclass(frozen=True)
class Mended:
    """What to read instead of the file, and what was wrong with it."""

    file: PatchedFile
    repair: str = ""
    """Nothing is missing after this."""
    damage: str = ""
    """Something is."""
    promised: int = 0
    """Frames that the header speaks of, where a decoder would not say; 0: it does."""
    silence: int = 0
    """Samples of silence that were put where something is missing."""


def unclosed(said: str, real: int | str) -> str:
    """Of a header whose recorder lost its power."""
    return f"the header promises {said}, the file holds {real}: its recorder did not close it"
