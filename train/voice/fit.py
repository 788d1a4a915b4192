"""Its training: a bank of scenes, gone through several times."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recorder.errors import ModelError
from train.voice.net import BANDS, VoiceNet
from train.voice.scenes import UNKNOWN, Source, VoiceScenes, read_sources

Say = Callable[[str], None]


@dataclass(frozen=True)
class VoiceTraining:
    """How long and how fast."""

    scenes: int = 12_000
    epochs: int = 8
    batch: int = 64
    learning_rate: float = 0.002
    seed: int = 1
    jobs: int = 2


Bank = tuple[NDArray[np.float16], NDArray[np.int8]]
"""(log-mel [scenes, frames, bands], states [scenes, tokens])."""

_inherited: list[VoiceScenes] = []
"""Of a process that draws: the sounds come with the fork, they are not sent."""
_AT_ONCE = 100
_KIND = "voice"


def train_voice(
    voices: list[Path],
    others: list[Path],
    excluded: Sequence[str],
    config: VoiceTraining,
    out: Path,
    say: Say,
) -> VoiceNet:
    """From folders to a checkpoint; UsageError when one of them holds nothing."""
    spoken, other = (_wanted(folders, excluded, say) for folders in (voices, others))
    bank = make_bank(VoiceScenes(spoken, other), config)
    say(f"{len(bank[0])} scenes of {len(spoken)} voices over {len(other)} recordings")
    net = fit(bank, config, say)
    names = {
        title: sorted(f"{one.path.parent.name}/{one.path.name}" for one in sources)
        for title, sources in (("Voices", spoken), ("Everything else", other))
    }
    save_voice_net(net, out, names)
    return net


def _wanted(folders: list[Path], excluded: Sequence[str], say: Say) -> list[Source]:
    sources, bad = read_sources(folders, excluded)
    for line in bad:
        say(f"not used: {line}")
    return sources


def make_bank(maker: VoiceScenes, config: VoiceTraining) -> Bank:
    """`config.scenes` scenes, the same for the same seed whatever the number of processes."""
    seeds = [(config.seed, number) for number in range(config.scenes // _AT_ONCE)]
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(
        config.jobs, mp_context=fork, initializer=_inherited.append, initargs=(maker,)
    ) as pool:
        parts = list(pool.map(_drawn, seeds))
    return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])


def _drawn(seed: tuple[int, int]) -> Bank:
    rng = np.random.default_rng(seed)
    pictures, states = zip(*(_inherited[0].draw(rng) for _ in range(_AT_ONCE)), strict=True)
    return np.stack([one[:, :BANDS] for one in pictures]), np.stack(states)


def fit(bank: Bank, config: VoiceTraining, say: Say) -> VoiceNet:
    """A net that learned from the bank; weights are averaged over its last third."""
    torch.manual_seed(config.seed)
    pictures, states = map(torch.from_numpy, bank)
    net = VoiceNet()
    averaged = torch.optim.swa_utils.AveragedModel(net, use_buffers=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=0.01)
    steps = config.epochs * (len(pictures) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps
    )
    step = 0
    for epoch in range(config.epochs):
        total = 0.0
        order = torch.randperm(len(pictures))[: steps // config.epochs * config.batch]
        for rows in torch.split(order, config.batch):
            loss = _loss(net, pictures[rows].float(), states[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            step += 1
            total += float(loss.detach())
            if step > steps * 2 // 3:
                averaged.update_parameters(net)
        say(f"epoch {epoch + 1} of {config.epochs}: loss {total / len(order) * config.batch:.4f}")
    result = averaged.module
    assert isinstance(result, VoiceNet)
    return result.eval()


def _loss(net: VoiceNet, pictures: Tensor, states: Tensor) -> Tensor:
    known = (states != UNKNOWN).float()
    each = nn.functional.binary_cross_entropy_with_logits(
        net(_masked(pictures)), states.clamp(min=0).float(), reduction="none"
    )
    return (each * known).sum() / known.sum()


def _masked(pictures: Tensor) -> Tensor:
    """Up to eight neighbouring bands left out, filled with the mean of the scene."""
    filled = pictures.mean(dim=(1, 2), keepdim=True)
    band = torch.randint(0, BANDS, (len(pictures), 1, 1))
    wide = torch.randint(0, 9, (len(pictures), 1, 1))
    bands = torch.arange(BANDS)
    hidden = (bands >= band) & (bands < band + wide)
    return torch.where(hidden, filled, pictures)


def save_voice_net(net: VoiceNet, path: Path, made_of: dict[str, list[str]]) -> None:
    """A checkpoint, with the names of the recordings that it learned from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    torch.save({"kind": _KIND, "weights": net.state_dict(), "made_of": made_of}, temporary)
    temporary.replace(path)


def read_voice_net(path: Path) -> tuple[VoiceNet, dict[str, list[str]]]:
    """(net, what it was made of); ModelError when it is not such a checkpoint."""
    try:
        content = torch.load(path, weights_only=True)
        net = VoiceNet()
        if content["kind"] != _KIND:
            raise KeyError(content["kind"])
        net.load_state_dict(content["weights"])
        return net.eval(), content["made_of"]
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path} is no checkpoint of `birdrec train voice` ({error})") from error
