"""Two processes on one training, started by torch's own launcher, over loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toylab import TINY, write_lab

from recorder.detect.mel import MelConfig
from train.learning.checkpoint import read_checkpoint
from train.learning.loop import SceneBatches
from train.learning.objective import Objective
from train.material.gather import gather
from train.nets.build import new_net
from train.scenes.maker import SceneMaker

CONFIG = replace(TINY, batch_chunks=4, precision="float32", learning_rate=1e-3, average_decay=0.0)
TOML = """
name = "toy"
dataset = "data"
noise = ["noise"]
steps = 1
batch_chunks = 4
scene_chunks = [1]
scene_chances = [1.0]
width = 32
warmup_steps = 1
evaluate_every = 1
threads = 1
precision = "float32"
learning_rate = 1e-3
average_decay = 0.0
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = write_lab(tmp_path_factory.mktemp("lab"))
    (lab / "toy.toml").write_text(TOML)
    return lab


def _launch(lab: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = ["--nproc-per-node", "2", "-m", "recorder.cli", "train", "fit", "toy.toml"]
    return subprocess.run(
        [*launcher, *command, *arguments],
        cwd=lab,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def together(lab: Path) -> Path:
    """The checkpoint of two processes."""
    done = _launch(lab, "--out", "together")
    assert done.returncode == 0, done.stderr
    return lab / "together" / "checkpoint.pt"


def _maker(lab: Path) -> SceneMaker:
    mel = MelConfig()
    material = gather(CONFIG, lab / "toy.toml", mel, say=lambda _: None)
    return SceneMaker(
        material.recordings,
        material.noise,
        labels=material.labels,
        core=set(material.core),
        config=CONFIG.scenes,
        mel=mel,
    )


def test_one_process_writes_for_both(together: Path) -> None:
    names = sorted(path.name for path in together.parent.iterdir())
    assert names == ["best.pt", "checkpoint.pt", "log.jsonl", "material.json"]
    log = [json.loads(line) for line in (together.parent / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [1]


def test_the_step_is_that_of_the_mean_of_both_gradients(lab: Path, together: Path) -> None:
    """What one process would do with the parts of the batch one after the other."""
    mel, maker = MelConfig(), _maker(lab)
    torch.manual_seed(CONFIG.seed)
    net = new_net(CONFIG, 2, mel)
    net.to(memory_format=torch.channels_last)
    objective = Objective(net, CONFIG, mel)
    for rank in (0, 1):
        batch, _ = SceneBatches(maker, CONFIG, rank, 2)[0]
        assert len(batch.samples) == 2
        torch.manual_seed(CONFIG.seed + rank)
        (objective(batch, rank) / 2).backward()
    gradients = {name: weight.grad for name, weight in net.named_parameters()}
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    after = torch.load(together, weights_only=True)["net"]
    # AdamW's first step has the size of the rate and the sign of the gradient.
    agreed = []
    for name, gradient in gradients.items():
        assert gradient is not None
        moved = after[name] - before[name]
        clear = gradient.abs() > 1e-4
        agreed.append((torch.sign(moved) == -torch.sign(gradient))[clear])
    assert torch.cat([one.flatten() for one in agreed]).float().mean() > 0.999


def test_both_make_other_scenes_and_as_many_as_one_would(lab: Path) -> None:
    maker = _maker(lab)
    first, second = (SceneBatches(maker, CONFIG, rank, 2)[0][0] for rank in (0, 1))
    assert len(first.samples) + len(second.samples) == CONFIG.batch_chunks
    assert not np.array_equal(first.samples.numpy(), second.samples.numpy())


def test_it_goes_on_from_its_checkpoint(lab: Path, together: Path) -> None:
    done = _launch(lab, "--out", "together")
    assert done.returncode == 0, done.stderr
    assert read_checkpoint(together).content["step"] == 1
    assert CONFIG.to_dict() == read_checkpoint(together).content["config"]
