"""Toy species and a toy data set in the BirdCLEF 2021 layout: a world to train a tiny net on."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from recorder.errors import UsageError
from train.invented.synth import CHUNK_S, Contour, Event, Rng, Samples, compose, rain, wind

TOY_RATE_HZ = 32000
METADATA_COLUMNS = (
    "primary_label,secondary_labels,type,latitude,longitude,scientific_name,common_name,"
    "author,date,filename,license,rating,time,url"
)
SPLIT_COLUMNS = "filename,primary_label,split,in_core_set"
CHUNK_COLUMNS = "row_id,site,audio_id,seconds,birds"
EVENT_COLUMNS = "file,start_s,end_s,label,snr_db,source_recording,possible"


Calls = Mapping[str, Sequence[Contour]]
ToyScene = tuple[Samples, list[Event]]

TOYS = {  # first Hz, last Hz, seconds of a note and of the gap behind it, notes
    "toy_upsweep": (2600, 3700, 0.25, 0.12, 3),
    "toy_trill": (7300, 6700, 0.03, 0.03, 14),
    "toy_whistle": (2000, 2000, 0.70, 0.10, 1),
    "toy_downsweep": (6000, 4700, 0.20, 0.10, 4),
    "toy_buzz": (8600, 8600, 0.20, 0.12, 2),
    "toy_hoot": (720, 640, 0.35, 0.25, 3),
    "toy_chip": (10800, 9900, 0.02, 0.18, 6),
    "toy_fife": (4100, 4100, 0.15, 0.05, 4),
}


def toy_species(count: int, *, rng: Rng) -> dict[str, list[Contour]]:
    """The first `count` (1 to 8) of TOYS, easily told apart, with three contours each."""
    if not 1 <= count <= len(TOYS):
        raise UsageError(f"{count} toy species: choose 1 to {len(TOYS)}")
    names = list(TOYS)[:count]
    return {name: [_toy_contour(name, rng=rng) for _ in range(3)] for name in names}


def _toy_contour(name: str, *, rng: Rng) -> Contour:
    first_hz, last_hz, note_s, gap_s, notes = TOYS[name]
    step_s, pitch = 0.005 * rng.uniform(0.92, 1.08), rng.uniform(0.97, 1.03)
    steps, gap = round(note_s / 0.005), np.zeros(round(gap_s / 0.005))
    swell = np.sqrt(np.sin(np.pi * (np.arange(steps) + 0.5) / steps))
    frequency_hz = np.concatenate([np.linspace(first_hz, last_hz, steps) * pitch, gap])
    amplitude = np.tile(np.concatenate([swell, gap]), notes)
    buzz = ((7900.0, 9300.0, amplitude),) if name == "toy_buzz" else ()
    return Contour(step_s, ((np.tile(frequency_hz, notes), amplitude),), buzz)


def write_toy_dataset(
    folder: Path,
    *,
    species: int,
    clips_per_species: int,
    soundscapes: int,
    soundscape_s: float,
    seed: int,
    snr_db: tuple[float, float] = (6.0, 22.0),
) -> Path:
    """Writes toy species in the BirdCLEF 2021 layout; returns the folder of their noise beds.

    That is `noise`, a sibling of `folder`. Calls are `snr_db` above the bed. The same seed gives
    the same tables and the same samples; only the Ogg streams' serial numbers differ.
    """
    rng = np.random.default_rng(seed)
    calls = toy_species(species, rng=rng)
    scene = partial(_toy_scene, snr_db=snr_db, rng=rng)
    _write_clips(folder, calls, clips_per_species, scene, rng=rng)
    _write_soundscapes(folder, calls, soundscapes, soundscape_s, scene)
    noise = folder.parent / "noise"
    for bed in (wind, rain):
        for number in range(2):
            samples = 0.1 * bed(10 * TOY_RATE_HZ, TOY_RATE_HZ, rng=rng)
            _write_ogg(noise / bed.__name__ / f"{bed.__name__}_{number}.ogg", samples)
    return noise


def _write_clips(
    folder: Path, calls: Calls, count: int, scene: Callable[..., ToyScene], *, rng: Rng
) -> None:
    """Weak clips of 6 to 12 s; of four sessions (recordist and date) the last one is `val`."""
    metadata, split, sessions = [], [], min(4, count)
    for number, (label, turn) in enumerate(product(calls, range(count))):
        filename, session = f"XC{900001 + number}.ogg", turn % sessions
        samples, _ = scene({label: calls[label]}, rng.uniform(6, 12))
        _write_ogg(folder / "train_short_audio" / label / filename, samples)
        names = (label.replace("_", " ").capitalize(), label.replace("_", " ").title())
        who = (f"Toy Recordist {session + 1}", f"2026-05-{session + 1:02d}")
        place = ("[]", "['song']", 18.0, -66.0)
        rest = ("https://creativecommons.org/publicdomain/zero/1.0/", 5.0, "06:00", "")
        metadata.append((label, *place, *names, *who, filename, *rest))
        is_val = sessions > 1 and session == sessions - 1
        split.append((filename, label, "val" if is_val else "train", 1))
    _write_table(folder / "train_metadata.csv", METADATA_COLUMNS, metadata)
    _write_table(folder / "split_by_session.csv", SPLIT_COLUMNS, split)


def _write_soundscapes(
    folder: Path, calls: Calls, count: int, duration_s: float, scene: Callable[..., ToyScene]
) -> None:
    chunk_rows, event_rows = list[Sequence[object]](), list[Sequence[object]]()
    for number in range(count):
        audio_id, filename = 90200 + number, f"{90200 + number}_TOY_202605{number + 1:02d}.ogg"
        samples, events = scene(calls, duration_s)
        _write_ogg(folder / "train_soundscapes" / filename, samples)
        for end_s in range(5, int(duration_s) + 1, 5):
            row_id, birds = f"{audio_id}_TOY_{end_s}", birds_in_chunk(events, end_s - CHUNK_S)
            chunk_rows.append((row_id, "TOY", audio_id, end_s, birds))
        for e in events:
            times = (f"{e.start_s:.3f}", f"{e.end_s:.3f}")
            event_rows.append((filename, *times, e.label, f"{e.snr_db:.1f}", "synth", ""))
    _write_table(folder / "train_soundscape_labels.csv", CHUNK_COLUMNS, chunk_rows)
    _write_table(folder / "train_soundscape_events.csv", EVENT_COLUMNS, event_rows)


def _toy_scene(
    calls: Calls, duration_s: float, *, snr_db: tuple[float, float], rng: Rng
) -> ToyScene:
    return compose(
        calls,
        duration_s=duration_s,
        sample_rate_hz=TOY_RATE_HZ,
        rng=rng,
        snr_db=snr_db,
        calls_per_minute=20,
        nocall_fraction=0.4,
    )


def birds_in_chunk(events: Iterable[Event], start_s: float) -> str:
    """The labels in a 5-s chunk, sorted, or `nocall`: 0.25 s or half of a call count."""

    def is_heard(event: Event) -> bool:
        inside_s = min(event.end_s, start_s + CHUNK_S) - max(event.start_s, start_s)
        return inside_s >= min(0.25, (event.end_s - event.start_s) / 2)

    return " ".join(sorted({event.label for event in events if is_heard(event)})) or "nocall"


def _write_ogg(path: Path, samples: npt.NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", TOY_RATE_HZ, 1, "VORBIS", format="OGG") as file:
        # libsndfile's Vorbis encoder overflows its stack on one long write.
        for start in range(0, samples.size, TOY_RATE_HZ):
            file.write(samples[start : start + TOY_RATE_HZ])


def _write_table(path: Path, columns: str, rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns.split(","))
        writer.writerows(rows)
