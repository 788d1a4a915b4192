"""What people call a species, and which classes of the model they mean."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from recorder.detect.bundle import Label

_MOST_SAID = 8
"""Of unknown names that are named."""
_MOST_COMPARED = 100
"""With all that the model knows, which takes a hundredth of a second each where it knows many."""
_NEAR = 0.6
"""Of difflib's ratio: below, two names have nothing to do with each other."""


class Names:
    """Label codes, scientific and common names of one model, in any case and spelling of blanks."""

    def __init__(self, labels: Sequence[Label]) -> None:
        self._classes: dict[str, list[int]] = {}
        self._shown: dict[str, str] = {}
        for index, one in enumerate(labels):
            both = f"{one.scientific_name} {one.common_name}"
            for name in (one.scientific_name, one.common_name, one.label, both):
                known = _plain(name)
                if known and index not in self._classes.setdefault(known, []):
                    self._classes[known].append(index)
                self._shown.setdefault(known, name)

    def find(self, names: Iterable[str]) -> tuple[int, ...]:
        """The classes that the first known of several names for one species means; or none.

        `Scientific_Common`, as BirdNET writes it, is known by either part.
        """
        for name in names:
            for part in (name, *name.split("_", 1)):
                if found := self._classes.get(_plain(part)):
                    return tuple(found)
        return ()

    def nearest(self, name: str) -> str:
        """The known name that looks most like it; empty where none does."""
        wanted = [_plain(part) for part in (name, *name.split("_", 1))]
        near = [
            one
            for part in wanted
            for one in difflib.get_close_matches(part, self._classes, 1, _NEAR)
        ]
        best = max(near, key=lambda one: max(_ratio(one, part) for part in wanted), default="")
        return self._shown.get(best, "")

    def unknown(self, where: str, names: Sequence[str]) -> list[str]:
        """What to tell of names that mean no class: each once, with the nearest that does.

        Of many a few are named, first those that look like slips of the pen.
        """
        once = list(dict.fromkeys(names))
        guesses = [(name, self.nearest(name)) for name in once[:_MOST_COMPARED]]
        guesses = sorted(guesses, key=lambda one: not one[1])[:_MOST_SAID]
        said = [
            f"{where}: the model does not know {name!r}"
            + (f": did you mean {near}?" if near else "")
            for name, near in guesses
        ]
        if len(once) > len(said):
            said.append(f"{where}: nor {len(once) - len(said)} other names")
        return said


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def _plain(name: str) -> str:
    """Without case, and with one blank for whatever stands between words."""
    return re.sub(r"[\s_\-]+", " ", name.replace("’", "'")).strip().casefold()
