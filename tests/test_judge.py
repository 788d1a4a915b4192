"""The judge: known nets get the figures they deserve, on labelled and on composed soundscapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from recorder.detect.mel import SAMPLE_RATE_HZ, TOKENS_PER_CHUNK, MelConfig
from recorder.errors import ModelError
from train.clips.dataset import Clip
from train.clips.recordings import Noise, Recording
from train.clips.soundscapes import Soundscape, read_soundscapes
from train.invented.toys import write_toy_dataset
from train.learning.judge import Judge, composed_judge, dataset_judge
from train.nets.predict import Pictures, field_scores

LABELS = ["toy_trill", "toy_upsweep"]


class _Oracle(torch.nn.Module):
    """Logits that were written into the first bands of the frames."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, frames: Tensor) -> Tensor:
        return frames[:, ::32, : self.outputs]


class _BandPower(torch.nn.Module):
    """Class 0 where power rises around 3 kHz, class 1 around 7 kHz."""

    def forward(self, frames: Tensor) -> Tensor:
        tokens = frames.reshape(frames.shape[0], -1, 32, frames.shape[2]).amax(2)
        power = torch.stack((tokens[..., 60:72].amax(2), tokens[..., 94:104].amax(2)), dim=2)
        rise: Tensor = power - power.median(1, keepdim=True).values
        return rise


def _written(truth: list[list[float]], bird: list[float] | None = None) -> np.ndarray:
    """Frames in which `_Oracle` reads 4 for yes and -4 for no, the same in the whole chunk."""
    columns = np.array(truth, np.float32)
    if bird is not None:
        columns = np.column_stack((columns, np.array(bird, np.float32)))
    frames = np.zeros((len(columns) * 512, 128), np.float32)
    frames[:, : columns.shape[1]] = np.repeat(8 * columns - 4, 512, axis=0)
    return frames


def _soundscape(truth: list[list[float]]) -> Soundscape:
    rows = np.array(truth) > 0.5
    return Soundscape(Path("a.ogg"), rows, np.ones_like(rows), ~rows.any(axis=1))


TRUTH = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 1.0]]


def test_a_net_that_knows_everything_is_perfect() -> None:
    judge = Judge([_soundscape(TRUTH)], [_written(TRUTH)], classes=2)
    figures = judge.judge(_Oracle(2))
    assert (figures["cmap"], figures["macro_auc"]) == (1.0, 1.0)
    assert figures["pooled_f1"] == figures["row_f1"] == 1.0
    assert "bird_auc" not in figures


def test_a_net_that_knows_nothing_is_at_chance() -> None:
    judge = Judge([_soundscape(TRUTH)], [_written([[0.0, 0.0]] * len(TRUTH))], classes=2)
    assert judge.judge(_Oracle(2))["macro_auc"] == 0.5


def test_any_bird_gates_the_classes_and_is_judged_itself() -> None:
    """The classes cry out everywhere; any bird knows better, and silences them."""
    bird = [float(any(row)) for row in TRUTH]
    everywhere = [[1.0, 1.0] for _ in TRUTH]
    frames = _written(everywhere, bird)
    plain = Judge([_soundscape(TRUTH)], [frames], classes=2).judge(_Oracle(2))
    gated = Judge([_soundscape(TRUTH)], [frames], classes=2, any_bird=True).judge(_Oracle(3))
    assert gated["bird_auc"] == 1.0
    assert gated["macro_auc"] > plain["macro_auc"] + 0.1
    assert gated["row_f1"] > plain["row_f1"]


def test_the_soundscapes_of_a_dataset_are_judged_the_same_twice(tmp_path: Path) -> None:
    write_toy_dataset(
        tmp_path / "data", species=2, clips_per_species=2, soundscapes=1, soundscape_s=15.0, seed=1
    )
    judge = dataset_judge(read_soundscapes(tmp_path / "data", LABELS), LABELS, MelConfig())
    first = judge.judge(_BandPower())
    assert first == judge.judge(_BandPower())
    assert {"threshold", "row_f1", "pooled_f1", "cmap", "macro_auc"} == first.keys()


def _bursts(label: str, tone_hz: float) -> Recording:
    times = np.arange(20 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    heard = times % 5.0 < 0.5
    samples = (9000 * heard * np.sin(2 * np.pi * tone_hz * times)).astype(np.int16)
    frames_s = np.arange(len(times) * 2 // 625) * 312.5 / SAMPLE_RATE_HZ
    loud = (frames_s % 5.0 < 0.5).astype(np.float32)
    return Recording(Clip(Path(f"{label}.ogg"), label), samples, loud, samples)


@pytest.fixture(scope="module")
def composed() -> Judge:
    hiss = np.random.default_rng(0).integers(-300, 300, 5 * SAMPLE_RATE_HZ, np.int16)
    held_out = [_bursts("low", 3000.0), _bursts("high", 7000.0)]
    return composed_judge(held_out, [Noise(hiss)], ["low", "high", "never"], MelConfig())


def test_composed_soundscapes_tell_a_net_that_hears_from_one_that_does_not(
    composed: Judge,
) -> None:
    class Three(torch.nn.Module):
        """The third label never calls."""

        def __init__(self, *, hears: bool) -> None:
            super().__init__()
            self.hears = hears

        def forward(self, frames: Tensor) -> Tensor:
            two = _BandPower()(frames) * float(self.hears)
            return torch.cat((two, torch.full_like(two[..., :1], -9.0)), dim=2)

    assert composed.judge(Three(hears=True))["macro_auc"] > 0.9
    assert composed.judge(Three(hears=False))["macro_auc"] == 0.5


def test_composed_soundscapes_are_half_silent_and_hold_every_label(composed: Judge) -> None:
    truth = np.concatenate([one.truth for one in composed._soundscapes])
    assert 0.3 < (~truth.any(axis=1)).mean() < 0.75
    assert truth.sum(axis=0)[:2].min() > 20
    assert truth.sum(axis=0)[2] == 0
    assert all(len(one) == 12 * TOKENS_PER_CHUNK * 32 for one in composed._features)


def test_a_net_that_says_what_is_no_number_is_not_silent() -> None:
    with pytest.raises(ModelError, match="no number"):
        Judge([_soundscape(TRUTH)], [_written(TRUTH) * np.nan], classes=2).judge(_Oracle(2))


def test_a_classifier_is_judged_by_what_its_bundle_says() -> None:
    """Chunk by chunk: no neighbour lifts a chunk, and nothing is multiplied (§2.5 is of
    `train score`)."""

    class Mean(torch.nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            return pictures[:, 0, :2]

    logits = 8 * np.array(TRUTH, np.float32) - 4
    own = np.zeros((len(TRUTH), 313, 128), np.float32)
    own[:, :, :2] = logits[:, np.newaxis]
    pictures = Pictures(own, np.zeros((len(TRUTH) - 1, 313, 128), np.float32))
    scores = field_scores(Mean(), pictures, 2, any_bird=False)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    figures = Judge([_soundscape(TRUTH)], [pictures], classes=2).judge(Mean())
    assert figures["row_f1"] == figures["pooled_f1"] == figures["cmap"] == 1.0
