"""Augmentation of log-mel batches: what stays, what goes, and that the generator decides."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from train.nets.augment import colour_and_mask

BATCH, FRAMES, BANDS = 64, 32, 128


def _log_mel() -> Tensor:
    return torch.randn(BATCH, FRAMES, BANDS, generator=torch.Generator().manual_seed(7)) - 2.0


def _changed(**options: float) -> Tensor:
    still = {"tilt_db": 0.0, "mask_chance": 0.0, "limit_chance": 0.0}
    generator = torch.Generator().manual_seed(1)
    return colour_and_mask(_log_mel(), generator, **{**still, **options})  # type: ignore[arg-type]


def test_nothing_changes_when_nothing_is_asked_for() -> None:
    torch.testing.assert_close(_changed(), _log_mel())


def test_the_generator_decides_everything() -> None:
    first, again, other = (
        colour_and_mask(_log_mel(), torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    torch.testing.assert_close(first, again, rtol=0.0, atol=0.0)
    assert not torch.equal(first, other)


def test_colour_is_one_smooth_curve_over_the_bands_of_a_record() -> None:
    curve = _changed(tilt_db=6.0) - _log_mel()
    assert curve.std(dim=1).max() < 1e-5
    assert curve.mean(dim=1).diff(dim=1).abs().max() < 0.15
    assert 0.2 < curve.std() < 1.0


def test_a_mask_is_a_few_bands_wide_and_hits_its_share_of_the_records() -> None:
    gone = (_changed(mask_chance=0.5) != _log_mel()).all(dim=1)
    widths = gone.sum(dim=1)
    assert 0.3 < (widths > 0).float().mean() < 0.7
    assert widths.max() <= 10
    for record in gone[widths > 0]:
        places = record.nonzero().flatten()
        assert len(places) == places[-1] - places[0] + 1


def test_a_limit_leaves_the_floor_above_and_everything_below() -> None:
    changed = _changed(limit_chance=0.5)
    at_floor = (changed == -6.0).all(dim=1)
    hit = at_floor.any(dim=1)
    assert 0.3 < hit.float().mean() < 0.7
    for record, before, silent in zip(changed[hit], _log_mel()[hit], at_floor[hit], strict=True):
        first = int(silent.nonzero()[0])
        assert first >= int(0.8 * BANDS) - 1
        assert silent[first:].all()
        torch.testing.assert_close(record[:, :first], before[:, :first])


@pytest.mark.parametrize("frames", [1, 512])
def test_a_record_of_any_length_keeps_its_shape(frames: int) -> None:
    log_mel = torch.zeros(2, frames, BANDS)
    assert colour_and_mask(log_mel, torch.Generator().manual_seed(0)).shape == log_mel.shape
