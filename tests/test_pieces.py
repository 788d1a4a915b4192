"""A long recording in pieces: the same bits as at once, or not in pieces at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import MakeSound
from numpy.typing import NDArray

from recorder.crew.pieces import Piece, analyse_piece, plan
from recorder.crew.shared_file import SharedFile
from recorder.crew.tasks import Settings
from recorder.detect.bundle import DEFAULT_BUNDLE, Bundle
from recorder.detect.decide import thresholds
from recorder.detect.models import Model, load_model, read_model
from recorder.file_rows import packed
from recorder.sound.files.audiofile import AudioFile
from recorder.sound.files.finder import Found
from recorder.sound.resample import StreamResampler

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(read_model(DEFAULT_BUNDLE))


def written(path: Path, samples: Floats, rate_hz: int, subtype: str = "PCM_16") -> Found:
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    return Found(path, path.name)


def at_once(model: Model, path: Path) -> Floats:
    pipeline = model.pipeline()
    with AudioFile(path) as sound:
        resampler = StreamResampler(sound.sample_rate_hz, model.bundle.sample_rate_hz)
        results = []
        for block in sound.blocks(7 * sound.sample_rate_hz):
            results += pipeline.push(resampler.push(block))
    results += pipeline.push(resampler.finish())
    results += pipeline.finish()
    return packed(results, model.bundle.outputs)


@pytest.mark.parametrize(("name", "rate_hz"), [("a.flac", 32_000), ("b.wav", 48_000)])
def test_pieces_have_the_bits_of_the_whole(
    model: Model, birdlike: MakeSound, tmp_path: Path, name: str, rate_hz: int
) -> None:
    samples = np.tile(birdlike(53.7, rate_hz, seed=3), 30)[: 26 * 60 * rate_hz + 12_345]
    found = written(tmp_path / name, samples, rate_hz)
    expected = at_once(model, found.path)
    pieces = [Piece(0, 1), Piece(1, 3), Piece(3, None)]
    rows = [analyse_piece(model, found.path, one) for one in pieces]
    assert all(one is not None for one in rows)
    np.testing.assert_array_equal(
        np.concatenate([one for one in rows if one is not None]), expected
    )


@pytest.mark.parametrize("piece", [Piece(0, 3), Piece(1, None)])
def test_an_interrupted_piece_goes_on_with_the_same_bits(
    model: Model, birdlike: MakeSound, tmp_path: Path, piece: Piece
) -> None:
    samples = np.tile(birdlike(53.7, 8_000, seed=3), 30)[: 21 * 60 * 8_000 + 1_234]
    found = written(tmp_path / "a.wav", samples, 8_000)
    expected = analyse_piece(model, found.path, piece)
    assert expected is not None
    part = tmp_path / "piece.rows"
    np.testing.assert_array_equal(analyse_piece(model, found.path, piece, part), expected)
    kept = part.read_bytes()
    row_bytes = 4 * expected.shape[1]
    assert len(kept) >= 60 * row_bytes
    for rows in (0, 59, 60, 90, len(kept) // row_bytes):
        # With a torn row, as a power cut leaves it.
        part.write_bytes(kept[: rows * row_bytes] + b"\1\2\3")
        np.testing.assert_array_equal(analyse_piece(model, found.path, piece, part), expected)
    # And it is really not made again.
    part.write_bytes(np.full(len(kept) // 4, 42.0, "<f4").tobytes())
    again = analyse_piece(model, found.path, piece, part)
    assert again is not None
    assert (again[:60] == 42.0).all()
    np.testing.assert_array_equal(again[-60:], expected[-60:])


def noisy(path: Path, minutes: float, rate_hz: int = 8_000) -> Found:
    """Noise, so that FLAC does not make it too small to be looked into."""
    count = round(minutes * 60 * rate_hz)
    samples = np.random.default_rng(0).integers(-9_000, 9_000, count, np.int16)
    with soundfile.SoundFile(path, "w", rate_hz, 1) as sound:
        for block in np.array_split(samples, 100):
            # Vorbis at once would need more stack than there is.
            sound.write(block)
    return Found(path, path.name)


@pytest.mark.parametrize(("minutes", "workers"), [(50, 2), (75.3, 3), (300, 2), (300, 64)])
def test_a_plan_covers_every_window_once(
    bundle: Bundle, tmp_path: Path, minutes: float, workers: int
) -> None:
    pieces = plan(noisy(tmp_path / "x.wav", minutes), bundle, workers=workers)
    assert len(pieces) >= 2
    assert pieces[0].first_window == 0
    assert pieces[-1].stop_window is None
    for one, following in pairwise(pieces):
        assert one.stop_window == following.first_window > one.first_window
    # The last border is a window that is there.
    last_s = pieces[-1].first_window * 300 + 600
    assert last_s < minutes * 60


def test_what_cannot_be_begun_anywhere_or_is_short_has_no_pieces(
    bundle: Bundle, tmp_path: Path
) -> None:
    assert plan(noisy(tmp_path / "short.wav", 44), bundle, workers=2) == []
    assert plan(noisy(tmp_path / "x.ogg", 60), bundle, workers=2) == []
    assert plan(noisy(tmp_path / "x.mp3", 60), bundle, workers=2) == []
    whole = noisy(tmp_path / "x.flac", 60)
    assert len(plan(whole, bundle, workers=2)) == 2
    assert plan(Found(tmp_path / "gone.wav", "gone.wav"), bundle, workers=2) == []


def test_a_piece_with_anything_to_account_for_is_none(
    model: Model, birdlike: MakeSound, tmp_path: Path
) -> None:
    samples = np.tile(birdlike(60.0, 8_000, seed=5), 21)
    samples[100] = np.nan
    found = written(tmp_path / "nan.wav", samples, 8_000, subtype="FLOAT")
    assert analyse_piece(model, found.path, Piece(0, 1)) is None
    assert analyse_piece(model, found.path, Piece(1, None)) is not None
    data = written(tmp_path / "whole.wav", samples, 8_000).path.read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(data[: len(data) * 3 // 4])
    assert analyse_piece(model, cut, Piece(0, 1)) is not None
    assert analyse_piece(model, cut, Piece(1, None)) is None


class _Done:
    """Work that was done at once."""

    def __init__(self, result: object) -> None:
        self._result = result

    def result(self) -> object:
        return self._result


class _Alone:
    """A crew of this process; `after` is called behind each task."""

    here = True
    workers = 2

    def __init__(self, after: Callable[[], None]) -> None:
        self._after = after
        self.asked: list[str] = []

    def submit(self, task: Callable[..., object], settings: Settings, *args: object) -> _Done:
        self.asked.append(task.__name__)
        done = _Done(task(settings, *args))
        self._after()
        return done

    def trusted(self, _result: object) -> bool:
        return True


@pytest.mark.parametrize("grows", [False, True])
def test_pieces_of_a_recording_that_changes_meanwhile_are_not_joined(
    bundle: Bundle, birdlike: MakeSound, tmp_path: Path, grows: bool
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.tile(birdlike(60.0, 8_000), 52), 8_000)
    crew = _Alone(lambda: os.utime(path, ns=(0, len(crew.asked))) if grows else None)
    settings = Settings(bundle.path, None, "auto", "")
    shared = SharedFile(
        crew,
        settings,
        Found(path, "a.wav"),
        bundle=bundle,
        thresholds=thresholds(bundle, None),
        part=None,
    )
    result = shared.result(lambda _: None)
    pieces = ["piece"] * (len(crew.asked) - 1 - grows)
    assert crew.asked == [*pieces, "digest", *["whole"] * grows]
    assert result.manifest.seconds_analysed == 52 * 60.0
    assert result.manifest.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_fault_of_ours_in_a_piece_is_said_and_costs_no_sound(
    bundle: Bundle,
    birdlike: MakeSound,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = written(tmp_path / "a.wav", np.tile(birdlike(60.0, 8_000), 52), 8_000)

    def wrong(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("recorder.crew.shared_file.account_of", wrong)
    shared = SharedFile(
        _Alone(lambda: None),
        Settings(bundle.path, None, "auto", ""),
        found,
        bundle=bundle,
        thresholds=thresholds(bundle, None),
        part=None,
    )
    assert shared.result(lambda _: None).manifest.status == "analysed"
    assert "a.wav is analysed at once" in capsys.readouterr().err
