"""Any ONNX net that scores a window of sound: somebody else's, or our classifier (§2.2).

The bundle says how it listens: at which sample rate, to how long a window, as samples or as our
picture, and what its numbers mean. Rows stay chunks of 5 s: windows up to that length lie evenly
within a chunk, a longer one lies around it, and a chunk's score is the best of its windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import (
    ModelBundle,
    check_files,
    labels_of,
    read_details,
    well_formed,
)
from recorder.detect.inference import ONNX_ERRORS, session
from recorder.detect.mel import CHUNK_S, CHUNK_SAMPLES, TOKENS_PER_CHUNK, MelConfig, chunk_picture
from recorder.detect.onnx_file import read_onnx
from recorder.detect.pipeline import ChunkResult
from recorder.detect.postprocess import sigmoid
from recorder.errors import ModelError

Floats = NDArray[np.float32]

KIND = "classifier"
GRAPH_FILE = "model.onnx"
ACTIVATIONS = ("sigmoid", "softmax", "none")
FRONT_ENDS = ("samples", "picture")
_RATES_HZ = (8_000, 192_000)
_LONGEST_S = 60.0


@dataclass(frozen=True, kw_only=True)
class ClassifierBundle(ModelBundle):
    """What `model.json` says of a net that scores windows of sound."""

    window_samples: int
    front_end: str
    """`samples`: mono, full scale 1; `picture`: log-mel of a 5-s chunk, `mel.chunk_picture`."""
    mel: MelConfig
    """Of the picture."""
    input_name: str
    """Of the graph; empty where it has one."""
    output_name: str
    activation: str
    """What makes probabilities of its numbers: sigmoid, softmax, or none when they are that."""

    @property
    def graph_path(self) -> Path:
        return self.path / GRAPH_FILE


def read_classifier(path: Path) -> ClassifierBundle:
    """Read and check a classifier's bundle; ModelError says what is wrong."""
    details, sha256 = read_details(path)
    with well_formed(path):
        net = details[KIND]
        mel = details.get("mel") or {}
        bundle = ClassifierBundle(
            path=path,
            name=str(details["name"]),
            labels=labels_of(path, details),
            sample_rate_hz=int(net["sample_rate_hz"]),
            window_samples=round(float(net["window_s"]) * int(net["sample_rate_hz"])),
            front_end=str(net.get("front_end", "samples")),
            mel=MelConfig(**{name: mel[name] for name in MelConfig.__dataclass_fields__ if mel}),
            input_name=str(net.get("input", "")),
            output_name=str(net.get("output", "")),
            activation=str(net["activation"]),
            sha256=sha256,
            details=details,
        )
    _check(bundle)
    check_files(path, details, [GRAPH_FILE])
    return bundle


def _check(bundle: ClassifierBundle) -> None:
    where = bundle.path / "model.json"
    for name, value, allowed in (
        ("activation", bundle.activation, ACTIVATIONS),
        ("front_end", bundle.front_end, FRONT_ENDS),
    ):
        if value not in allowed:
            raise ModelError(f"{where}: {name} {value!r}: use {', '.join(allowed)}")
    if not _RATES_HZ[0] <= bundle.sample_rate_hz <= _RATES_HZ[1]:
        raise ModelError(
            f"{where}: sample_rate_hz {bundle.sample_rate_hz} must lie between {_RATES_HZ[0]} and "
            f"{_RATES_HZ[1]}"
        )
    if not 1 <= bundle.window_samples <= _LONGEST_S * bundle.sample_rate_hz:
        raise ModelError(f"{where}: window_s must lie above 0 and up to {_LONGEST_S:g}")
    if bundle.front_end == "picture" and (
        bundle.window_samples != CHUNK_SAMPLES
        or bundle.sample_rate_hz != bundle.mel.sample_rate_hz
        or bundle.mel.to_dict() != bundle.details.get("mel")
    ):
        raise ModelError(f"{where}: a picture is of 5 s at 32 kHz, by the mel parameters in it")


class ClassifierNetwork:
    """The net of a classifier's bundle, loaded and checked."""

    def __init__(self, bundle: ClassifierBundle, *, threads: int = 1) -> None:
        """ModelError when the graph cannot be loaded or does not fit `model.json`."""
        self.bundle = bundle
        read_onnx(bundle.graph_path)
        self._session = session(bundle.graph_path, threads)
        self._input = self._named("input", bundle.input_name, self._session.get_inputs())
        self._output = self._named("output", bundle.output_name, self._session.get_outputs()).name
        try:
            found = self._run(np.zeros(bundle.window_samples, np.float32))
        except ONNX_ERRORS as error:
            raise ModelError(f"{bundle.graph_path} does not run ({error})") from error
        if found.shape != (len(bundle.labels),):
            raise ModelError(
                f"{bundle.graph_path} gives {found.size} numbers for a window, model.json promises "
                f"{len(bundle.labels)} labels"
            )

    def scores(self, samples: Floats) -> Floats:
        """Probabilities [labels] of a window [window_samples]."""
        raw = self._run(samples)
        if self.bundle.activation == "sigmoid":
            return sigmoid(raw)
        if self.bundle.activation == "softmax":
            terms = np.exp(raw - raw.max())
            result: Floats = terms / terms.sum()
            return result
        return raw

    def _run(self, samples: Floats) -> Floats:
        features = samples
        if self.bundle.front_end == "picture":
            features = chunk_picture(samples, self.bundle.mel)
        missing = max(0, len(self._input.shape) - features.ndim)
        value = features.reshape((1,) * missing + features.shape)
        result = self._session.run([self._output], {self._input.name: value})[0]
        return np.asarray(result, np.float32).reshape(-1)

    def _named(self, kind: str, name: str, entries: list[Any]) -> Any:
        found = [entry for entry in entries if name in ("", entry.name)]
        if len(found) != 1:
            names = ", ".join(entry.name for entry in entries)
            raise ModelError(
                f"{self.bundle.graph_path}: no one {kind} {name!r}; it has {names}: name one in "
                f"model.json ({KIND}.{kind})"
            )
        return found[0]


class ClassifierPipeline:
    """One recording, from its first sample to its last, at the rate of the bundle."""

    def __init__(self, network: ClassifierNetwork) -> None:
        bundle = network.bundle
        self._network = network
        self._chunk = round(CHUNK_S * bundle.sample_rate_hz)
        self._offsets = window_offsets(bundle.window_samples, self._chunk)
        before, after = -self._offsets[0], self._offsets[-1] + bundle.window_samples
        self._before = max(0, before)
        self._after = max(after, self._chunk)
        self._held: Floats = np.zeros(self._before, np.float32)
        """From `_before` samples before the next chunk on."""
        self._samples = 0
        self._chunks = 0

    def push(self, samples: Floats) -> list[ChunkResult]:
        """Take mono samples; return the chunks that are complete with them.

        Raises ModelError when the net returns NaN: that must never pass for "no bird".
        """
        self._samples += len(samples)
        self._held = np.concatenate([self._held, samples])
        results = []
        while len(self._held) >= self._before + self._after:
            results.append(self._next())
        return results

    def finish(self) -> list[ChunkResult]:
        """The recording ends: silence follows."""
        chunks = math.ceil(self._samples / self._chunk)
        results = []
        while self._chunks < chunks:
            missing = self._before + self._after - len(self._held)
            self._held = np.pad(self._held, (0, max(0, missing)))
            results.append(self._next())
        return results

    def _next(self) -> ChunkResult:
        bundle = self._network.bundle
        length, token = bundle.window_samples, self._chunk / TOKENS_PER_CHUNK
        centres = (np.arange(TOKENS_PER_CHUNK) + 0.5) * token
        tokens = np.zeros((TOKENS_PER_CHUNK, len(bundle.labels)), np.float32)
        best = np.zeros(len(bundle.labels), np.float32)
        for offset in self._offsets:
            begin = self._before + offset
            scores = self._network.scores(self._held[begin : begin + length])
            if not (np.isfinite(scores).all() and ((scores >= 0) & (scores <= 1)).all()):
                raise ModelError(
                    f"model {bundle.name} returned what is no probability in the chunk from "
                    f"{self._chunks * CHUNK_S:g} s: is its activation {bundle.activation!r}?"
                )
            within = (centres >= offset) & (centres < offset + length)
            tokens[within] = np.maximum(tokens[within], scores)
            best = np.maximum(best, scores)
        self._held = self._held[self._chunk :]
        self._chunks += 1
        return ChunkResult(self._chunks - 1, best, tokens)


def window_offsets(window: int, chunk: int) -> list[int]:
    """Where the windows of a chunk start, in samples from its own start."""
    if window >= chunk:
        return [-((window - chunk) // 2)]
    count = math.ceil(chunk / window)
    return [round(one * (chunk - window) / (count - 1)) for one in range(count)]
