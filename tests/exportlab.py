"""A checkpoint that no training wrote: five classes, three of which may leave the lab."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recorder.detect.mel import MelConfig
from train.config import TrainConfig
from train.learning.checkpoint import Checkpoint, read_checkpoint
from train.nets.segmenter import Segmenter, SegmenterConfig

MEL = MelConfig()
CONFIG = SegmenterConfig(classes=5, width=64)
CORE = ["toy_hoot", "toy_trill", "toy_whistle"]
LABELS = [*CORE, "extra_one", "extra_two"]
SOURCES = [
    (
        "XC1.ogg",
        "toy_trill",
        "Ada Lark",
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
        "u1",
    ),
    ("XC2.ogg", "toy_hoot", "Bo Crane", "https://creativecommons.org/licenses/by-nc-nd/3.0/", "u2"),
    ("XC3.ogg", "extra_one", "Cy Finch", "https://creativecommons.org/licenses/by/4.0/", "u3"),
    ("XC4.ogg", "toy_whistle", "Ada Lark", "https://creativecommons.org/licenses/by/4.0/", "u4"),
]


def random_net() -> Segmenter:
    """Random weights with lively statistics, so that nothing agrees by being zero."""
    torch.manual_seed(6)
    net = Segmenter(CONFIG, MEL)
    net.train()
    with torch.no_grad():
        for _ in range(2):
            net(torch.randn(2, 16 * 32, MEL.mel_bands) - 2.0)
        torch.nn.init.normal_(net.head.classify.bias)
    return net.eval()


def write_checkpoint(path: Path) -> Path:
    """Its averaged weights are those of `random_net`."""
    net = random_net()
    config = TrainConfig(name="toy", dataset="data", noise=("noise",))
    content = {
        "config": config.to_dict(),
        "segmenter": CONFIG.to_dict(),
        "step": 7,
        "labels": LABELS,
        "core": CORE,
        "names": {label: (f"Genus {label}", label.title()) for label in LABELS},
        "sources": SOURCES,
        "net": net.state_dict(),
        "average": net.state_dict(),
    }
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_checkpoint(write_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint.pt"))
