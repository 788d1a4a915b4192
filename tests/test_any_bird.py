"""The output for any bird: it leaves the lab beside the classes, and scans carry its scores."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from export.bundle import Checkpoint, write_bundle
from recorder.detect.bundle import Bundle, read_bundle
from recorder.detect.inference import Networks
from recorder.detect.mel import MelConfig, log_mel, samples_needed
from recorder.detect.pipeline import Pipeline
from recorder.detect.postprocess import chunk_probabilities, gated
from recorder.errors import ModelError
from train.nets.segmenter import Segmenter, SegmenterConfig
from train.scenes.scene import ANY_BIRD

Birdrec = Callable[..., subprocess.CompletedProcess[str]]
MakeSound = Callable[..., NDArray[np.float32]]
CORE = ["wren", "todus"]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    config = SegmenterConfig(classes=4, width=32)
    content = {
        "config": {"name": "toy"},
        "step": 3,
        "labels": [*CORE, ANY_BIRD, "rare"],
        "core": CORE,
        "names": {label: (f"Genus {label}", label) for label in CORE},
        "sources": [("XC1.ogg", "wren", "Ada Lark", "CC0", "u")],
    }
    return Checkpoint(Segmenter(config, MelConfig()).eval(), content)


@pytest.fixture(scope="module")
def with_bird(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundles") / "with_bird"
    return write_bundle(checkpoint, out, threshold=0.4, evaluation="none")


@torch.no_grad()
def test_the_head_gives_the_classes_and_then_any_bird(
    checkpoint: Checkpoint, with_bird: Bundle
) -> None:
    assert (len(with_bird.labels), with_bird.any_bird, with_bird.outputs) == (2, True, 3)
    tokens = torch.randn(1, 48, 32, generator=torch.Generator().manual_seed(1))
    expected = checkpoint.net.head(tokens)[0, :, :3].numpy()
    found = Networks(with_bird).attend(tokens[0].numpy())
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_any_bird_gates_the_species_in_a_scan(
    checkpoint: Checkpoint, with_bird: Bundle, birdlike: MakeSound
) -> None:
    """Against the torch net on the whole recording, and the formula written out."""
    sound = birdlike(10.0)
    pipeline = Pipeline(Networks(with_bird))
    results = [*pipeline.push(sound), *pipeline.finish()]
    padded = np.pad(sound, (0, samples_needed(32, with_bird.mel) - len(sound)))
    with torch.no_grad():
        logits = checkpoint.net(torch.from_numpy(log_mel(padded, 32, with_bird.mel)[None]))
    plain = chunk_probabilities(logits[0, :, :3].numpy(), with_bird.own_share)
    gates = plain[:, :2] * plain[:, 2:]
    lifted = gates * gates.max(axis=0) ** with_bird.recurrence_exponent
    for result, row, classes in zip(results, plain, lifted, strict=True):
        np.testing.assert_allclose(result.scores[2], row[2], atol=1e-4)
        np.testing.assert_allclose(result.scores[:2], classes, atol=1e-4)


def test_gating_is_off_without_the_output_or_with_exponent_0() -> None:
    values = np.array([[0.5, 0.8, 0.25]], np.float32)
    np.testing.assert_array_equal(gated(values, 3, 1.0), values)
    np.testing.assert_array_equal(gated(values, 2, 0.0), values)
    np.testing.assert_allclose(gated(values, 2, 0.5), [[0.25, 0.4, 0.25]])
    assert values[0, 0] == 0.5


@pytest.mark.parametrize("name", ["any_bird_exponent", "recurrence_exponent", "own_share"])
@pytest.mark.parametrize("exponent", [-1.0, 11.0, float("nan")])
def test_an_exponent_out_of_range_is_refused(
    with_bird: Bundle, tmp_path: Path, name: str, exponent: float
) -> None:
    head = {**with_bird.details["head"], name: exponent}
    wrong = _copy(with_bird, tmp_path / "wrong", {**with_bird.details, "head": head})
    with pytest.raises(ModelError, match=name):
        read_bundle(wrong)


def _copy(bundle: Bundle, folder: Path, details: dict[str, Any]) -> Path:
    folder.mkdir()
    for name in ("encoder.onnx", "head.onnx"):
        (folder / name).write_bytes((bundle.path / name).read_bytes())
    (folder / "model.json").write_text(json.dumps(details))
    return folder


def test_scores_carry_any_bird_and_rows_do_not(
    with_bird: Bundle, birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(12.0), 32_000)
    command = ("scan", tmp_path / "a.wav", "--model", with_bird.path, "--scores", "--out")
    low = ("--threshold", "0.001")
    for name in ("one", "one", "two"):  # the second time from what was kept
        assert birdrec(*command, tmp_path / name, *low).returncode == 0
    with np.load(tmp_path / "one" / "scores" / "a.wav.npz") as kept:
        assert kept["scores"].shape == (3, 2)
        assert (kept["bird"].shape, kept["bird"].dtype) == ((3,), np.float32)
        assert ((kept["bird"] > 0) & (kept["bird"] < 1)).all()
        assert list(kept["labels"]) == CORE
        bird = kept["bird"]
    with np.load(tmp_path / "two" / "scores" / "a.wav.npz") as again:
        np.testing.assert_array_equal(again["bird"], bird)
    for table in ("detections.csv", "chunks.csv", "events.csv"):
        text = (tmp_path / "one" / table).read_text("utf-8")
        assert "wren" in text
        assert ANY_BIRD not in text.replace("birds", "")
    run = json.loads((tmp_path / "one" / "run.json").read_text("utf-8"))
    assert set(run["thresholds"]) == set(CORE)


def test_a_bird_is_said_where_no_species_is(
    with_bird: Bundle, birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(12.0), 32_000)
    head = {**with_bird.details["head"], "any_bird_threshold": 0.001}
    model = _copy(with_bird, tmp_path / "model", {**with_bird.details, "head": head})
    text = {}
    for threshold in ("0.999", "0.001"):
        out = tmp_path / threshold
        command = ("scan", tmp_path / "a.wav", "--model", model, "--out", out)
        assert birdrec(*command, "--threshold", threshold).returncode == 0
        for table in ("detections.csv", "chunks.csv", "events.csv"):
            lines = (out / table).read_text("utf-8").splitlines()[1:]
            text[table, threshold] = "\n".join(lines)
    row = 'a.wav,0,5,bird,Aves,"Bird, species not known",0.'
    assert text["detections.csv", "0.999"].startswith(row)
    assert "nocall" not in text["chunks.csv", "0.999"]
    assert ",bird,0." in text["events.csv", "0.999"]
    assert not any(",bird" in text[table, "0.001"] for table, _ in text)
    run = json.loads((tmp_path / "0.999" / "run.json").read_text("utf-8"))
    assert run["any_bird_threshold"] == 0.001


def test_a_bird_without_the_output_for_it_cannot_be_said(with_bird: Bundle, tmp_path: Path) -> None:
    for number, changes in enumerate(({"any_bird": False}, {"any_bird_threshold": 1.0})):
        head = {**with_bird.details["head"], "any_bird_threshold": 0.5, **changes}
        model = _copy(with_bird, tmp_path / str(number), {**with_bird.details, "head": head})
        with pytest.raises(ModelError, match="any_bird_threshold"):
            read_bundle(model)


def test_a_model_without_it_gives_no_such_scores(
    checkpoint: Checkpoint, birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path
) -> None:
    plain = Checkpoint(checkpoint.net, {**checkpoint.content, "labels": [*CORE, "rare", "rarer"]})
    bundle = write_bundle(plain, tmp_path / "plain", threshold=0.4, evaluation="none")
    assert (bundle.any_bird, bundle.any_bird_exponent, bundle.outputs) == (False, 0.0, 2)
    soundfile.write(tmp_path / "a.wav", birdlike(5.0), 32_000)
    command = ("scan", tmp_path / "a.wav", "--model", bundle.path, "--scores")
    assert birdrec(*command, "--out", tmp_path / "o").returncode == 0
    with np.load(tmp_path / "o" / "scores" / "a.wav.npz") as kept:
        assert sorted(kept) == ["chunk_end_s", "labels", "model", "scores"]


def test_a_bundle_that_promises_it_and_has_it_not_is_refused(
    with_bird: Bundle, tmp_path: Path
) -> None:
    details = {**with_bird.details, "head": {**with_bird.details["head"], "any_bird": False}}
    with pytest.raises(ModelError, match="promises"):
        Networks(read_bundle(_copy(with_bird, tmp_path / "wrong", details)))
