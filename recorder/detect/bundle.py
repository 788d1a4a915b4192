"""A model bundle: a folder with two graphs and one `model.json` that says what they are.

Nothing of it is believed before it has been checked: the hash of each file, the schema version,
the front end's parameters, the number of labels, and the shapes of the graphs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
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


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """A checked bundle of any kind, its graphs not yet loaded."""

    path: Path
    name: str
    labels: tuple[Label, ...]
    any_bird: bool = False
    """There is one output more, the last: does any bird call, known or not?"""
    any_bird_threshold: float = 0.0
    """From which score on it is said that a bird calls where no species is; 0 = never."""
    sample_rate_hz: int
    """Of the sound that it hears."""
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
        """How many numbers a chunk gets."""
        return len(self.labels) + self.any_bird


@dataclass(frozen=True, kw_only=True)
class Bundle(ModelBundle):
    """A segmenter's bundle (§2.3): encoder and head."""

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
    any_bird_exponent: float
    """How much any bird gates the classes, see `postprocess.gated`; 0 = not at all."""
    precisions: tuple[str, ...]
    """Of the encoders that are there: fp32, int8 or both."""
    int8_gate: str
    """What came of comparing int8 with fp32 (`birdrec export gate`): passed, failed or not run."""
    recurrence_exponent: float
    """How much a class's best chunk in the window lifts it, see `postprocess.recurrent`."""

    def encoder_path(self, precision: str = "fp32") -> Path:
        return self.path / ENCODER_FILES[precision]

    @property
    def head_path(self) -> Path:
        return self.path / HEAD_FILE


def read_bundle(path: Path) -> Bundle:
    """Read and check a segmenter's bundle; ModelError names the file, what was expected and what is
    there."""
    details, sha256 = read_details(path)
    if details.get("kind", "segmenter") != "segmenter":
        raise ModelError(f"{path} is a {details['kind']}: a segmenter is needed here")
    with well_formed(path):
        bundle = _bundle(path, details, sha256)
    check_files(path, details, [HEAD_FILE])
    return bundle


def read_details(path: Path) -> tuple[dict[str, Any], str]:
    """`model.json` of a bundle and its hash; ModelError unless this version can read it."""
    manifest = path / "model.json"
    try:
        raw = manifest.read_bytes()
        details = json.loads(raw)
    except OSError as error:
        raise ModelError(
            f"no model bundle at {path}: {manifest.name} cannot be read ({error.strerror}); "
            "a bundle is a folder that `birdrec export onnx` or `birdrec model wrap` writes"
        ) from error
    except ValueError as error:
        raise ModelError(
            f"{manifest} is not valid JSON ({error}): export the bundle again"
        ) from error
    version = details.get("schema_version") if isinstance(details, dict) else None
    if version != SCHEMA_VERSION:
        raise ModelError(
            f"{manifest}: schema version {version}, this birdrec reads "
            f"{SCHEMA_VERSION}: export the bundle with this version, or update birdrec"
        )
    return details, hashlib.sha256(raw).hexdigest()


@contextmanager
def well_formed(path: Path) -> Iterator[None]:
    """What is missing in `model.json`, or of another type, is a ModelError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path / 'model.json'}: {error} is missing or malformed") from error


def check_files(path: Path, details: dict[str, Any], needed: list[str]) -> None:
    """Every file that is listed has the hash that is listed; the needed ones are among them."""
    with well_formed(path):
        hashes = {name: str(entry["sha256"]) for name, entry in details["files"].items()}
        for name in needed:
            hashes[name]
    for name, expected in hashes.items():
        if name != Path(name).name:
            raise ModelError(
                f"{path / 'model.json'} lists {name!r}: files lie in the bundle itself"
            )
        _check_hash(path / name, expected)


def file_entry(path: Path) -> dict[str, Any]:
    """What `model.json` says of a file of the bundle."""
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def labels_of(path: Path, details: dict[str, Any]) -> tuple[Label, ...]:
    """The labels of `model.json`: at least one, and all different."""
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
    return labels


def _bundle(path: Path, details: dict[str, Any], sha256: str) -> Bundle:
    mel = MelConfig(**{name: details["mel"][name] for name in MelConfig.__dataclass_fields__})
    if mel.to_dict() != details["mel"]:
        raise ModelError(f"{path / 'model.json'}: its front end is not this recorder's: {mel}")
    bundle = Bundle(
        path=path,
        name=str(details["name"]),
        labels=labels_of(path, details),
        sample_rate_hz=mel.sample_rate_hz,
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
