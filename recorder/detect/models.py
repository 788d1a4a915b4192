"""Bundles of any kind: read, loaded, and a pipeline for each recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import DEFAULT_BUNDLE, Bundle, ModelBundle, read_bundle, read_details
from recorder.detect.classifier import (
    KIND,
    ClassifierBundle,
    ClassifierNetwork,
    ClassifierPipeline,
    read_classifier,
)
from recorder.detect.inference import Networks
from recorder.detect.pipeline import ChunkResult, Pipeline
from recorder.detect.precision import check_precision, choose_precision
from recorder.detect.rolling import Heard, RollingPipeline
from recorder.detect.rolling_classifier import RollingClassifier
from recorder.detect.window import settled_before
from recorder.errors import ModelError

AS_EXPORTED = "as exported"


class AnyPipeline(Protocol):
    """One recording: mono samples at the bundle's rate in, settled chunks out."""

    def push(self, samples: NDArray[np.float32]) -> list[ChunkResult]:
        """Take samples; return the chunks that settled with them."""

    def finish(self) -> list[ChunkResult]:
        """The recording ends: return the chunks that are left."""


class Rolling(Protocol):
    """A stream without an end, in samples at the bundle's rate; see `detect.rolling`."""

    @property
    def settled_samples(self) -> int:
        """Everything before this sample has been settled, or was lost."""

    @property
    def needed_from_sample(self) -> int:
        """From here on the sound is still needed to settle what has not been settled."""

    def push(self, samples: NDArray[np.float32]) -> Heard:
        """Take mono samples; return what became known with them."""

    def skip(self, samples: int) -> Heard:
        """So many samples were lost."""

    def finish(self) -> Heard:
        """The stream ends: settle what is left."""


@dataclass(frozen=True)
class Resumption:
    """How a long recording goes on that was interrupted, or is shared out, with the same bits."""

    bundle: Bundle
    pipeline: Callable[..., Pipeline]
    """As `Model.pipeline`, with `first_window`, `stop_window` and `first_sample` of `Pipeline`."""

    def settled_before(self, window: int) -> int:
        """How many chunks are settled when a window opens, counted from 0."""
        return settled_before(window, self.bundle.window_tokens, self.bundle.hop_tokens)


@dataclass(frozen=True)
class Model:
    """A bundle's graphs, loaded once for any number of recordings."""

    bundle: ModelBundle
    pipeline: Callable[[], AnyPipeline]
    """For one recording, from its first sample."""
    rolling: Callable[[], Rolling]
    """For one microphone, from its first sample; ModelError when its head cannot slide."""
    resumption: Resumption | None = None
    """None where nothing is gained: no ten minutes of context have to be heard again."""


def read_model(path: Path) -> ModelBundle:
    """Read and check a bundle of any kind; ModelError says what is wrong.

    The name of one that comes with birdrec will do for its path.
    """
    packaged = DEFAULT_BUNDLE.parent / path
    if len(path.parts) == 1 and not path.exists() and packaged.is_dir():
        path = packaged
    details, _ = read_details(path)
    kind = details.get("kind", "segmenter")
    if kind == KIND:
        return read_classifier(path)
    if kind != "segmenter":
        raise ModelError(f"{path / 'model.json'}: kind {kind!r}: use segmenter or {KIND}")
    return read_bundle(path)


def precision_of(bundle: ModelBundle, wanted: str) -> str:
    """What runs when `wanted` is asked for: fp32 or int8, and of a classifier what is in its graph.

    ModelError when the bundle does not have it.
    """
    check_precision(wanted)
    if isinstance(bundle, Bundle):
        return choose_precision(bundle, wanted)
    if wanted != "auto":
        raise ModelError(f"{bundle.path} has no encoder to choose: leave --precision out")
    return AS_EXPORTED


def load_model(bundle: ModelBundle, precision: str = "auto", *, threads: int = 1) -> Model:
    """Load what is in a bundle; ModelError when a graph does not load or fit `model.json`."""
    if isinstance(bundle, ClassifierBundle):
        network = ClassifierNetwork(bundle, threads=threads)
        return Model(
            bundle, lambda: ClassifierPipeline(network), lambda: RollingClassifier(network)
        )
    assert isinstance(bundle, Bundle)
    networks = Networks(bundle, precision=precision, threads=threads)
    return Model(
        bundle,
        lambda: Pipeline(networks),
        lambda: RollingPipeline(networks),
        Resumption(bundle, partial(Pipeline, networks)),
    )
