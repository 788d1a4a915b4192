"""Pseudo labels become token targets: what is sure, what is not, and where it sounds in a scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recorder.detect.mel import FRAMES_PER_TOKEN, TOKEN_SAMPLES
from train.clips.dataset import Clip
from train.clips.recordings import Recording
from train.invented.imagined import LABEL
from train.scenes.pseudo_targets import UNKNOWN, TokenStates, call_token, found_nowhere, may_call

WREN, JAY, OWL = 0, 1, 2


def _recording(rows: list[tuple[float, float, float]] | None, tokens: int = 8) -> Recording:
    """A recording of a wren whose tokens have these scores of wren, jay and owl."""
    samples = np.zeros(tokens * TOKEN_SAMPLES, np.int16)
    pseudo = None if rows is None else np.rint(255 * np.array(rows)).astype(np.uint8)
    loudness = np.zeros(tokens * 32, np.float32)
    return Recording(Clip(Path("a.ogg"), "wren"), samples, loudness, samples, pseudo=pseudo)


CALLS_AT_2_AND_3 = [(0.0, 0.0, 0.0)] * 2 + [(0.9, 0.0, 0.0)] * 2 + [(0.3, 0.8, 0.0)] * 4


def _placed(
    recording: Recording,
    columns: list[int],
    *,
    at_token: int = 0,
    begin_token: int = 0,
    count: int = 8,
    speed: float = 1.0,
) -> TokenStates:
    states = TokenStates(8, 3)
    place = slice(at_token * TOKEN_SAMPLES, (at_token + count) * TOKEN_SAMPLES)
    states.place(recording, columns, (begin_token * TOKEN_SAMPLES, speed), place)
    return states


def test_sure_tokens_are_yes_or_no_and_the_rest_is_masked() -> None:
    states = _placed(_recording(CALLS_AT_2_AND_3), [WREN])
    assert states.yes[:, WREN].tolist() == [False, False, True, True] + [False] * 4
    assert states.no[:, WREN].tolist() == [True, True] + [False] * 6
    target, known = states.arrays()
    assert known[:, WREN].tolist() == [1.0] * 4 + [0.0] * 4
    assert target[:, WREN].tolist() == [0.0, 0.0, 1.0, 1.0] + [0.0] * 4


def test_only_classes_that_the_metadata_name_are_ever_a_yes() -> None:
    alone = _placed(_recording(CALLS_AT_2_AND_3), [WREN])
    assert not alone.yes[:, JAY].any()
    assert alone.no[:, JAY].tolist() == [True] * 4 + [False] * 4
    assert _placed(_recording(CALLS_AT_2_AND_3), [WREN, JAY]).yes[4:, JAY].all()


@pytest.mark.parametrize(("at", "begin"), [(3, 0), (0, 2), (5, 4)])
def test_targets_lie_where_the_sound_does(at: int, begin: int) -> None:
    count = min(8 - at, 8 - begin)
    states = _placed(
        _recording(CALLS_AT_2_AND_3), [WREN], at_token=at, begin_token=begin, count=count
    )
    expected = [at + 2 - begin, at + 3 - begin]
    inside = [token for token in expected if at <= token < at + count]
    assert np.flatnonzero(states.yes[:, WREN]).tolist() == inside
    outside = [token for token in range(8) if not at <= token < at + count]
    assert states.no[outside].all()


def test_what_is_played_faster_comes_earlier() -> None:
    rows = [(0.0, 0.0, 0.0)] * 6 + [(0.9, 0.0, 0.0)] * 2
    faster = _placed(_recording(rows), [WREN], speed=1.5)
    # Token 4 of the scene, its middle at 4.5, plays what lies at 6.75; token 5 what lies at 8.25,
    # past the end: silence.
    assert np.flatnonzero(faster.yes[:, WREN]).tolist() == [4]
    assert faster.no[5:, WREN].all()


@pytest.mark.parametrize("begin", [0, 5])
def test_a_piece_that_is_played_faster_is_over_before_its_place_is(begin: int) -> None:
    calls_all_over = _recording([(0.9, 0.0, 0.0)] * 12, tokens=12)
    faster = _placed(calls_all_over, [WREN], begin_token=begin, count=4, speed=2.0)
    assert faster.yes[:, WREN].tolist() == [True, True] + [False] * 6
    assert faster.no[2:].all()


def test_of_two_sources_a_class_calls_where_either_says_so_and_is_absent_where_both_do() -> None:
    states = _placed(_recording([(0.9, 0.0, 0.0)] * 4 + [(0.0, 0.0, 0.0)] * 4), [WREN])
    place = slice(0, 8 * TOKEN_SAMPLES)
    doubtful = _recording([(0.3, 0.0, 0.0)] * 8)
    states.place(doubtful, [WREN], (0, 1.0), place)
    target, known = states.arrays()
    assert target[:, WREN].tolist() == [1.0] * 4 + [0.0] * 4
    assert known[:, WREN].tolist() == [1.0] * 4 + [0.0] * 4


def test_without_pseudo_labels_nobody_knows_of_any_class() -> None:
    states = _placed(_recording(None), [WREN, JAY], at_token=2, count=4)
    assert not states.yes.any()
    assert not states.no[2:6].any()
    assert states.no[[0, 1, 6, 7]].all()


def test_of_a_bird_that_does_not_exist_it_is_known_that_no_other_sings_with_it() -> None:
    one = _recording(None)
    imagined = replace(one, clip=replace(one.clip, label=f"{LABEL}_000"))
    states = _placed(imagined, [OWL])
    assert not states.yes.any()
    assert states.no[:, [WREN, JAY]].all()
    assert not states.no[:, OWL].any()


def test_where_a_hand_label_hears_nothing_pseudo_labels_are_overruled() -> None:
    nocall = np.repeat([False, False, True, False, True, False, False, False], FRAMES_PER_TOKEN)
    marked = replace(_recording(CALLS_AT_2_AND_3), nocall=nocall)
    states = _placed(marked, [WREN])
    assert np.flatnonzero(states.yes[:, WREN]).tolist() == [3]
    assert states.no[[2, 4]].all()
    assert not states.no[5:, WREN].any()


def test_a_call_that_is_found_nowhere_is_not_called_absent() -> None:
    states = _placed(_recording([(0.05, 0.0, 0.0)] * 8), [WREN])
    assert not states.no[:, WREN].any()


def test_any_bird_follows_the_birds_and_not_the_frog() -> None:
    states = _placed(_recording([(0.9, 0.0, 0.0)] * 2 + [(0.0, 0.0, 0.9)] * 6), [WREN, OWL])
    states.any_bird(JAY, [WREN], may_hold_birds=False)
    assert states.yes[:, JAY].tolist() == [True, True] + [False] * 6
    assert states.no[2:, JAY].all()
    states.any_bird(JAY, [WREN], may_hold_birds=True)
    assert not states.no[:, JAY].any()


def test_a_crop_is_cut_where_the_labels_hear_the_call() -> None:
    rng = np.random.default_rng(0)
    drawn = {call_token(rng, _recording(CALLS_AT_2_AND_3), WREN) for _ in range(50)}
    assert drawn == {2, 3}
    faint = _recording([(0.0, 0.0, 0.0)] * 7 + [(0.2, 0.0, 0.0)])
    assert call_token(rng, faint, WREN) == 7
    assert call_token(rng, _recording([(0.05, 0.0, 0.0)] * 8), WREN) is None
    assert call_token(rng, _recording(None), WREN) is None


def test_a_call_may_be_where_the_labels_do_not_exclude_it() -> None:
    tokens = np.arange(8)
    assert may_call(_recording(CALLS_AT_2_AND_3), WREN, tokens).tolist() == [False] * 2 + [True] * 6
    for rows in (None, [(0.05, 0.0, 0.0)] * 8):
        assert may_call(_recording(rows), WREN, tokens).all()


def test_a_class_that_the_nets_lack_is_neither_a_yes_nor_a_no() -> None:
    lacking = UNKNOWN / 255
    recording = _recording([(0.9, lacking, 0.0), (0.0, lacking, 0.0)] * 4)
    states = _placed(recording, [WREN, JAY])
    assert not (states.yes | states.no)[:, JAY].any()
    assert states.no[:, OWL].all()
    # Its own clips are cut where something is loud.
    assert call_token(np.random.default_rng(1), recording, JAY) is None
    assert found_nowhere(recording, JAY)
    assert may_call(recording, JAY, np.arange(8)).all()
