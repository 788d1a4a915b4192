"""A file as it should be read, and what was wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from recorder.sound.files.extent import Extent
from recorder.sound.files.patched import PatchedFile

SHORTEST_TAIL_S = 0.1
"""A shorter tail that is no chunk may be anything: a tag, or a pad."""


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


def first_of_two(extent: Extent, second_at: int, seconds: float, kind: str) -> Mended:
    """Of a file behind whose sound another file begins, the first alone."""
    return Mended(
        PatchedFile(extent, [(0, second_at)]),
        damage=f"from {seconds:.2f} s on it is another {kind}, which is not read: cut the file "
        f"after {second_at} bytes",
    )
