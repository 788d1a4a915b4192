"""The segmenter: shapes, a head that knows no order, an encoder that knows no far away."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recorder.detect.mel import FRAMES_PER_TOKEN, MelConfig
from train.nets.backbones import dependency_tokens, probe_shape
from train.nets.segmenter import (
    Encoder,
    GlobalAttention,
    Head,
    LocalContrast,
    Segmenter,
    SegmenterConfig,
)

MEL = MelConfig()
CONFIG = SegmenterConfig(classes=5, width=64)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(2)
    return Encoder(CONFIG, MEL).eval()


@pytest.fixture(scope="module")
def head() -> Head:
    torch.manual_seed(3)
    return Head(CONFIG).eval()


def _log_mel(tokens: int, seed: int = 0) -> Tensor:
    noise = torch.randn(
        1, tokens * FRAMES_PER_TOKEN, MEL.mel_bands, generator=torch.Generator().manual_seed(seed)
    )
    return noise - 2.0


def _tokens(count: int, seed: int = 0) -> Tensor:
    return torch.randn(2, count, CONFIG.width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tokens", [4, 16, 21])
@torch.no_grad()
def test_a_frame_block_becomes_a_token_and_a_token_a_row_of_logits(
    encoder: Encoder, head: Head, tokens: int
) -> None:
    encoded = encoder(_log_mel(tokens))
    assert encoded.shape == (1, tokens, CONFIG.width)
    assert head(encoded).shape == (1, tokens, CONFIG.classes)


@torch.no_grad()
def test_the_segmenter_is_its_encoder_and_its_head() -> None:
    torch.manual_seed(4)
    net = Segmenter(CONFIG, MEL).eval()
    frames = _log_mel(4)
    torch.testing.assert_close(net(frames), net.head(net.encoder(frames)))
    assert net(frames).dtype == torch.float32


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 40), st.integers(0, 99))
@torch.no_grad()
def test_the_head_attends_over_a_set_so_permuted_tokens_give_permuted_logits(
    count: int, seed: int
) -> None:
    torch.manual_seed(seed)
    head = Head(CONFIG).eval()
    tokens, order = _tokens(count, seed), torch.randperm(count)
    torch.testing.assert_close(head(tokens[:, order]), head(tokens)[:, order], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_every_token_hears_every_other_token_in_the_head(head: Head) -> None:
    tokens = _tokens(30)
    changed = tokens.clone()
    changed[:, 29] += 3.0
    assert (head(tokens) - head(changed)).abs()[:, 0].max() > 1e-6


@torch.no_grad()
def test_records_of_a_batch_do_not_hear_each_other(head: Head) -> None:
    tokens = _tokens(12)
    torch.testing.assert_close(head(tokens)[1:], head(tokens[1:]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_encoder_hears_nothing_beyond_its_halo(encoder: Encoder) -> None:
    halo = dependency_tokens(encoder, probe_shape(MEL.mel_bands), 1)
    frames = _log_mel(24)
    changed = frames.clone()
    changed[:, : 8 * FRAMES_PER_TOKEN] = _log_mel(8, seed=9) + 5.0
    same = encoder(frames)[:, 8 + halo :]
    torch.testing.assert_close(encoder(changed)[:, 8 + halo :], same, atol=1e-5, rtol=1e-5)
    assert (encoder(changed)[:, 7] - encoder(frames)[:, 7]).abs().max() > 1e-3


@torch.no_grad()
def test_an_excerpt_with_its_halo_gives_the_tokens_of_the_whole(encoder: Encoder) -> None:
    halo = dependency_tokens(encoder, probe_shape(MEL.mel_bands), 1)
    frames = _log_mel(32)
    first, last = 10, 16
    excerpt = frames[:, (first - halo) * FRAMES_PER_TOKEN : (last + halo) * FRAMES_PER_TOKEN]
    found = encoder(excerpt)[:, halo : halo + last - first]
    torch.testing.assert_close(found, encoder(frames)[:, first:last], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_local_contrast_takes_a_steady_background_away() -> None:
    steady = torch.linspace(-4.0, 0.0, MEL.mel_bands).expand(1, 8 * FRAMES_PER_TOKEN, -1)
    image = LocalContrast(2, -2.0, 1.5)(steady)
    assert image.shape == (1, 2, MEL.mel_bands, 8 * FRAMES_PER_TOKEN)
    torch.testing.assert_close(image[:, 1], torch.zeros_like(image[:, 1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(image[0, 0, :, 0], (steady[0, 0] + 2.0) / 1.5)


@torch.no_grad()
def test_without_a_background_reach_plain_log_mel_is_fed_alone() -> None:
    assert LocalContrast(-1, -2.0, 1.5)(_log_mel(4)).shape[1] == 1
    config = SegmenterConfig(classes=2, width=64, background_tokens=-1)
    assert Encoder(config, MEL).eval()(_log_mel(4)).shape == (1, 4, 64)


def test_a_width_that_is_not_a_multiple_of_the_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="60 must be a multiple of the 8"):
        GlobalAttention(60, 8)
    with pytest.raises(ValueError, match="multiple"):
        Head(SegmenterConfig(classes=3, width=60))


@pytest.mark.parametrize("classes", [2, 10, 100])
@torch.no_grad()
def test_the_first_probabilities_are_near_one_over_the_classes(classes: int) -> None:
    torch.manual_seed(5)
    head = Head(SegmenterConfig(classes=classes, width=64))
    assert head.classify.bias.sigmoid().numpy() == pytest.approx(1 / classes, rel=1e-4)
    first = head(0.1 * _tokens(50)).sigmoid()
    assert 0.5 / classes < first.mean().item() < 2.0 / classes


def test_a_config_is_rebuilt_from_its_dictionary() -> None:
    assert SegmenterConfig(**CONFIG.to_dict()) == CONFIG


def test_dropout_hides_features_from_the_head_in_training_alone() -> None:
    torch.manual_seed(0)
    head = Head(SegmenterConfig(classes=5, width=64, dropout=0.5))
    tokens = _tokens(4)
    assert not torch.equal(head(tokens), head(tokens))
    head.eval()
    assert torch.equal(head(tokens), head(tokens))


def test_a_skipped_attention_block_adds_nothing_and_the_mean_stays() -> None:
    torch.manual_seed(0)
    block = GlobalAttention(64, heads=8, skip=0.25)
    tokens = _tokens(4)[:1].repeat(4000, 1, 1)
    with torch.no_grad():
        added = block(tokens) - tokens
        whole = block.eval()(tokens[:1]) - tokens[:1]
    passed_by = (added == 0).all(dim=(1, 2))
    assert 0.2 < passed_by.float().mean() < 0.3
    torch.testing.assert_close(added[~passed_by][:1], whole / 0.75, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(added.mean(0, keepdim=True), whole, atol=0.05, rtol=0.05)
