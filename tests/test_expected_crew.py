"""List and prior with several processes and machines: the bytes of one process."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from conftest import Birdrec
from crewlab import children, results_of, started, wait_for
from test_cluster import Cluster

Options = tuple[str, ...]

_LOW = ("--threshold", "0.01")
"""Several species are heard in sound that holds none."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, crew_folder: Path) -> Path:
    """A recording that is worth sharing out, from one hour into the next, and a short one."""
    folder = tmp_path_factory.mktemp("evening")
    shutil.copy(crew_folder / "b_long.flac", folder / "site_20260614_203000.flac")
    shutil.copy(crew_folder / "a_short.wav", folder / "site_20260614_070000.wav")
    return folder


@pytest.fixture(scope="module")
def options(
    tmp_path_factory: pytest.TempPathFactory,
    folder: Path,
    birdrec: Birdrec,
) -> Options:
    """A list without the commonest species, a prior by which the next ones sleep from nine on."""
    place = tmp_path_factory.mktemp("lists")
    done = birdrec(
        "scan",
        folder / "site_20260614_070000.wav",
        "--out",
        place / "out",
        *_LOW,
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    rows = (place / "out" / "detections.csv").read_text().splitlines()[1:]
    labels = [row.split(",")[3] for row in rows if ",bird," not in row]
    _, *others = sorted(set(labels), key=lambda one: -labels.count(one))
    assert len(others) > 1
    (place / "birds.txt").write_text("\n".join(others))
    lines = [
        f"{label},{hour},{0.0 if hour >= 21 else 0.4}" for label in others for hour in range(24)
    ]
    (place / "prior.csv").write_text("\n".join(["label,hour,frequency", *lines]))
    weight = ("--prior-weight", "4")
    lists = ("--species", str(place / "birds.txt"), "--prior", str(place / "prior.csv"))
    return (*lists, *weight, *_LOW)


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, options: Options
) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("alone")
    _, said = started(folder, out, "--quiet", *options).communicate(timeout=300)
    found = results_of(out)
    text = found["rejected.csv"].decode()
    assert "prior: 0 in hour 21" in text, said
    assert "not on the species list" in text
    assert "in hour 20" not in text
    return found


def test_killed_and_resumed_two_processes_write_the_bytes_of_one(
    folder: Path, options: Options, alone: dict[str, bytes], tmp_path: Path
) -> None:
    scan = started(folder, tmp_path, "--quiet", *options, "--workers", "2")
    wait_for(lambda: list(tmp_path.glob(".done/*.pieces/*.npy")), "a piece that is done")
    for one in [scan.pid, *children(scan.pid)]:
        os.kill(one, signal.SIGKILL)
    scan.communicate()
    again = started(folder, tmp_path, "--quiet", *options, "--workers", "2")
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert results_of(tmp_path) == alone


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a disk from a process")
def test_a_worker_without_the_files_has_what_is_in_them(
    folder: Path,
    options: Options,
    alone: dict[str, bytes],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    cluster = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        hidden = f'mount -t tmpfs none "{Path(options[1]).parent}" && exec "$@"'
        cluster.worker(prefix=("unshare", "--mount", "sh", "-c", hidden, "sh"))
        scan = started(folder, tmp_path, "--quiet", *options, "--cluster", cluster.address)
        _, said = scan.communicate(timeout=300)
        assert scan.returncode == 0, said
        assert results_of(tmp_path) == alone
    finally:
        cluster.end()
