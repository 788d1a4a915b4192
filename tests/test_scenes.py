"""Training scenes: labels say where the call lies, and nothing that is not known."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder.detect.mel import CHUNK_SAMPLES, SAMPLE_RATE_HZ, MelConfig, samples_needed
from train import beds
from train.cuts import Stretch, loud_frame, smart_crop
from train.data import Clip, Noise, Recording
from train.scenes import ANY_BIRD, Scene, SceneConfig, SceneMaker
from train.vary import VaryConfig

MEL = MelConfig()
LABELS = ["burst", "second", "other"]
TONE_HZ = 3000.0
UNVARIED = VaryConfig(speed_chance=0.0, colour_chance=0.0, echo_chance=0.0, own_noise_chance=0.0)
COMPOSED = SceneConfig(
    composed_share=1.0,
    snr_db=(25.0, 30.0),
    bed_dbfs=(-60.0, -50.0),
    bed_chance=0.0,
    own_noise_chance=0.0,
    vary=UNVARIED,
)
WEAK = SceneConfig(composed_share=0.0)


def _recording(
    label: str,
    duration_s: float,
    burst_s: tuple[float, float],
    *,
    secondary: tuple[str, ...] = (),
    tone_hz: float = TONE_HZ,
) -> Recording:
    """A tone burst in silence, its active frames marked exactly."""
    clip = Clip(Path(f"{label}.ogg"), label, secondary)
    seconds = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = 10_000 * np.sin(2 * np.pi * tone_hz * seconds)
    samples = np.where((seconds >= burst_s[0]) & (seconds < burst_s[1]), tone, 0.0)
    frames_s = np.arange(max(1, len(seconds) * 2 // 625)) * 312.5 / SAMPLE_RATE_HZ
    active = (frames_s >= burst_s[0]) & (frames_s < burst_s[1])
    kept = samples.astype(np.int16)
    return Recording(clip, kept, active.astype(np.float32), calls=kept)


@lru_cache(maxsize=1)
def _noise_pool(_: object = None) -> list[NDArray[np.float32]]:
    return beds._coloured_noise(np.random.default_rng(0))


@pytest.fixture(autouse=True)
def _one_noise_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool is the same in every maker: made once for the file."""
    pool = _noise_pool()
    monkeypatch.setattr(beds, "_coloured_noise", lambda _: pool)


def _maker(
    config: SceneConfig,
    *recordings: Recording,
    extra: tuple[str, ...] = (),
    not_birds: frozenset[str] = frozenset(),
    noise_may_hold_birds: bool = False,
) -> SceneMaker:
    pool = _noise_pool()
    noise = [Noise((3000 * pool[2][:50_000]).astype(np.int16), noise_may_hold_birds)]
    labels = [label for label in LABELS if any(r.clip.label == label for r in recordings)]
    labels += [
        label for label in LABELS if label not in labels and _is_secondary(label, recordings)
    ]
    labels += extra
    return SceneMaker(
        list(recordings),
        noise,
        labels=labels,
        core=set(labels),
        config=config,
        mel=MEL,
        not_birds=not_birds,
    )


def _is_secondary(label: str, recordings: tuple[Recording, ...]) -> bool:
    return any(label in recording.clip.secondary_labels for recording in recordings)


def _make(maker: SceneMaker, seed: int, chunks: int) -> Scene:
    return maker.make(np.random.default_rng(seed), chunks)


def _tone_s(scene: Scene, chunks: int) -> NDArray[np.float64]:
    """Seconds of tone in each chunk: 10-ms blocks with more than half of their power in it."""
    samples = scene.samples[: chunks * CHUNK_SAMPLES].astype(np.float64)
    turn = np.exp(-2j * np.pi * TONE_HZ * np.arange(len(samples)) / SAMPLE_RATE_HZ)
    tone = 2.0 * np.abs((samples * turn).reshape(-1, 320).mean(axis=1)) ** 2
    heard = tone > 0.5 * np.square(samples).reshape(-1, 320).mean(axis=1)
    return np.asarray(heard.reshape(chunks, -1).sum(axis=1) * 0.01)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_a_composed_scene_says_yes_only_where_the_burst_lies(seed: int, chunks: int) -> None:
    maker = _maker(COMPOSED, _recording("burst", 12.0, (4.0, 5.0)))
    scene = _make(maker, seed, chunks)
    tone_s, target, known = _tone_s(scene, chunks), scene.target[:, 0], scene.known[:, 0]
    assert not scene.weak
    assert set(np.unique(target)) <= {0.0, 1.0}
    assert set(np.unique(known)) <= {0.0, 1.0}
    assert (known[target == 1] == 1).all()
    assert (tone_s[target == 1] > 0.05).all()
    assert (tone_s[(target == 0) & (known == 1)] < 0.2).all()


def test_a_composed_scene_without_any_source_is_all_known_silence() -> None:
    maker = _maker(COMPOSED, _recording("burst", 12.0, (4.0, 5.0)))
    made = [_make(maker, seed, 1) for seed in range(60)]
    silent = [scene for scene in made if not scene.target.any() and scene.known.all()]
    assert 3 <= len(silent) <= 30


def test_bursts_are_labelled_often_enough_to_learn_from() -> None:
    maker = _maker(COMPOSED, _recording("burst", 12.0, (4.0, 5.0)))
    assert 0.4 < np.mean([_make(maker, seed, 1).target.any() for seed in range(60)]) < 0.95


def test_a_marginal_touch_is_unknown_neither_yes_nor_no() -> None:
    maker = _maker(COMPOSED, _recording("burst", 12.0, (4.0, 5.0)))
    stretch = Stretch(
        _recording("burst", 2.0, (0.0, 2.0)),
        np.zeros(2 * SAMPLE_RATE_HZ, np.float32),
        _loudness(204),
        begin=0,
        speed=1.0,
    )
    target, known = np.zeros((3, 1), np.float32), np.ones((3, 1), np.float32)
    # 204 frames, the first 204 - 5 of them in chunk 0 and 5 in chunk 1.
    maker._label(target, known, stretch, CHUNK_SAMPLES - 199 * 625 // 2)
    assert target[:, 0].tolist() == [1, 0, 0]
    assert known[:, 0].tolist() == [1, 0, 1]


def test_a_marginal_touch_does_not_take_a_certain_call_back() -> None:
    maker = _maker(COMPOSED, _recording("burst", 12.0, (4.0, 5.0)))
    stretch = Stretch(
        _recording("burst", 1.0, (0.0, 1.0)),
        np.zeros(SAMPLE_RATE_HZ, np.float32),
        _loudness(0, 102),
        begin=0,
        speed=1.0,
    )
    target, known = np.ones((2, 1), np.float32), np.ones((2, 1), np.float32)
    maker._label(target, known, stretch, 0)
    assert target.all()
    assert known.all()


def _loudness(loud: int, quiet: int = 0) -> NDArray[np.float32]:
    return np.concatenate((np.ones(loud, np.float32), np.full(quiet, 0.2, np.float32)))


def test_stretches_are_cut_around_the_loudest_frames_most_often() -> None:
    recording = _recording("burst", 12.0, (4.0, 5.0))
    recording.loudness[:102] = 0.1  # an echo, a tenth as loud for as long
    rng = np.random.default_rng(0)
    frames = np.array([loud_frame(rng, recording) for _ in range(400)])
    in_burst = recording.loudness[frames] == 1.0
    assert 0.85 < in_burst.mean() < 0.96
    assert (recording.loudness[frames[~in_burst]] > 0).all()


def test_a_recording_without_a_loud_frame_is_still_cut_inside() -> None:
    recording = _recording("burst", 3.0, (9.0, 9.0))
    maker = _maker(COMPOSED, recording)
    stretch = maker._stretch(np.random.default_rng(0), recording, CHUNK_SAMPLES)
    assert len(stretch.samples) <= 3 * SAMPLE_RATE_HZ
    assert not stretch.loudness.any()


@pytest.mark.parametrize(("chunks", "target", "known"), [(1, 0.0, 0.0), (4, 0.995, 1.0)])
def test_a_secondary_label_is_unknown_in_a_short_crop_and_a_target_in_a_long_one(
    chunks: int, target: float, known: float
) -> None:
    recording = _recording("burst", 40.0, (4.0, 5.0), secondary=("second",))
    scene = _make(_maker(WEAK, recording), 3, chunks)
    np.testing.assert_allclose(scene.target[:, 1], target)
    np.testing.assert_allclose(scene.known[:, 1], known)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_secondary_species_of_a_composed_scene_are_unknown_where_the_stretch_lies(
    seed: int,
) -> None:
    recording = _recording("burst", 12.0, (4.0, 5.0), secondary=("second", "not_listed"))
    scene = _make(_maker(COMPOSED, recording), seed, 2)
    assert not scene.target[:, 1].any()
    assert (scene.known[scene.target[:, 0] == 1, 1] == 0).all()


def test_a_certain_call_wins_over_a_secondary_label_in_the_same_chunk() -> None:
    maker = _maker(
        COMPOSED,
        _recording("burst", 6.0, (0.0, 6.0), secondary=("second",)),
        _recording("second", 6.0, (0.0, 6.0)),
    )
    for seed in range(40):
        scene = _make(maker, seed, 1)
        assert (scene.known[scene.target == 1] == 1).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_a_weak_scene_has_equal_rows_and_the_union_of_its_clips_labels(
    seed: int, chunks: int
) -> None:
    maker = _maker(
        WEAK,
        _recording("burst", 12.0, (4.0, 5.0), secondary=("second",)),
        _recording("other", 12.0, (4.0, 5.0)),
    )
    scene = _make(maker, seed, chunks)
    assert scene.weak
    assert (scene.target == scene.target[0]).all()
    assert (scene.known == scene.known[0]).all()
    index = {label: column for column, label in enumerate(maker._labels)}
    burst, second, other = (float(scene.target[0, index[name]]) for name in LABELS)
    assert {burst, other} <= {0.0, 1.0}
    assert burst + other >= 1.0
    if chunks < WEAK.secondary_chunks:
        assert second == 0.0
        assert scene.known[0, index["second"]] == 1.0 - burst
    else:
        assert second == pytest.approx(0.995 * burst)
        assert scene.known.all()


def test_mixup_unites_two_clips_in_some_weak_scenes_and_not_in_all() -> None:
    maker = _maker(
        WEAK,
        _recording("burst", 12.0, (4.0, 5.0)),
        _recording("other", 12.0, (4.0, 5.0)),
    )
    both = [_make(maker, seed, 1).target[0].sum() == 2 for seed in range(80)]
    assert 0.1 < np.mean(both) < 0.45


@pytest.mark.parametrize("config", [COMPOSED, WEAK], ids=["composed", "weak"])
def test_a_seed_decides_everything(config: SceneConfig) -> None:
    recording = _recording("burst", 12.0, (4.0, 5.0))
    first, again = (_make(_maker(config, recording), 5, 2) for _ in range(2))
    np.testing.assert_array_equal(first.samples, again.samples)
    np.testing.assert_array_equal(first.target, again.target)
    np.testing.assert_array_equal(first.known, again.known)
    other = _make(_maker(config, recording), 6, 2)
    assert not np.array_equal(first.samples, other.samples)


@pytest.mark.parametrize("chunks", range(1, 13))
@pytest.mark.parametrize("config", [COMPOSED, WEAK], ids=["composed", "weak"])
def test_a_scene_of_any_length_has_the_shapes_it_promises(config: SceneConfig, chunks: int) -> None:
    maker = _maker(
        config,
        _recording("burst", 12.0, (4.0, 5.0)),
        _recording("other", 3.0, (1.0, 2.0), tone_hz=5000.0),
    )
    scene = _make(maker, chunks, chunks)
    assert scene.samples.shape == (samples_needed(16 * chunks, MEL),)
    assert scene.target.shape == scene.known.shape == (chunks, 2)
    kinds = {array.dtype for array in (scene.samples, scene.target, scene.known)}
    assert kinds == {np.dtype(np.float32)}


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
    st.sampled_from([0.3, 1.0, 3.0, 12.0]),
    st.floats(0.0, 1.0),
)
def test_samples_are_finite_and_within_full_scale_from_clips_of_any_length(
    seed: int, chunks: int, duration_s: float, composed_share: float
) -> None:
    config = SceneConfig(composed_share=composed_share, bed_dbfs=(-60.0, 0.0))
    maker = _maker(config, _recording("burst", duration_s, (0.1, duration_s - 0.1)))
    scene = _make(maker, seed, chunks)
    assert np.isfinite(scene.samples).all()
    assert np.abs(scene.samples).max() <= 1.0
    assert len(scene.samples) == samples_needed(16 * chunks, MEL)


@pytest.mark.parametrize("config", [COMPOSED, WEAK], ids=["composed", "weak"])
def test_a_recording_without_a_loud_frame_does_not_stop_the_training(config: SceneConfig) -> None:
    maker = _maker(config, _recording("burst", 2.0, (9.0, 9.0)))
    for seed in range(10):
        scene = _make(maker, seed, 1)
        assert np.isfinite(scene.samples).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 4.5))
def test_a_short_clip_is_padded_with_silence_and_never_tiled(seed: int, duration_s: float) -> None:
    recording = _recording("burst", duration_s, (0.0, duration_s))
    length = samples_needed(16, MEL)
    begin = smart_crop(np.random.default_rng(seed), recording, length, 0.2, 0)
    crop = recording.piece(begin, length)
    heard = np.flatnonzero(crop)
    assert heard[-1] - heard[0] < len(recording.samples)
    whole = recording.piece(0, len(recording.samples))
    assert np.square(crop).sum() == pytest.approx(np.square(whole).sum(), rel=1e-4)


def test_a_piece_is_silent_before_the_start_and_after_the_end() -> None:
    recording = _recording("burst", 1.0, (0.0, 1.0))
    piece = recording.piece(-100, SAMPLE_RATE_HZ + 200)
    assert not piece[:100].any()
    assert not piece[-100:].any()
    np.testing.assert_array_equal(piece[100:-100], recording.piece(0, SAMPLE_RATE_HZ))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_edge_crops_come_from_the_first_or_the_last_seven_seconds(seed: int) -> None:
    recording = _recording("burst", 60.0, (0.0, 60.0))
    length = samples_needed(16, MEL)
    begin = smart_crop(np.random.default_rng(seed), recording, length, 1.0, 0)
    assert 0 <= begin <= len(recording.samples) - length
    assert begin <= 2 * SAMPLE_RATE_HZ or begin + length >= 58 * SAMPLE_RATE_HZ


def test_a_piece_holds_as_much_of_its_own_noise_as_is_asked_for() -> None:
    recording = _recording("burst", 1.0, (0.2, 0.4))
    hiss = np.random.default_rng(0).integers(-500, 500, SAMPLE_RATE_HZ, np.int16)
    noisy = Recording(recording.clip, recording.samples + hiss, recording.loudness, recording.calls)
    length = SAMPLE_RATE_HZ
    np.testing.assert_array_equal(noisy.own_noise(np.arange(SAMPLE_RATE_HZ)), hiss)
    clean, half, raw = (noisy.piece(0, length, own_noise=share) for share in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(clean, recording.piece(0, length), atol=1e-7)
    np.testing.assert_allclose(half, (clean + raw) / 2, atol=1e-6)
    np.testing.assert_allclose(raw - clean, hiss / 32767, atol=1e-6)


@pytest.mark.parametrize("composed_share", [0.0, 1.0])
def test_sources_lose_some_of_their_own_noise_in_some_scenes(composed_share: float) -> None:
    recording = _recording("burst", 12.0, (4.0, 5.0))
    silenced = Recording(
        recording.clip, recording.samples, recording.loudness, np.zeros_like(recording.samples)
    )
    shares: list[float] = []
    original = Recording.piece

    def spy(self: Recording, begin: int, length: int, *, own_noise: float = 1.0) -> object:
        shares.append(own_noise)
        return original(self, begin, length, own_noise=own_noise)

    maker = _maker(SceneConfig(composed_share=composed_share), silenced)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Recording, "piece", spy)
        for seed in range(60):
            _make(maker, seed, 1)
    changed = np.array(shares) < 1.0
    assert 0.3 < changed.mean() < 0.7
    assert np.std(np.array(shares)[changed]) > 0.2


def _birds(maker: SceneMaker, chunks: int, scenes_made: int = 40) -> NDArray[np.float32]:
    """[rows, (target, known, any species present, all species known)] of many scenes."""
    rows = []
    bird = maker._labels.index(ANY_BIRD)
    others = [column for column in range(len(maker._labels)) if column != bird]
    for seed in range(scenes_made):
        scene = _make(maker, seed, chunks)
        rows.append(
            np.stack(
                (
                    scene.target[:, bird],
                    scene.known[:, bird],
                    scene.target[:, others].max(axis=1),
                    scene.known[:, others].min(axis=1),
                ),
                axis=1,
            )
        )
    return np.concatenate(rows)


@pytest.mark.parametrize("config", [COMPOSED, WEAK], ids=["composed", "weak"])
def test_any_bird_is_there_where_a_species_is_and_absent_where_all_are(config: SceneConfig) -> None:
    recording = _recording("burst", 12.0, (4.0, 5.0), secondary=("second",))
    target, known, present, sure = _birds(_maker(config, recording, extra=("bird",)), 3).T
    np.testing.assert_array_equal(target, present)
    np.testing.assert_array_equal(known, (present > 0) | (sure > 0))
    assert (known == 0).any() or config is WEAK


def test_a_bird_of_no_class_is_any_bird_alone() -> None:
    stranger = _recording("bird", 12.0, (4.0, 5.0))
    maker = _maker(COMPOSED, _recording("burst", 12.0, (4.0, 5.0)), stranger, extra=("bird",))
    target, _, present, _ = _birds(maker, 1, 80).T
    assert (target[present == 1] == 1).all()
    assert 0.1 < ((target == 1) & (present == 0)).mean() < 0.7


def test_a_frog_is_no_bird() -> None:
    frog = _recording("burst", 12.0, (4.0, 5.0))
    frogs = frozenset({"burst"})
    target, known, present, _ = _birds(
        _maker(COMPOSED, frog, extra=("bird",), not_birds=frogs), 1
    ).T
    assert present.any()
    assert not target.any()
    assert known.all()


def test_noise_that_may_hold_birds_leaves_any_bird_open_unless_one_was_put_there() -> None:
    recording = _recording("burst", 12.0, (4.0, 5.0))
    noisy = dataclasses.replace(COMPOSED, bed_chance=1.0)
    maker = _maker(noisy, recording, extra=("bird",), noise_may_hold_birds=True)
    target, known, present, _ = _birds(maker, 2).T
    np.testing.assert_array_equal(target, present)
    np.testing.assert_array_equal(known, present)
