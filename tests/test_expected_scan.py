"""`scan --species --prior`: nothing is said that cannot be there, and nothing is hidden."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound, ReadCsv, ReadLines

from recorder.config.read import defaults
from recorder.detect.bundle import Bundle
from recorder.species.expectation import DEFAULT_WEIGHT

LOW = ("--threshold", "0.02", "--formats", "csv,jsonl", "--scores")
NAMES = ("file", "start_s", "end_s", "label", "scientific_name", "common_name", "score")
COLUMNS = (*NAMES, "adjusted", "threshold", "reason")
OUTPUTS = ("detections.csv", "chunks.csv", "events.csv")

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, birdlike: MakeSound) -> Path:
    """Two recordings of the same sound, one that is dated and one that is not."""
    folder = tmp_path_factory.mktemp("dated")
    for name in ("site_20260614_030000.wav", "undated.wav"):
        soundfile.write(folder / name, birdlike(40.0, seed=1), 32_000)
    return folder


@pytest.fixture(scope="module")
def raw(folder: Path, birdrec: Birdrec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("raw")
    assert birdrec("scan", folder, "--out", out, *LOW).returncode == 0
    return out


@pytest.fixture(scope="module")
def heard(raw: Path, read_csv: ReadCsv, bundle: Bundle) -> list[str]:
    """The species of the raw scan, the most frequent first."""
    known = {one.label for one in bundle.labels}
    labels = [row["label"] for row in read_csv(raw / "detections.csv") if row["label"] in known]
    found = sorted(set(labels), key=lambda one: -labels.count(one))
    assert len(found) > 2
    return found


def rejected_and_said(out: Path, read_csv: ReadCsv) -> tuple[Rows, Rows]:
    said = [row for row in read_csv(out / "detections.csv") if row["label"] != "bird"]
    return read_csv(out / "rejected.csv"), said


def together(rejected: Rows, said: Rows) -> Rows:
    wanted = (*NAMES, "threshold")
    rows = [{name: row[name] for name in wanted} for row in rejected + said]
    return sorted(rows, key=lambda row: (row["file"], float(row["start_s"]), row["label"]))


def test_a_list_rejects_the_others_and_hides_nothing(
    folder: Path,
    raw: Path,
    heard: list[str],
    birdrec: Birdrec,
    read_csv: ReadCsv,
    read_lines: ReadLines,
    tmp_path: Path,
) -> None:
    birds = tmp_path / "birds.txt"
    birds.write_text(f"# what I saw\n{heard[1]}\nTurdus plumbeuss\n")
    out = tmp_path / "out"
    done = birdrec("scan", folder, "--out", out, *LOW, "--species", birds)
    assert done.returncode == 0, done.stderr
    assert "'Turdus plumbeuss': did you mean Turdus plumbeus?" in done.stderr
    rejected, said = rejected_and_said(out, read_csv)
    assert {row["label"] for row in said} == {heard[1]}
    assert heard[0] in {row["label"] for row in rejected}
    assert tuple(rejected[0]) == COLUMNS
    assert {row["reason"] for row in rejected} == {"not on the species list"}
    assert {row["adjusted"] for row in rejected} == {"0.0000"}
    before = [row for row in read_csv(raw / "detections.csv") if row["label"] != "bird"]
    assert together(rejected, said) == together([], before)
    lines = read_lines(out / "rejected.jsonl")
    assert [(row["label"], row["start_s"]) for row in lines] == [
        (row["label"], float(row["start_s"])) for row in rejected
    ]
    assert lines[0]["start_time"] == "2026-06-14T03:00:00"
    for path in (raw / "scores").iterdir():
        kept, found = np.load(path), np.load(out / "scores" / path.name)
        assert all(kept[key].tobytes() == found[key].tobytes() for key in kept.files)
    expected = json.loads((out / "run.json").read_text())["expected"]
    assert expected["rejected"] == len(rejected)
    assert (expected["species"]["file"], expected["species"]["species"]) == ("birds.txt", 1)
    assert len(expected["species"]["sha256"]) == 64
    page = birdrec("report", out)
    text = (out / "report.html").read_text()
    assert page.returncode == 0
    assert "birds.txt" in text
    assert f"{len(rejected)} detections rejected" in text


def test_where_a_species_is_rejected_and_any_bird_passes_it_is_a_bird(
    folder: Path,
    heard: list[str],
    bundle: Bundle,
    birdrec: Birdrec,
    read_csv: ReadCsv,
    tmp_path: Path,
) -> None:
    silent = next(one.label for one in bundle.labels if one.label not in heard)
    (tmp_path / "birds.txt").write_text(silent)
    out = tmp_path / "out"
    assert birdrec("scan", folder, "--out", out, *LOW, "--species", tmp_path / "birds.txt").stdout
    birds = {
        name: np.load(out / "scores" / f"{name}.npz")["bird"]
        for name in ("site_20260614_030000.wav", "undated.wav")
    }
    for row in read_csv(out / "chunks.csv"):
        score = birds[row["file"]][int(float(row["start_s"]) / 5)]
        passes = score >= np.float32(bundle.any_bird_threshold)
        assert row["birds"] == ("bird" if passes else "nocall")
    assert read_csv(out / "rejected.csv")


def test_a_prior_judges_by_the_hour_where_it_is_known(
    folder: Path,
    raw: Path,
    heard: list[str],
    birdrec: Birdrec,
    read_csv: ReadCsv,
    tmp_path: Path,
) -> None:
    rows = [f"{heard[0]},{hour},{0.0 if hour == 3 else 0.5}" for hour in range(24)]
    prior = tmp_path / "prior.csv"
    prior.write_text("\n".join(["label,hour,frequency", *rows]))
    out = tmp_path / "out"
    done = birdrec("scan", folder, "--out", out, *LOW, "--prior", prior, "--prior-weight", "10")
    assert done.returncode == 0, done.stderr
    assert "says nothing of" in done.stderr
    rejected, said = rejected_and_said(out, read_csv)
    assert {row["file"] for row in rejected} == {"site_20260614_030000.wav"}
    assert {row["label"] for row in rejected} == {heard[0]}
    assert {row["reason"] for row in rejected} == {"prior: 0 in hour 3"}
    assert all(float(one["score"]) > 0.0 for one in rejected)
    assert all(float(one["adjusted"]) < float(one["threshold"]) for one in rejected)
    before = [row for row in read_csv(raw / "detections.csv") if row["label"] != "bird"]
    assert together(rejected, said) == together([], before)
    expected = json.loads((out / "run.json").read_text())["expected"]
    assert (expected["recordings_without_date"], expected["recordings_without_hour"]) == (1, 1)
    assert expected["prior"]["weight"] == 10.0
    # Without weight it is as if it were not there, and so it is when it is not.
    for options in (("--prior", prior, "--prior-weight", "0"), ()):
        assert birdrec("scan", folder, "--out", out, *LOW, *options).returncode == 0
        for name in OUTPUTS:
            assert (out / name).read_bytes() == (raw / name).read_bytes()
        assert (out / "rejected.csv").exists() == bool(options)


def test_parquet_has_the_rejected_rows_too(
    folder: Path, heard: list[str], birdrec: Birdrec, read_csv: ReadCsv, tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    (tmp_path / "birds.txt").write_text(heard[0])
    options = ("--threshold", "0.02", "--formats", "parquet", "--species", tmp_path / "birds.txt")
    assert birdrec("scan", folder, "--out", tmp_path, *options).returncode == 0
    rows = parquet.read_table(tmp_path / "rejected.parquet").to_pylist()
    table = read_csv(tmp_path / "rejected.csv")
    assert tuple(rows[0]) == (*COLUMNS, "start_time")
    assert [(row["label"], row["reason"]) for row in rows] == [
        (row["label"], row["reason"]) for row in table
    ]
    assert [f"{row['score']:.4f}" for row in rows] == [row["score"] for row in table]


def test_a_list_of_all_that_was_heard_changes_nothing(
    folder: Path, raw: Path, heard: list[str], birdrec: Birdrec, tmp_path: Path
) -> None:
    (tmp_path / "birds.csv").write_text("label\n" + "\n".join(heard))
    out = tmp_path / "out"
    options = ("--species", tmp_path / "birds.csv")
    assert birdrec("scan", folder, "--out", out, *LOW, *options).returncode == 0
    for name in OUTPUTS:
        assert (out / name).read_bytes() == (raw / name).read_bytes()
    assert (out / "rejected.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_a_list_that_has_changed_is_not_answered_from_before(
    folder: Path, heard: list[str], birdrec: Birdrec, read_csv: ReadCsv, tmp_path: Path
) -> None:
    birds, out = tmp_path / "birds.txt", tmp_path / "out"
    for label in heard[:2]:
        birds.write_text(label)
        assert birdrec("scan", folder, "--out", out, *LOW, "--species", birds).returncode == 0
        assert {row["label"] for row in rejected_and_said(out, read_csv)[1]} == {label}
    before = sorted((out / ".done").iterdir())
    birds.write_text(f"# the same species\n{label}\n")
    assert birdrec("scan", folder, "--out", out, *LOW, "--species", birds).returncode == 0
    assert sorted((out / ".done").iterdir()) == before


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--species", "none.txt"), 3, "none.txt cannot be read (No such file or directory)"),
        (("--species", "."), 3, ". cannot be read (Is a directory)"),
        (("--species", "empty.txt"), 3, "empty.txt names no species"),
        (("--prior", "empty.txt"), 3, "empty.txt is neither eBird's bar chart"),
        (("--prior", "prior.csv"), 3, "prior.csv, line 2: week '49': use 1 to 48"),
        (("--prior-weight", "nan"), 2, "--prior-weight nan: use 0 to 10"),
        (("--timezone", "Mars/Olympus"), 2, "--timezone: there is no time zone 'Mars/Olympus'"),
        (("--timezone", "local"), 2, "--timezone local: use utc, or as America/Puerto_Rico"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    folder: Path,
    birdrec: Birdrec,
    tmp_path: Path,
    options: tuple[str, str],
    code: int,
    words: str,
) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "prior.csv").write_text("species,week,frequency\nBananaquit,49,0.5\n")
    done = birdrec("scan", folder, "--out", "out", *options, cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (code, True), done
    assert not (tmp_path / "out" / "detections.csv").exists()


def test_one_weight_is_the_default_everywhere(birdrec: Birdrec) -> None:
    assert defaults()["site.prior_weight"] == DEFAULT_WEIGHT
    for command in ("scan", "listen"):
        said = " ".join(birdrec(command, "--help").stdout.split())
        assert f"not at all. [default: {DEFAULT_WEIGHT:g}]" in said
