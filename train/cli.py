"""`birdrec train`: torch is imported when a command runs, not when help is shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from recorder.errors import UsageError

app = typer.Typer(
    help="Train a model on your own weakly labelled recordings (needs the extra `train`).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog="Example: birdrec train fit train/configs/puerto_rico.toml --out runs/pr")
def fit(
    config: Annotated[Path, typer.Argument(help="A TOML file; see train/configs/.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and log.jsonl.")],
    step: Annotated[
        int, typer.Option(help="1 weak labels, 2 segment, 3 shift to soundscapes.")
    ] = 1,
    pseudo_labels: Annotated[
        Path | None, typer.Option(help="What `pseudo-label` wrote, for steps 2 and 3.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="A checkpoint or a bundle to start from.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the configuration's.")] = None,
) -> None:
    """Train a net; the same command goes on from the last checkpoint.

    Under `torchrun` several processes share the work.
    """
    # Threads that wait in a loop slow down everything when a core is shared; this must be set
    # before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from train.config_file import read_config
    from train.learning.loop import fit as run

    chosen = read_config(config, step, {"pseudo_labels": pseudo_labels, "init_from": init}, seed)
    typer.echo(run(chosen, config, out, say=lambda line: typer.echo(line, err=True)))


@app.command(
    epilog="Example: birdrec train distil my.toml --teacher a.pt --teacher b.pt --out runs/student"
)
def distil(
    config: Annotated[Path, typer.Argument(help="A TOML file, as for `fit`.")],
    teacher: Annotated[list[Path], typer.Option(help="A checkpoint or a bundle; give several.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and log.jsonl.")],
    init: Annotated[
        Path | None, typer.Option(help="A checkpoint or a bundle to start from.")
    ] = None,
) -> None:
    """Train one net to say what several say on average, on the same scenes."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from train.config_file import read_config
    from train.learning.loop import fit as run

    chosen = read_config(config, given={"teachers": teacher, "init_from": init})
    typer.echo(run(chosen, config, out, say=lambda line: typer.echo(line, err=True)))


@app.command(
    epilog="Example: birdrec train average runs/all/best.pt runs/part/best.pt --out mean.pt"
)
def average(
    nets: Annotated[
        list[Path], typer.Argument(help="Checkpoints or bundles; the first is a checkpoint.")
    ],
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")],
) -> None:
    """Write the mean of the weights of nets that come from one another (by --init).

    It may err less than each of them. Nets that were begun apart have no mean that knows anything.
    """
    from train.learning.soup import write_soup

    typer.echo(write_soup(nets, out, say=lambda line: typer.echo(line, err=True)))


@app.command(epilog="Example: birdrec train pseudo-label run*/best.pt --dataset DATA --out pseudo")
def pseudo_label(
    checkpoints: Annotated[list[Path], typer.Argument(help="One or more nets of each fold.")],
    dataset: Annotated[Path, typer.Option(help="What they were trained on.")],
    out: Annotated[Path, typer.Option(help="Folder for the pseudo labels.")],
    folds: Annotated[
        Path | None, typer.Option(help="The table of folds [default: DATASET/folds.csv].")
    ] = None,
    hand_labels: Annotated[
        Path | None, typer.Option(help="As in training [default: DATASET/hand_labels.csv].")
    ] = None,
) -> None:
    """Let each net say where birds call in the clips that its fold held out."""
    from train.learning.out_of_fold import write_pseudo_labels

    done = write_pseudo_labels(
        checkpoints,
        dataset,
        out,
        folds=folds,
        hand_labels=hand_labels,
        say=lambda line: typer.echo(line, err=True),
    )
    for net, path in zip(done["nets"], checkpoints, strict=True):
        typer.echo(f"{path}: fold {net['fold']}, {net['clips_read']} clips")
    typer.echo(str(out))


@app.command(epilog="Example: birdrec train folds DATA --folds 5")
def folds(
    dataset: Annotated[Path, typer.Argument(help="A BirdCLEF layout, or a folder per species.")],
    count: Annotated[int, typer.Option("--folds", help="How many.")] = 5,
    seed: Annotated[
        int, typer.Option(help="Deals out the sessions when there are no folds yet.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(help="The table [default: DATASET/folds.csv].")
    ] = None,
) -> None:
    """Write a fold for each clip: stratified by label, never splitting a session.

    Clips that have a fold in the table keep it; new ones are added.
    """
    from train.clips.dataset import key, read_dataset
    from train.clips.folds import FOLDS, make_folds, read_folds, write_folds

    path = out or dataset / FOLDS
    data = read_dataset(dataset)
    for line in data.problems():
        typer.echo(line, err=True)
    kept = read_folds(path).of if path.is_file() else {}
    made = make_folds(data, count, seed=seed, kept=kept)
    write_folds(path, made, data.clips)
    table = made.table(data.clips)
    total = [sum(row[fold] for row in table.values()) for fold in range(count)]
    for label, row in [("label", range(count)), *table.items(), ("all", total)]:
        typer.echo(f"{label:32s}" + "".join(f"{number:6d}" for number in row))
    lonely = [label for label, row in table.items() if sum(number > 0 for number in row) < 2]
    if lonely:
        typer.echo(f"in one fold alone, so never both learned and judged: {', '.join(lonely)}")
    new = sum(key(clip) not in kept for clip in data.clips)
    typer.echo(f"{path}: {len(data.clips)} clips, {new} of them new")


@app.command(
    epilog="Example: birdrec train reproduce DATA --noise NOISE --out runs/table2 --seeds 3"
)
def reproduce(
    dataset: Annotated[Path, typer.Argument(help="Clips and labelled soundscapes.")],
    out: Annotated[Path, typer.Option(help="Nets, experiments.jsonl, table2.md, figures.json.")],
    noise: Annotated[
        list[Path] | None, typer.Option(help="Recorded backgrounds; may be given again.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How often each net is trained.")] = 3,
    folds: Annotated[int, typer.Option(help="Of the clips, by session.")] = 3,
    steps: Annotated[int, typer.Option(help="Of each training, 32 chunks a step.")] = 800,
    exclude_label: Annotated[
        list[str] | None, typer.Option(help="No class of the nets; may be given again.")
    ] = None,
    exclude_noise: Annotated[
        list[str] | None,
        typer.Option(help="Backgrounds with this word in their name do not train."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(help="Trainings beside each other [default: the cores]", show_default=False),
    ] = 0,
    row: Annotated[
        list[str] | None,
        typer.Option(help="Only rows whose title holds this; may be given again."),
    ] = None,
    large: Annotated[
        bool, typer.Option("--large", help="Rows of ResNeXt50 and ResNeSt50, too: for a GPU.")
    ] = False,
) -> None:
    """Train and score all rows of the paper's Table 2; the same command goes on where it was.

    24 trainings a seed: about ten hours for three seeds on two cores of 2024.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from train.table2.setting import Setting
    from train.table2.table import reproduce as run

    if min(seeds, folds - 1, steps) < 1 or jobs < 0:
        raise UsageError("--seeds, --steps and --jobs must be 1 or more, --folds 2 or more")
    cores = len(os.sched_getaffinity(0))
    setting = Setting(
        dataset,
        tuple(noise or ()),
        out,
        seeds,
        folds,
        steps,
        labels_excluded=tuple(exclude_label or ()),
        noise_excluded=tuple(exclude_noise or ()),
        jobs=jobs or cores,
    )
    path = run(setting, row or (), lambda line: typer.echo(line, err=True), large=large)
    typer.echo(path.read_text(encoding="utf-8") + str(path))


@app.command(
    epilog="Example: birdrec train voice VOICES --other BIRDS --other NOISE --out voice.pt"
)
def voice(
    voices: Annotated[Path, typer.Argument(help="Folder of recordings of people who speak.")],
    other: Annotated[
        list[Path], typer.Option(help="Folder of everything else; may be given again.")
    ],
    out: Annotated[Path, typer.Option(help="The checkpoint.")],
    exclude: Annotated[
        list[str] | None, typer.Option(help="Recordings with this word in their path are left out.")
    ] = None,
    scenes: Annotated[int, typer.Option(help="Composed, 7.5 s each.")] = 12_000,
    epochs: Annotated[int, typer.Option(help="How often they are gone through.")] = 8,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 1,
) -> None:
    """Train the net that hears people, for sound that must not be kept (docs/privacy.md)."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from train.voice.fit import VoiceTraining, train_voice

    if min(scenes // 100, epochs) < 1:
        raise UsageError("--scenes must be 100 or more, --epochs 1 or more")
    config = VoiceTraining(scenes, epochs, seed=seed, jobs=len(os.sched_getaffinity(0)))
    train_voice(
        [voices], other, exclude or (), config, out, lambda line: typer.echo(line, err=True)
    )
    typer.echo(out)


@app.command(epilog="Example: birdrec train score seg/best.pt cls/best.pt --dataset DATA --out OUT")
def score(
    checkpoints: Annotated[list[Path], typer.Argument(help="Segmenters, classifiers, or both.")],
    dataset: Annotated[Path, typer.Option(help="Folder with labelled soundscapes.")],
    out: Annotated[Path, typer.Option(help="For `birdrec train evaluate`.")],
) -> None:
    """Score labelled soundscapes with checkpoints as they are; several are averaged (§2.5)."""
    from train.judging.ensemble import score_soundscapes

    threshold = score_soundscapes(
        checkpoints, dataset, out, say=lambda line: typer.echo(line, err=True)
    )
    typer.echo(f"{out}: threshold {threshold:.3f}, tuned on these soundscapes")


@app.command(epilog="Example: birdrec train evaluate birdrec-out --dataset DATA")
def evaluate(
    out: Annotated[Path, typer.Argument(help="What `birdrec scan --scores` wrote.")],
    dataset: Annotated[Path, typer.Option(help="Folder with the labels (BirdCLEF layout).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Folder for report.html and report.json.")
    ] = None,
    pseudo_labels: Annotated[
        list[Path] | None,
        typer.Option(help="Pseudo labels to show in the report; may be given for each step."),
    ] = None,
) -> None:
    """Compare a scan of labelled soundscapes with the truth."""
    from train.judging.evaluate import evaluate_scan
    from train.judging.report import PAGE, write_report

    if pseudo_labels and not report:
        raise UsageError("--pseudo-labels are shown in a report: give --report as well")
    if report:
        result = write_report(out, dataset, report, pseudo_labels or ())
    else:
        result = evaluate_scan(out, dataset)
    if report:
        typer.echo(f"report: {report / PAGE}", err=True)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=1))
        return
    typer.echo(f"{result.scores}; always nocall: row-wise F1 {result.nocall_row_f1:.3f}")
    ends = ", ".join(f"{name} {a:.3f}-{b:.3f}" for name, (a, b) in result.intervals.items())
    typer.echo(f"95 % by a bootstrap over the soundscapes: {ends}")
    shares = ", ".join(f"{a} {f1:.3f}" for a, f1 in result.row_f1_at_nocall_share.items())
    typer.echo(f"row-wise F1 at other shares of nocall: {shares}")
    if result.bird_auc is not None:
        typer.echo(f"any bird, call against nocall: AUC {result.bird_auc:.3f}")
    for label, figures in result.species.items():
        ap, auc = figures["average_precision"], figures["auc"]
        typer.echo(f"{label:28s} {figures['rows']:4.0f} rows  AP {ap:.3f}  AUC {auc:.3f}")
