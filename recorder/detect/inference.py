"""The two graphs of a bundle in onnxruntime, and the encoder as an exact stream.

Both graphs are looked at before they are loaded (`onnx_file`).

The CNN's receptive field is bounded: a tile with `halo_tokens` more on each side gives the same
tokens, bit for bit, as the whole recording at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from recorder.detect.bundle import Bundle
from recorder.detect.head_weights import head_weights
from recorder.detect.incremental import IncrementalHead
from recorder.detect.mel import FRAMES_PER_TOKEN
from recorder.detect.onnx_file import OnnxFile, read_onnx
from recorder.detect.precision import choose_precision
from recorder.detect.window_head import window_head
from recorder.errors import ModelError

Floats = NDArray[np.float32]


class Networks:
    """Encoder and head of a bundle, loaded and checked."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, precision: str = "auto") -> None:
        """Raises ModelError when a graph cannot be loaded or does not fit `model.json`.

        `precision` is one of `precision.PRECISIONS`; `self.precision` says what came of auto.
        """
        self.bundle = bundle
        self.precision = choose_precision(bundle, precision)
        encoder_path = bundle.encoder_path(self.precision)
        _check_words(bundle, encoder_path, read_onnx(encoder_path))
        head = read_onnx(bundle.head_path)
        _check_words(bundle, bundle.head_path, head)
        self._head_file = head
        self._threads = threads
        self._encoder = session(encoder_path, threads)
        self.window_head = self._window_head()
        """Tokens [tokens, width] of a window to logits [tokens, outputs], in little memory."""
        probe = 2 * bundle.halo_tokens + 1
        frames = np.zeros((probe * FRAMES_PER_TOKEN, bundle.mel.mel_bands), np.float32)
        try:
            tokens = self.encode(frames)
            logits = self.window_head(tokens)
        except ONNX_ERRORS as error:
            raise ModelError(f"{bundle.path}: the graphs do not run ({error})") from error
        expected = (probe, bundle.width), (probe, bundle.outputs)
        if (tokens.shape, logits.shape) != expected:
            raise ModelError(
                f"{bundle.path}: for {probe} tokens the graphs return {tokens.shape} and "
                f"{logits.shape}; model.json promises {expected[0]} and {expected[1]}"
            )

    def encode(self, log_mel: Floats) -> Floats:
        """Log-mel [tokens * 32, mel_bands] to tokens [tokens, width]."""
        return self._run(self._encoder, "log_mel", log_mel)

    def attend(self, tokens: Floats) -> Floats:
        """What onnxruntime says of the head's graph: the oracle of `window_head`."""
        return self._run(self._head, "tokens", tokens)

    @cached_property
    def _head(self) -> Any:
        return session(self.bundle.head_path, self._threads)

    def _window_head(self) -> Callable[[Floats], Floats]:
        try:
            return window_head(head_weights(self._head_file), self.bundle.hop_tokens)
        except ModelError:
            # An older version exported it, without the names of its weights.
            return self.attend

    def incremental_head(self) -> IncrementalHead:
        """The head for a window that slides, empty. ModelError where an older version exported."""
        return IncrementalHead(head_weights(self._head_file), self.bundle.window_tokens)

    @staticmethod
    def _run(session: Any, name: str, value: Floats) -> Floats:
        result: Floats = session.run(None, {name: value[np.newaxis]})[0][0]
        return result


class TokenStream:
    """Log-mel frames in, tokens out, in tiles of any size with the exact halo around them."""

    def __init__(
        self,
        networks: Networks,
        tile_tokens: int,
        *,
        first_tile_tokens: int | None = None,
        tokens_before: int = 0,
    ) -> None:
        """The first tile may be shorter, so that the next ones end with the chunks.

        The first `tokens_before` tokens of frames, a halo at most, are known: they are context.
        """
        self._networks = networks
        self._tile = tile_tokens
        self._next_tile = first_tile_tokens or tile_tokens
        self._halo = networks.bundle.halo_tokens
        bands = networks.bundle.mel.mel_bands
        self._frames: Floats = np.empty((0, bands), np.float32)
        self._before = tokens_before
        """How many of the tokens held have been encoded already: the halo to the left."""

    def push(self, log_mel: Floats) -> list[Floats]:
        """Take whole tokens of frames; return the tiles [tile_tokens, width] now complete."""
        self._frames = np.concatenate([self._frames, log_mel])
        tiles = []
        while self._held() - self._before >= self._next_tile + self._halo:
            tiles.append(self._encode(self._next_tile, self._halo))
        return tiles

    def finish(self) -> list[Floats]:
        """The recording ends here: return what is left, its right edge being the true one."""
        tiles = []
        while (left := self._held() - self._before) > 0:
            count = min(left, self._next_tile)
            tiles.append(self._encode(count, min(self._halo, left - count)))
        return tiles

    def _held(self) -> int:
        return len(self._frames) // FRAMES_PER_TOKEN

    def _encode(self, count: int, after: int) -> Floats:
        stop = self._before + count
        tokens = self._networks.encode(self._frames[: (stop + after) * FRAMES_PER_TOKEN])
        tile = tokens[self._before : stop]
        keep_from = max(0, stop - self._halo)
        self._frames = self._frames[keep_from * FRAMES_PER_TOKEN :]
        self._before = stop - keep_from
        self._next_tile = self._tile
        return tile


def _check_words(bundle: Bundle, path: Path, graph: OnnxFile) -> None:
    """What is written in a graph is what `model.json` says; older graphs say nothing."""
    outputs = [one.label for one in bundle.labels] + ["bird"] * bundle.any_bird
    for word, expected in (("birdrec.mel", bundle.mel.to_dict()), ("birdrec.labels", outputs)):
        found = graph.metadata.get(word)
        if found is not None and found != json.dumps(expected):
            raise ModelError(
                f"{path} was exported for another {word.removeprefix('birdrec.')} than model.json "
                f"promises: {_first_difference(found, expected)}; export the model again"
            )


def _first_difference(written: str, expected: dict[str, Any] | list[str]) -> str:
    """Between the JSON in a graph and what model.json has instead."""
    try:
        found: Any = json.loads(written)
        pairs: Any = expected.items() if isinstance(expected, dict) else enumerate(expected)
        different, value = next((key, value) for key, value in pairs if found[key] != value)
    except (ValueError, KeyError, IndexError, TypeError, StopIteration):
        return f"{len(expected)} entries there, and {written[:60]} in the graph"
    return f"{different} is {value!r} there, {found[different]!r} in the graph"


def session(path: Path, threads: int) -> Any:
    """A graph in onnxruntime; ModelError when it cannot be loaded."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A quarter less memory for the feature maps, and as fast.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except ONNX_ERRORS as error:
        raise ModelError(f"{path} is not a graph that onnxruntime loads ({error})") from error


ONNX_ERRORS = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    onnxruntime.capi.onnxruntime_pybind11_state.NoSuchFile,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
    ValueError,
)
