"""`birdrec prior make`: from validated detections to a table that `--prior` reads."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Birdrec, ReadCsv
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from recorder.detect.bundle import Bundle
from recorder.species.counted import frequencies
from recorder.species.names import Names
from recorder.species.prior_table import read_prior
from recorder.species.text import read_text_file

BANANA = ("banana", "Coereba flaveola", "Bananaquit")
COUNTS = arrays(np.float64, (2, 24), elements=st.integers(0, 50))


def scan_of(folder: Path, starts: dict[str, str], heard: list[tuple[str, float, str]]) -> Path:
    """What a scan of an hour a recording would leave."""
    folder.mkdir()
    names = {"banana": BANANA, "bird": ("bird", "Aves", "Bird, species not known")}
    rows = [
        {"path": name, "start": start, "seconds_analysed": 3600.0} for name, start in starts.items()
    ]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "chunks.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["row_id", "file", "start_s", "end_s", "birds"])
        writer.writerows(["", name, 5 * at, 5 * at + 5, ""] for name in starts for at in range(720))
    with (folder / "detections.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "start_s", "end_s", "label", "scientific_name", "common_name"])
        writer.writerows([name, start, start + 5, *names[label]] for name, start, label in heard)
    return folder


def test_chunks_are_counted_by_the_hour_of_the_site(
    birdrec: Birdrec, read_csv: ReadCsv, bundle: Bundle, tmp_path: Path
) -> None:
    starts = {"a": "2026-05-01T06:30:00Z", "b": "2026-05-01T06:00:00-04:00", "c": ""}
    heard = [("a", 5.0 * at, "banana") for at in range(720)] + [
        ("b", 0.0, "bird"),
        ("c", 0.0, "banana"),
    ]
    results, table = scan_of(tmp_path / "scan", starts, heard), tmp_path / "site.csv"
    zone = ("--timezone", "America/Puerto_Rico")
    done = birdrec("prior", "make", results, "--out", table, *zone)
    assert done.returncode == 0, done.stderr
    assert "1 species in 2.0 hours of sound; 1 recordings left out" in done.stdout
    found = {int(row["hour"]): float(row["frequency"]) for row in read_csv(table)}
    # 2:30 to 3:30 all of it, 6:00 to 7:00 none; drawn to the mean, a half, by half an hour.
    mean = 0.5
    assert found[2] == pytest.approx((540 + 360 * mean) / (540 + 360), abs=1e-6)
    assert found[6] == pytest.approx(360 * mean / (720 + 360), abs=1e-6)
    assert found[12] == pytest.approx(mean, abs=1e-6)
    read = read_prior(read_text_file(table), Names(bundle.labels), len(bundle.labels))
    assert read.frequency.shape == (len(bundle.labels), 1, 24)
    assert np.isfinite(read.frequency).sum() == 24
    # Without the zone the hour of UTC is not taken for the site's.
    done = birdrec("prior", "make", results, "--out", table)
    assert (done.returncode, "name the site's --timezone" in done.stderr) == (2, True)


def test_what_cannot_be_counted_is_said(birdrec: Birdrec, tmp_path: Path) -> None:
    results = scan_of(tmp_path / "scan", {"a": "2026-05-01T06:30:00"}, [("a", 0.0, "banana")])
    table = ("--out", tmp_path / "site.csv")
    for folder, words in (
        (tmp_path, "holds no finished scan"),
        (tmp_path / "x", "no finished scan"),
    ):
        done = birdrec("prior", "make", folder, *table)
        assert (done.returncode, words in done.stderr) == (2, True)
    (results / "detections.csv").write_text("file,start_s\n")
    done = birdrec("prior", "make", results, *table)
    assert (done.returncode, "has no column common_name" in done.stderr) == (2, True)
    done = birdrec("prior", "make", results, "--out", tmp_path)
    assert done.returncode == 2


@given(COUNTS, COUNTS)
def test_frequencies_are_shares_and_do_not_forget(
    counts: NDArray[np.float64], more: NDArray[np.float64]
) -> None:
    effort = (counts + more).sum(axis=0)
    found = frequencies(counts, effort, doubt=5.0)
    assert ((found >= 0.0) & (found <= 1.0)).all()
    assert ((found > 0.0).all(axis=1) == counts.any(axis=1)).all()
