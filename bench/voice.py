"""How often is a person missed, and how often is an animal taken for one?

    bench/voice.py SHARED_DATA --work FOLDER --out bench/results/voice.json

Voices of each source are judged by a net that never heard that source, nor the birds of the val
sessions, nor a quarter of the noise; backgrounds of the judged scenes come from those alone. A
scene is ten seconds; its verdict is the highest score of a token. SNR: the loud parts of the voice
against the background, both after pre-emphasis.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from recorder.detect.mel import SAMPLE_RATE_HZ, TOKEN_SAMPLES, log_mel, samples_needed
from recorder.detect.voice import MEL
from train.scenes.levels import from_db, limited, loud_level, rms, steady_level
from train.voice.fit import VoiceTraining, read_voice_net, train_voice
from train.voice.net import VoiceNet
from train.voice.scenes import Source, read_sources

Floats = NDArray[np.float32]

SNRS_DB = (40, 20, 10, 5, 0, -5)
THRESHOLDS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
SCENE_S = 10
SCENES = 120
"""At each SNR of each source."""
CRIES = "baby_cry"
"""Neither a voice that must go nor one that must stay: told apart."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=VoiceTraining.scenes)
    parser.add_argument("--epochs", type=int, default=VoiceTraining.epochs)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config = VoiceTraining(asked.scenes, asked.epochs)
    found = judged(asked.data, asked.work, config)
    asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def judged(data: Path, work: Path, config: VoiceTraining) -> dict[str, object]:
    voices = read_sources([data / "voice"])[0]
    unheard = list(_unheard(data))
    sources = sorted({_source(one.path) for one in voices})
    rows: dict[str, object] = {}
    for source in sources:
        checkpoint = work / f"without_{source}.pt"
        others = [data / "puerto_rico" / "train_short_audio", data / "noise"]
        excluded = [f"/{source}_", CRIES, *unheard]
        if not checkpoint.is_file():
            train_voice([data / "voice"], others, excluded, config, checkpoint, print)
        net = read_voice_net(checkpoint)[0]
        mine = [one for one in voices if _source(one.path) == source]
        rows[source] = _figures(net, mine, data, unheard)
        print(source, json.dumps(rows[source], indent=1), flush=True)
    return {
        "command": "bench/voice.py SHARED_DATA --work FOLDER --out bench/results/voice.json",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": platform.processor() or platform.machine(),
        "training": vars(config),
        "thresholds": THRESHOLDS,
        "by_source": rows,
    }


def _unheard(data: Path) -> Iterator[str]:
    """Names of the recordings that no net of this bench learns from."""
    with (data / "puerto_rico" / "split_by_session.csv").open(encoding="utf-8") as stream:
        yield from (row["filename"] for row in csv.DictReader(stream) if row["split"] == "val")
    for path in sorted((data / "noise").rglob("*.ogg")):
        if zlib.crc32(path.name.encode()) % 4 == 0:
            yield path.name


def _source(path: Path) -> str:
    return path.name.split("_")[0]


def _figures(
    net: VoiceNet, voices: list[Source], data: Path, unheard: list[str]
) -> dict[str, object]:
    birds = _only(read_sources([data / "puerto_rico" / "train_short_audio"])[0], unheard)
    noise = _only(read_sources([data / "noise"], [CRIES])[0], unheard)
    without = {
        "birds": birds,
        "noise": noise,
        "soundscapes": read_sources([data / "puerto_rico" / "train_soundscapes"])[0],
        "field_soundscapes": read_sources([data / "field_soundscapes"])[0],
        "strong": read_sources([data / "strong"])[0],
        "crying babies": read_sources([data / "noise" / "esc10" / CRIES])[0],
    }
    false = {name: _shares(np.array(list(_windows(net, found)))) for name, found in without.items()}
    rng = np.random.default_rng(7)
    missed = {}
    for snr_db in SNRS_DB:
        scores = [_spoken_over(net, rng, voices, birds + noise, snr_db) for _ in range(SCENES)]
        missed[f"{snr_db} dB"] = [round(1 - share, 4) for share in _shares(np.array(scores))[1:]]
    return {"missed": missed, "false alarms: windows, shares": false}


def _only(sources: list[Source], names: list[str]) -> list[Source]:
    return [one for one in sources if one.path.name in names]


def _shares(scores: NDArray[np.float64]) -> list[float]:
    """How many, and the share of them over each threshold."""
    return [len(scores), *(round(float((scores >= one).mean()), 4) for one in THRESHOLDS)]


def _windows(net: VoiceNet, sources: list[Source]) -> Iterator[float]:
    """The highest score in each ten seconds."""
    step = SCENE_S * SAMPLE_RATE_HZ // TOKEN_SAMPLES
    for source in sources:
        scores = _scores(net, source.samples)
        yield from (float(scores[at : at + step].max()) for at in range(0, len(scores), step))


def _spoken_over(
    net: VoiceNet, rng: np.random.Generator, voices: list[Source], beds: list[Source], snr_db: float
) -> float:
    length = SCENE_S * SAMPLE_RATE_HZ
    bed = beds[int(rng.integers(len(beds)))].samples
    begin = int(rng.integers(max(1, len(bed) - length)))
    bed = np.resize(bed[begin : begin + length], length)
    bed = bed / np.float32(max(rms(bed), 1e-6))
    said = voices[int(rng.integers(len(voices)))].samples
    most = length - 2 * SAMPLE_RATE_HZ
    if len(said) > most:
        begin = int(rng.integers(len(said) - most))
        said = said[begin : begin + most]
    at = int(rng.integers(length - len(said)))
    gain = from_db(snr_db) * steady_level(bed) / loud_level(said)
    bed[at : at + len(said)] += said * np.float32(gain)
    return float(_scores(net, limited(bed * np.float32(0.1))).max())


def _scores(net: VoiceNet, samples: Floats) -> Floats:
    tokens = -(-len(samples) // TOKEN_SAMPLES)
    padded = np.pad(samples, (0, samples_needed(tokens, MEL) - len(samples)))
    frames = torch.from_numpy(log_mel(padded, tokens, MEL)[np.newaxis])
    with torch.no_grad():
        scores: Floats = torch.sigmoid(net(frames))[0].numpy()
    return scores


if __name__ == "__main__":
    main()
