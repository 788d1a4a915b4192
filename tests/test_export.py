"""A checkpoint leaves the lab as a bundle that computes what torch computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from exportlab import CONFIG, CORE, MEL, random_net
from exportlab import checkpoint as checkpoint
from numpy.typing import NDArray

from export.bundle import write_bundle
from export.to_onnx import HeadByHead
from recorder.detect.bundle import DEFAULT_BUNDLE, Bundle, read_bundle
from recorder.detect.inference import Networks
from recorder.detect.mel import log_mel, samples_needed
from recorder.errors import ModelError
from train.learning.checkpoint import Checkpoint, read_checkpoint
from train.nets.backbones import dependency_tokens, probe_shape

Floats = NDArray[np.float32]

SAME = 1e-4


@pytest.fixture(scope="module")
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundles") / "toy_model"
    return write_bundle(checkpoint, out, threshold=0.43210987, evaluation="row-wise F1 0.5")


@pytest.fixture(scope="module")
def networks(bundle: Bundle) -> Networks:
    return Networks(bundle)


def _real_log_mel(tokens: int) -> Floats:
    """A chirp over noise through the recorder's own front end."""
    count = samples_needed(tokens, MEL)
    noise = 0.01 * np.random.default_rng(tokens).standard_normal(count)
    phase = np.cumsum(np.linspace(0.05, 1.5, count))
    return log_mel((noise + 0.1 * np.sin(phase)).astype(np.float32), tokens, MEL)


def test_a_checkpoint_gives_back_the_averaged_net(checkpoint: Checkpoint) -> None:
    assert checkpoint.core == CORE
    assert not checkpoint.net.training
    expected = random_net().state_dict()
    for name, weights in checkpoint.net.state_dict().items():
        torch.testing.assert_close(weights, expected[name])


@pytest.mark.parametrize("tokens", [9, 16, 17, 50])
@torch.no_grad()
def test_both_graphs_are_torch_on_real_log_mel_of_any_length(
    checkpoint: Checkpoint, networks: Networks, tokens: int
) -> None:
    frames = _real_log_mel(tokens)
    expected = checkpoint.net.encoder(torch.from_numpy(frames)[None])
    encoded = networks.encode(frames)
    np.testing.assert_allclose(encoded, expected[0].numpy(), atol=SAME, rtol=SAME)
    logits = checkpoint.net.head(expected)[0, :, : len(CORE)].numpy()
    np.testing.assert_allclose(networks.attend(encoded), logits, atol=SAME, rtol=SAME)


@torch.no_grad()
def test_the_head_graph_is_the_torch_head_on_ten_minutes(
    checkpoint: Checkpoint, networks: Networks
) -> None:
    tokens = torch.randn(1, 1920, CONFIG.width, generator=torch.Generator().manual_seed(8))
    expected = checkpoint.net.head(tokens)[0, :, : len(CORE)].numpy()
    found = networks.attend(tokens[0].numpy())
    np.testing.assert_allclose(found, expected, atol=SAME, rtol=SAME)


@torch.no_grad()
def test_one_attention_head_after_the_other_is_all_at_once(checkpoint: Checkpoint) -> None:
    tokens = torch.randn(2, 33, CONFIG.width)
    expected = checkpoint.net.head(tokens)[..., :3]
    torch.testing.assert_close(
        HeadByHead(checkpoint.net.head, 3)(tokens), expected, atol=1e-5, rtol=1e-5
    )


def test_only_core_classes_leave_the_lab(bundle: Bundle, networks: Networks) -> None:
    assert [label.label for label in bundle.labels] == CORE
    assert networks.attend(np.zeros((16, 64), np.float32)).shape == (16, 3)
    text = (bundle.path / "model.json").read_text(encoding="utf-8")
    assert "extra_two" not in text


def test_the_bundle_reads_back_and_says_what_it_is(bundle: Bundle) -> None:
    assert read_bundle(bundle.path) == bundle
    assert bundle.name == "toy_model"
    assert {label.threshold for label in bundle.labels} == {0.4321}
    assert (bundle.labels[1].scientific_name, bundle.labels[1].common_name) == (
        "Genus toy_trill",
        "Toy_Trill",
    )
    assert (bundle.width, bundle.window_tokens, bundle.hop_tokens) == (64, 1920, 960)
    assert bundle.mel == MEL
    assert bundle.details["training"]["steps"] == 7
    assert bundle.details["training"]["evaluation"] == "row-wise F1 0.5"


def test_the_halo_is_the_measured_dependency(checkpoint: Checkpoint, bundle: Bundle) -> None:
    measured = dependency_tokens(checkpoint.net.encoder, probe_shape(MEL.mel_bands), 1)
    details = json.loads((bundle.path / "model.json").read_text(encoding="utf-8"))
    assert details["encoder"]["halo_tokens"] == bundle.halo_tokens == measured


def test_the_model_card_names_every_recordist_recording_and_licence(bundle: Bundle) -> None:
    card = (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    for author in ("Ada Lark", "Bo Crane", "Cy Finch"):
        assert author in card
        assert author in bundle.details["attribution"]
    for line in (
        "| XC1 | `toy_trill` | Ada Lark | CC BY-NC-SA 4.0 | u1 |",
        "| XC2 | `toy_hoot` | Bo Crane | CC BY-NC-ND 3.0 | u2 |",
        "| XC3 | `extra_one` | Cy Finch | CC BY 4.0 | u3 |",
    ):
        assert line in card
    assert "**Licence of these weights:** CC BY-NC-SA 4.0." in card
    assert bundle.details["licence"] == "CC BY-NC-SA 4.0"
    assert "# Model card: toy_model" in card


def test_the_card_and_the_bundle_say_what_the_maker_says(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    bundle = write_bundle(
        checkpoint,
        tmp_path / "mine",
        threshold=0.5,
        evaluation="none",
        licence="CC BY 4.0",
        notes="**Limits.** One garden.\n",
    )
    card = (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert bundle.details["licence"] == "CC BY 4.0"
    assert "**Licence of these weights:** CC BY 4.0." in card
    assert "**Limits.** One garden.\n\n## Species" in card


def test_free_recordings_do_not_make_a_non_commercial_model(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    sources = [(*source[:2], "", "CC0", source[4]) for source in checkpoint.content["sources"]]
    free = Checkpoint(checkpoint.net, {**checkpoint.content, "sources": sources})
    bundle = write_bundle(free, tmp_path / "free", threshold=0.5, evaluation="none")
    assert bundle.details["licence"].startswith("not stated")
    assert bundle.details["attribution"] == []
    card = (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Thank you: recordists whose names are not known." in card


def test_no_other_file_is_in_the_bundle(bundle: Bundle) -> None:
    names = sorted(path.name for path in bundle.path.iterdir())
    assert names == ["MODEL_CARD.md", "encoder.onnx", "head.onnx", "model.json"]
    session = onnxruntime.InferenceSession(str(bundle.encoder_path()))
    assert [entry.name for entry in session.get_inputs()] == ["log_mel"]


def test_no_graph_tells_where_it_was_made(bundle: Bundle) -> None:
    for folder in (bundle.path, DEFAULT_BUNDLE):
        graphs = list(folder.glob("*.onnx"))
        assert len(graphs) >= 2
        for graph in graphs:
            assert b'File "' not in graph.read_bytes(), f"{graph} holds a trace of the source"


@pytest.mark.parametrize(
    "garbage", [b"", b"not a checkpoint", bytes(range(256)) * 20, b"PK\x03\x04 cut off"]
)
def test_a_checkpoint_of_garbage_is_a_model_error_that_names_it(
    tmp_path: Path, garbage: bytes
) -> None:
    path = tmp_path / "garbage.pt"
    path.write_bytes(garbage)
    with pytest.raises(ModelError, match=r"garbage\.pt"):
        read_checkpoint(path)


def test_a_missing_checkpoint_is_a_model_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.pt"):
        read_checkpoint(tmp_path / "nowhere.pt")


def test_a_torch_file_that_is_no_checkpoint_is_a_model_error(tmp_path: Path) -> None:
    torch.save({"step": 1}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"other\.pt"):
        read_checkpoint(tmp_path / "other.pt")
    torch.save([1, 2, 3], tmp_path / "list.pt")
    with pytest.raises(ModelError, match=r"list\.pt"):
        read_checkpoint(tmp_path / "list.pt")


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (print, ("this must never run",))


def test_a_checkpoint_with_code_in_it_is_refused_and_never_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"segmenter": _Evil()}, path)
    with pytest.raises(ModelError, match=r"evil\.pt"):
        read_checkpoint(path)
    assert "never run" not in capsys.readouterr().out
