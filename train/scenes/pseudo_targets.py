"""What pseudo labels say of a scene's tokens: calls, does not call, or nobody knows (§2.4 step 2).

Both sides must be confident: a token is a *yes* of a class from SURE upwards, and only for the
classes that the clip's metadata name; it is a *no* below DOUBT. What lies between is masked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.detect.mel import FRAMES_PER_TOKEN, TOKEN_SAMPLES
from train.clips.recordings import Recording
from train.invented.imagined import is_imagined

Bools = NDArray[np.bool_]

ONE = 255
"""A pseudo label of 1 as it is kept: a byte a token and class."""
SURE = 0.5
DOUBT = 0.1
UNKNOWN = round(ONE * (SURE + DOUBT) / 2)
"""Between a yes and a no: what a net that does not have the class says of it."""
_NEAR_BEST = 0.9


def found_nowhere(recording: Recording, column: int) -> bool:
    """Whether no pseudo label says where the class in `column` calls."""
    if recording.pseudo is None:
        return True
    scores = recording.pseudo[:, column]
    return bool(scores.max(initial=0) < DOUBT * ONE or (scores == UNKNOWN).all())


def call_token(rng: np.random.Generator, recording: Recording, column: int) -> int | None:
    """A token at which the class in `column` calls; None when no pseudo label says where."""
    if recording.pseudo is None or found_nowhere(recording, column):
        return None
    scores = recording.pseudo[:, column]
    enough = min(SURE * ONE, _NEAR_BEST * float(scores.max()))
    return int(rng.choice(np.flatnonzero(scores >= enough)))


def may_call(recording: Recording, column: int, tokens: NDArray[np.intp]) -> Bools:
    """[tokens]: whether the class in `column` may call at these tokens of the recording.

    Everywhere when there are no pseudo labels, or when they find the call nowhere.
    """
    if recording.pseudo is None or found_nowhere(recording, column):
        return np.ones(len(tokens), bool)
    inside = np.minimum(tokens, len(recording.pseudo) - 1)
    return np.asarray(recording.pseudo[inside, column] >= DOUBT * ONE)


class TokenStates:
    """Yes and no for each token and class of a scene; where neither is true nobody knows.

    Of several sources in one scene a class calls where any of them says yes, and is absent only
    where all say no: the union of positives, the intersection of negatives (METHOD.md).
    """

    def __init__(self, tokens: int, classes: int) -> None:
        self.yes = np.zeros((tokens, classes), bool)
        self.no = np.ones((tokens, classes), bool)

    def place(
        self, recording: Recording, columns: list[int], source: tuple[int, float], place: slice
    ) -> None:
        """Write in a recording that sounds at the scene's samples `place`.

        `columns` are the classes that its metadata name, the clip's own first; `source` is the
        sample of the recording that it starts at, and how much faster than there it is played.
        """
        first, last = place.start // TOKEN_SAMPLES, -(-place.stop // TOKEN_SAMPLES)
        tokens = np.arange(max(0, first), min(len(self.yes), last))
        if not len(tokens):
            return
        begin, speed = source
        middles = np.clip((tokens + 0.5) * TOKEN_SAMPLES, place.start, place.stop - 1)
        samples = begin + (middles - place.start) * speed
        # Played faster a piece is over before its place is, and silence fills the rest.
        end = min(len(recording.samples), begin + place.stop - place.start)
        heard = (samples >= 0) & (samples < end)
        yes, no = _states(recording, columns, (samples // TOKEN_SAMPLES).astype(int), self.yes)
        silent = ~heard | _marked_nocall(recording, samples)
        yes[silent], no[silent] = False, True
        self.yes[tokens] |= yes
        self.no[tokens] &= no

    def any_bird(self, column: int, birds: list[int], *, may_hold_birds: bool) -> None:
        """Fill the column of any bird from those of the classes that are `birds`."""
        self.yes[:, column] = self.yes[:, birds].any(axis=1)
        self.no[:, column] = self.no[:, birds].all(axis=1) & (not may_hold_birds)

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(target, known), float32 [tokens, classes] each; a yes outweighs a no."""
        return self.yes.astype(np.float32), (self.yes | self.no).astype(np.float32)


def _marked_nocall(recording: Recording, samples: NDArray[np.float64]) -> Bools:
    """[tokens]: whether a hand label says that nothing calls at these samples (§2.2)."""
    if recording.nocall is None:
        return np.zeros(len(samples), bool)
    frames = (samples * FRAMES_PER_TOKEN / TOKEN_SAMPLES).astype(int)
    return np.asarray(recording.nocall[np.clip(frames, 0, len(recording.nocall) - 1)])


def _states(
    recording: Recording, columns: list[int], tokens: NDArray[np.intp], like: Bools
) -> tuple[Bools, Bools]:
    """(yes, no) at these tokens of the recording, [tokens, classes] each."""
    yes = np.zeros((len(tokens), like.shape[1]), bool)
    if recording.pseudo is None:
        # Nobody knows, unless it was invented: then no other bird is in it.
        no = np.full_like(yes, is_imagined(recording.clip.label))
        no[:, columns] = False
        return yes, no
    scores = recording.pseudo[np.clip(tokens, 0, len(recording.pseudo) - 1)]
    no = scores < DOUBT * ONE
    yes[:, columns] = scores[:, columns] >= SURE * ONE
    # What is named and found nowhere may be anywhere: nobody knows.
    nowhere = recording.pseudo[:, columns].max(axis=0, initial=0) < DOUBT * ONE
    no[:, [column for column, lost in zip(columns, nowhere, strict=True) if lost]] = False
    return yes, no
