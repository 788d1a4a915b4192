"""Several nets as one (§2.5), on labelled soundscapes, written down as a scan would write it.

tokens -> chunk aggregation -> sliding window -> any bird (segmenter)
                                              -> global correction (classifier)
       -> power average within each kind -> power average of both, 0.7 / 0.3 -> threshold
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder import __version__
from recorder.detect.mel import CHUNK_S, SAMPLE_RATE_HZ
from recorder.detect.metrics import best_threshold
from recorder.detect.postprocess import power_average
from recorder.errors import UsageError
from recorder.keep.formats import RUN, STATION_TABLES, make_writable
from recorder.sound.files.whole import read_mono
from train.clips.dataset import read_dataset
from train.clips.soundscapes import Soundscape, read_soundscapes, stacked
from train.learning.ancestors import heard_of_held_out, read_net
from train.learning.checkpoint import Checkpoint
from train.nets.predict import features_of, final_scores

Floats = NDArray[np.float32]

SHARES = {"segmenter": 0.7, "classifier": 0.3}
"""Of the two kinds, §3."""


def scores_of(net: Checkpoint, samples: Floats, chunks: int, labels: Sequence[str]) -> Floats:
    """What one net says of a record of 32-kHz samples, [chunks, labels]."""
    features = features_of(samples, chunks, net.mel, net.kind)
    every = final_scores(net.net, features, len(net.core), any_bird=net.any_bird)
    return every[:, [net.core.index(label) for label in labels]]


def combined(nets: Sequence[Checkpoint], each: Sequence[Floats]) -> Floats:
    """The power average within each kind of net, and of both kinds by SHARES (§2.5(2))."""
    by_kind = {
        kind: [scores for net, scores in zip(nets, each, strict=True) if net.kind == kind]
        for kind in SHARES
    }
    there = [kind for kind, some in by_kind.items() if some]
    averages = [power_average(by_kind[kind]) for kind in there]
    return power_average(averages, [SHARES[kind] for kind in there])


def score_soundscapes(
    paths: Sequence[Path], dataset: Path, out: Path, *, say: Callable[[str], None]
) -> float:
    """Score the labelled soundscapes of a dataset with the nets in `paths`, all as one.

    Writes OUT/scores/NAME.npz and OUT/run.json as `birdrec scan --scores` does, for `birdrec train
    evaluate`; returns the threshold, which is tuned on these soundscapes. `say` is told when a net
    knows what they may be made of. UsageError when the nets know different classes.
    """
    make_writable(out)
    if (out / "manifest.jsonl").exists() or (out / STATION_TABLES).exists():
        raise UsageError(f"--out {out} holds the results of a scan or a station: choose another")
    nets = [read_net(path) for path in paths]
    labels = nets[0].core
    for net, path in zip(nets, paths, strict=True):
        if sorted(net.core) != sorted(labels):
            raise UsageError(f"{path} knows other classes than {paths[0]}: they cannot be averaged")
    heard = heard_of_held_out(nets, read_dataset(dataset))
    if heard:
        say(f"{heard}, and the soundscapes may be made of them: these figures flatter")
    soundscapes = read_soundscapes(dataset, labels)
    (out / "scores").mkdir(exist_ok=True)
    everything = []
    for soundscape in soundscapes:
        samples, chunks = read_mono(soundscape.path, SAMPLE_RATE_HZ), len(soundscape.truth)
        scores = combined(nets, [scores_of(net, samples, chunks, labels) for net in nets])
        everything.append(scores)
        _write(out / "scores" / f"{soundscape.path.name}.npz", soundscape, scores, labels)
    threshold = best_threshold(np.concatenate(everything), *stacked(soundscapes))
    run = {
        "birdrec": __version__,
        "model": {"name": " + ".join(net.name for net in nets)},
        "checkpoints": [path.name for path in paths],
        "thresholds": dict.fromkeys(labels, threshold),
    }
    (out / RUN).write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    return threshold


def _write(path: Path, soundscape: Soundscape, scores: Floats, labels: list[str]) -> None:
    ends = CHUNK_S * np.arange(1, len(soundscape.truth) + 1)
    with path.open("wb") as stream:
        np.savez(stream, scores=scores, labels=np.array(labels), chunk_end_s=ends)
