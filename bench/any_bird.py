"""Does anything call? AUC of the model's `bird` score on recordings with labels per 5 s.

    python bench/any_bird.py FOLDER [--model BUNDLE]

FOLDER holds recordings and `soundscape_labels.csv` with the columns row_id, site, audio_id,
seconds, birds (BirdCLEF's form). It writes bench/results/any_bird.json: by recording, the AUC of
rows with any call against rows of `nocall`, and which share of both is said to hold a bird.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

from recorder.detect.metrics import roc_auc

RESULTS = Path(__file__).parent / "results" / "any_bird.json"


def read_labels(path: Path) -> dict[str, dict[int, bool]]:
    """By audio id and the end of the row in seconds: whether anything calls."""
    labels: dict[str, dict[int, bool]] = {}
    with path.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            calls = row["birds"].split() not in ([], ["nocall"])
            labels.setdefault(row["audio_id"], {})[int(float(row["seconds"]))] = calls
    return labels


def judge(out: Path, name: str, calls_at: dict[int, bool], limit: float) -> dict[str, float]:
    """The figures of one recording."""
    with np.load(out / "scores" / f"{name}.npz") as kept:
        by_end = dict(zip(kept["chunk_end_s"].astype(int).tolist(), kept["bird"], strict=True))
    ends = [end for end in calls_at if end in by_end]
    bird = np.array([by_end[end] for end in ends])
    calls = np.array([calls_at[end] for end in ends])
    return {
        "rows": len(ends),
        "rows_with_a_call": int(calls.sum()),
        "auc": round(roc_auc(bird, calls), 3),
        "said_where_one_calls": round(float((bird[calls] >= limit).mean()), 3),
        "said_where_none_does": round(float((bird[~calls] >= limit).mean()), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    labels = read_labels(options.folder / "soundscape_labels.csv")
    with tempfile.TemporaryDirectory() as scratch:
        command = ["scan", str(options.folder), "--scores", "--quiet", "--out", scratch]
        command += ["--model", str(options.model)] if options.model else []
        subprocess.run([sys.executable, "-m", "recorder.cli", *command], check=True)
        run = json.loads((Path(scratch) / "run.json").read_text(encoding="utf-8"))
        files = {}
        for path in sorted((Path(scratch) / "scores").glob("*.npz")):
            name = path.name.removesuffix(".npz")
            audio_id = next((one for one in labels if name.startswith(one)), None)
            if audio_id:
                limit = run["any_bird_threshold"]
                files[audio_id] = judge(Path(scratch), name, labels[audio_id], limit)
    result = {
        "command": f"python bench/any_bird.py {options.folder.name}",
        "date": date.today().isoformat(),
        "model": f"{run['model']['name']}@{run['model']['sha256'][:12]}",
        "mean_auc": round(float(np.mean([one["auc"] for one in files.values()])), 3),
        "files": files,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
