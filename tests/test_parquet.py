"""`--formats parquet`: the rows of detections.csv, whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import Birdrec, ReadCsv

from recorder.errors import UsageError
from recorder.keep.formats import DetectionRow
from recorder.keep.parquet import ParquetRows
from recorder.scan import ScanOptions

parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")


def test_it_has_the_rows_of_the_csv(
    recordings: Path, birdrec: Birdrec, read_csv: ReadCsv, tmp_path: Path
) -> None:
    options = ("--formats", "parquet", "--threshold", "0.001", "--quiet")
    assert birdrec("scan", recordings, "--out", tmp_path, *options).returncode == 0
    found = parquet.read_table(tmp_path / "detections.parquet").to_pylist()
    expected = read_csv(tmp_path / "detections.csv")
    assert len(found) == len(expected) > 0
    for row, cells in zip(found, expected, strict=True):
        assert (row["file"], row["label"]) == (cells["file"], cells["label"])
        assert row["start_s"] == float(cells["start_s"])
        assert row["score"] == pytest.approx(float(cells["score"]), abs=6e-5)
    first = (tmp_path / "detections.parquet").read_bytes()
    assert birdrec("scan", recordings, "--out", tmp_path, *options).returncode == 0
    assert (tmp_path / "detections.parquet").read_bytes() == first


def test_it_has_the_time_of_day_and_any_name(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.parquet"
    row = DetectionRow("caf\udce9.wav", 5.0, 10.0, "a", "A a", "An a", 0.123456789, 0.1)
    with ParquetRows(path) as table:
        table.add([row], "2026-05-01T23:59:58+02:00")
        table.add([row], "")
        assert not path.exists()
    rows = parquet.read_table(path).to_pylist()
    assert [one["start_time"] for one in rows] == ["2026-05-02T00:00:03+02:00", ""]
    assert rows[0]["file"].startswith("caf")
    assert rows[0]["score"] == 0.123456789


def test_what_is_broken_off_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"

    def broken_off() -> None:
        with ParquetRows(path) as table:
            table.add([], "")
            raise KeyError

    with pytest.raises(KeyError):
        broken_off()
    assert not path.exists()


def test_without_the_library_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"birdrec\[parquet\]"):
        ScanOptions(paths=(tmp_path,), out=tmp_path, formats=("parquet",)).check()
