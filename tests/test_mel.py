"""The log-mel front end: right against float64, drift-free, and the same as a stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.detect.mel import (
    CHUNK_SAMPLES,
    FRAMES_PER_TOKEN,
    TOKEN_SAMPLES,
    LogMelStream,
    MelConfig,
    chunk_picture,
    hz_to_mel,
    log_mel,
    mel_to_hz,
    samples_needed,
)

CONFIG = MelConfig()
Doubles = NDArray[np.float64]


def slow_triangles(config: MelConfig) -> Doubles:
    """Slaney's triangles of height 1, one weight at a time, [bins, bands]."""

    def to_mel(hz: float) -> float:
        if hz < 1000.0:
            return 3.0 * hz / 200.0
        return 15.0 + 27.0 * float(np.log(hz / 1000.0)) / float(np.log(6.4))

    def to_hz(mel: float) -> float:
        if mel < 15.0:
            return 200.0 * mel / 3.0
        return 1000.0 * float(6.4 ** ((mel - 15.0) / 27.0))

    low, high = to_mel(config.fmin_hz), to_mel(config.fmax_hz)
    step = (high - low) / (config.mel_bands + 1)
    corners = [to_hz(low + step * number) for number in range(config.mel_bands + 2)]
    weights = np.zeros((config.n_fft // 2 + 1, config.mel_bands))
    for band in range(config.mel_bands):
        left, top, right = corners[band : band + 3]
        for number in range(len(weights)):
            hz = number * config.sample_rate_hz / config.n_fft
            if left < hz <= top:
                weights[number, band] = (hz - left) / (top - left)
            elif top < hz < right:
                weights[number, band] = (right - hz) / (right - top)
    return weights


def slow_log_mel(samples: NDArray[np.float32], tokens: int, config: MelConfig) -> Doubles:
    """The definition, frame by frame in float64, [frames, bands]."""
    triangles = slow_triangles(config)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.n_fft) / config.n_fft)
    rows = []
    for frame in range(tokens * 32):
        start = (frame * 625) // 2
        piece = samples[start : start + config.n_fft].astype(np.float64)
        power = np.abs(np.fft.rfft(piece * window)) ** 2
        rows.append(np.log10(power @ triangles + config.power_floor))
    return np.array(rows)


def sound(tokens: int, config: MelConfig = CONFIG, seed: int = 0) -> NDArray[np.float32]:
    samples = np.random.default_rng(seed).standard_normal(samples_needed(tokens, config))
    return (0.05 * samples).astype(np.float32)


def tone(hertz: float, tokens: int, level: float) -> NDArray[np.float32]:
    times = np.arange(samples_needed(tokens, CONFIG)) / CONFIG.sample_rate_hz
    return (level * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


@pytest.mark.parametrize("n_fft", [1024, 2048])
def test_noise_is_right_to_1e_5(n_fft: int) -> None:
    config = MelConfig(n_fft=n_fft, mel_bands=128 if n_fft == 2048 else 64)
    samples = sound(5, config)
    assert np.abs(log_mel(samples, 5, config) - slow_log_mel(samples, 5, config)).max() < 1e-5


@pytest.mark.parametrize("hertz", [60.0, 440.0, 3_150.5, 14_900.0])
@pytest.mark.parametrize("bed", [0.0, 0.02])
def test_a_loud_tone_is_right_to_1e_5_where_it_sounds(hertz: float, bed: float) -> None:
    """Far below the tone, float32's own rounding (1e-7 of the tone's amplitude) shows."""
    samples = tone(hertz, 2, 0.5) + np.float32(bed) * sound(2)
    expected = slow_log_mel(samples, 2, CONFIG)
    error = np.abs(log_mel(samples, 2, CONFIG) - expected)
    assert error[expected > expected.max() - 4.0].max() < 1e-5
    assert error.max() < 5e-3


def test_silence_is_the_floor_and_nothing_else() -> None:
    samples = np.zeros(samples_needed(2, CONFIG), np.float32)
    np.testing.assert_allclose(log_mel(samples, 2, CONFIG), -6.0, atol=1e-6)


def test_a_tone_is_loudest_in_the_band_around_it() -> None:
    triangles = slow_triangles(CONFIG)
    for hertz in (250.0, 1_000.0, 8_000.0):
        loudest = int(log_mel(tone(hertz, 1, 0.1), 1, CONFIG).mean(axis=0).argmax())
        nearest_bin = round(hertz * CONFIG.n_fft / CONFIG.sample_rate_hz)
        assert triangles[nearest_bin, loudest] > 0.4


def test_five_seconds_are_512_frames_and_16_tokens() -> None:
    frames = log_mel(sound(16), 16, CONFIG)
    assert frames.shape == (512, 128)
    assert frames.dtype == np.float32
    assert 5 * CONFIG.sample_rate_hz == 16 * TOKEN_SAMPLES
    assert 16 * FRAMES_PER_TOKEN == 512


def test_ten_minutes_are_1920_tokens() -> None:
    assert 600 * CONFIG.sample_rate_hz == 1920 * TOKEN_SAMPLES


def test_the_token_grid_does_not_drift_in_an_hour() -> None:
    tokens = np.arange(3600 * 16 // 5 + 1, dtype=np.int64)
    starts = (tokens * FRAMES_PER_TOKEN * 625) // 2
    np.testing.assert_array_equal(starts, tokens * TOKEN_SAMPLES)


def test_a_click_late_in_the_recording_is_in_the_frames_that_cover_it() -> None:
    """No drift in the code either: frame k hears samples (k*625)//2 to +2048 and no others."""
    tokens = 320
    position = 311 * TOKEN_SAMPLES + 4_321
    samples = np.zeros(samples_needed(tokens, CONFIG), np.float32)
    samples[position] = 1.0
    heard = np.flatnonzero(log_mel(samples, tokens, CONFIG).max(axis=1) > -5.0)
    starts = (np.arange(tokens * 32) * 625) // 2
    offsets = position - starts
    # The window's first and last samples are near zero: a click there is not heard.
    expected = np.flatnonzero((offsets > 60) & (offsets < 2048 - 60))
    assert set(expected) <= set(heard)
    assert ((offsets[heard] > 0) & (offsets[heard] < 2048)).all()


def test_mel_and_hertz_are_inverse() -> None:
    hertz = np.linspace(0.0, 16_000.0, 501)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hertz)), hertz, atol=1e-9)


@given(st.lists(st.integers(1, 70_000), min_size=1, max_size=12), st.integers(0, 3))
def test_blocks_of_any_size_give_the_same_bits(sizes: list[int], seed: int) -> None:
    samples = sound(20, seed=seed)[: sum(sizes)]
    tokens = -(-len(samples) // TOKEN_SAMPLES)
    padding = np.zeros(samples_needed(tokens, CONFIG), np.float32)
    whole = log_mel(np.concatenate([samples, padding]), tokens, CONFIG)
    stream, begin, got = LogMelStream(CONFIG), 0, []
    for size in sizes:
        got.append(stream.push(samples[begin : begin + size]))
        begin += size
        assert len(got[-1]) % FRAMES_PER_TOKEN == 0
    got.append(stream.finish(tokens))
    np.testing.assert_array_equal(np.concatenate(got), whole)


@given(st.integers(1, 40))
def test_the_first_tokens_do_not_depend_on_how_many_follow(tokens: int) -> None:
    samples = sound(40)
    whole = log_mel(samples, 40, CONFIG)
    np.testing.assert_array_equal(log_mel(samples, tokens, CONFIG), whole[: tokens * 32])


def test_finishing_later_pads_with_silence() -> None:
    stream = LogMelStream(CONFIG)
    stream.push(sound(1)[:5_000])
    frames = stream.finish(16)
    assert frames.shape == (512, 128)
    np.testing.assert_allclose(frames[-256:], -6.0, atol=1e-6)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="3 tokens need"):
        log_mel(sound(3)[:-1], 3, CONFIG)


def test_finish_refuses_to_drop_samples() -> None:
    stream = LogMelStream(CONFIG)
    stream.push(np.zeros(2 * TOKEN_SAMPLES + 1, np.float32))
    with pytest.raises(ValueError, match="cannot hold"):
        stream.finish(2)


def test_bands_too_narrow_for_the_transform_are_refused() -> None:
    config = MelConfig(n_fft=256, mel_bands=128)
    with pytest.raises(ValueError, match="fewer bands"):
        log_mel(sound(1), 1, config)


def test_the_frames_of_a_picture_are_centred_512_samples_apart() -> None:
    samples = np.zeros(CHUNK_SAMPLES, np.float32)
    samples[512 * 100] = 1.0
    loudest = chunk_picture(samples, MelConfig()).sum(axis=1)
    assert loudest.argmax() == 100
    assert np.flatnonzero(loudest > loudest.min() + 1.0).tolist() == [98, 99, 100, 101, 102][1:-1]


@pytest.mark.parametrize("count", [0, CHUNK_SAMPLES - 1, CHUNK_SAMPLES + 1])
def test_a_picture_is_of_one_whole_chunk(count: int) -> None:
    with pytest.raises(ValueError, match=f"a chunk has 160000 samples, got {count}"):
        chunk_picture(np.zeros(count, np.float32), MelConfig())
