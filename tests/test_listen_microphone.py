"""`birdrec listen` on a real PortAudio: what is played is heard, what is lost is in the ledger."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Birdrec, MakeSound, ReadCsv
from pulselab import ID, PulseLab, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

RATE_HZ = 32_000


def test_a_server_that_dies_is_a_gap_and_all_else_is_heard_bit_by_bit(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    played = birdlike(6.0, seed=1)
    soundfile.write(tmp_path / "played.wav", played, RATE_HZ, subtype="PCM_16")
    out = tmp_path / "out"
    with PulseLab(tmp_path / "lab", rate_hz=RATE_HZ) as lab:
        station = subprocess.Popen(
            [
                sys.executable, "-m", "recorder.cli", "listen", "--device", "pulse", "--rate",
                str(RATE_HZ), "--keep-audio", "all", "--out", str(out),
            ],
            env={**os.environ, **lab.environment, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        try:
            wait_for(lambda: list(out.glob("recordings/*/*")), 30)
            began_s = time.monotonic()
            lab.play(tmp_path / "played.wav").wait(20)
            time.sleep(1.5)
            lab.kill()
            time.sleep(2.0)
            lab.start()
            wait_for(lambda: len(list(out.glob("recordings/*/*"))) > 1, 30)
            time.sleep(1.0)
            station.send_signal(signal.SIGTERM)
            elapsed_s = time.monotonic() - began_s
            said, _ = station.communicate(timeout=20)
        finally:
            station.kill()
    assert station.returncode == 0, said
    assert "Traceback" not in said
    base = sqlite3.connect(out / "station.sqlite")
    rows = base.execute("SELECT start_sample, samples, state, reason FROM ledger ORDER BY 1")
    starts, samples, states, reasons = zip(*rows.fetchall(), strict=True)
    assert states == ("analysed", "lost", "analysed"), said
    assert reasons == ("", "device", "")
    assert starts == (0, samples[0], samples[0] + samples[1])
    assert 2.0 < samples[1] / RATE_HZ < 8.0
    assert abs(sum(samples) / RATE_HZ - elapsed_s) < 4.0
    gone = base.execute("SELECT count(*), sum(begins) FROM health WHERE problem = 'gone'")
    assert gone.fetchone() == (2, 1)
    assert base.execute("SELECT device FROM runs").fetchall() == [(ID,)]
    files = sorted(out.glob("recordings/*/*.flac"))
    kept, _ = soundfile.read(files[0], dtype="int16")
    assert len(kept) == samples[0]
    assert len(soundfile.read(files[1])[0]) == samples[2]
    sent, _ = soundfile.read(tmp_path / "played.wav", dtype="int16")
    middle = sent[2 * RATE_HZ : 4 * RATE_HZ]
    at = next(
        at
        for at in np.flatnonzero(kept[: -len(middle)] == middle[0])
        if (kept[at : at + len(middle)] == middle).all()
    )
    assert at > 0


def test_what_it_says_is_what_a_scan_says_of_the_same_sound(
    tmp_path: Path, birdlike: MakeSound, birdrec: Birdrec, read_csv: ReadCsv
) -> None:
    """Heard live through PortAudio, kept, and scanned as a file: the same rows."""
    soundfile.write(tmp_path / "played.wav", birdlike(30.0, seed=5), RATE_HZ, subtype="PCM_16")
    out = tmp_path / "out"
    with PulseLab(tmp_path / "lab", rate_hz=RATE_HZ) as lab:
        station = subprocess.Popen(
            [
                sys.executable, "-m", "recorder.cli", "listen", "--device", "pulse", "--rate",
                str(RATE_HZ), "--keep-audio", "all", "--out", str(out), "--duration", "31.7",
                "--quiet", "--min-free-mb", "1",
            ],
            env={**os.environ, **lab.environment, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            wait_for(lambda: list(out.glob("recordings/*/*")), 30)
            lab.play(tmp_path / "played.wav")
            assert station.wait(60) == 0
        finally:
            station.kill()
            station.wait()
    (kept,) = out.glob("recordings/*/*.flac")
    assert soundfile.info(kept).frames == round(31.7 * RATE_HZ)
    assert birdrec("scan", kept, "--out", tmp_path / "scanned").returncode == 0
    lines = [json.loads(line) for line in (out / "detections.jsonl").open()]
    settled = {(x["start_s"], x["label"]): x["score"] for x in lines if x["kind"] == "settled"}
    scanned = {
        (float(row["start_s"]), row["label"]): float(row["score"])
        for row in read_csv(tmp_path / "scanned" / "detections.csv")
    }
    assert settled.keys() == scanned.keys()
    assert len(settled) > 5
    assert max(abs(settled[key] - scanned[key]) for key in settled) < 1e-4 + 5e-5


def test_after_kill_9_the_same_run_goes_on_with_an_exact_gap(
    tmp_path: Path, birdlike: MakeSound
) -> None:
    """What was taken in waits in the spool and settles after all; only the time between is lost."""
    soundfile.write(tmp_path / "played.wav", birdlike(40.0, seed=2), RATE_HZ, subtype="PCM_16")
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "recorder.cli", "listen", "--device", "pulse", "--rate",
        str(RATE_HZ), "--out", str(out), "--quiet", "--threshold", "0.01",
    ]  # fmt: skip
    with PulseLab(tmp_path / "lab", rate_hz=RATE_HZ) as lab:
        environment = {**os.environ, **lab.environment, "OMP_NUM_THREADS": "1"}
        lab.play(tmp_path / "played.wav")
        first = subprocess.Popen(command, env=environment)
        try:
            wait_for(lambda: said(out, "live") >= {0}, 40)
        finally:
            first.kill()
            first.wait()
        time.sleep(2.0)
        second = subprocess.Popen(command, env=environment)
        try:
            chunk = max(said(out, "live"))
            wait_for(lambda: max(said(out, "live")) > chunk + 1, 40)
            second.send_signal(signal.SIGTERM)
            assert second.wait(20) == 0
        finally:
            second.kill()
    base = sqlite3.connect(out / "station.sqlite")
    rows = base.execute("SELECT start_sample, samples, state, reason FROM ledger ORDER BY 1")
    starts, samples, states, reasons = zip(*rows.fetchall(), strict=True)
    assert (states, reasons) == (("analysed", "lost", "analysed"), ("", "shutdown", ""))
    assert starts == (0, samples[0], samples[0] + samples[1])
    assert samples[0] > 6 * RATE_HZ
    assert 2.0 < samples[1] / RATE_HZ < 12.0
    assert base.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    gaps = [line for line in (out / "detections.jsonl").open() if '"kind":"gap"' in line]
    assert len(gaps) == 1
    for kind in ("live", "settled"):
        twice = base.execute(
            "SELECT chunk, label FROM detections WHERE kind = ? GROUP BY 1, 2 HAVING count(*) > 1",
            (kind,),
        )
        assert twice.fetchall() == []
    assert said(out, "settled") >= said(out, "live")


def said(out: Path, kind: str) -> set[int]:
    """The chunks of which there are rows."""
    if not (out / "detections.jsonl").exists():
        return set()
    lines = (json.loads(line) for line in (out / "detections.jsonl").open() if line[-1:] == "\n")
    return {line["chunk"] for line in lines if line["kind"] == kind}


def wait_for(done: Callable[[], object], seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
