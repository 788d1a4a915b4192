"""Which net: the segmenter (§2.3) or the classifier (§2.2), new or as a checkpoint describes it."""

from __future__ import annotations

from typing import Any

from recorder.detect.mel import MelConfig
from train.classifier import Classifier, ClassifierConfig
from train.config import TrainConfig
from train.segmenter import Segmenter, SegmenterConfig

Net = Segmenter | Classifier


def new_net(config: TrainConfig, classes: int, mel: MelConfig) -> Net:
    """The net that the configuration asks for, its weights drawn by torch's seed."""
    if config.model == "classifier":
        of_classifier = ClassifierConfig(
            classes=classes,
            backbone=config.backbone,
            contrast=config.background_tokens >= 0,
            pretrained=config.pretrained,
            dropout=config.dropout,
        )
        return Classifier(of_classifier, mel)
    of_segmenter = SegmenterConfig(
        classes=classes,
        backbone=config.backbone,
        width=config.width,
        background_tokens=config.background_tokens,
        pretrained=config.pretrained,
        dropout=config.dropout,
        skip_attention=config.skip_attention,
    )
    return Segmenter(of_segmenter, mel)


def rebuilt(content: dict[str, Any], mel: MelConfig) -> Net:
    """The net that a checkpoint's content describes, its weights still to be loaded."""
    if "classifier" in content:
        options = {**content["classifier"], "pretrained": False}
        return Classifier(ClassifierConfig(**options), mel)
    options = {**content["segmenter"], "pretrained": False}
    return Segmenter(SegmenterConfig(**options), mel)
