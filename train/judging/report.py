"""The report of a scan of labelled soundscapes: one page to read, and its numbers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recorder.errors import UsageError
from recorder.keep.formats import make_writable, write_json, written
from train.judging.evaluate import Evaluation, read_scan
from train.judging.report_data import make_report
from train.judging.report_page import page

PAGE = "report.html"
NUMBERS = "report.json"


def write_report(
    out: Path, dataset: Path, folder: Path, pseudo_labels: Sequence[Path] = ()
) -> Evaluation:
    """Write FOLDER/report.html and FOLDER/report.json about the scan in `out`.

    UsageError when the folder cannot be written to, before any work is done; ConfigError as
    from `train.judging.evaluate.read_scan`. The same scan gives the same bytes.
    """
    _make_writable(folder)
    report = make_report(read_scan(out, dataset), dataset, pseudo_labels)
    html, content = page(report), report.to_dict()
    try:
        write_json(folder / NUMBERS, content)
        with written(folder / PAGE) as stream:
            stream.write(html)
    except OSError as error:
        raise UsageError(
            f"the report cannot be written to {folder} ({error.strerror}): make room, or choose "
            "another --report folder"
        ) from error
    return report.evaluation


def _make_writable(folder: Path) -> None:
    try:
        make_writable(folder)
    except UsageError as error:
        # It speaks of the option of `scan`.
        raise UsageError(str(error).replace("--out", "--report", 1)) from error
