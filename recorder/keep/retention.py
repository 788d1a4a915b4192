"""What of the kept sound has to go: by number, age, size and free space; pure.

The best of each species stays longest, so that a common bird never pushes a rare one out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_DAY_S = 86_400.0
_EARLIEST_UTC_S = 1_704_067_200.0
"""Before it no file can be from: the clock was not set, and says nothing of an age."""


@dataclass(frozen=True)
class Kept:
    """A file of sound."""

    path: str
    """From the station's folder."""
    label: str
    """Its species; files of one label are weighed against each other."""
    score: float
    start_utc_s: float
    bytes: int


@dataclass(frozen=True)
class Limits:
    """How much is kept; None = no limit."""

    per_label: int | None = None
    days: float | None = None
    bytes: int | None = None
    best_whatever_age: int = 0
    """So many of each label, the best, do not go because of their age."""


def surplus(
    kept: Sequence[Kept],
    limits: Limits,
    *,
    now_utc_s: float | None,
    missing_bytes: int = 0,
    locked: Callable[[Kept], bool] = lambda _: False,
) -> Iterator[tuple[Kept, str]]:
    """(what has to go, why), the least wanted first.

    The newest and the best of each label never go, nor does what is locked: where only these are
    left, less is freed than was wished. Without a clock that is set, nothing goes because of age.
    """
    ranks = _ranks(kept)
    newest = {one.label: one.path for one in sorted(kept, key=_age)}
    candidates = [one for one in kept if ranks[one.path] > 0 and newest[one.label] != one.path]
    candidates.sort(key=lambda one: (-ranks[one.path], *_age(one)))
    over = 0 if limits.bytes is None else sum(one.bytes for one in kept) - limits.bytes
    for one in candidates:
        reason = _reason(one, ranks[one.path], limits, now_utc_s)
        if not reason and max(over, missing_bytes) > 0:
            reason = "size" if over > 0 else "free space"
        if reason and not locked(one):
            over -= one.bytes
            missing_bytes -= one.bytes
            yield one, reason


def is_wanted(kept: Sequence[Kept], label: str, score: float, limits: Limits) -> bool:
    """Would a new file of this score not be the first to go because there are enough better ones?

    What is not written does not wear a card out.
    """
    if limits.per_label is None:
        return True
    better = sum(one.label == label and one.score >= score for one in kept)
    return better < limits.per_label


def _reason(one: Kept, rank: int, limits: Limits, now_utc_s: float | None) -> str:
    if limits.per_label is not None and rank >= limits.per_label:
        return "enough better ones"
    if limits.days is None or now_utc_s is None or one.start_utc_s < _EARLIEST_UTC_S:
        return ""
    too_old = now_utc_s - one.start_utc_s > limits.days * _DAY_S
    return "age" if too_old and rank >= limits.best_whatever_age else ""


def _ranks(kept: Sequence[Kept]) -> dict[str, int]:
    """Place of each path within its label: 0 is the best; among equals, the newest."""
    ranks: dict[str, int] = {}
    count: dict[str, int] = defaultdict(int)
    for one in sorted(kept, key=lambda one: (one.score, *_age(one)), reverse=True):
        ranks[one.path] = count[one.label]
        count[one.label] += 1
    return ranks


def _age(one: Kept) -> tuple[float, int, str]:
    """The older, the less; of one moment's files the later ones have the longer names."""
    return one.start_utc_s, len(one.path), one.path
