"""`birdrec scan` as its users meet it: what it says, help, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from recorder.detect.bundle import DEFAULT_BUNDLE

Birdrec = Callable[..., subprocess.CompletedProcess[str]]
MakeSound = Callable[..., NDArray[np.float32]]
ReadCsv = Callable[[Path], list[dict[str, str]]]
ReadLines = Callable[[Path], list[dict[str, Any]]]


def test_quiet_says_nothing(recordings: Path, birdrec: Birdrec, tmp_path: Path) -> None:
    done = birdrec("scan", recordings / "z_2014.ogg", "--out", tmp_path, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_json_is_the_run_and_nothing_else(
    recordings: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    done = birdrec("scan", recordings / "z_2014.ogg", "--out", tmp_path, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == json.loads((tmp_path / "run.json").read_text())
    assert done.stderr == ""


def test_without_a_terminal_each_file_is_one_plain_line(
    recordings: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    done = birdrec("scan", recordings / "b", "--out", tmp_path)
    assert done.returncode == 0
    said = done.stdout + done.stderr
    assert "\x1b" not in said
    assert "\r" not in said
    assert "stereo.flac" in said
    assert "2 files" in said


def test_results_go_to_birdrec_out_unless_told_otherwise(
    recordings: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    done = birdrec("scan", recordings / "z_2014.ogg", "--quiet", cwd=tmp_path)
    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["birdrec-out"]


def test_help_shows_an_example(birdrec: Birdrec) -> None:
    done = birdrec("scan", "--help")
    assert done.returncode == 0
    assert "Example: birdrec scan" in done.stdout
    for option in ("--out", "--model", "--threshold", "--formats", "--scores", "--workers"):
        assert option in done.stdout
    assert "scan" in birdrec("--help").stdout


def test_the_version_is_printed(birdrec: Birdrec) -> None:
    done = birdrec("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("birdrec ")


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [(("scna", "x"), "scan"), (("scan", "x", "--treshold", "0.5"), "--threshold")],
)
def test_a_typo_is_met_with_what_was_meant(
    birdrec: Birdrec, tmp_path: Path, arguments: tuple[str, ...], suggestion: str
) -> None:
    done = birdrec(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert suggestion in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--threshold", "1.5"), "--threshold"),
        (("--threshold", "nan"), "--threshold"),
        (("--threshold", "0"), "--threshold"),
        (("--threshold", "many"), "--threshold"),
        (("--workers", "0"), "--workers"),
        (("--formats", "csv,xml"), "raven"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    recordings: Path, birdrec: Birdrec, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = birdrec("scan", recordings, "--out", tmp_path / "out", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_scan_of_nothing_named_is_a_usage_error(birdrec: Birdrec, tmp_path: Path) -> None:
    assert birdrec("scan", cwd=tmp_path).returncode == 2


def test_a_missing_or_damaged_model_is_exit_code_5(
    recordings: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    command = ("scan", recordings, "--out", tmp_path / "out", "--model")
    missing = birdrec(*command, tmp_path / "gone")
    assert missing.returncode == 5
    assert "model.json" in missing.stderr
    spoilt = Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "spoilt"))
    (spoilt / "head.onnx").write_bytes(b"spoilt")
    damaged = birdrec(*command, spoilt)
    assert damaged.returncode == 5
    assert "head.onnx" in damaged.stderr
    assert len(damaged.stderr.splitlines()) == 1


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(
    birdrec: Birdrec, birdlike: MakeSound, tmp_path: Path
) -> None:
    folder, out = tmp_path / "sound", tmp_path / "out"
    folder.mkdir()
    soundfile.write(folder / "a.wav", birdlike(5.0, seed=1), 32_000)
    half_an_hour = np.tile(birdlike(10.0, seed=2), 180)  # time enough to interrupt
    soundfile.write(folder / "b.wav", half_an_hour, 32_000)
    # A test run in the background ignores Ctrl-C, and its children inherit that.
    heeding = ["env", "--default-signal=INT", sys.executable, "-m", "recorder.cli"]
    command = [*heeding, "scan", str(folder), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "a.wav" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on from there" in said
    assert "Traceback" not in said
    rows = (out / "chunks.csv").read_text("utf-8").splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["a.wav"]
    shutil.copy(folder / "a.wav", folder / "b.wav")  # the rest, shortened
    again = birdrec("scan", folder, "--out", out)
    assert again.returncode == 0
    kept = [json.loads(line) for line in (out / "manifest.jsonl").read_text("utf-8").splitlines()]
    assert [row["path"] for row in kept] == ["a.wav", "b.wav"]


def test_a_scan_opens_no_network_connection(recordings: Path, tmp_path: Path) -> None:
    """Every socket call of the interpreter raises an audit event; there must be none."""
    program = (
        "import sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda name, _: seen.append(name) if name.startswith('socket.') else 0)\n"
        "from recorder.cli import app\n"
        "app(['scan', *sys.argv[1:]], standalone_mode=False)\n"
        "sys.exit(f'sockets: {seen}' if seen else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(recordings), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "run.json").is_file()


def test_a_recording_that_changes_while_it_is_scanned_is_not_believed_later(
    birdrec: Birdrec, birdlike: MakeSound, read_lines: ReadLines, tmp_path: Path
) -> None:
    """Its recorder still writes: what was there is analysed, said to be a part, and made again."""
    source, out = tmp_path / "in" / "night.wav", tmp_path / "out"
    source.parent.mkdir()
    soundfile.write(source, np.tile(birdlike(60.0), 18), 32_000)
    command = [sys.executable, "-m", "recorder.cli", "scan", str(source.parent), "--out", str(out)]
    scan = subprocess.Popen([*command, "--quiet"], stdout=subprocess.PIPE, text=True)
    deadline_s = time.monotonic() + 60
    while not list(out.glob(".done/*.part")):
        # Something is settled, so the file is open.
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    with source.open("ab") as stream:
        stream.write(bytes(64_000))
    assert scan.wait(timeout=120) == 0
    (row,) = read_lines(out / "manifest.jsonl")
    assert row["status"] == "partial"
    assert "it grew by 64000 bytes" in row["reason"]
    assert row["seconds_analysed"] == 1080
    assert not list(out.glob(".done/*.jsonl"))
    assert birdrec("scan", source.parent, "--out", out, "--quiet").returncode == 0
    (row,) = read_lines(out / "manifest.jsonl")
    assert row["status"] == "repaired"
    assert row["seconds_analysed"] == 1081
