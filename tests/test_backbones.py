"""Backbones keep the receptive-field law, or are refused by measurement."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recorder.detect.mel import FRAMES_PER_TOKEN, MelConfig
from recorder.errors import ConfigError
from train.nets.backbones import (
    BackboneError,
    as_float32,
    create_backbone,
    dependency_tokens,
    feature_shape,
    load_pretrained,
    probe_shape,
)
from train.nets.segmenter import Encoder, SegmenterConfig

MEL = MelConfig()
LOOK_AHEAD_TOKENS = 8
"""2.5 s: what the sliding window waits for anyway."""


def _encoder(backbone: str, background_tokens: int = 2) -> Encoder:
    torch.manual_seed(1)
    config = SegmenterConfig(
        classes=3, backbone=backbone, width=64, background_tokens=background_tokens
    )
    return Encoder(config, MEL).eval()


@pytest.mark.parametrize(("backbone", "reach"), [("slim10", 4), ("resnet18", 7)])
def test_a_plain_network_reaches_less_far_than_the_sliding_window_looks_ahead(
    backbone: str, reach: int
) -> None:
    net = _encoder(backbone, background_tokens=-1)
    assert dependency_tokens(net, probe_shape(MEL.mel_bands), 1) == reach <= LOOK_AHEAD_TOKENS


@pytest.mark.parametrize("background_tokens", [0, 2, 4])
def test_the_local_background_adds_its_own_reach(background_tokens: int) -> None:
    net = _encoder("slim10", background_tokens=background_tokens)
    assert dependency_tokens(net, probe_shape(MEL.mel_bands), 1) == 4 + background_tokens


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_100", "lcnet_050"])
def test_squeeze_excite_is_refused_because_it_hears_the_whole_input(backbone: str) -> None:
    net = _encoder(backbone)
    with pytest.raises(BackboneError, match="not bounded in time"):
        dependency_tokens(net, probe_shape(MEL.mel_bands), 1)


def test_an_unknown_backbone_is_an_error_that_names_it_and_a_known_one() -> None:
    with pytest.raises(BackboneError, match=r"'slim11'.*slim10"):
        create_backbone("slim11", 2)


def test_a_network_with_another_stride_in_time_is_refused() -> None:
    half = torch.nn.Conv2d(2, 8, FRAMES_PER_TOKEN // 2, stride=FRAMES_PER_TOKEN // 2)
    with pytest.raises(BackboneError, match="one column a token"):
        feature_shape(half, 2, MEL.mel_bands)


def test_slim10_gives_four_rows_and_one_column_a_token() -> None:
    features, rows = feature_shape(create_backbone("slim10", 2), 2, MEL.mel_bands)
    assert (features, rows) == (256, 4)


def test_slim10_has_about_a_million_parameters() -> None:
    count = sum(parameter.numel() for parameter in create_backbone("slim10", 2).parameters())
    assert 0.9e6 < count < 1.4e6


def test_as_float32_leaves_half_precision() -> None:
    assert as_float32(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.float32


def test_pretrained_weights_come_from_a_file(tmp_path: Path) -> None:
    donor = create_backbone("resnet10t", 2)
    torch.save(donor.state_dict(), tmp_path / "weights.pth")
    net = create_backbone("resnet10t", 2)
    words = load_pretrained(net, "resnet10t", 2, str(tmp_path / "weights.pth"))
    assert words == "resnet10t with pretrained weights from weights.pth"
    for name, weights in donor.state_dict().items():
        assert torch.equal(net.state_dict()[name], weights)


def test_weights_of_colour_pictures_are_summed_up_for_two_channels(tmp_path: Path) -> None:
    """ImageNet's first layer has three channels; timm folds them."""
    donor = create_backbone("resnet10t", 3)
    torch.save(donor.state_dict(), tmp_path / "weights.pth")
    net = create_backbone("resnet10t", 2)
    load_pretrained(net, "resnet10t", 2, str(tmp_path / "weights.pth"))
    first = next(name for name in net.state_dict() if "conv1" in name)
    assert net.state_dict()[first].shape[1] == 2
    later = "layer1.0.conv1.weight"
    assert torch.equal(net.state_dict()[later], donor.state_dict()[later])


@pytest.mark.parametrize("content", [None, b"no weights", b""])
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"weights.pth has no weights for resnet10t"):
        load_pretrained(create_backbone("resnet10t", 2), "resnet10t", 2, str(path))


def test_without_a_network_it_stays_as_it_was_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    net = create_backbone("resnet10t", 2)
    before = {name: weights.clone() for name, weights in net.state_dict().items()}

    def no_network(*_: object, **__: object) -> None:
        raise OSError("An error happened while trying to locate the file on the Hub\nand more")

    with monkeypatch.context() as patch:
        patch.setattr("train.nets.backbones.create_backbone", no_network)
        words = load_pretrained(net, "resnet10t", 2, "timm")
    assert words == (
        "resnet10t from scratch: no pretrained weights could be fetched "
        "(An error happened while trying to locate the file on the Hub)"
    )
    for name, weights in before.items():
        assert torch.equal(net.state_dict()[name], weights)


def test_a_backbone_of_ours_has_none_and_says_so() -> None:
    words = load_pretrained(create_backbone("slim10", 2), "slim10", 2, "timm")
    assert words == "slim10 from scratch: there are no pretrained weights for it"
