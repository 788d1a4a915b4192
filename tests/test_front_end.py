"""The torch front end and the recorder's are one front end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recorder.detect.mel import (
    CHUNK_SAMPLES,
    SAMPLE_RATE_HZ,
    MelConfig,
    chunk_picture,
    log_mel,
    samples_needed,
)
from train.nets.front_end import TorchLogMel

Samples = NDArray[np.float32]

MEL = MelConfig()
SAME = 3e-5


def _noise(count: int, *, rms: float, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    return (rms * rng.standard_normal(count)).astype(np.float32)


def _chirp(count: int, first_hz: float, last_hz: float) -> Samples:
    frequency_hz = np.linspace(first_hz, last_hz, count)
    phase = 2.0 * np.pi * np.cumsum(frequency_hz) / SAMPLE_RATE_HZ
    return (0.1 * np.sin(phase)).astype(np.float32)


@pytest.mark.parametrize("tokens", [1, 2, 16, 17, 35])
def test_noise_gives_the_same_log_mel_in_torch_and_numpy(tokens: int) -> None:
    samples = _noise(samples_needed(tokens, MEL), rms=0.05, seed=tokens)
    found = TorchLogMel(MEL)(torch.from_numpy(samples)[None], tokens)[0].numpy()
    assert found.shape == (tokens * 32, 128)
    np.testing.assert_allclose(found, log_mel(samples, tokens, MEL), atol=SAME, rtol=0)


@pytest.mark.parametrize("ends_hz", [(500.0, 4000.0), (9000.0, 2000.0), (60.0, 14900.0)])
def test_a_chirp_gives_the_same_log_mel_in_torch_and_numpy(ends_hz: tuple[float, float]) -> None:
    count = samples_needed(16, MEL)
    samples = _chirp(count, *ends_hz) + _noise(count, rms=0.03, seed=1)
    found = TorchLogMel(MEL)(torch.from_numpy(samples)[None], 16)[0].numpy()
    np.testing.assert_allclose(found, log_mel(samples, 16, MEL), atol=SAME, rtol=0)


@pytest.mark.parametrize("rms", [1e-4, 0.002])
def test_bands_far_below_a_loud_chirp_differ_by_no_more_than_the_rounding_of_float32(
    rms: float,
) -> None:
    count = samples_needed(16, MEL)
    samples = 5 * _chirp(count, 500.0, 4000.0) + _noise(count, rms=rms, seed=1)
    found = TorchLogMel(MEL)(torch.from_numpy(samples)[None], 16)[0].numpy()
    expected = log_mel(samples, 16, MEL)
    loud = expected > expected.max(axis=1, keepdims=True) - 3.0
    np.testing.assert_allclose(found[loud], expected[loud], atol=SAME, rtol=0)
    # An FFT's error is a share of the loudest bin's amplitude.
    amplitude, wanted = 10.0 ** (found / 2.0), 10.0 ** (expected / 2.0)
    assert (np.abs(amplitude - wanted) <= 1e-6 * wanted.max(axis=1, keepdims=True)).all()


def test_silence_is_the_power_floor_in_both() -> None:
    samples = np.zeros(samples_needed(3, MEL), np.float32)
    found = TorchLogMel(MEL)(torch.from_numpy(samples)[None], 3)[0].numpy()
    np.testing.assert_allclose(found, -6.0, atol=SAME)
    np.testing.assert_allclose(log_mel(samples, 3, MEL), -6.0, atol=SAME)


def test_each_record_of_a_batch_is_as_it_is_alone() -> None:
    tokens = 5
    count = samples_needed(tokens, MEL)
    batch = np.stack(
        [_noise(count, rms=0.001, seed=1), _chirp(count, 800, 8000), _noise(count, rms=0.3, seed=2)]
    )
    batch[1] += _noise(count, rms=0.03, seed=3)
    found = TorchLogMel(MEL)(torch.from_numpy(batch), tokens).numpy()
    for row, samples in zip(found, batch, strict=True):
        np.testing.assert_allclose(row, log_mel(samples, tokens, MEL), atol=SAME, rtol=0)


def test_missing_samples_are_silence_and_spare_ones_are_ignored() -> None:
    needed = samples_needed(4, MEL)
    samples = _noise(needed + 5000, rms=0.1, seed=4)
    front_end = TorchLogMel(MEL)
    long = front_end(torch.from_numpy(samples)[None], 4)[0].numpy()
    np.testing.assert_allclose(long, log_mel(samples[:needed], 4, MEL), atol=SAME, rtol=0)
    short = samples[: needed - 7000]
    padded = np.pad(short, (0, 7000))
    found = front_end(torch.from_numpy(short)[None], 4)
    torch.testing.assert_close(found, front_end(torch.from_numpy(padded)[None], 4))


def test_the_front_end_has_nothing_to_save_or_to_train() -> None:
    front_end = TorchLogMel(MEL)
    assert not front_end.state_dict()
    assert not list(front_end.parameters())


@pytest.mark.parametrize("n_fft", [1024, 2048])
def test_the_picture_of_a_chunk_is_the_same_in_torch_and_numpy(n_fft: int) -> None:
    mel = MelConfig(n_fft=n_fft)
    samples = _chirp(CHUNK_SAMPLES, 500.0, 9000.0) + _noise(CHUNK_SAMPLES, rms=0.03, seed=2)
    more = np.concatenate((samples, _noise(5000, rms=1.0, seed=3)))  # what follows is not seen
    found = TorchLogMel(mel).picture(torch.from_numpy(more)[None])[0].numpy()
    assert found.shape == (313, 128)
    np.testing.assert_allclose(found, chunk_picture(samples, mel), atol=SAME, rtol=0)
