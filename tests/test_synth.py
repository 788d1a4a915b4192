"""Synthesised soundscapes: what is said to be there is there, at the level and pitch stated."""

from __future__ import annotations

import csv
import json
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from scipy.signal import butter, sosfiltfilt, welch

from recorder.errors import UsageError
from train.contours import Take, measure_call, measure_takes
from train.synth import (
    Contour,
    Event,
    compose,
    load_contours,
    rain,
    render_call,
    wind,
)
from train.toys import TOYS, birds_in_chunk, toy_species, write_toy_dataset

RATE_HZ = 32000
ROOT = Path(__file__).parents[1]
CONTOURS = ROOT / "examples" / "contours.json"
REAL = ROOT.parent / "shared" / "data" / "puerto_rico"
needs_recordings = pytest.mark.skipif(not REAL.is_dir(), reason="no recordings beside the tree")
Floats = npt.NDArray[np.floating]


def scene(label: str, snr_db: float, *, seed: int = 1) -> tuple[Floats, list[Event]]:
    rng = np.random.default_rng(seed)
    calls = {label: toy_species(len(TOYS), rng=rng)[label]}
    samples, events = compose(
        calls,
        duration_s=40.0,
        sample_rate_hz=RATE_HZ,
        rng=rng,
        snr_db=(snr_db, snr_db),
        calls_per_minute=15,
        nocall_fraction=0.5,
    )
    return samples.astype(float), events


def own_band(sound: Floats) -> tuple[float, float]:
    hz, power = welch(sound, RATE_HZ, nperseg=2048)
    share = np.cumsum(power) / power.sum()
    low, high = np.searchsorted(share, [0.025, 0.975])
    return float(hz[low]), float(hz[high])


def in_band(sound: Floats, band_hz: tuple[float, float]) -> Floats:
    return np.asarray(sosfiltfilt(butter(4, band_hz, "bandpass", fs=RATE_HZ, output="sos"), sound))


def rms(sound: Floats) -> float:
    return float(np.sqrt(np.mean(sound**2)))


def loud_rms(call: Floats) -> float:
    """Of the 20-ms blocks within 10 dB of the loudest: the definition, the slow way."""
    blocks = call[: call.size // 640 * 640].reshape(-1, 640)
    power = np.mean(blocks**2, axis=1)
    return float(np.sqrt(np.mean(power[power >= power.max() / 10])))


def example_program() -> ModuleType:
    loader = SourceFileLoader("make_example", str(ROOT / "scripts" / "make-example"))
    spec = spec_from_loader("make_example", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_same_seed_gives_the_same_soundscape() -> None:
    first, first_events = scene("toy_trill", 12.0)
    second, second_events = scene("toy_trill", 12.0)
    other, _ = scene("toy_trill", 12.0, seed=2)
    assert np.array_equal(first, second)
    assert first_events == second_events
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("label", TOYS)
def test_a_call_has_the_stated_level_and_lies_where_its_event_says(label: str) -> None:
    # The same seed 200 dB lower is the bed alone; what remains of the difference is the calls.
    sound, events = scene(label, 12.0)
    bed, _ = scene(label, -200.0)
    calls = sound - bed
    assert np.abs(sound).max() < 0.7
    assert events == sorted(events, key=lambda event: event.start_s)
    outside = np.ones(calls.size, bool)
    for event in events:
        start, end = round(event.start_s * RATE_HZ), round(event.end_s * RATE_HZ)
        outside[start:end] = False
        low_hz, high_hz = own_band(calls[start:end])
        band_hz = (0.9 * low_hz, 1.1 * high_hz)
        around = bed[max(0, start - RATE_HZ // 2) : end + RATE_HZ // 2]
        measured_db = 20 * np.log10(loud_rms(calls[start:end]) / rms(in_band(around, band_hz)))
        assert event.label == label
        assert measured_db == pytest.approx(event.snr_db, abs=1.5)
    assert np.sum(calls[outside] ** 2) < 0.02 * np.sum(calls**2)


def test_whole_chunks_stay_quiet_and_every_label_is_heard() -> None:
    rng = np.random.default_rng(5)
    calls = toy_species(6, rng=rng)
    _, events = compose(
        calls,
        duration_s=120.0,
        sample_rate_hz=RATE_HZ,
        rng=rng,
        snr_db=(8.0, 20.0),
        calls_per_minute=20,
        nocall_fraction=0.5,
    )
    chunks = [birds_in_chunk(events, start_s) for start_s in np.arange(0.0, 120.0, 5.0)]
    assert 0.5 <= chunks.count("nocall") / len(chunks) <= 0.65
    assert {event.label for event in events} == set(calls)
    assert all(8.0 <= event.snr_db <= 20.0 for event in events)


@pytest.mark.parametrize("label", TOYS)
def test_a_toy_sings_in_its_own_band(label: str) -> None:
    rng = np.random.default_rng(0)
    contour = toy_species(len(TOYS), rng=rng)[label][0]
    call = render_call(contour, RATE_HZ, rng=rng)
    ends_hz = TOYS[label][:2]
    margin_hz = 1000 if contour.noise else 150
    low_hz, high_hz = own_band(call)
    assert min(ends_hz) * 0.95 - margin_hz <= low_hz
    assert high_hz <= max(ends_hz) * 1.05 + margin_hz
    assert call.dtype == np.float32
    assert np.abs(call).max() == pytest.approx(1.0)


def test_a_measured_call_keeps_its_band_and_length() -> None:
    rng = np.random.default_rng(0)
    for contours in load_contours(CONTOURS).values():
        for contour in contours:
            call = render_call(contour, RATE_HZ, rng=rng)
            voiced = np.concatenate([hz[level > 0] for hz, level in contour.ridges])
            edges = [edge for low, high, _ in contour.noise for edge in (low, high)]
            low_hz, high_hz = own_band(call)
            assert min([*voiced, *edges]) * 0.97 - 100 <= low_hz
            assert high_hz <= max([*voiced, *edges]) * 1.03 + 100
            steps = contour.ridges[0][0].size
            assert call.size / RATE_HZ == pytest.approx(steps * contour.step_s, rel=0.05)


def test_pitch_does_not_glide_across_a_silence() -> None:
    hz = np.repeat(np.array([1000.0, 0.0, 5000.0], np.float64), 20)
    level = np.asarray(hz > 0, np.float64)
    contour = Contour(0.01, ((hz, level),))
    call = render_call(contour, RATE_HZ, rng=np.random.default_rng(0))
    assert rms(in_band(call, (1800.0, 4200.0))) < 0.03 * rms(call)


def test_a_ridge_above_the_sample_rate_s_reach_is_left_out() -> None:
    contour = Contour(0.01, ((np.full(20, 9000.0), np.ones(20)),))
    assert not render_call(contour, 16000, rng=np.random.default_rng(0)).any()


def test_wind_rumbles_and_rain_hisses_in_drops() -> None:
    rng = np.random.default_rng(0)
    windy, rainy = (bed(10 * RATE_HZ, RATE_HZ, rng=rng) for bed in (wind, rain))
    assert rms(windy) == pytest.approx(1.0)
    assert rms(rainy) == pytest.approx(1.0)
    assert own_band(windy)[1] < 1000
    assert own_band(rainy)[1] > 5000
    assert np.abs(rainy).max() > np.abs(windy).max()


def test_a_chunk_names_the_birds_that_sound_in_it_long_enough() -> None:
    events = [Event(4.0, 5.2, "b", 9.0), Event(5.9, 6.0, "a", 9.0), Event(8.0, 10.3, "c", 9.0)]
    assert birds_in_chunk(events, 0.0) == "b"
    assert birds_in_chunk(events, 5.0) == "a c"
    assert birds_in_chunk(events, 10.0) == "c"
    assert birds_in_chunk(events, 15.0) == "nocall"


def test_there_are_only_so_many_toys() -> None:
    with pytest.raises(UsageError, match="choose 1 to 8"):
        toy_species(9, rng=np.random.default_rng(0))


def make_toys(folder: Path) -> Path:
    return write_toy_dataset(
        folder, species=3, clips_per_species=4, soundscapes=1, soundscape_s=30.0, seed=7
    )


def test_a_toy_dataset_parses_like_the_real_one(tmp_path: Path) -> None:
    noise = make_toys(tmp_path / "birds")
    folder = tmp_path / "birds"
    clips, split = table(folder / "train_metadata.csv"), table(folder / "split_by_session.csv")
    assert [row["filename"] for row in clips] == [row["filename"] for row in split]
    by_split: dict[str, set[tuple[str, str]]] = {"train": set(), "val": set()}
    for row, part in zip(clips, split, strict=True):
        by_split[part["split"]].add((row["author"], row["date"]))
        path = folder / "train_short_audio" / row["primary_label"] / row["filename"]
        assert soundfile.info(path).samplerate == RATE_HZ
        assert 6.0 <= soundfile.info(path).duration <= 12.0
    assert len(clips) == 12
    assert by_split["train"].isdisjoint(by_split["val"])
    assert all(by_split.values())
    (soundscape,) = (folder / "train_soundscapes").iterdir()
    audio_id, site, _ = soundscape.stem.split("_")
    chunks = table(folder / "train_soundscape_labels.csv")
    assert [row["row_id"] for row in chunks] == [f"{audio_id}_{site}_{s}" for s in range(5, 31, 5)]
    events = table(folder / "train_soundscape_events.csv")
    heard = {row["label"] for row in events}
    assert {bird for row in chunks for bird in row["birds"].split()} - {"nocall"} == heard
    assert {row["file"] for row in events} == {soundscape.name}
    assert noise == tmp_path / "noise"
    assert len(list(noise.rglob("*.ogg"))) == 4


def test_a_toy_dataset_repeats_for_a_seed(tmp_path: Path) -> None:
    for part in ("one", "two"):
        make_toys(tmp_path / part / "birds")
    files = sorted(path for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 4 + 12 + 1 + 4
    for path in files:
        twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
        if path.suffix == ".csv":
            assert path.read_bytes() == twin.read_bytes()
        else:
            assert np.array_equal(soundfile.read(path)[0], soundfile.read(twin)[0])


@needs_recordings
def test_a_toy_dataset_has_the_real_one_s_columns(tmp_path: Path) -> None:
    make_toys(tmp_path / "birds")
    for path in (tmp_path / "birds").glob("*.csv"):
        real = (REAL / path.name).read_text("utf-8").splitlines()[0]
        assert path.read_text("utf-8").splitlines()[0] == real


def test_a_sweep_is_measured_as_it_was_sung() -> None:
    steps = np.arange(150)
    swell = np.asarray(np.sin(np.pi * (steps + 0.5) / 150), np.float64)
    rising_hz = np.asarray(2500 + 10 * steps, np.float64)
    sung = Contour(0.006, ((rising_hz, swell),))
    rng = np.random.default_rng(0)
    sound = 0.001 * rng.standard_normal(4 * RATE_HZ)
    call = render_call(sung, RATE_HZ, rng=rng)
    sound[RATE_HZ : RATE_HZ + call.size] += call
    take = Take("toy", "XC1", 1.0, 1.9, 1500, 6000)
    measured = measure_call(sound, RATE_HZ, take=take)
    ridges: Any = measured["ridges"]
    assert len(ridges) == 1
    hz, level = np.array(ridges[0]["frequency_hz"]), np.array(ridges[0]["amplitude"])
    voiced = np.flatnonzero(level > 300)
    slope = np.polyfit(voiced, hz[voiced], 1)[0]
    assert slope == pytest.approx(10.0, rel=0.06)
    assert hz[voiced].mean() == pytest.approx(2500 + 10 * voiced.mean(), rel=0.03)
    assert level.max() == 1000
    assert not measured["noise"]


def test_only_train_recordings_are_measured(tmp_path: Path) -> None:
    make_toys(tmp_path / "birds")
    rows = table(tmp_path / "birds" / "split_by_session.csv")
    takes = {
        row["split"]: Take(row["primary_label"], row["filename"][:-4], 0.0, 5.0, 500, 12000)
        for row in rows
    }
    species = measure_takes(tmp_path / "birds", (takes["train"],))
    assert species[takes["train"].label]["contours"]
    with pytest.raises(UsageError, match="not in the train split"):
        measure_takes(tmp_path / "birds", (takes["val"],))


def test_contours_are_small_and_say_where_they_come_from() -> None:
    assert CONTOURS.stat().st_size < 250_000
    for species in json.loads(CONTOURS.read_text("utf-8"))["species"].values():
        assert species["scientific_name"]
        assert species["common_name"]
        for contour in species["contours"]:
            assert contour["license"].startswith("https://creativecommons.org/")
            assert contour["author"]
            assert contour["recording"].startswith("XC")
            assert 1 <= len(contour["ridges"]) <= 4


@needs_recordings
def test_contours_come_from_train_recordings_only() -> None:
    split = {row["filename"]: row for row in table(REAL / "split_by_session.csv")}
    for label, species in json.loads(CONTOURS.read_text("utf-8"))["species"].items():
        for contour in species["contours"]:
            row = split[f"{contour['recording']}.ogg"]
            assert (row["split"], row["primary_label"]) == ("train", label)


def test_the_example_is_what_its_program_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = example_program()
    audio, truth = program.AUDIO, program.TRUTH
    monkeypatch.setattr(program, "AUDIO", tmp_path / audio.name)
    monkeypatch.setattr(program, "TRUTH", tmp_path / truth.name)
    program.main()
    made, committed = (soundfile.read(path)[0] for path in (tmp_path / audio.name, audio))
    # Another machine's FFT may round a sample the other way.
    assert np.abs(made - committed).max() <= 2 / 32768
    assert (tmp_path / truth.name).read_text() == truth.read_text()
    assert audio.stat().st_size < 6_000_000
    assert soundfile.info(audio).samplerate == RATE_HZ
    rows = table(truth)
    assert {row["label"] for row in rows} == set(program.SPECIES)
    events = [Event(float(r["start_s"]), float(r["end_s"]), r["label"], 0.0) for r in rows]
    quiet = [birds_in_chunk(events, start_s) for start_s in np.arange(0.0, 120.0, 5.0)]
    assert 0.35 <= quiet.count("nocall") / len(quiet) <= 0.6
