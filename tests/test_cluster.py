"""`scan --cluster ADDRESS` on a real scheduler and real workers: the bytes of one machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Birdrec
from crewlab import OPTIONS, cpu_s, results_of, started, wait_for

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")


class Cluster:
    """A scheduler, and workers that come and go."""

    def __init__(self, home: Path) -> None:
        self._home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self._processes = [self._run("scheduler", "--port", str(port), "--no-jupyter")]

    def worker(
        self, *, prefix: tuple[str, ...] = (), arguments: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """One more, with one thread."""
        # Without a nanny nobody starts it again when it dies.
        one = self._run(
            "worker", self.address, "--nthreads", "1", "--no-nanny", *arguments, prefix=prefix
        )
        self._processes.append(one)
        return one

    def has_workers(self) -> bool:
        """Has one been taken in? Its folder is there long before."""
        return "Registered to:" in (self._home / "worker.log").read_text(encoding="utf-8")

    def end(self) -> None:
        for one in self._processes:
            one.kill()
            one.wait()

    def _run(
        self, what: str, *arguments: str, prefix: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", what, "--host", "127.0.0.1", "--no-dashboard"]
        paths = os.pathsep.join(one for one in sys.path if one)
        with (self._home / f"{what}.log").open("ab") as log:
            return subprocess.Popen(
                [*prefix, *command, *arguments],
                cwd=self._home,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
            )


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    one = Cluster(tmp_path_factory.mktemp("dask"))
    yield one
    one.end()


def test_when_a_worker_dies_and_another_joins_the_bytes_are_the_same(
    crew_folder: Path, crew_alone: dict[str, bytes], tmp_path: Path, cluster: Cluster
) -> None:
    first, _ = cluster.worker(), cluster.worker()
    scan = started(crew_folder, tmp_path, "--cluster", cluster.address, "--quiet")
    before_s = cpu_s(first.pid)
    wait_for(lambda: cpu_s(first.pid) > max(5.0, before_s + 2.0), "a worker that works")
    first.send_signal(signal.SIGKILL)
    cluster.worker()
    _, said = scan.communicate(timeout=300)
    assert scan.returncode == 1, said
    assert results_of(tmp_path) == crew_alone


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a disk from a process")
def test_what_a_worker_cannot_read_is_read_here(
    crew_folder: Path, crew_alone: dict[str, bytes], tmp_path: Path, cluster: Cluster
) -> None:
    hidden = f'mount -t tmpfs none "{crew_folder}" && exec "$@"'
    cluster.worker(prefix=("unshare", "--mount", "sh", "-c", hidden, "sh"))
    scan = started(crew_folder, tmp_path, "--cluster", cluster.address, "--quiet")
    _, said = scan.communicate(timeout=300)
    assert scan.returncode == 1, said
    assert said.count("Do all workers have the recordings under the same path?") == 1
    assert results_of(tmp_path) == crew_alone


def test_a_worker_without_a_place_to_work_in_is_not_taken_for_a_lost_scheduler(
    recordings: Path, birdrec: Birdrec, tmp_path: Path, cluster: Cluster
) -> None:
    place = tmp_path / "scratch"
    place.mkdir()
    cluster.worker(arguments=("--local-directory", str(place)))
    wait_for(cluster.has_workers, "a worker")
    for folder in sorted(place.rglob("*"), reverse=True):
        shutil.rmtree(folder, ignore_errors=True)
    options = (*OPTIONS, "--quiet", "--cluster", cluster.address)
    done = birdrec("scan", recordings, "--out", tmp_path / "there", *options)
    assert done.returncode == 0, done.stderr
    assert birdrec("scan", recordings, "--out", tmp_path / "here", *OPTIONS).returncode == 0
    assert results_of(tmp_path / "there") == results_of(tmp_path / "here")


def test_it_waits_for_the_first_worker_and_says_so(
    crew_folder: Path, tmp_path: Path, cluster: Cluster
) -> None:
    scan = started(crew_folder / "a_short.wav", tmp_path, "--cluster", cluster.address, "--quiet")
    assert scan.stderr is not None
    assert "No worker has joined" in scan.stderr.readline()
    cluster.worker()
    scan.communicate(timeout=120)
    assert scan.returncode == 0


def test_a_scheduler_that_dies_ends_the_scan_with_what_to_do(
    crew_folder: Path, tmp_path: Path, cluster: Cluster
) -> None:
    scan = started(crew_folder, tmp_path, "--cluster", cluster.address, "--quiet")
    assert scan.stderr is not None
    assert "No worker has joined" in scan.stderr.readline()
    cluster.end()
    _, said = scan.communicate(timeout=120)
    assert scan.returncode == 1
    assert "was lost: start it again, then the same command" in said
    assert "Traceback" not in said


def test_an_address_where_nobody_answers_is_said_at_once(
    crew_folder: Path, birdrec: Birdrec, tmp_path: Path
) -> None:
    for address, said in (
        ("tcp://127.0.0.1:9", "no scheduler answers there"),
        ("nonsense://x", "no address of a scheduler"),
    ):
        done = birdrec("scan", crew_folder, "--out", tmp_path, "--cluster", address)
        assert done.returncode == 2
        assert f"--cluster {address}: {said}" in done.stderr
        assert "Traceback" not in done.stderr
    both = birdrec("scan", crew_folder, "--cluster", "tcp://127.0.0.1:9", "--workers", "2")
    assert both.returncode == 2
    assert "exclude each other" in both.stderr
