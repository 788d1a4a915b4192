"""What goes first, and what never goes."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from recorder.keep.retention import Kept, Limits, is_wanted, surplus

NOW_S = 1_795_000_000.0
DAY_S = 86_400.0


def kept(
    path: str, label: str = "a", score: float = 0.5, days: float = 1.0, size: int = 10
) -> Kept:
    return Kept(path, label, score, NOW_S - days * DAY_S, size)


def gone(clips: list[Kept], limits: Limits, **options: object) -> list[tuple[str, str]]:
    found = surplus(clips, limits, now_utc_s=NOW_S, **options)  # type: ignore[arg-type]
    return [(one.path, reason) for one, reason in found]


def test_the_worst_of_too_many_go() -> None:
    clips = [kept(f"{score}", score=score, days=9 - score) for score in (0.9, 0.1, 0.5, 0.7)]
    assert gone(clips, Limits(per_label=2)) == [
        ("0.1", "enough better ones"),
        ("0.5", "enough better ones"),
    ]


def test_a_common_bird_goes_before_a_rare_one() -> None:
    common = [kept(f"common{i}", "common", 0.99 - i / 100, days=1 + i) for i in range(5)]
    rare = [kept("rare0", "rare", 0.2, days=8), kept("rare1", "rare", 0.1, days=9)]
    said = gone([*common, *rare], Limits(bytes=50))
    assert [path for path, _ in said] == ["common4", "common3"]
    assert {reason for _, reason in said} == {"size"}
    said = gone([*common, *rare], Limits(), missing_bytes=25)
    assert said == [(f"common{i}", "free space") for i in (4, 3, 2)]


def test_age_spares_the_best_and_needs_a_clock() -> None:
    clips = [kept(f"{i}", score=0.9 - i / 10, days=20 + i) for i in range(4)]
    limits = Limits(days=10, best_whatever_age=2)
    assert gone(clips, limits) == [("3", "age"), ("2", "age")]
    assert list(surplus(clips, limits, now_utc_s=None)) == []
    never_set = [Kept(f"{i}", "a", 0.5 - i / 10, i * 60.0, 1) for i in range(5)]
    assert gone(never_set, limits) == []


def test_what_would_go_at_once_is_not_wanted() -> None:
    clips = [kept("x", score=0.9), kept("y", score=0.6)]
    assert is_wanted(clips, "a", 0.7, Limits(per_label=2))
    assert not is_wanted(clips, "a", 0.6, Limits(per_label=2))
    assert is_wanted(clips, "b", 0.1, Limits(per_label=2))
    assert is_wanted(clips, "a", 0.1, Limits())


@given(
    clips=st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from([0.1, 0.5, 0.9]), st.integers(0, 40),
            st.integers(1, 9), st.booleans(),
        ),
        max_size=25,
    ),
    per_label=st.none() | st.integers(1, 6),
    days=st.none() | st.integers(1, 40),
    limit_bytes=st.none() | st.integers(0, 80),
    missing=st.integers(0, 60),
)  # fmt: skip
def test_laws(
    clips: list[tuple[str, float, int, int, bool]],
    per_label: int | None,
    days: int | None,
    limit_bytes: int | None,
    missing: int,
) -> None:
    """The newest, the best and the locked stay; no limit is broken by anything else that stays."""
    files = [kept(f"{i}", one[0], one[1], one[2], one[3]) for i, one in enumerate(clips)]
    locked = {f"{i}" for i, one in enumerate(clips) if one[4]}
    limits = Limits(per_label=per_label, days=days, bytes=limit_bytes, best_whatever_age=1)
    removed = gone(files, limits, missing_bytes=missing, locked=lambda one: one.path in locked)
    paths = {path for path, _ in removed}
    assert len(paths) == len(removed)
    assert not paths & locked
    left = [one for one in files if one.path not in paths]
    by_label: dict[str, list[Kept]] = defaultdict(list)
    for one in files:
        by_label[one.label].append(one)
    safe = set(locked)
    for group in by_label.values():
        assert max(one.start_utc_s for one in group) in {
            one.start_utc_s for one in group if one.path not in paths
        }
        best = max(one.score for one in group)
        assert best in {one.score for one in group if one.path not in paths}
        newest = max(enumerate(group), key=lambda pair: (pair[1].start_utc_s, pair[0]))[1]
        first = max(group, key=lambda one: (one.score, one.start_utc_s))
        safe |= {newest.path, first.path}
    free_to_go = [one for one in left if one.path not in safe]
    freed = sum(one.bytes for one in files) - sum(one.bytes for one in left)
    total = sum(one.bytes for one in left)
    if limit_bytes is not None and total > limit_bytes:
        assert len(free_to_go) <= len(left) - len({one.label for one in left})
        assert not [one for one in free_to_go if _could_go(one, files)]
    if missing > freed:
        assert not [one for one in free_to_go if _could_go(one, files)]
    if per_label is not None:
        for group in by_label.values():
            stays = [one for one in group if one.path not in paths and one.path not in safe]
            assert len(stays) <= per_label


def _could_go(one: Kept, files: list[Kept]) -> bool:
    """Is another of its label better and another newer, without a tie?"""
    others = [other for other in files if other.label == one.label and other is not one]
    better = any(other.score > one.score for other in others)
    newer = any(other.start_utc_s > one.start_utc_s for other in others)
    return better and newer
