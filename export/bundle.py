"""A checkpoint becomes a bundle: its graphs, `model.json`, and a model card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from export.card import attribution, default_licence, model_card
from export.to_onnx import export_classifier, export_encoder, export_head
from recorder import __version__
from recorder.detect.bundle import SCHEMA_VERSION, ModelBundle, file_entry
from recorder.detect.classifier import GRAPH_FILE
from recorder.detect.mel import CHUNK_S, SAMPLE_RATE_HZ
from recorder.detect.models import read_model
from recorder.detect.postprocess import ANY_BIRD_EXPONENT, OWN_SHARE, RECURRENCE_EXPONENT
from recorder.errors import UsageError
from train.learning.checkpoint import Checkpoint
from train.nets.backbones import dependency_tokens, probe_shape
from train.nets.classifier import Classifier
from train.nets.segmenter import Segmenter
from train.scenes.scene import ANY_BIRD

WINDOW_TOKENS = 1920
HOP_TOKENS = 960
GATE_REPORT, GATE_FIGURE = "gate.json", "gate.svg"
"""What `export.gate` found, in the bundle."""


def write_bundle(
    checkpoint: Checkpoint,
    out: Path,
    *,
    threshold: float,
    evaluation: str,
    any_bird_threshold: float = 0.0,
    licence: str = "",
    notes: str = "",
) -> ModelBundle:
    """Export to the folder `out`, whose name becomes the model's, and read it back as a check.

    From `any_bird_threshold` on a chunk without a species is said to hold a bird; 0 = never.
    `notes` is Markdown for the model card: limits, backgrounds, credits. Without a `licence` it
    is the one that non-commercial recordings ask for, or said to be open.

    An older bundle there is replaced when the new one is complete; UsageError when `out` is
    something else. Only the core classes leave the lab: the others have too few recordings to be
    trusted, but the net learns to tell them apart.
    """
    if out.exists() and not (out / "model.json").is_file():
        raise UsageError(f"--out {out} exists and is not a model bundle: choose another name")
    new = out.with_name(out.name + ".tmp")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    details = _description(checkpoint, out.name, threshold)
    if isinstance(checkpoint.net, Classifier):
        details.update(_write_classifier(checkpoint, checkpoint.net, new))
    else:
        details.update(_write_segmenter(checkpoint, checkpoint.net, new))
        details["head"]["any_bird_threshold"] = round(any_bird_threshold, 4)
    details["training"]["evaluation"] = evaluation
    details["licence"] = licence or default_licence(checkpoint)
    (new / "model.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    (new / "MODEL_CARD.md").write_text(model_card(checkpoint, details, notes), encoding="utf-8")
    read_model(new)
    shutil.rmtree(out, ignore_errors=True)
    new.rename(out)
    return read_model(out)


def _description(checkpoint: Checkpoint, name: str, threshold: float) -> dict[str, Any]:
    """What `model.json` says of a model of any kind."""
    names = checkpoint.content["names"]
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": checkpoint.kind,
        "name": name,
        "birdrec": __version__,
        "mel": checkpoint.mel.to_dict(),
        "labels": [
            {
                "label": label,
                "scientific_name": names[label][0],
                "common_name": names[label][1],
                "threshold": round(threshold, 4),
            }
            for label in checkpoint.core
        ],
        "training": {
            "config": checkpoint.content["config"],
            "steps": checkpoint.content["step"],
        },
        "attribution": attribution(checkpoint),
        "ancestors": [net["name"] for net in checkpoint.content.get("ancestors", [])],
    }


def _write_segmenter(checkpoint: Checkpoint, net: Segmenter, out: Path) -> dict[str, Any]:
    """Both graphs into `out`, and what `model.json` says of them."""
    mel = checkpoint.mel
    export_encoder(net.encoder, out / "encoder.onnx", mel)
    outputs = [*checkpoint.core, ANY_BIRD] if checkpoint.any_bird else checkpoint.core
    export_head(net.head, out / "head.onnx", width=net.config.width, labels=outputs)
    return {
        "encoder": {
            "file": "encoder.onnx",
            "input": "log_mel [1, frames, mel_bands]",
            "halo_tokens": dependency_tokens(net.encoder, probe_shape(mel.mel_bands), 1),
            "width": net.config.width,
            "backbone": net.config.backbone,
        },
        "head": {
            "file": "head.onnx",
            "window_tokens": WINDOW_TOKENS,
            "hop_tokens": HOP_TOKENS,
            "own_share": OWN_SHARE,
            "any_bird": checkpoint.any_bird,
            "any_bird_exponent": ANY_BIRD_EXPONENT if checkpoint.any_bird else 0.0,
            "recurrence_exponent": RECURRENCE_EXPONENT,
        },
        "files": {name: file_entry(out / name) for name in ("encoder.onnx", "head.onnx")},
    }


def _write_classifier(checkpoint: Checkpoint, net: Classifier, out: Path) -> dict[str, Any]:
    """Its graph into `out`, and what `model.json` says of it. Scores of single chunks leave the
    lab: the sliding window and the global correction (§2.5) are `train score`'s."""
    export_classifier(net, out / GRAPH_FILE, checkpoint.mel, checkpoint.core)
    return {
        "classifier": {
            "front_end": "picture",
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "window_s": CHUNK_S,
            "activation": "sigmoid",
            "backbone": net.config.backbone,
        },
        "files": {GRAPH_FILE: file_entry(out / GRAPH_FILE)},
    }
