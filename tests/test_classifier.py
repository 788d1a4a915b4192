"""The classifier: any backbone, one chunk and nothing beside it, and the same loop as all nets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toylab import TINY, write_lab

from export.bundle import write_bundle
from recorder.detect.mel import CHUNK_SAMPLES, MelConfig, chunk_picture
from recorder.detect.models import load_model
from train.learning.checkpoint import read_checkpoint
from train.learning.loop import fit
from train.nets.classifier import Classifier, ClassifierConfig
from train.nets.predict import Pictures, chunk_scores, features_of, unsmoothed

MEL = MelConfig()
CONFIG = replace(TINY, model="classifier", steps=2, evaluate_every=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = write_lab(tmp_path_factory.mktemp("lab"))
    return fit(CONFIG, lab / "toy.toml", lab / "run")


@pytest.mark.parametrize("backbone", ["slim10", "resnest14d"])
def test_any_backbone_gives_a_logit_a_class(backbone: str) -> None:
    """Split attention sees the whole chunk: forbidden in the segmenter, welcome here."""
    net = Classifier(ClassifierConfig(classes=5, backbone=backbone), MEL).eval()
    with torch.no_grad():
        logits = net(torch.randn(2, 313, 128))
    assert logits.shape == (2, 5)
    assert torch.isfinite(logits).all()


def test_the_colour_of_the_microphone_is_no_contrast() -> None:
    """A response that holds for the whole chunk does not reach the second channel."""
    net = Classifier(ClassifierConfig(classes=1, backbone="slim10"), MEL).eval()
    seen = []
    net.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    picture = torch.randn(1, 313, 128)
    with torch.no_grad():
        net(picture)
        net(picture + torch.linspace(-1.0, 1.0, 128))
    torch.testing.assert_close(seen[0][:, 1], seen[1][:, 1], atol=1e-5, rtol=0.0)
    assert not torch.allclose(seen[0][:, 0], seen[1][:, 0], atol=0.1)


def test_it_starts_at_the_share_of_positives_to_be_expected() -> None:
    net = Classifier(ClassifierConfig(classes=10, backbone="slim10"), MEL)
    assert net.classify.bias.sigmoid().tolist() == pytest.approx([0.1] * 10)


def test_it_trains_in_the_same_loop_and_comes_back_from_its_checkpoint(trained: Path) -> None:
    checkpoint = read_checkpoint(trained)
    assert checkpoint.kind == "classifier"
    assert checkpoint.content["classifier"]["classes"] == 2
    assert 0.0 < checkpoint.content["figures"]["threshold"] < 1.0
    for name, weights in checkpoint.content["average"].items():
        assert torch.equal(checkpoint.net.state_dict()[name], weights)


def test_its_bundle_says_what_it_says(trained: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(trained)
    bundle = write_bundle(checkpoint, tmp_path / "out", threshold=0.5, evaluation="none")
    assert [one.label for one in bundle.labels] == checkpoint.core
    assert "A classifier (slim10) of 5-s chunks" in (bundle.path / "MODEL_CARD.md").read_text()
    samples = np.random.default_rng(0).standard_normal(3 * CHUNK_SAMPLES).astype(np.float32)
    samples *= 0.1
    pipeline = load_model(bundle).pipeline()
    results = pipeline.push(samples) + pipeline.finish()
    pictures = features_of(samples, 3, MEL, "classifier")
    expected = unsmoothed(checkpoint.net, pictures)[0][:, : len(checkpoint.core)]
    found = np.stack([one.scores for one in results])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_pictures_are_of_the_chunks_and_of_those_between() -> None:
    samples = np.random.default_rng(0).standard_normal(3 * CHUNK_SAMPLES).astype(np.float32)
    pictures = features_of(samples, 3, MEL, "classifier")
    assert isinstance(pictures, Pictures)
    assert pictures.own.shape == (3, 313, 128)
    assert pictures.between.shape == (2, 313, 128)
    half = CHUNK_SAMPLES // 2
    expected = chunk_picture(samples[half : half + CHUNK_SAMPLES], MEL)
    np.testing.assert_array_equal(pictures.between[0], expected)


@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_scores_are_smoothed_as_the_segmenters_are(chunks: int) -> None:
    """A net that knows a chunk by the picture's first number."""

    class First(torch.nn.Module):
        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            return picture[:, 0, :1]

    rng = np.random.default_rng(chunks)
    own, between = rng.normal(size=(chunks, 1)), rng.normal(size=(chunks - 1, 1))
    pictures = Pictures(*(np.float32(one)[:, :, np.newaxis] for one in (own, between)))
    p, q = 1 / (1 + np.exp(-own)), 1 / (1 + np.exp(-between))
    expected = []
    for chunk in range(chunks):
        total, weight = 0.5 * p[chunk], 0.5
        for neighbour in (chunk - 1, chunk):
            if 0 <= neighbour < chunks - 1:
                total, weight = total + 0.25 * q[neighbour], weight + 0.25
        expected.append(total / weight)
    np.testing.assert_allclose(chunk_scores(First(), pictures, 0.5), expected, atol=1e-6)
    np.testing.assert_allclose(unsmoothed(First(), pictures)[0], p, atol=1e-6)
