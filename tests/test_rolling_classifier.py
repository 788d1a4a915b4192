"""Somebody else's net on a stream: the rows of a file, and gaps that are silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tonelab import RATE_HZ, sound
from tonelab import labels as labels
from tonelab import net as net
from tonelab import tones as tones

from recorder.detect.models import load_model, read_model
from recorder.detect.rolling import Heard

CHUNK = 5 * RATE_HZ


@given(st.lists(st.integers(-3 * CHUNK, 2 * CHUNK).filter(bool), min_size=1, max_size=6))
def test_it_says_what_a_file_with_silence_says_of_the_chunks_that_were_heard(
    tones: Path, moves: list[int]
) -> None:
    model = load_model(read_model(tones))
    samples = sound(60.0, RATE_HZ, {one + 0.5: 6_000.0 for one in range(0, 60, 3)})
    samples = np.resize(samples, sum(map(abs, moves)))
    stream, rows, place = model.rolling(), Heard(), 0
    heard = np.zeros(len(samples), bool)
    for move in moves:
        stop = place + abs(move)
        if move > 0:
            heard[place:stop] = True
            rows.add(stream.push(samples[place:stop]))
        else:
            rows.add(stream.skip(-move))
        place = stop
        assert stream.needed_from_sample <= stream.settled_samples <= place
    rows.add(stream.finish())
    file = model.pipeline()
    expected = file.push(samples * heard) + file.finish()
    wanted = [one for one in expected if heard[one.index * CHUNK :][:CHUNK].any()]
    assert [one.index for one in rows.settled] == [one.index for one in wanted]
    assert rows.live == rows.settled
    for row, other in zip(rows.settled, wanted, strict=True):
        np.testing.assert_allclose(row.scores, other.scores, atol=1e-6)
