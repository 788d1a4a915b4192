"""`birdrec train evaluate --report`: the page and its numbers, from a scan made by hand."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

import numpy as np
import pytest

from recorder.errors import ConfigError, UsageError
from recorder.keep.formats import write_json
from train.judging import report as report_module
from train.judging.evaluate import evaluate_scan
from train.judging.report import write_report
from train.judging.report_data import without_nan

Birdrec = Callable[..., subprocess.CompletedProcess[str]]

EVIL = "<script>alert(1)</script>"
LABELS = [EVIL, "ant", "bee"]
FILES = ["1_A_20200101.ogg", "2_<b>&'_20200101.ogg"]
SCORES = [
    [[0.15, 0.95, 0.15], [0.15, 0.85, 0.25], [0.15, 0.15, 0.15], [0.75, 0.35, 0.15]],
    [[0.15, 0.25, 0.65], [0.15, 0.55, 0.15], [0.05, 0.05, 0.05], [0.05, 0.05, 0.05]],
]
BIRDS = [["ant", "ant bee", "nocall", "ant"], ["bee", "nocall", "nocall", "nocall"]]
EVENTS = "file,start_s,end_s,label,snr_db,source_recording,possible"


def _dataset(folder: Path, birds: Sequence[Sequence[str]], events: Sequence[str] = ()) -> Path:
    """Soundscapes without any sound: evaluating reads none."""
    (folder / "train_soundscapes").mkdir(parents=True)
    rows = ["row_id,site,audio_id,seconds,birds"]
    for name, chunks in zip(FILES, birds, strict=False):
        (folder / "train_soundscapes" / name).touch()
        number, site, _ = name.split("_")
        for place, calling in enumerate(chunks, 1):
            rows.append(f"{number}_{site}_{5 * place},{site},{number},{5 * place},{calling}")
    (folder / "train_soundscape_labels.csv").write_text("\n".join(rows), "utf-8")
    if events:
        (folder / "train_soundscape_events.csv").write_text("\n".join([EVENTS, *events]), "utf-8")
    return folder


def _scan(folder: Path, thresholds: Sequence[float] = (0.5, 0.5, 0.5)) -> Path:
    (folder / "scores").mkdir(parents=True)
    for name, scores in zip(FILES, SCORES, strict=True):
        values = np.array(scores, np.float32)
        np.savez(folder / "scores" / f"{name}.npz", scores=values, labels=np.array(LABELS))
    run = {
        "thresholds": dict(zip(LABELS, thresholds, strict=True)),
        "model": {"name": "<i>net", "sha256": "0123456789abcdef"},
    }
    (folder / "run.json").write_text(json.dumps(run), "utf-8")
    return folder


def _strict_json(path: Path) -> dict[str, Any]:
    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} is no JSON")

    content: dict[str, Any] = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    return content


def _page(folder: Path) -> tuple[str, str]:
    """The file, and the words that are read on it; well-formed, so that nothing swallows a part."""
    html = (folder / "report.html").read_text("utf-8")
    root = ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))
    return html, " ".join(" ".join(root.itertext()).split())


@pytest.fixture
def made(tmp_path: Path) -> Path:
    events = [
        f"{FILES[0]},0.5,1.5,ant,1,x.ogg,",
        f"{FILES[0]},15.5,16.5,ant,2,x.ogg,",
        f"{FILES[1]},0.5,1.5,bee,7,x.ogg,",
    ]
    dataset = _dataset(tmp_path / "data", BIRDS, events)
    write_report(_scan(tmp_path / "out"), dataset, tmp_path / "report")
    return tmp_path / "report"


def test_the_numbers_are_those_worked_out_by_hand(made: Path) -> None:
    content = _strict_json(made / "report.json")
    assert content["row_f1"] == pytest.approx((1 + 2 / 3 + 1 + 0 + 1 + 0 + 1 + 1) / 8)
    assert content["pooled_f1"] == pytest.approx(0.6)
    assert content["always_nocall_row_f1"] == 0.5
    assert (content["model"], content["soundscapes"], content["rows"]) == (
        "<i>net@0123456789ab",
        2,
        8,
    )
    figures = content["figures"]
    assert figures["nocall_curve"]["row_f1"][0] == pytest.approx(2 / 3)
    assert figures["nocall_curve"]["row_f1"][-1] == pytest.approx(0.75)
    assert [one["pairs"] for one in figures["reliability"]] == [6, 10, 2, 1, 0, 1, 1, 1, 1, 1]
    assert figures["reliability"][4]["true_share"] is None
    assert figures["confusions"]["pairs"] == [{"true": "ant", "heard": EVIL, "rows": 1}]
    bins = figures["snr_recall"]["bins"]
    assert [(one["events"], one["recall"]) for one in bins] == [(2, 0.5), (0, None), (1, 1.0)]
    assert [one["file"] for one in figures["traces"]] == FILES
    at = figures["threshold_curve"]["thresholds"].index(0.5)
    assert figures["threshold_curve"]["row_f1"][at] == pytest.approx(content["row_f1"])


def test_the_file_has_all_that_evaluate_prints(made: Path) -> None:
    content = _strict_json(made / "report.json")
    result = evaluate_scan(made.parent / "out", made.parent / "data").to_dict()
    for name, value in json.loads(json.dumps(result)).items():
        assert content[name] == value


def test_the_page_shows_them(made: Path) -> None:
    html, text = _page(made)
    assert html.count("<svg") == 6 + len(FILES)
    assert "row-wise F1 0.708" in text
    assert "pooled F1 0.600" in text
    assert "always nocall 0.500" in text
    assert "8 rows of 5 s, 50 % of them nocall; 3 species, 2 of which call" in text
    assert "better above a share of 0.73" in text
    assert "in use 0.500" in text
    assert "ant calls, nothing is heard: 0 of 2 rows" in text
    assert "0 to 3 dB: 1 of 2 found" in text
    assert f"1 of 2 ant {EVIL}" in text


def test_species_come_best_first_with_their_rows_and_auc(made: Path) -> None:
    """Of ant, .55 of a silent row outranks .35 of a true one: AP (1 + 1 + 3/4) / 3, AUC 14/15."""
    root = ElementTree.fromstring(_page(made)[0].removeprefix("<!DOCTYPE html>\n"))
    cells = [one.text for one in root.iter("text")]
    bee = cells.index("bee")
    assert cells[bee : bee + 8] == ["bee", "1.00", "2", "1.00", "ant", "0.92", "3", "0.93"]


def test_nothing_is_loaded_and_nothing_runs(made: Path) -> None:
    html, _ = _page(made)
    assert not re.search(r"https?:|//|\bsrc=|\bhref=|url\(|@import", html)
    assert not re.search(r"<(script|link|img|iframe|object)|\son\w+=", html)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme:dark" in html
    assert "width=device-width" in html


def test_names_are_shown_and_never_markup(made: Path) -> None:
    html, text = _page(made)
    assert text.count(EVIL) > 5
    assert "<script" not in html
    assert "<i>" not in html
    assert FILES[1] in text
    assert "<b>" not in html


def test_the_same_scan_gives_the_same_bytes_and_two_files(made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    assert set(before) == {"report.html", "report.json"}
    write_report(made.parent / "out", made.parent / "data", made)
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_without_events_the_recall_is_left_out_and_told(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "data", BIRDS)
    write_report(_scan(tmp_path / "out"), dataset, tmp_path)
    html, text = _page(tmp_path)
    assert "there is no train_soundscape_events.csv" in text
    assert html.count("<svg") == 5 + len(FILES)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:All-NaN slice")
def test_where_nothing_calls_what_is_unknown_is_neither_0_nor_nan(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "data", [["nocall"] * 4, ["nocall"] * 4])
    write_report(_scan(tmp_path / "out"), dataset, tmp_path)
    content = _strict_json(tmp_path / "report.json")
    assert content["cmap"] is None
    assert content["intervals"]["macro_auc"] == [None, None]
    assert set(content["figures"]["nocall_curve"]["row_f1"]) == {None}
    html, text = _page(tmp_path)
    assert "cmAP – – macro AUC – –" in text
    assert "No species of the model calls" in text
    assert "here is only one kind" in text
    assert "no row with exactly one species" in text
    assert not re.search(r"\bnan\b", html, re.IGNORECASE)


def test_a_species_that_calls_everywhere_has_no_auc(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "data", [["ant"] * 4, ["ant bee"] * 4])
    write_report(_scan(tmp_path / "out"), dataset, tmp_path)
    assert _strict_json(tmp_path / "report.json")["species"]["ant"]["auc"] is None
    root = ElementTree.fromstring(_page(tmp_path)[0].removeprefix("<!DOCTYPE html>\n"))
    cells = [one.text for one in root.iter("text")]
    ant = cells.index("ant")
    assert cells[ant : ant + 4] == ["ant", "1.00", "8", "–"]


def test_thresholds_of_their_own_and_a_lone_soundscape_are_told(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "data", BIRDS[:1])
    write_report(_scan(tmp_path / "out", (0.2, 0.3, 0.4)), dataset, tmp_path)
    _, text = _page(tmp_path)
    for part in ("lowest in use 0.200", "highest in use 0.400", "0.200–0.400"):
        assert part in text
    assert "its intervals say nothing" in text
    # The row of ant alone that its threshold of .5 missed is found with .3.
    found = _strict_json(tmp_path / "report.json")["figures"]["confusions"]["found"]
    assert found == {"ant": 2}


def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"^--report .*file/report cannot be written"):
        write_report(tmp_path / "no scan", tmp_path / "no data", tmp_path / "file" / "report")


def test_a_full_disk_is_told_and_the_report_before_stands(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (made / "report.html").read_bytes()

    def full(path: Path, content: dict[str, Any]) -> None:
        write_json(path, content)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report_module, "write_json", full)
    with pytest.raises(UsageError, match=r"No space left on device.*--report"):
        write_report(made.parent / "out", made.parent / "data", made)
    assert (made / "report.html").read_bytes() == before


def test_what_is_no_whole_scan_is_named(tmp_path: Path) -> None:
    dataset = _dataset(tmp_path / "data", [["ant"] * 5, ["ant"] * 4])
    with pytest.raises(ConfigError, match=r"no run\.json"):
        write_report(tmp_path, dataset, tmp_path / "report")
    with pytest.raises(ConfigError, match=r"1_A_20200101\.ogg: 5 chunks have labels, but .* has 4"):
        write_report(_scan(tmp_path / "out"), dataset, tmp_path / "report")


def test_none_stands_for_nan_at_any_depth() -> None:
    assert without_nan({"a": [float("nan"), (0.0, 1)], "b": {"c": "nan"}}) == {
        "a": [None, [0.0, 1]],
        "b": {"c": "nan"},
    }


def test_the_command_writes_it_and_prints_as_before(
    made: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    arguments = ("train", "evaluate", made.parent / "out", "--dataset", made.parent / "data")
    plain = birdrec(*arguments, "--json")
    done = birdrec(*arguments, "--json", "--report", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert done.stdout == plain.stdout
    assert "report.html" in done.stderr
    assert (tmp_path / "new" / "report.html").read_bytes() == (made / "report.html").read_bytes()
    (tmp_path / "file").touch()
    refused = birdrec(*arguments, "--report", tmp_path / "file")
    assert refused.returncode == UsageError.exit_code
    assert refused.stderr.startswith("birdrec: --report ")
