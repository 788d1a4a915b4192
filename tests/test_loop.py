"""The training loop: what it writes down, and that a stopped run ends as an unbroken one."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from toylab import TINY, write_lab

from recorder.detect.mel import MelConfig, samples_needed
from recorder.errors import ConfigError, UsageError
from train.clips.dataset import Clip
from train.clips.recordings import Recording
from train.learning import loop
from train.learning.checkpoint import WeightAverage
from train.learning.loop import SceneBatches, fit
from train.learning.objective import Batch, Objective, precision
from train.material.made_of import made_of
from train.nets.augment import draw_seed
from train.nets.build import new_net
from train.scenes.render_torch import TorchRenderer
from train.scenes.scene import Scene

CONFIG = replace(
    TINY, steps=4, batch_chunks=4, warmup_steps=2, evaluate_every=2, dropout=0.1, skip_attention=0.2
)


class _PowerCutError(Exception):
    """The machine went down."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset `data` and its `noise`."""
    return write_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def unbroken(lab: Path) -> Path:
    """The checkpoint of four steps at once."""
    return fit(CONFIG, lab / "toy.toml", lab / "unbroken")


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def _log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def _cut_after_first(save: Callable[..., None]) -> Callable[..., None]:
    def saved(*arguments: Any, **options: Any) -> None:
        save(*arguments, **options)
        raise _PowerCutError

    return saved


def test_a_checkpoint_holds_all_that_export_and_resume_need(unbroken: Path) -> None:
    content = _content(unbroken)
    assert content["step"] == 4
    assert content["config"] == CONFIG.to_dict()
    assert content["labels"] == content["core"] == ["toy_trill", "toy_upsweep"]
    assert content["segmenter"]["classes"] == 2
    assert content["names"]["toy_trill"] == ("Toy trill", "Toy Trill")
    assert {len(source) for source in content["sources"]} == {5}
    assert len(content["sources"]) == 4  # two of three sessions, two species
    assert content["net"].keys() == content["average"].keys()
    assert content["optimizer"]["state"]


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("model", ["segmenter", "classifier"])
def test_batch_normalisation_learns_where_it_shall(
    lab: Path, tmp_path: Path, model: str, learns: bool
) -> None:
    config = replace(CONFIG, model=model, steps=1, batch_norm=learns)
    content = _content(fit(config, lab / "toy.toml", tmp_path / "run"))
    counters = {name: int(value) for name, value in content["net"].items() if "num_batches" in name}
    assert len(counters) > 5
    assert set(counters.values()) == {int(learns)}


def test_the_log_has_a_line_of_scores_for_every_evaluation(unbroken: Path) -> None:
    scored = [entry for entry in _log(unbroken.parent) if "pooled_f1" in entry]
    assert [entry["step"] for entry in scored] == [2, 4]
    assert all(0.0 < entry["threshold"] < 1.0 for entry in scored)


def test_no_temporary_file_stays_behind(unbroken: Path) -> None:
    names = sorted(path.name for path in unbroken.parent.iterdir())
    assert names == ["best.pt", "checkpoint.pt", "log.jsonl", "material.json"]


def test_a_run_that_was_stopped_ends_with_the_weights_of_an_unbroken_one(
    lab: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = lab / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save", _cut_after_first(loop.save))
        with pytest.raises(_PowerCutError):
            fit(CONFIG, lab / "toy.toml", out)
    assert _content(out / "checkpoint.pt")["step"] == 2
    resumed, whole = _content(fit(CONFIG, lab / "toy.toml", out)), _content(unbroken)
    assert resumed["step"] == 4
    for name, weights in whole["net"].items():
        torch.testing.assert_close(resumed["net"][name], weights, atol=1e-6, rtol=1e-5)
    for name, weights in whole["average"].items():
        torch.testing.assert_close(resumed["average"][name], weights, atol=1e-6, rtol=1e-5)


def test_the_best_checkpoint_is_kept_beside_the_last_one(lab: Path, tmp_path: Path) -> None:
    sums = iter([0.5, 0.9, 0.7, 0.8])

    class Fickle:
        def judge(self, _: torch.nn.Module) -> dict[str, float]:
            value = next(sums)
            names = ("threshold", "row_f1", "pooled_f1", "cmap", "macro_auc")
            return dict.fromkeys(names, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_judge", lambda *_: Fickle())
        fit(replace(CONFIG, evaluate_every=1), lab / "toy.toml", tmp_path)
    assert (
        _content(tmp_path / "best.pt")["step"],
        _content(tmp_path / "checkpoint.pt")["step"],
    ) == (2, 4)


def test_a_full_disk_leaves_the_checkpoint_before_it_and_the_run_goes_on_later(
    lab: Path, unbroken: Path, tmp_path: Path
) -> None:
    written = 0

    def full(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written == 3:  # after the checkpoint of step 2 and its copy
            raise OSError(errno.ENOSPC, "No space left on device")
        os_fsync(descriptor)

    os_fsync = os.fsync
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match=r"step 4 .*No space left.*the one before it stands"):
            fit(CONFIG, lab / "toy.toml", tmp_path)
    assert _content(tmp_path / "checkpoint.pt")["step"] == 2
    assert not list(tmp_path.glob("*.tmp"))
    path = fit(CONFIG, lab / "toy.toml", tmp_path)
    for name, weights in _content(unbroken)["average"].items():
        assert torch.equal(_content(path)["average"][name], weights)


def test_a_folder_that_cannot_be_written_to_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(UsageError, match="cannot be written to"):
            fit(CONFIG, tmp_path / "toy.toml", out)


def test_other_classes_do_not_go_on_from_the_checkpoint(
    lab: Path, unbroken: Path, tmp_path: Path
) -> None:
    content = {**_content(unbroken), "labels": ["toy_trill", "wren"]}
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(ConfigError, match=r"other classes .*wren"):
        fit(CONFIG, lab / "toy.toml", tmp_path)


@pytest.mark.parametrize("every", [1, 2])
def test_a_training_that_diverges_stops_with_the_checkpoint_before_it(
    lab: Path, tmp_path: Path, every: int
) -> None:
    """Whether the judge meets the numbers that are none first, or the loss."""
    config = replace(TINY, steps=50, evaluate_every=every, learning_rate=1e-3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_schedule", lambda step, _: 1.0 if step < 2 else 1e33)
        with pytest.raises(ConfigError, match=r"toy diverged: at step \d+ .* below 0\.001"):
            fit(config, lab / "toy.toml", tmp_path)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["step"] == 2
    assert all(torch.isfinite(one).all() for one in content["average"].values())


def test_a_finished_run_is_not_run_again(lab: Path, unbroken: Path) -> None:
    before = unbroken.read_bytes()
    assert fit(CONFIG, lab / "toy.toml", unbroken.parent) == unbroken
    assert unbroken.read_bytes() == before


def test_another_configuration_does_not_go_on_from_the_checkpoint(
    lab: Path, unbroken: Path
) -> None:
    with pytest.raises(ConfigError, match="another configuration"):
        fit(replace(CONFIG, learning_rate=1e-4), lab / "toy.toml", unbroken.parent)
    assert _content(unbroken)["config"] == CONFIG.to_dict()


def test_init_from_starts_with_the_averaged_weights_of_another_run(
    lab: Path, unbroken: Path
) -> None:
    config = replace(
        CONFIG, init_from="unbroken/checkpoint.pt", steps=1, learning_rate=0.0, weight_decay=0.0
    )
    begun = _content(fit(config, lab / "toy.toml", lab / "second"))
    start = _content(unbroken)["average"]
    name = "head.classify.weight"
    torch.testing.assert_close(begun["net"][name], start[name])


def test_an_excluded_label_is_no_class_and_none_of_its_clips_is_used(lab: Path) -> None:
    config = replace(CONFIG, labels_excluded=("toy_trill",), steps=1)
    content = _content(fit(config, lab / "toy.toml", lab / "excluded"))
    assert content["labels"] == content["core"] == ["toy_upsweep"]
    assert {source[1] for source in content["sources"]} == {"toy_upsweep"}


@pytest.mark.parametrize(
    ("name", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_a_named_precision_is_taken_at_its_word(name: str, expected: torch.dtype) -> None:
    assert precision(replace(CONFIG, precision=name)) == expected


def test_the_two_precisions_start_with_almost_the_same_loss() -> None:
    losses = []
    for name in ("float32", "bfloat16"):
        config = replace(CONFIG, precision=name)
        torch.manual_seed(0)
        objective = Objective(new_net(config, 2, MelConfig()), config, MelConfig())
        samples = 0.1 * torch.randn(2, samples_needed(16, MelConfig()))
        rows, tokens = torch.ones(2, 1, 2), torch.ones(2, 16, 2)
        batch = Batch(samples, rows, rows, torch.tensor([True, False]), tokens, tokens)
        losses.append(objective(batch, 0).item())
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_a_batch_depends_on_its_number_and_the_seed_alone() -> None:
    class Maker:
        def make(self, rng: np.random.Generator, chunks: int) -> Any:
            rows, tokens = np.zeros((chunks, 2), np.float32), np.zeros((16 * chunks, 2), np.float32)
            return Scene(rng, rows, rows, False, tokens, tokens)  # type: ignore[arg-type]

        def render(self, scene: Scene) -> Any:
            length = samples_needed(len(scene.token_target), MelConfig())
            return scene.draft.standard_normal(length, np.float32)  # type: ignore[attr-defined]

    config = replace(CONFIG, scene_chunks=(1, 2, 4), scene_chances=(0.5, 0.25, 0.25), steps=20)
    batches: Any = SceneBatches(Maker(), config)  # type: ignore[arg-type]
    backwards = [batches[step][0] for step in reversed(range(20))][::-1]
    for step in range(20):
        samples, target, _, weak, *_ = batches[step][0]
        torch.testing.assert_close(samples, backwards[step][0])
        assert target.shape[0] * target.shape[1] == config.batch_chunks
        assert weak.dtype == torch.bool
    assert {batch[1].shape[1] for batch in backwards} == {1, 2, 4}
    other: Any = SceneBatches(Maker(), replace(config, seed=2))  # type: ignore[arg-type]
    assert not torch.equal(other[0][0][0].flatten()[:99], backwards[0][0].flatten()[:99])


def test_a_net_learns_the_same_from_scenes_that_a_gpu_makes(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here on a CPU; nothing is played faster, which the two renderers do a little differently."""
    unvaried = replace(CONFIG.scenes, vary=replace(CONFIG.scenes.vary, speed_chance=0.0))
    config = replace(CONFIG, scenes=unvaried, precision="float32")
    losses: list[float] = []
    learn = loop._learn
    monkeypatch.setattr(loop, "_learn", lambda *given: losses.append(learn(*given)) or losses[-1])
    fit(config, lab / "toy.toml", tmp_path / "cpu")
    monkeypatch.setattr(
        loop,
        "_renderer",
        lambda made, device, _: TorchRenderer(made.recordings, made.noise, device),
    )
    fit(config, lab / "toy.toml", tmp_path / "gpu")
    assert len(losses) == 8
    assert len(set(losses[:4])) == 4
    np.testing.assert_allclose(losses[4:], losses[:4], rtol=1e-3)


def test_scenes_are_made_by_the_cpu_where_recordings_do_not_fit_on_the_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = np.zeros(32_000, np.int16)
    recording = Recording(Clip(Path("a.ogg"), "a"), second, np.zeros(102, np.float32), second)
    material: Any = SimpleNamespace(recordings=[recording], noise=[])
    said: list[str] = []
    assert loop._renderer(material, torch.device("cpu"), said.append) is None
    assert not said
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (400_000, 1_000_000))
    assert loop._renderer(material, torch.device("cuda"), said.append) is None
    assert "slower" in said[0]


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    config = replace(CONFIG, steps=100, warmup_steps=10)
    rates = [loop._schedule(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9]
    assert all(a >= b for a, b in pairwise(rates[9:]))
    assert rates[-1] < 0.001


def test_a_young_average_follows_and_an_old_one_holds_still() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    average = WeightAverage(net, decay=0.9)
    torch.nn.init.ones_(net.weight)
    average.update(net)
    assert float(average.net.state_dict()["weight"]) == pytest.approx(1.0 - 1.0 / 11.0)
    for _ in range(200):
        average.update(net)
    torch.nn.init.constant_(net.weight, 2.0)
    average.update(net)
    assert float(average.net.state_dict()["weight"]) == pytest.approx(1.1, abs=1e-4)


def test_an_average_copies_counters_and_leaves_the_net_alone() -> None:
    net = torch.nn.BatchNorm1d(2).train()
    average = WeightAverage(net, decay=0.9)
    net(torch.randn(8, 2))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    average.update(net)
    assert int(average.net.state_dict()["num_batches_tracked"]) == 1
    assert not average.net.training
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_the_best_of_another_run_does_not_stay_behind(
    lab: Path, unbroken: Path, tmp_path: Path
) -> None:
    content = {**_content(unbroken), "figures": dict.fromkeys(
        ("threshold", "row_f1", "pooled_f1", "cmap", "macro_auc"), 1.0
    )}  # fmt: skip
    torch.save(content, tmp_path / "best.pt")
    fit(replace(CONFIG, seed=9, steps=1), lab / "toy.toml", tmp_path)
    assert _content(tmp_path / "best.pt")["config"]["seed"] == 9


def test_a_best_checkpoint_that_a_power_cut_kept_from_being_copied_is_copied_later(
    lab: Path, unbroken: Path, tmp_path: Path
) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(unbroken.read_bytes())
    fit(CONFIG, lab / "toy.toml", tmp_path)
    assert _content(tmp_path / "best.pt")["step"] == 4


@pytest.mark.parametrize("kept", [0, 1000, -1000])
def test_a_damaged_best_checkpoint_counts_as_absent(
    lab: Path, unbroken: Path, tmp_path: Path, kept: int
) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(unbroken.read_bytes())
    (tmp_path / "best.pt").write_bytes(unbroken.read_bytes()[:kept])
    fit(CONFIG, lab / "toy.toml", tmp_path)
    assert _content(tmp_path / "best.pt")["step"] == 4


def test_an_unknown_backbone_is_told_before_anything_is_decoded(tmp_path: Path) -> None:
    config = replace(CONFIG, backbone="slim11", dataset="nowhere")
    with pytest.raises(ConfigError, match="unknown backbone 'slim11'"):
        fit(config, tmp_path / "toy.toml", tmp_path / "out")


def test_other_clips_do_not_go_on_from_the_checkpoint(
    lab: Path, unbroken: Path, tmp_path: Path
) -> None:
    content = _content(unbroken)
    torch.save({**content, "clips": content["clips"][1:]}, tmp_path / "checkpoint.pt")
    with pytest.raises(ConfigError, match=r"was trained on other clips \(1 differ"):
        fit(CONFIG, lab / "toy.toml", tmp_path)


def test_figures_that_are_not_defined_do_not_hide_the_others() -> None:
    nan = float("nan")
    assert loop._quality({"row_f1": 0.5, "pooled_f1": 0.25, "cmap": nan, "macro_auc": nan}) == 0.75


def test_other_files_of_the_same_names_do_not_go_on_from_the_checkpoint(
    lab: Path, unbroken: Path, tmp_path: Path
) -> None:
    """Backgrounds and tables may change between two starts, while the configuration does not."""
    content = _content(unbroken)
    for what in ("recordings", "backgrounds", "hand labels", "pseudo labels"):
        changed = {**content["made_of"], what: "other"}
        torch.save({**content, "made_of": changed}, tmp_path / "checkpoint.pt")
        with pytest.raises(ConfigError, match=f"was trained with other {what}"):
            fit(CONFIG, lab / "toy.toml", tmp_path)


def test_what_a_training_is_made_of_changes_with_its_files(tmp_path: Path) -> None:
    config = replace(CONFIG, pseudo_labels="pseudo")
    for folder in ("noise", "pseudo", "data"):
        (tmp_path / folder).mkdir()
    clip = Clip(tmp_path / "noise" / "a.wav", "wren")
    files = {
        "backgrounds": "noise/b.wav",
        "hand labels": "data/hand_labels.csv",
        "pseudo labels": "pseudo/pseudo_labels.json",
        "recordings": "noise/a.wav",
    }
    for name in files.values():
        (tmp_path / name).write_text("before")
    before = made_of(config, tmp_path, tmp_path / "data", [clip])
    assert made_of(config, tmp_path, tmp_path / "data", [clip]) == before
    for what, name in files.items():
        (tmp_path / name).write_text("afterwards")
        after = made_of(config, tmp_path, tmp_path / "data", [clip])
        changed = {one for one in before if before[one] != after[one]}
        # The recording lies among the backgrounds here.
        assert changed - ({"backgrounds"} if what == "recordings" else set()) == {what}
        before = after


def test_seeds_and_steps_share_no_draws() -> None:
    drawn = {
        draw_seed(seed, step, what) for seed in range(9) for step in range(9) for what in (0, 1)
    }
    assert len(drawn) == 162
