"""What is there already stays: other programs' files, a station's journal, an earlier scan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound, ReadLines

from recorder.crew.tasks import Settings, _loaded
from recorder.detect.bundle import DEFAULT_BUNDLE
from recorder.errors import ConfigError
from recorder.onefile import FileScanner
from recorder.sound.files.finder import Found


@pytest.fixture
def sound(tmp_path: Path, birdlike: MakeSound) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "a.wav", birdlike(6.0), 32_000)
    return folder


def test_a_scan_does_not_write_into_a_stations_folder(
    birdrec: Birdrec, sound: Path, tmp_path: Path
) -> None:
    out = tmp_path / "station"
    played = birdrec("listen", "--replay", sound / "a.wav", "--out", out, "--threshold", "0.02")
    assert played.returncode == 0, played.stderr
    journal = (out / "detections.jsonl").read_bytes()
    done = birdrec("scan", sound, "--out", out)
    assert done.returncode == 2
    assert "the folder of a station" in done.stderr
    assert (out / "detections.jsonl").read_bytes() == journal


def test_a_station_does_not_write_into_a_scans_folder(
    birdrec: Birdrec, sound: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scan"
    assert birdrec("scan", sound, "--out", out).returncode == 0
    played = birdrec("listen", "--replay", sound / "a.wav", "--out", out)
    assert played.returncode == 2
    assert "holds the results of a scan" in played.stderr
    assert not (out / "station.sqlite").exists()


def test_a_misspelt_path_takes_nothing_away(birdrec: Birdrec, sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "scan"
    assert birdrec("scan", sound, "--out", out).returncode == 0
    before = (out / "manifest.jsonl").read_bytes()
    done = birdrec("scan", tmp_path / "inn", "--out", out)
    assert done.returncode == 6
    assert (out / "manifest.jsonl").read_bytes() == before


def test_what_is_replaced_is_said(birdrec: Birdrec, sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "scan"
    first = birdrec("scan", sound, "--out", out, "--formats", "raven", "--scores")
    again = birdrec("scan", sound, "--out", out, "--scores")
    assert "are replaced" not in first.stderr + again.stderr
    assert f"{out / 'raven'} stays as an earlier scan has left it" in again.stderr
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.wav").write_bytes((sound / "a.wav").read_bytes())
    done = birdrec("scan", other, "--out", out)
    assert f"the results of {sound} in {out} are replaced" in done.stderr
    assert f"{out / 'scores'} stays as an earlier scan has left it" in done.stderr


@pytest.mark.parametrize("flag", ["--quiet", "--json"])
def test_what_failed_is_named_however_quiet_it_shall_be(
    birdrec: Birdrec, sound: Path, tmp_path: Path, flag: str
) -> None:
    (sound / "b.wav").write_bytes(b"no sound" * 9)
    done = birdrec("scan", sound, "--out", tmp_path / "out", flag)
    assert done.returncode == 1
    assert "b.wav: not audio" in done.stderr


def test_a_misspelt_species_is_said_however_quiet_it_shall_be(
    birdrec: Birdrec, sound: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("Caribean Elaenia\nGrey Kingbird\n")
    done = birdrec(
        "scan", sound, "--out", tmp_path / "out", "--quiet", "--species", tmp_path / "list.txt"
    )
    assert done.returncode == 0
    assert "Caribean Elaenia" in done.stderr


def test_a_report_does_not_write_over_a_recording(
    birdrec: Birdrec, sound: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scan"
    assert birdrec("scan", sound, "--out", out).returncode == 0
    before = (sound / "a.wav").read_bytes()
    done = birdrec("report", out, "--page", sound / "a.wav")
    assert done.returncode == 2
    assert "holds something else" in done.stderr
    assert (sound / "a.wav").read_bytes() == before
    for _ in range(2):
        assert birdrec("report", out).returncode == 0


def test_a_report_of_damaged_files_says_so(birdrec: Birdrec, sound: Path, tmp_path: Path) -> None:
    out = tmp_path / "scan"
    assert birdrec("scan", sound, "--out", out).returncode == 0
    whole = (out / "run.json").read_text()
    for text in (whole[:90], '{"model": {}}'):
        (out / "run.json").write_text(text)
        done = birdrec("report", out)
        assert done.returncode == 2
        assert "holds no whole scan" in done.stderr


def test_a_scan_that_was_stopped_is_not_taken_for_whole(
    birdrec: Birdrec, sound: Path, tmp_path: Path
) -> None:
    (sound / "0.wav").write_bytes(b"no sound" * 9)
    out = tmp_path / "out"
    done = birdrec("scan", sound, "--out", out, "--strict")
    assert done.returncode == 1
    assert "in 1 of 2, which is not all files" in done.stdout
    assert birdrec("report", out).returncode == 0
    assert "not analysed yet" in (out / "report.html").read_text()


def test_a_prior_is_not_written_over_the_rows_that_it_is_made_of(
    birdrec: Birdrec, sound: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scan"
    time = ("--start", "2026-05-01T06:00:00", "--threshold", "0.02")
    assert birdrec("scan", sound, "--out", out, *time).returncode == 0
    before = (out / "detections.csv").read_bytes()
    done = birdrec("prior", "make", out, "--out", out / "detections.csv")
    assert done.returncode == 2
    assert (out / "detections.csv").read_bytes() == before
    for _ in range(2):
        assert birdrec("prior", "make", out, "--out", tmp_path / "prior.csv").returncode == 0


def test_a_recording_of_nothing_but_nan_is_not_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((99_000, 2), np.nan), 32_000, subtype="FLOAT")
    scanner: FileScanner = _loaded(Settings(DEFAULT_BUNDLE, None, "auto", ""))[1]
    result = scanner.scan(Found(tmp_path / "a.wav", "a.wav"))
    assert result.manifest.status == "failed"
    assert "none of its 198000 samples is a number in range" in result.manifest.reason
    assert not result.chunks


def test_a_replay_without_sound_is_no_silent_night(birdrec: Birdrec, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 32_000)
    done = birdrec("listen", "--replay", tmp_path / "a.wav", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "a.wav: it holds no samples" in done.stderr
    report = birdrec("report", tmp_path / "out")
    if report.returncode == 0:
        text = (tmp_path / "out" / "report.html").read_text()
        assert "Nothing was recorded" in text
        assert "nothing was wrong" not in text


def test_what_cannot_be_decoded_is_the_same_named_or_found(
    birdrec: Birdrec, read_lines: ReadLines, sound: Path, tmp_path: Path
) -> None:
    (sound / "phone.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(99))
    for number, what in enumerate((sound, sound / "phone.m4a")):
        birdrec("scan", what, "--out", tmp_path / f"{number}", "--quiet")
        row = read_lines(tmp_path / f"{number}" / "manifest.jsonl")[-1]
        assert (row["status"], "convert it" in row["reason"]) == ("skipped", True)


def test_the_name_of_a_packaged_model_will_do(birdrec: Birdrec, tmp_path: Path) -> None:
    named = birdrec("model", "info", DEFAULT_BUNDLE.name, "--json", cwd=tmp_path)
    assert named.returncode == 0, named.stderr
    assert json.loads(named.stdout)["path"] == str(DEFAULT_BUNDLE)
    assert birdrec("model", "info", "puerto_rica_edge", cwd=tmp_path).returncode == 5


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ('[site]\nspecies = "nosuch.txt"\n', 3, "nosuch.txt"),
        ('[analysis]\nmodel = "nope"\n', 5, "nope"),
        ("[site]\n", 0, "right"),
    ],
)
def test_a_configuration_is_checked_with_what_it_names(
    birdrec: Birdrec, tmp_path: Path, text: str, code: int, word: str
) -> None:
    (tmp_path / "birdrec.toml").write_text(text)
    done = birdrec("config", "check", tmp_path / "birdrec.toml", cwd=tmp_path)
    assert done.returncode == code
    assert word in done.stdout + done.stderr


def test_debug_may_stand_before_any_command(birdrec: Birdrec) -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    shown = birdrec("--debug", "train", "folds", "--help")
    assert shown.returncode == 0
    assert "Write a fold for each clip" in shown.stdout


def test_a_fault_of_ours_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from recorder import cli

    def wrong() -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(cli, "app", wrong)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 70
    said = capsys.readouterr().err
    assert "ZeroDivisionError: a fault" in said
    assert "please report it" in said


def test_a_label_that_no_clip_has_cannot_be_left_out(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    from dataclasses import replace

    from toylab import TINY, write_lab

    from train.learning.loop import fit

    lab = write_lab(tmp_path)
    with pytest.raises(ConfigError, match=r"labels_excluded: .*'toy_upswep'; did you mean"):
        fit(replace(TINY, labels_excluded=("toy_upswep",)), lab / "toy.toml", lab / "out")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("warmup_steps", -5, "0 or more"),
        ("average_decay", 2.0, "0 <= x < 1"),
        ("imagined_species", -1, "0 or more"),
        ("learning_rate", float("nan"), "must be a number"),
        ("weight_decay", float("inf"), "must be a number"),
        ("scene_chances", (1.5, -0.5, 0.0, 0.0), "0 or more, each"),
    ],
)
def test_values_that_cannot_be_are_named(key: str, value: object, words: str) -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    from train.config import TrainConfig

    with pytest.raises(ConfigError, match=words) as told:
        TrainConfig(name="a", dataset="b", **{key: value})  # type: ignore[arg-type]
    assert key in str(told.value)
