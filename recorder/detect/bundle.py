"""A model bundle: a folder with two graphs and one `model.json` that says what they are.

Nothing of it is believed before it has been checked: the hash of each file, the schema version,
the front end's parameters, the number of labels, and the shapes of the graphs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorder.detect.mel import TOKENS_PER_CHUNK, MelConfig
from recorder.detect.postprocess import PAPER_OWN_SHARE
from recorder.errors import ModelError

SCHEMA_VERSION = 1
DEFAULT_BUNDLE = Path(__file__).parent.parent / "models" / "puerto_rico_edge"
HEAD_FILE = "head.onnx"
ENCODER_FILES = {"fp32": "encoder.onnx", "int8": "encoder.int8.onnx"}
"""By precision; a bundle has one of them or both."""
ANY_BIRD = ("bird", "Aves", "Bird, species not known")
"""Label, scientific and common name of a call that is none of the species."""


@dataclass(frozen=True)
class Label:
    """A class as the model knows it and as people call it."""

    label: str
    scientific_name: str
    common_name: str
    threshold: float
    """A chunk's score from which the species counts as detected, 0..1."""


@dataclass(frozen=True)
class Bundle:
    """A checked bundle, its graphs not yet loaded."""

    path: Path
    name: str
    labels: tuple[Label, ...]
    mel: MelConfig
    halo_tokens: int
    """How many tokens to each side the encoder needs to be exact."""
    width: int
    """Features of a token."""
    window_tokens: int
    """How many tokens the head attends over; 1920 = 10 minutes."""
    hop_tokens: int
    """How far apart the windows of a longer recording start; 960 = 5 minutes."""
    own_share: float
    """How much of a smoothed chunk is its own score, see `postprocess.chunk_probabilities`."""
    any_bird: bool
    """The head has one output more, the last: does any bird call, known or not?"""
    any_bird_exponent: float
    """How much that output gates the classes, see `postprocess.gated`; 0 = not at all."""
    any_bird_threshold: float
    """From which score on it is said that a bird calls where no species is; 0 = never."""
    precisions: tuple[str, ...]
    """Of the encoders that are there: fp32, int8 or both."""
    int8_gate: str
    """What came of comparing int8 with fp32 (`birdrec export gate`): passed, failed or not run."""
    recurrence_exponent: float
    """How much a class's best chunk in the window lifts it, see `postprocess.recurrent`."""
    sha256: str
    """Of `model.json`, which holds the hashes of the graphs: one name for the whole model."""
    details: dict[str, Any]
    """The whole of `model.json`."""

    @property
    def said(self) -> tuple[Label, ...]:
        """What a chunk may be said to hold: the species, then any bird."""
        if not self.any_bird_threshold:
            return self.labels
        return (*self.labels, Label(*ANY_BIRD, self.any_bird_threshold))

    @property
    def outputs(self) -> int:
        """How many numbers the head gives for a token."""
        return len(self.labels) + self.any_bird

    def encoder_path(self, precision: str = "fp32") -> Path:
        return self.path / ENCODER_FILES[precision]

    @property
    def head_path(self) -> Path:
        return self.path / HEAD_FILE


def read_bundle(path: Path) -> Bundle:
    """Read and check a bundle; ModelError names the file, what was expected and what is there."""
    manifest = path / "model.json"
    try:
        raw = manifest.read_bytes()
        details = json.loads(raw)
    except OSError as error:
        raise ModelError(
            f"no model bundle at {path}: {manifest.name} cannot be read ({error.strerror}); "
            "a bundle is a folder that `birdrec export onnx` writes"
        ) from error
    except ValueError as error:
        raise ModelError(
            f"{manifest} is not valid JSON ({error}): export the bundle again"
        ) from error
    try:
        bundle = _bundle(path, details, hashlib.sha256(raw).hexdigest())
        hashes = {name: entry["sha256"] for name, entry in details["files"].items()}
        hashes[HEAD_FILE]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{manifest}: {error} is missing or malformed") from error
    for name, expected in hashes.items():
        _check_hash(path / name, expected)
    return bundle


def _bundle(path: Path, details: dict[str, Any], sha256: str) -> Bundle:
    version = details["schema_version"]
    if version != SCHEMA_VERSION:
        raise ModelError(
            f"{path / 'model.json'}: schema version {version}, this birdrec reads "
            f"{SCHEMA_VERSION}: export the bundle with this version, or update birdrec"
        )
    mel = MelConfig(**{name: details["mel"][name] for name in MelConfig.__dataclass_fields__})
    if mel.to_dict() != details["mel"]:
        raise ModelError(f"{path / 'model.json'}: its front end is not this recorder's: {mel}")
    labels = tuple(
        Label(
            str(entry["label"]),
            str(entry["scientific_name"]),
            str(entry["common_name"]),
            _probability(
                entry["threshold"], f"{path / 'model.json'}: threshold of {entry['label']}"
            ),
        )
        for entry in details["labels"]
    )
    if not labels or len({label.label for label in labels}) != len(labels):
        raise ModelError(f"{path / 'model.json'}: the labels are empty or not all different")
    bundle = Bundle(
        path=path,
        name=str(details["name"]),
        labels=labels,
        mel=mel,
        halo_tokens=int(details["encoder"]["halo_tokens"]),
        width=int(details["encoder"]["width"]),
        window_tokens=int(details["head"]["window_tokens"]),
        hop_tokens=int(details["head"]["hop_tokens"]),
        own_share=float(details["head"].get("own_share", PAPER_OWN_SHARE)),
        any_bird=bool(details["head"].get("any_bird", False)),
        any_bird_exponent=float(details["head"].get("any_bird_exponent", 0.0)),
        any_bird_threshold=float(details["head"].get("any_bird_threshold", 0.0)),
        precisions=tuple(one for one, name in ENCODER_FILES.items() if name in details["files"]),
        int8_gate=str(details["encoder"].get("int8", {}).get("gate", "not run")),
        recurrence_exponent=float(details["head"].get("recurrence_exponent", 0.0)),
        sha256=sha256,
        details=details,
    )
    if not bundle.precisions:
        raise ModelError(
            f"{path / 'model.json'} lists no encoder: its files must include "
            f"{' or '.join(ENCODER_FILES.values())}"
        )
    _check_windows(bundle)
    return bundle


def _check_windows(bundle: Bundle) -> None:
    if not 0.0 < bundle.own_share <= 1.0:
        raise ModelError(
            f"{bundle.path / 'model.json'}: own_share {bundle.own_share} must lie above 0, up to 1"
        )
    for name in ("any_bird_exponent", "recurrence_exponent"):
        value = getattr(bundle, name)
        if not 0.0 <= value <= 10.0:
            raise ModelError(
                f"{bundle.path / 'model.json'}: {name} {value} must lie between 0 and 10"
            )
    if not 0.0 <= bundle.any_bird_threshold < 1.0 or (
        bundle.any_bird_threshold and not bundle.any_bird
    ):
        raise ModelError(
            f"{bundle.path / 'model.json'}: any_bird_threshold {bundle.any_bird_threshold} must be "
            "0 or more and below 1, and 0 without any_bird"
        )
    if bundle.halo_tokens < 0 or bundle.width < 1:
        raise ModelError(f"{bundle.path / 'model.json'}: negative halo_tokens or empty width")
    wrong = (
        bundle.hop_tokens < TOKENS_PER_CHUNK
        or bundle.hop_tokens % TOKENS_PER_CHUNK
        or bundle.window_tokens != 2 * bundle.hop_tokens
    )
    if wrong:
        raise ModelError(
            f"{bundle.path / 'model.json'}: window_tokens {bundle.window_tokens} must be twice "
            f"hop_tokens {bundle.hop_tokens}, and that a multiple of {TOKENS_PER_CHUNK}"
        )


def _probability(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < 1.0:
        raise ModelError(f"{where} is {value!r}: it must be a number above 0 and below 1")
    return float(value)


def _check_hash(path: Path, expected: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror})") from error
    if found != expected:
        raise ModelError(
            f"{path} is damaged: sha256 {found[:12]}... instead of {str(expected)[:12]}...; "
            "copy the bundle again"
        )
