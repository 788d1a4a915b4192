"""`scan --workers N`: the bytes of one process, whoever dies on the way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from conftest import Birdrec
from crewlab import OPTIONS, children, cpu_s, is_alive, results_of, started, wait_for

from recorder.crew.local import LocalCrew
from recorder.crew.tasks import Settings, WorkerLostError

NO_SETTINGS = Settings(Path("none"), None, "auto", "")


def test_when_a_worker_is_killed_the_bytes_are_the_same(
    crew_folder: Path, crew_alone: dict[str, bytes], tmp_path: Path
) -> None:
    scan = started(crew_folder, tmp_path, "--workers", "2", "--quiet")
    wait_for(lambda: len(children(scan.pid)) == 2, "two workers")
    victim = children(scan.pid)[0]
    wait_for(lambda: cpu_s(victim) > 3.0, "a worker that works")
    os.kill(victim, signal.SIGKILL)
    _, said = scan.communicate(timeout=300)
    assert scan.returncode == 1, said
    assert results_of(tmp_path) == crew_alone


def test_killed_it_leaves_no_worker_and_goes_on_with_what_is_done(
    crew_folder: Path, crew_alone: dict[str, bytes], birdrec: Birdrec, tmp_path: Path
) -> None:
    scan = started(crew_folder, tmp_path, "--workers", "2", "--quiet")
    wait_for(lambda: list(tmp_path.glob(".done/*.pieces/*.npy")), "a piece that is done")
    assert list(tmp_path.glob(".done/*.pieces/*.rows")), "and minutes of others"
    workers = children(scan.pid)
    assert len(workers) == 2
    scan.kill()
    scan.communicate()
    wait_for(lambda: not any(map(is_alive, workers)), "the end of the workers")
    kept = {one: one.stat().st_mtime_ns for one in tmp_path.glob(".done/*.pieces/*.npy")}
    done = birdrec("scan", crew_folder, "--out", tmp_path, *OPTIONS, "--workers", "2", "--quiet")
    assert done.returncode == 1
    assert results_of(tmp_path) == crew_alone
    assert kept
    left = {one.suffix for one in tmp_path.glob(".done/*") if one.name != ".lock"}
    assert left == {".jsonl"}


def test_a_task_that_kills_is_given_up_and_takes_no_other_with_it() -> None:
    with LocalCrew(2) as crew:
        deadly = crew.submit(_deadly, NO_SETTINGS)
        others = [crew.submit(_number, NO_SETTINGS, number) for number in range(5)]
        with pytest.raises(WorkerLostError, match="killed, twice"):
            deadly.result()
        assert [one.result() for one in others] == list(range(5))
        assert crew.submit(_number, NO_SETTINGS, 7).result() == 7


def _deadly(settings: Settings) -> None:
    del settings
    os.kill(os.getpid(), signal.SIGKILL)


def _number(settings: Settings, number: int) -> int:
    del settings
    return number
