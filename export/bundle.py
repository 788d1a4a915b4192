"""A checkpoint becomes a bundle: two graphs, `model.json`, and a model card."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from export.to_onnx import export_encoder, export_head
from recorder import __version__
from recorder.detect.bundle import SCHEMA_VERSION, Bundle, read_bundle
from recorder.detect.mel import MelConfig
from recorder.errors import ModelError, UsageError
from train.backbones import dependency_tokens, probe_shape
from train.segmenter import Segmenter, SegmenterConfig

WINDOW_TOKENS = 1920
HOP_TOKENS = 960


@dataclass(frozen=True)
class Checkpoint:
    """What `train.loop` wrote, rebuilt."""

    net: Segmenter
    content: dict[str, Any]

    @property
    def core(self) -> list[str]:
        core: list[str] = self.content["core"]
        return core


def read_checkpoint(path: Path) -> Checkpoint:
    """The averaged weights in a net, in float32; ModelError when the file is not a checkpoint."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        net = Segmenter(SegmenterConfig(**content["segmenter"]), MelConfig())
        net.load_state_dict(content["average"])
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror})") from error
    except (
        KeyError,
        RuntimeError,
        TypeError,
        ValueError,
        EOFError,
        UnpicklingError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"{path} is not a checkpoint of `birdrec train fit`: {reason}") from error
    return Checkpoint(net.eval(), content)


def write_bundle(checkpoint: Checkpoint, out: Path, *, threshold: float, evaluation: str) -> Bundle:
    """Export to the folder `out`, whose name becomes the model's, and read it back as a check.

    An older bundle there is replaced when the new one is complete; UsageError when `out` is
    something else. Only the core classes leave the lab: the others have too few recordings to be
    trusted, but the net learns to tell them apart.
    """
    if out.exists() and not (out / "model.json").is_file():
        raise UsageError(f"--out {out} exists and is not a model bundle: choose another name")
    new = out.with_name(out.name + ".tmp")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    _write_files(checkpoint, new, name=out.name, threshold=threshold, evaluation=evaluation)
    read_bundle(new)
    shutil.rmtree(out, ignore_errors=True)
    new.rename(out)
    return read_bundle(out)


def _write_files(
    checkpoint: Checkpoint, out: Path, *, name: str, threshold: float, evaluation: str
) -> None:
    mel, net = MelConfig(), checkpoint.net
    export_encoder(net.encoder, out / "encoder.onnx", mel_bands=mel.mel_bands)
    export_head(net.head, out / "head.onnx", width=net.config.width, classes=len(checkpoint.core))
    names = checkpoint.content["names"]
    details = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "birdrec": __version__,
        "mel": mel.to_dict(),
        "encoder": {
            "file": "encoder.onnx",
            "input": "log_mel [1, frames, mel_bands]",
            "halo_tokens": dependency_tokens(net.encoder, probe_shape(mel.mel_bands), 1),
            "width": net.config.width,
            "backbone": net.config.backbone,
        },
        "head": {"file": "head.onnx", "window_tokens": WINDOW_TOKENS, "hop_tokens": HOP_TOKENS},
        "labels": [
            {
                "label": label,
                "scientific_name": names[label][0],
                "common_name": names[label][1],
                "threshold": round(threshold, 4),
            }
            for label in checkpoint.core
        ],
        "files": {name: _file_entry(out / name) for name in ("encoder.onnx", "head.onnx")},
        "training": {
            "config": checkpoint.content["config"],
            "steps": checkpoint.content["step"],
            "evaluation": evaluation,
        },
        "licence": "CC BY-NC-SA 4.0",
        "attribution": sorted({source[2] for source in checkpoint.content["sources"]}),
    }
    (out / "model.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    (out / "MODEL_CARD.md").write_text(_card(checkpoint, details), encoding="utf-8")


def _file_entry(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _card(checkpoint: Checkpoint, details: dict[str, Any]) -> str:
    species = "\n".join(
        f"| `{entry['label']}` | *{entry['scientific_name']}* | {entry['common_name']} |"
        for entry in details["labels"]
    )
    sources = sorted(checkpoint.content["sources"], key=lambda source: (source[1], source[0]))
    recordings = "\n".join(
        f"| {Path(name).stem} | `{label}` | {author} | {_licence_name(licence)} | {url} |"
        for name, label, author, licence, url in sources
    )
    return _CARD.format(
        name=details["name"],
        backbone=details["encoder"]["backbone"],
        evaluation=details["training"]["evaluation"],
        steps=details["training"]["steps"],
        authors=", ".join(details["attribution"]),
        species=species,
        recordings=recordings,
    )


def _licence_name(url: str) -> str:
    """`https://creativecommons.org/licenses/by-nc-sa/4.0/` -> `CC BY-NC-SA 4.0`."""
    parts = url.rstrip("/").split("/")
    return f"CC {parts[-2].upper()} {parts[-1]}" if "creativecommons" in url else url


_CARD = """# Model card: {name}

A segmenter ({backbone} encoder, global self-attention over ten minutes) trained with
`birdrec train fit` on weakly labelled recordings, {steps} steps, from scratch.

**Licence of these weights: CC BY-NC-SA 4.0** (non-commercial, share alike), because of the
recordings they were trained on. The code of birdrec is MIT.

**Evaluation** on soundscapes composed from sessions that were not trained on: {evaluation}

**Limits.** Few recordings a species, one island. It knows no other birds, and calls of species
it does not know can be taken for those it does. It was not tested on field recordings of its
own species with expert labels, because none were at hand.

## Species

| label | scientific name | common name |
|---|---|---|
{species}

## Recordists

The recordings come from xeno-canto. Thank you: {authors}.

| recording | label | recordist | licence | address |
|---|---|---|---|---|
{recordings}
"""
