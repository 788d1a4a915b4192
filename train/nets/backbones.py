"""Backbones by name: any timm network that keeps the receptive-field law, and `slim10`.

The law: every output column depends on a bounded stretch of time. Squeeze-excite, global pooling
and split attention see the whole input, so that a stream could never equal the file; such
networks are refused by a measurement, not by a list of names.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from recorder.detect.mel import FRAMES_PER_TOKEN
from recorder.errors import ConfigError
from train.nets.timm_import import import_timm

_VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    # Half the channels of resnet10t: 1.0 M parameters, 0.37 GMAC per 5 s, an exact halo of
    # 4 tokens, and an integer graph when quantized.
    "slim10": ("resnet10t", {"channels": (32, 64, 128, 256), "stem_width": 16}),
}
_PROBE_TOKENS = 64


class BackboneError(ConfigError):
    """The backbone is unknown, or its geometry or receptive field does not fit."""


def create_backbone(name: str, in_channels: int, **more: object) -> nn.Module:
    """A convolutional trunk: [batch, in_channels, 128, frames] -> [batch, features, 4, tokens].

    `more` goes to `timm.create_model`. Raises BackboneError for a name that timm does not know.
    """
    timm = import_timm()
    base, options = _VARIANTS.get(name, (name, {}))
    if not timm.is_model(base):
        raise BackboneError(
            f"unknown backbone {name!r}: use {', '.join(_VARIANTS)} or a timm name such as "
            "resnext50_32x4d (python -c 'import timm; print(timm.list_models())' lists them)"
        )
    net: nn.Module = timm.create_model(
        base, in_chans=in_channels, num_classes=0, global_pool="", **options, **more
    )
    return net


def load_pretrained(backbone: nn.Module, name: str, in_channels: int, source: str) -> str:
    """Give a backbone weights from elsewhere; returns in words what it has now.

    `source` is "timm", which fetches them from the network, or the path of a file. Where there is
    no network, or there are no weights for this backbone, it stays as it was, and the words say
    so. ConfigError when a file cannot be used: nobody names one without meaning it.
    """
    if source == "timm":
        if name in _VARIANTS:
            return f"{name} from scratch: there are no pretrained weights for it"
        try:
            fetched = create_backbone(name, in_channels, pretrained=True)
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            return f"{name} from scratch: no pretrained weights could be fetched ({reason})"
        backbone.load_state_dict(fetched.state_dict())
        return f"{name} with pretrained weights from timm"
    try:
        of_file = {"file": source, "url": "", "hf_hub_id": ""}
        loaded = create_backbone(name, in_channels, pretrained=True, pretrained_cfg_overlay=of_file)
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
        raise ConfigError(f"pretrained: {source} has no weights for {name} ({error})") from error
    backbone.load_state_dict(loaded.state_dict())
    return f"{name} with pretrained weights from {Path(source).name}"


def feature_shape(backbone: nn.Module, in_channels: int, mel_bands: int) -> tuple[int, int]:
    """(features, rows) of the backbone's output; BackboneError unless it is one column a token."""
    probe = torch.zeros(1, in_channels, mel_bands, 4 * FRAMES_PER_TOKEN)
    was_training = backbone.training
    with torch.no_grad():
        shape = backbone.eval()(probe).shape
    backbone.train(was_training)
    if len(shape) != 4 or shape[3] != 4:
        raise BackboneError(
            f"the backbone turns 4 tokens of frames into a map {tuple(shape)}: its stride in "
            f"time must be {FRAMES_PER_TOKEN} frames, one column a token"
        )
    return int(shape[1]), int(shape[2])


def dependency_tokens(net: nn.Module, input_shape: tuple[int, ...], frames_axis: int) -> int:
    """How many tokens to each side an output token depends on: the exact halo.

    `net` maps an input of `input_shape` (its frames on `frames_axis`, 64 tokens long) to
    [1, 64, features]. One token of the input is NaN, and NaN travels along every connection,
    however small its weight. Raises BackboneError when it arrives over half the probe away:
    then the field is not bounded.
    """
    poked = torch.zeros(input_shape)
    middle = _PROBE_TOKENS // 2
    poked.narrow(frames_axis, middle * FRAMES_PER_TOKEN, FRAMES_PER_TOKEN).fill_(torch.nan)
    with torch.no_grad():
        felt = torch.nonzero(net(poked).isnan().any(2)[0]).flatten()
    reach = int((felt - middle).abs().max())
    if reach >= middle - 1:
        raise BackboneError(
            "the receptive field is not bounded in time (squeeze-excite, global pooling or "
            "attention inside the backbone): a stream could not equal the file; choose a plain "
            "convolutional network such as slim10, resnet18 or resnext50_32x4d"
        )
    return reach


def probe_shape(mel_bands: int) -> tuple[int, int, int]:
    """The input shape that `dependency_tokens` expects of an encoder: [1, frames, mel_bands]."""
    return 1, _PROBE_TOKENS * FRAMES_PER_TOKEN, mel_bands


def as_float32(tensor: Tensor) -> Tensor:
    """Leave autocast: the attention head and the losses always work in float32."""
    return tensor.float()
