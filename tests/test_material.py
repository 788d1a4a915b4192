"""What a training works with: what is used, what is not, and that both are told."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from toylab import TINY, write_lab

from recorder.detect.mel import MelConfig
from recorder.errors import ConfigError
from train.clips.dataset import Clip, Dataset, key, read_dataset
from train.clips.folds import divided, make_folds, write_folds
from train.learning.loop import fit
from train.material.gather import gather

CONFIG = dataclasses.replace(TINY, any_bird=True)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return write_lab(tmp_path, clips_per_species=4)


def _clips(lab: Path) -> list[Path]:
    return sorted((lab / "data" / "train_short_audio").rglob("*.ogg"))


def test_everything_is_used_and_there_is_nothing_to_say(lab: Path) -> None:
    said: list[str] = []
    material = gather(CONFIG, lab / "toy.toml", MelConfig(), say=said.append)
    assert said == ["judged by labelled soundscapes"]
    assert material.labels == [*material.core, "bird"]
    assert material.account["clips_used"] == dict.fromkeys(material.core, 3)
    assert len(material.clips) == 6


def test_a_corrupt_clip_is_told_and_the_rest_is_used(lab: Path) -> None:
    broken, gone, *_ = _clips(lab)
    broken.write_bytes(b"not a sound")
    gone.unlink()
    said: list[str] = []
    material = gather(CONFIG, lab / "toy.toml", MelConfig(), say=said.append)
    assert len(material.clips) == 4
    told = "\n".join(said)
    assert gone.name in told
    assert f"1 clip cannot be used:\n  {broken}: not audio" in told
    assert list(material.account["unusable"]) == [str(broken)]
    assert material.account["listed_without_audio"] == [str(gone)]


def test_a_label_that_lost_all_its_clips_is_no_class(lab: Path) -> None:
    first = _clips(lab)[0].parent.name
    for path in _clips(lab):
        if path.parent.name == first:
            path.write_bytes(b"not a sound")
    said: list[str] = []
    material = gather(CONFIG, lab / "toy.toml", MelConfig(), say=said.append)
    assert first not in material.labels
    assert any(line.startswith("no clip to train on") and first in line for line in said)
    assert any("and 1 more" in line or "cannot be used" in line for line in said)


def test_no_clip_at_all_is_an_error(lab: Path) -> None:
    for path in _clips(lab):
        path.write_bytes(b"not a sound")
    with pytest.raises(ConfigError, match="none of the 6 clips"):
        gather(CONFIG, lab / "toy.toml", MelConfig(), say=lambda _: None)


def test_without_a_split_every_clip_trains(lab: Path) -> None:
    (lab / "data" / "split_by_session.csv").unlink()
    dataset = read_dataset(lab / "data")
    train, held_out = divided(dataset, -1, ())
    assert (len(train), held_out) == (8, [])
    assert {clip.label for clip in divided(dataset, -1, ["toy_trill"])[0]} < {
        clip.label for clip in dataset.clips
    }


def test_a_split_tells_equal_file_names_apart_by_their_label(tmp_path: Path) -> None:
    (tmp_path / "split_by_session.csv").write_text(
        "filename,primary_label,split\na/1.ogg,a,train\nb/1.ogg,b,val\n2.ogg,b,train\n"
    )
    clips = tuple(
        Clip(tmp_path / label / name, label)
        for label, name in (("a", "1.ogg"), ("b", "1.ogg"), ("b", "2.ogg"), ("b", "3.ogg"))
    )
    train, held_out = divided(Dataset(tmp_path, clips), -1, ())
    assert [key(clip) for clip in train] == ["a/1.ogg", "b/2.ogg"]
    assert [key(clip) for clip in held_out] == ["b/1.ogg"]


def test_a_fold_is_held_out_and_what_the_split_marks_val_stays_out(lab: Path) -> None:
    dataset = read_dataset(lab / "data")
    folds = make_folds(dataset, 2, seed=1, kept={})
    write_folds(lab / "data" / "folds.csv", folds, dataset.clips)
    _, val = divided(dataset, -1, ())
    train, held_out = divided(dataset, 1, ())
    assert {folds.of[key(clip)] for clip in held_out} == {1}
    assert {folds.of[key(clip)] for clip in train} == {0}
    assert len(train) + len(held_out) == 6
    assert len(val) == 2
    assert set(val).isdisjoint(train)
    assert set(val).isdisjoint(held_out)


def test_what_the_split_holds_out_trains_where_it_is_asked_to(lab: Path) -> None:
    dataset = read_dataset(lab / "data")
    train, held_out = divided(dataset, -1, (), with_val=True)
    assert (len(train), held_out) == (8, [])
    folds = make_folds(dataset, 2, seed=1, kept={})
    write_folds(lab / "data" / "folds.csv", folds, dataset.clips)
    train, held_out = divided(dataset, 1, (), with_val=True)
    assert {folds.of[key(clip)] for clip in held_out} == {1}
    assert {*train, *held_out} == set(dataset.clips)


def test_soundscapes_of_what_trains_do_not_judge(lab: Path) -> None:
    everything = dataclasses.replace(CONFIG, train_on_val=True)
    said: list[str] = []
    material = gather(everything, lab / "toy.toml", MelConfig(), say=said.append)
    assert len(material.clips) == 8
    assert material.jury.soundscapes == material.jury.recordings == []
    assert said[0].startswith("judged by nothing: labelled soundscapes may be made of what trains")
    dataset = read_dataset(lab / "data")
    folds = make_folds(dataset, 2, seed=1, kept={})
    write_folds(lab / "data" / "folds.csv", folds, dataset.clips)
    in_turn = dataclasses.replace(everything, fold=1)
    material = gather(in_turn, lab / "toy.toml", MelConfig(), say=lambda _: None)
    judging = {key(one.clip) for one in material.jury.recordings}
    assert judging == {name for name, fold in folds.of.items() if fold == 1}
    assert judging.isdisjoint(key(clip) for clip in material.clips)


def test_a_fold_that_is_not_there_is_an_error(lab: Path) -> None:
    dataset = read_dataset(lab / "data")
    with pytest.raises(ConfigError, match="run birdrec train folds"):
        divided(dataset, 0, ())
    folds = make_folds(dataset, 2, seed=1, kept={})
    write_folds(lab / "data" / "folds.csv", folds, dataset.clips)
    with pytest.raises(ConfigError, match="folds 0 to 1"):
        divided(dataset, 2, ())
    write_folds(lab / "data" / "folds.csv", folds, dataset.clips[1:])
    with pytest.raises(ConfigError, match="lacks 1 clips, the first toy_"):
        divided(dataset, 0, ())


def test_a_hand_label_of_no_clip_is_told(lab: Path) -> None:
    (lab / "data" / "hand_labels.csv").write_text(
        'row_id,human_voice,nocall,t_range\nwren/XC1.ogg,1,0,"[[0,1]]"\n'
    )
    said: list[str] = []
    gather(CONFIG, lab / "toy.toml", MelConfig(), say=said.append)
    assert "hand_labels.csv: wren/XC1.ogg is no clip" in said


def test_without_labelled_soundscapes_the_held_out_clips_are_the_jury(lab: Path) -> None:
    (lab / "data" / "train_soundscapes").rename(lab / "elsewhere")
    for number in range(3):
        copy = lab / "noise" / f"copy_{number}.ogg"
        copy.write_bytes(next((lab / "noise").rglob("*.ogg")).read_bytes())
    material = gather(CONFIG, lab / "toy.toml", MelConfig(), say=lambda _: None)
    assert len(material.jury.recordings) == 2
    assert "2 held-out recordings of 2 labels" in material.jury.words
    # Seven backgrounds: the first and the sixth judge, and do not train.
    assert (len(material.jury.noise), len(material.noise)) == (2, 5)
    used = {one.clip.path for one in material.recordings}
    assert used.isdisjoint(one.clip.path for one in material.jury.recordings)


def test_a_folder_a_species_trains_and_says_what_judges_it(
    lab: Path,
) -> None:
    audio = lab / "data" / "train_short_audio"
    audio.rename(lab / "birds")
    config = dataclasses.replace(CONFIG, dataset="birds", steps=2)
    said: list[str] = []
    checkpoint = fit(config, lab / "toy.toml", lab / "out", say=said.append)
    assert checkpoint.is_file()
    assert (
        "judged by nothing: no labelled soundscapes, and no recordings held out (give a fold)"
        in said
    )
    account = json.loads((lab / "out" / "material.json").read_text("utf-8"))
    assert sum(account["clips_used"].values()) == 8
    # With a fold held out the same folder is judged, and the checkpoint says by what.
    dataset = read_dataset(lab / "birds")
    write_folds(lab / "birds" / "folds.csv", make_folds(dataset, 2, seed=1, kept={}), dataset.clips)
    judged = fit(dataclasses.replace(config, fold=0), lab / "toy.toml", lab / "judged")
    content = torch.load(judged, weights_only=True)
    assert "soundscapes composed from" in content["judged_by"]
    assert 0 < content["figures"]["threshold"] < 1


def test_held_out_clips_judge_beside_labelled_soundscapes_when_that_is_asked_for(lab: Path) -> None:
    config = dataclasses.replace(CONFIG, judge="composed")
    material = gather(config, lab / "toy.toml", MelConfig(), say=lambda _: None)
    assert not material.jury.soundscapes
    assert {one.clip.label for one in material.jury.recordings} == set(material.core)
    plain = gather(CONFIG, lab / "toy.toml", MelConfig(), say=lambda _: None)
    assert plain.jury.soundscapes
    assert not plain.jury.recordings


def test_with_a_cache_the_same_clips_are_read_from_disk(lab: Path) -> None:
    plain = gather(CONFIG, lab / "toy.toml", MelConfig(), say=print)
    cached = dataclasses.replace(CONFIG, cache="cache", cache_gb=0.1)
    for _ in range(2):
        again = gather(cached, lab / "toy.toml", MelConfig(), say=print)
        for one, other in zip(plain.recordings, again.recordings, strict=True):
            assert one.clip == other.clip
            assert (one.samples == other.samples).all()
            assert (one.loudness == other.loudness).all()
    assert len(list((lab / "cache").glob("*.raw"))) == len(plain.recordings)


def test_clips_that_the_split_forgot_are_told(lab: Path) -> None:
    path = lab / "data" / "split_by_session.csv"
    rows = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([rows[0], *rows[2:]]) + "\n")
    said: list[str] = []
    material = gather(CONFIG, lab / "toy.toml", MelConfig(), say=said.append)
    forgotten = f"{rows[1].split(',')[1]}/{rows[1].split(',')[0]}"
    assert (
        f"1 clips are in no part of split_by_session.csv, and not used: {forgotten} first" in said
    )
    assert material.account["in_no_part_of_the_split"] == [forgotten]


@pytest.mark.parametrize(("files", "judging"), [(1, 0), (2, 1), (4, 1)])
def test_few_backgrounds_are_shared_between_training_and_jury(
    lab: Path, files: int, judging: int
) -> None:
    for path in sorted((lab / "noise").rglob("*.ogg"))[files:]:
        path.unlink()
    config = dataclasses.replace(CONFIG, judge="composed")
    material = gather(config, lab / "toy.toml", MelConfig(), say=lambda _: None)
    assert (len(material.noise), len(material.jury.noise)) == (files - judging, judging)


def test_backgrounds_that_may_hold_birds_train_and_never_judge(lab: Path) -> None:
    config = dataclasses.replace(CONFIG, judge="composed", noise_unsure=("rain",))
    material = gather(config, lab / "toy.toml", MelConfig(), say=lambda _: None)
    assert [one.may_hold_birds for one in material.jury.noise] == [False]
    assert [one.may_hold_birds for one in material.noise] == [True, True, False]
