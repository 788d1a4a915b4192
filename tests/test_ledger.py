"""Every sample has one fate, and the sum of all is the time that has passed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.keep.ledger import ANALYSED, LOST, PENDING, REASONS, Entry, Ledger

Move = tuple[str, int, int, str]


def moves() -> st.SearchStrategy[list[Move]]:
    kind = st.sampled_from(["heard", "lost", "analysed", "give_up"])
    number = st.integers(0, 60)
    return st.lists(st.tuples(kind, number, number, st.sampled_from(REASONS)), max_size=30)


@given(moves())
def test_it_is_a_list_with_a_fate_for_each_sample(steps: list[Move]) -> None:
    """The oracle keeps one value a sample."""
    ledger, fates = Ledger(), list[tuple[str, str]]()
    for kind, first, second, reason in steps:
        if kind == "heard":
            ledger.heard(first)
            fates += [(PENDING, "")] * first
        elif kind == "lost":
            ledger.lost(first, reason)
            fates += [(LOST, reason)] * first
        else:
            begin, stop = (0, first) if kind == "analysed" else sorted((first, second))
            fate = (ANALYSED, "") if kind == "analysed" else (LOST, reason)
            if kind == "analysed":
                ledger.analysed(stop)
            else:
                ledger.give_up(begin, stop, reason)
            for at in range(begin, min(stop, len(fates))):
                if fates[at][0] == PENDING:
                    fates[at] = fate
    entries = ledger.tail(0)
    told = [(one.state, one.reason) for one in entries for _ in range(one.samples)]
    assert told == fates
    assert [one.start for one in entries] == [0, *[one.stop for one in entries[:-1]]][
        : len(entries)
    ]
    assert all(one.samples > 0 for one in entries)
    totals = ledger.totals()
    assert totals.elapsed == ledger.end == len(fates)
    assert totals.analysed == fates.count((ANALYSED, ""))
    assert totals.lost == {
        reason: fates.count((LOST, reason)) for reason in REASONS if (LOST, reason) in fates
    }
    pending = [at for at, fate in enumerate(fates) if fate[0] == PENDING]
    assert ledger.first_pending() == (pending[0] if pending else len(fates))
    assert Ledger(entries).tail(0) == entries


@given(moves(), st.integers(0, 200))
def test_a_tail_replaces_what_was_written_before(steps: list[Move], cut: int) -> None:
    """As the tables do it: delete from the first entry of the tail on, and write the tail."""
    ledger, table, final = Ledger(), dict[int, Entry](), 0
    for number, (kind, first, _, reason) in enumerate(steps):
        if kind == "heard":
            ledger.heard(first)
        elif kind == "lost":
            ledger.lost(first, reason)
        else:
            ledger.analysed(ledger.end - first)
        if number % (cut % 5 + 1) == 0:
            tail = ledger.tail(final)
            start = tail[0].start if tail else 0
            table = {at: one for at, one in table.items() if at < start}
            table.update({one.start: one for one in tail})
            final = ledger.first_pending()
            assert [table[at] for at in sorted(table)] == ledger.tail(0)


def test_nonsense_is_refused() -> None:
    ledger = Ledger()
    with pytest.raises(ValueError, match="no reason for a loss"):
        ledger.lost(3, "bad luck")
    with pytest.raises(ValueError, match="-1 samples"):
        ledger.heard(-1)
    with pytest.raises(ValueError, match="hole or an overlap"):
        Ledger([Entry(0, 5, PENDING), Entry(6, 5, LOST, "device")])
