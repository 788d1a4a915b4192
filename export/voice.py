"""The net that hears people as the recorder reads it: graph, threshold, card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export.to_onnx import export_voice
from recorder.detect.bundle import file_entry
from recorder.detect.voice import CONTEXT_TOKENS, DETAILS_FILE, GRAPH_FILE, MEL, voice_detector
from recorder.errors import UsageError
from train.voice.fit import read_voice_net

CARD_FILE = "MODEL_CARD.md"


def write_voice(
    checkpoint: Path, out: Path, *, threshold: float, licence: str, notes: str = ""
) -> None:
    """Write the folder `out`, and load it as the recorder does.

    UsageError when it exists or the threshold is none, ModelError when the checkpoint cannot be
    read or its graph differs from torch.
    """
    if out.exists():
        raise UsageError(f"--out {out} exists already: choose another name")
    if not 0.0 < threshold < 1.0:
        raise UsageError(f"--threshold {threshold} must lie between 0 and 1")
    net, made_of = read_voice_net(checkpoint)
    out.mkdir(parents=True)
    export_voice(net, out / GRAPH_FILE, MEL)
    details: dict[str, Any] = {
        "kind": "voice",
        "threshold": threshold,
        "context_tokens": CONTEXT_TOKENS,
        "mel": MEL.to_dict(),
        "licence": licence,
        "files": {GRAPH_FILE: file_entry(out / GRAPH_FILE)},
    }
    (out / DETAILS_FILE).write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")
    (out / CARD_FILE).write_text(_card(details, made_of, notes), encoding="utf-8")
    voice_detector(out)


def _card(details: dict[str, Any], made_of: dict[str, list[str]], notes: str) -> str:
    lists = "".join(
        f"\n## {title}\n\n" + "".join(f"- {name}\n" for name in names)
        for title, names in made_of.items()
    )
    said = f"{notes.strip()}\n\n" if notes else ""
    return (
        "# The net that hears people\n\n"
        "It says of every .3 s of sound whether somebody speaks: from a score of "
        f"{details['threshold']:g} on. It knows neither words nor persons. It is for leaving sound "
        "out and for nothing else: it misses voices, and takes animals for some "
        "(docs/privacy.md).\n\n"
        f"{said}Licence: {details['licence']}.\n{lists}"
    )
