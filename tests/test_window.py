"""Which window settles which chunk: the plan against brute force, the stream against the plan."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.detect.window import SettledWindows, window_plan, window_starts

Floats = NDArray[np.float32]

WINDOW, HOP = 1920, 960
recordings = st.integers(1, 500).map(lambda chunks: chunks * 16)
"""Lengths of whole chunks, up to 8000 tokens."""
geometries = st.sampled_from([(1920, 960), (192, 96), (64, 32), (32, 16)])


def covering(start: int, tokens: int, window: int) -> range:
    """The chunks that lie wholly inside the window at `start`."""
    return range(-(-start // 16), min(tokens, start + window) // 16)


def most_central(chunk: int, tokens: int, window: int, hop: int) -> int:
    """The start of the window in which the chunk is most central, the earlier one at a tie."""
    starts = [
        start
        for start in window_starts(tokens, window, hop)
        if chunk in covering(start, tokens, window)
    ]
    middle = min(tokens, window) / 2
    return min(starts, key=lambda start: (abs(chunk * 16 + 8 - start - middle), start))


@given(recordings, geometries)
def test_windows_start_every_hop_and_the_last_one_ends_with_the_recording(
    tokens: int, geometry: tuple[int, int]
) -> None:
    window, hop = geometry
    starts = window_starts(tokens, window, hop)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert starts[:-1] == [number * hop for number in range(len(starts) - 1)]
    assert starts[-1] + window == tokens or tokens <= window
    if len(starts) > 1:
        assert 0 < starts[-1] - starts[-2] <= hop


@given(recordings, geometries)
def test_the_plan_is_a_partition_of_the_chunks(tokens: int, geometry: tuple[int, int]) -> None:
    plan = window_plan(tokens, *geometry)
    settled = [chunk for _, first, last in plan for chunk in range(first, last)]
    assert settled == list(range(tokens // 16))


@given(recordings, geometries)
def test_each_chunk_settles_where_it_is_most_central(
    tokens: int, geometry: tuple[int, int]
) -> None:
    window, hop = geometry
    for start, first, last in window_plan(tokens, window, hop):
        for chunk in range(first, last):
            assert chunk in covering(start, tokens, window)
            assert start == most_central(chunk, tokens, window, hop)


@pytest.mark.parametrize("tokens", [16, 1904, 1920])
def test_up_to_ten_minutes_are_one_window(tokens: int) -> None:
    assert window_plan(tokens, WINDOW, HOP) == [(0, 0, tokens // 16)]


def test_a_tie_goes_to_the_earlier_window() -> None:
    # 15 minutes: centres at 5 and 10 minutes; a chunk cannot straddle 7.5 minutes.
    assert window_plan(2880, WINDOW, HOP) == [(0, 0, 90), (960, 90, 180)]
    # Centres at tokens 960 and 976: chunk 60 (centre 968) is as near to both.
    assert window_plan(1936, WINDOW, HOP) == [(0, 0, 61), (16, 61, 121)]


class Windows:
    """Fakes of the head and the post-processing that remember which window a token was in.

    A token is (its number, 0); attending writes the window's first token into column 1.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self.passes: list[int] = []

    def attend(self, tokens: Floats) -> Floats:
        assert len(tokens) <= self._window
        start = int(tokens[0, 0])
        np.testing.assert_array_equal(tokens[:, 0], start + np.arange(len(tokens)))
        self.passes.append(start)
        return np.stack([tokens[:, 0], np.full(len(tokens), start)], axis=1)

    def score(self, logits: Floats) -> Floats:
        return logits[::16]


def numbered(tokens: int) -> Floats:
    return np.stack([np.arange(tokens), np.zeros(tokens)], axis=1).astype(np.float32)


def pieces(tokens: int, sizes: list[int]) -> Iterator[Floats]:
    whole, begin, turn = numbered(tokens), 0, 0
    while begin < tokens:
        size = sizes[turn % len(sizes)]
        yield whole[begin : begin + size]
        begin, turn = begin + size, turn + 1


@given(recordings, geometries, st.lists(st.integers(1, 3000), min_size=1, max_size=6))
def test_tokens_in_any_pieces_settle_exactly_by_the_plan(
    tokens: int, geometry: tuple[int, int], sizes: list[int]
) -> None:
    window, hop = geometry
    fakes = Windows(window)
    settled = SettledWindows(fakes.attend, fakes.score, window_tokens=window, hop_tokens=hop)
    results = [one for piece in pieces(tokens, sizes) for one in settled.push(piece)]
    results += settled.finish()
    rows = np.concatenate([scores for scores, _ in results])
    logits = np.concatenate([logits for _, logits in results])
    expected = [
        (chunk * 16, start)
        for start, first, last in window_plan(tokens, window, hop)
        for chunk in range(first, last)
    ]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(logits[:, 0], np.arange(tokens))
    np.testing.assert_array_equal(logits[:, 1], np.repeat(np.array(expected)[:, 1], 16))
    assert fakes.passes == window_starts(tokens, window, hop)


def test_chunks_settle_while_the_recording_goes_on() -> None:
    fakes = Windows(WINDOW)
    settled = SettledWindows(fakes.attend, fakes.score, window_tokens=WINDOW, hop_tokens=HOP)
    counts = [sum(len(rows) for rows, _ in settled.push(numbered(2880)[:1920]))]
    counts.append(sum(len(rows) for rows, _ in settled.push(numbered(2880)[1920:])))
    counts.append(sum(len(rows) for rows, _ in settled.finish()))
    assert counts == [0, 90, 90]


def test_no_tokens_settle_nothing() -> None:
    fakes = Windows(WINDOW)
    settled = SettledWindows(fakes.attend, fakes.score, window_tokens=WINDOW, hop_tokens=HOP)
    assert list(settled.finish()) == []
    assert fakes.passes == []
