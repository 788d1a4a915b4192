"""Does somebody speak? A small net of its own beside that for birds, for sound that is kept.

It hears how far each band up to 6 kHz rises above its own mean over three seconds, so that gain,
steady noise and the microphone fall out; `train/voice` makes it, `docs/privacy.md` says how well
it hears.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recorder.detect.bundle import file_entry
from recorder.detect.inference import ONNX_ERRORS, session
from recorder.detect.mel import (
    FRAMES_PER_TOKEN,
    TOKEN_SAMPLES,
    MelConfig,
    Samples,
    log_mel,
    samples_needed,
)
from recorder.detect.onnx_file import read_onnx
from recorder.errors import ModelError

Floats = NDArray[np.float32]

MEL = MelConfig()
"""Its own front end, whatever the bundle's."""
CONTEXT_TOKENS = 10
"""Of sound on both sides, that the score of a token depends on at most."""
_TILE_TOKENS = 32
"""10 s: a minute at once would take 50 MB, on a board of 512."""
VOICE_MODEL = Path(__file__).parents[1] / "models" / "voice"
GRAPH_FILE, DETAILS_FILE = "voice.onnx", "voice.json"


@dataclass(frozen=True)
class VoiceDetector:
    """The net, loaded and checked."""

    session: Any
    threshold: float
    """From this score on somebody speaks."""

    def scores(self, samples: Samples) -> Floats:
        """Mono sound at 32 kHz [samples] to the probability of a voice in each token, [tokens].

        The last token may hang over the end; beyond the ends it is silent.
        """
        tokens = -(-len(samples) // TOKEN_SAMPLES)
        if not tokens:
            return np.empty(0, np.float32)
        padded = np.pad(samples, (0, samples_needed(tokens, MEL) - len(samples)))
        frames = log_mel(padded, tokens, MEL)
        scores = np.empty(tokens, np.float32)
        for first in range(0, tokens, _TILE_TOKENS):
            stop = min(tokens, first + _TILE_TOKENS)
            begin, end = max(0, first - CONTEXT_TOKENS), min(tokens, stop + CONTEXT_TOKENS)
            tile = frames[np.newaxis, begin * FRAMES_PER_TOKEN : end * FRAMES_PER_TOKEN]
            found = self.session.run(None, {"log_mel": tile})[0][0]
            scores[first:stop] = found[first - begin : stop - begin]
        # What cannot be decided is not kept.
        return np.nan_to_num(scores, nan=1.0)


@lru_cache(maxsize=1)
def voice_detector(folder: Path = VOICE_MODEL) -> VoiceDetector:
    """The packaged net; ModelError when it is damaged or is another than its details say."""
    try:
        details = json.loads((folder / DETAILS_FILE).read_text(encoding="utf-8"))
        entry, mel = details["files"][GRAPH_FILE], details["mel"]
        threshold = float(details["threshold"])
        found = file_entry(folder / GRAPH_FILE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder} does not hold the net that hears voices ({error}): install birdrec again"
        ) from error
    if found != entry or mel != MEL.to_dict() or not 0.0 < threshold < 1.0:
        raise ModelError(
            f"{folder / GRAPH_FILE} is not the file that {DETAILS_FILE} describes: install birdrec "
            "again"
        )
    read_onnx(folder / GRAPH_FILE)
    detector = VoiceDetector(session(folder / GRAPH_FILE, 1), threshold)
    try:
        detector.scores(np.zeros(TOKEN_SAMPLES, np.float32))
    except ONNX_ERRORS as error:
        raise ModelError(f"{folder / GRAPH_FILE} does not run ({error})") from error
    return detector
