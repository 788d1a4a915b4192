"""A checkpoint becomes a bundle: two graphs, `model.json`, and a model card."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from export.to_onnx import export_encoder, export_head
from recorder import __version__
from recorder.detect.bundle import SCHEMA_VERSION, Bundle, read_bundle
from recorder.detect.postprocess import ANY_BIRD_EXPONENT, OWN_SHARE, RECURRENCE_EXPONENT
from recorder.errors import UsageError
from train.backbones import dependency_tokens, probe_shape
from train.checkpoint import Checkpoint
from train.scenes import ANY_BIRD
from train.segmenter import Segmenter

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
) -> Bundle:
    """Export to the folder `out`, whose name becomes the model's, and read it back as a check.

    From `any_bird_threshold` on a chunk without a species is said to hold a bird; 0 = never.
    `notes` is Markdown for the model card: limits, backgrounds, credits. Without a `licence` it
    is the one that non-commercial recordings ask for, or said to be open.

    An older bundle there is replaced when the new one is complete; UsageError when `out` is
    something else. Only the core classes leave the lab: the others have too few recordings to be
    trusted, but the net learns to tell them apart.
    """
    if checkpoint.kind != "segmenter":
        raise UsageError(f"a {checkpoint.kind} cannot be exported yet: only segmenters can")
    if out.exists() and not (out / "model.json").is_file():
        raise UsageError(f"--out {out} exists and is not a model bundle: choose another name")
    new = out.with_name(out.name + ".tmp")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    details = _write_graphs(checkpoint, new, name=out.name, threshold=threshold)
    details["head"]["any_bird_threshold"] = round(any_bird_threshold, 4)
    details["training"]["evaluation"] = evaluation
    details["licence"] = licence or _default_licence(checkpoint)
    (new / "model.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    (new / "MODEL_CARD.md").write_text(_card(checkpoint, details, notes), encoding="utf-8")
    read_bundle(new)
    shutil.rmtree(out, ignore_errors=True)
    new.rename(out)
    return read_bundle(out)


def _write_graphs(
    checkpoint: Checkpoint, out: Path, *, name: str, threshold: float
) -> dict[str, Any]:
    """Both graphs into `out`; what `model.json` says of them and of the training."""
    mel, net = checkpoint.mel, checkpoint.net
    assert isinstance(net, Segmenter)
    export_encoder(net.encoder, out / "encoder.onnx", mel)
    outputs = [*checkpoint.core, ANY_BIRD] if checkpoint.any_bird else checkpoint.core
    export_head(net.head, out / "head.onnx", width=net.config.width, labels=outputs)
    names = checkpoint.content["names"]
    return {
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
        "head": {
            "file": "head.onnx",
            "window_tokens": WINDOW_TOKENS,
            "hop_tokens": HOP_TOKENS,
            "own_share": OWN_SHARE,
            "any_bird": checkpoint.any_bird,
            "any_bird_exponent": ANY_BIRD_EXPONENT if checkpoint.any_bird else 0.0,
            "recurrence_exponent": RECURRENCE_EXPONENT,
        },
        "labels": [
            {
                "label": label,
                "scientific_name": names[label][0],
                "common_name": names[label][1],
                "threshold": round(threshold, 4),
            }
            for label in checkpoint.core
        ],
        "files": {name: file_entry(out / name) for name in ("encoder.onnx", "head.onnx")},
        "training": {
            "config": checkpoint.content["config"],
            "steps": checkpoint.content["step"],
        },
        "attribution": _attribution(checkpoint),
        "ancestors": [net["name"] for net in checkpoint.content.get("ancestors", [])],
    }


def file_entry(path: Path) -> dict[str, Any]:
    """What `model.json` says of a file of the bundle."""
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _attribution(checkpoint: Checkpoint) -> list[str]:
    """The recordists of all that it learned from, by itself or from other nets."""
    names = {source[2] for source in checkpoint.content["sources"]}
    for net in checkpoint.content.get("ancestors", []):
        names.update(net["attribution"])
    return sorted(names - {""})


def _default_licence(checkpoint: Checkpoint) -> str:
    licences = [source[3] for source in checkpoint.content["sources"]]
    licences += [one for net in checkpoint.content.get("ancestors", []) for one in net["licences"]]
    if any("-nc" in licence.lower() for licence in licences):
        return "CC BY-NC-SA 4.0"
    return "not stated: choose one that the licences of the recordings allow"


def _card(checkpoint: Checkpoint, details: dict[str, Any], notes: str) -> str:
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
        start=_start(details),
        authors=", ".join(details["attribution"]) or "recordists whose names are not known",
        licence=details["licence"],
        notes=notes.strip() + "\n\n" if notes else "",
        species=species,
        recordings=recordings,
    )


def _start(details: dict[str, Any]) -> str:
    names = "; ".join(details["ancestors"])
    return f"starting from or taught by other nets ({names})" if names else "from scratch"


def _licence_name(url: str) -> str:
    """`https://creativecommons.org/licenses/by-nc-sa/4.0/` -> `CC BY-NC-SA 4.0`."""
    parts = url.rstrip("/").split("/")
    return f"CC {parts[-2].upper()} {parts[-1]}" if "creativecommons" in url else url


_CARD = """# Model card: {name}

A segmenter ({backbone} encoder, global self-attention over ten minutes) trained with
`birdrec train fit` on weakly labelled recordings, {steps} steps, {start}.

**Licence of these weights:** {licence}. It follows from the recordings they were trained on; the
code of birdrec is MIT.

**Evaluation** on soundscapes of sessions that were not trained on: {evaluation}

It knows the species below and no others: calls of others can be taken for one of these.

{notes}## Species

| label | scientific name | common name |
|---|---|---|
{species}

## Recordists

Thank you: {authors}.

| recording | label | recordist | licence | address |
|---|---|---|---|---|
{recordings}
"""
