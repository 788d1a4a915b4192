"""Which net: the segmenter (§2.3) or the classifier (§2.2), new or as a checkpoint describes it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from recorder.detect.mel import MelConfig
from train.config import TrainConfig
from train.nets.backbones import load_pretrained
from train.nets.classifier import Classifier, ClassifierConfig
from train.nets.segmenter import Segmenter, SegmenterConfig

Net = Segmenter | Classifier


def new_net(config: TrainConfig, classes: int, mel: MelConfig) -> Net:
    """The net that the configuration asks for, its weights drawn by torch's seed."""
    if config.model == "classifier":
        of_classifier = ClassifierConfig(
            classes=classes,
            backbone=config.backbone,
            contrast=config.background_tokens >= 0,
            dropout=config.dropout,
        )
        return Classifier(of_classifier, mel)
    of_segmenter = SegmenterConfig(
        classes=classes,
        backbone=config.backbone,
        width=config.width,
        attention_blocks=config.attention_blocks,
        background_tokens=config.background_tokens,
        dropout=config.dropout,
        skip_attention=config.skip_attention,
    )
    return Segmenter(of_segmenter, mel)


def rebuilt(content: dict[str, Any], mel: MelConfig) -> Net:
    """The net that a checkpoint's content describes, its weights still to be loaded."""
    if "classifier" in content:
        return Classifier(ClassifierConfig(**_known(content["classifier"], ClassifierConfig)), mel)
    return Segmenter(SegmenterConfig(**_known(content["segmenter"], SegmenterConfig)), mel)


def _known(options: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """What an earlier version wrote beside, and nobody reads any more, is left out."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in options.items() if name in names}


def with_pretrained(net: Net, config: TrainConfig, here: Path) -> str:
    """Load the backbone's weights that the configuration asks for; says which it has now."""
    source = config.pretrained
    if not source:
        return f"{config.backbone} from scratch"
    if source != "timm":
        source = str(here / source)
    if isinstance(net, Segmenter):
        channels = net.encoder.contrast.channels
        return load_pretrained(net.encoder.backbone, config.backbone, channels, source)
    channels = 2 if net.config.contrast else 1
    return load_pretrained(net.backbone, config.backbone, channels, source)
