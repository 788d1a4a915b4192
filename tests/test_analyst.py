"""Frames of a device in, chunks of the model out: any rate, any blocks, gaps in their place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import MakeSound
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.detect.bundle import Bundle
from recorder.detect.inference import Networks
from recorder.detect.pipeline import Pipeline
from recorder.detect.rolling import Heard, RollingPipeline
from recorder.errors import UsageError
from recorder.sound.resample import StreamResampler
from recorder.station.analyst import Analyst, as_mono, check_channel
from recorder.station.backlog import Piece
from recorder.station.intake import as_floats

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def short(bundle: Bundle) -> Networks:
    """Twenty seconds of window: it slides through all of the test's sound."""
    return Networks(replace(bundle, window_tokens=64, hop_tokens=32))


def analyst(networks: Networks, rate_hz: int, channel: str = "1") -> Analyst:
    return Analyst(
        lambda: RollingPipeline(networks), rate_hz=rate_hz, model_rate_hz=32_000, channel=channel
    )


@settings(max_examples=6)
@given(st.sampled_from([32_000, 48_000, 44_100, 22_050]), st.integers(1_000, 300_000))
def test_any_rate_and_any_blocks_settle_as_the_file_does(
    short: Networks, birdlike: MakeSound, rate_hz: int, block: int
) -> None:
    sound = birdlike(27.0, rate_hz, seed=1)
    resampler, file = StreamResampler(rate_hz, 32_000), Pipeline(short)
    expected = file.push(resampler.push(sound)) + file.push(resampler.finish()) + file.finish()
    one, heard = analyst(short, rate_hz), Heard()
    for at in range(0, len(sound), block):
        part = sound[at : at + block, np.newaxis]
        heard.add(one.take(Piece(at, len(part), part)))
        assert one.needed_from_frame <= one.settled_frames <= one.frames == at + len(part)
    heard.add(one.finish())
    assert [row.index for row in heard.settled] == [row.index for row in expected]
    for row, other in zip(heard.settled, expected, strict=True):
        np.testing.assert_allclose(row.scores, other.scores, atol=1e-4)


@settings(max_examples=10)
@given(
    st.sampled_from([32_000, 48_000, 44_100]),
    st.lists(st.integers(1, 400_000), min_size=2, max_size=6),
)
def test_gaps_keep_their_place_to_the_sample(
    short: Networks, birdlike: MakeSound, rate_hz: int, lengths: list[int]
) -> None:
    """However often sound and gaps follow each other, the model's time is the device's."""
    one, place = analyst(short, rate_hz), 0
    sound = birdlike(13.0, rate_hz, seed=2)[:, np.newaxis]
    for number, length in enumerate(lengths):
        frames = sound[:length] if number % 2 == 0 else None
        count = length if frames is None else len(frames)
        one.take(Piece(place, count, frames))
        place += count
        if frames is None:
            assert one._samples == round(place * 32_000 / rate_hz)
    assert abs(one._samples - place * 32_000 / rate_hz) < 32_000 * 0.1


def test_a_piece_out_of_its_place_is_refused(short: Networks) -> None:
    with pytest.raises(ValueError, match="a piece from 7 on after 0 frames"):
        analyst(short, 32_000).take(Piece(7, 3, None))


def test_what_the_net_cannot_decide_is_said_and_it_goes_on(
    short: Networks, birdlike: MakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = birdlike(60.0, seed=3)[:, np.newaxis]
    one, heard = analyst(short, 32_000), Heard()
    heard.add(one.take(Piece(0, 640_000, sound[:640_000])))
    with monkeypatch.context() as patch:
        nan = np.full((2_000, short.bundle.width), np.nan, np.float32)
        patch.setattr(short, "encode", lambda frames: nan[: len(frames) // 32])
        one.take(Piece(640_000, 320_000, sound[640_000:960_000]))
    assert one.failed is not None
    first, stop, why = one.failed
    assert first < 640_000 < stop
    assert "NaN" in why
    heard.add(one.take(Piece(960_000, 960_000, sound[960_000:])))
    heard.add(one.finish())
    said = [row.index for row in heard.settled]
    assert said == sorted(set(said))
    assert said[-1] == 11
    assert not any(first / 160_000 <= chunk < stop // 160_000 - 1 for chunk in said)


def test_channels() -> None:
    stereo = np.array([[0.2, 0.4], [-1.0, 1.0]], np.float32)
    np.testing.assert_array_equal(as_mono(stereo, "2"), stereo[:, 1])
    np.testing.assert_allclose(as_mono(stereo, "mix"), [0.3, 0.0], atol=1e-7)
    check_channel("2", 2)
    check_channel("mix", 1)
    for wrong in ("3", "0", "left", "-1"):
        with pytest.raises(UsageError, match="the device has 2; use 1 to 2, or mix"):
            check_channel(wrong, 2)


def test_integers_fill_their_type_and_numbers_are_numbers() -> None:
    floats, bad = as_floats(np.array([[-32768], [16384]], np.int16))
    np.testing.assert_array_equal(floats, [[-1.0], [0.5]])
    assert bad == 0
    floats, bad = as_floats(np.array([[-(2**31)], [2**30]], np.int32))
    np.testing.assert_array_equal(floats, [[-1.0], [0.5]])
    floats, bad = as_floats(np.array([[np.nan], [np.inf], [1e9], [0.25]], np.float32))
    np.testing.assert_array_equal(floats, [[0.0], [0.0], [0.0], [0.25]])
    assert bad == 3
