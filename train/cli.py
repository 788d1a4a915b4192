"""`birdrec train`: torch is imported when a command runs, not when help is shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Train a model on your own weakly labelled recordings (needs the extra `train`).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog="Example: birdrec train fit train/configs/puerto_rico.toml --out runs/pr")
def fit(
    config: Annotated[Path, typer.Argument(help="A TOML file; see train/configs/.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint and log.jsonl.")],
) -> None:
    """Train the segmenter; the same command goes on from the last checkpoint."""
    # Threads that wait in a loop slow down everything when a core is shared; this must be set
    # before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from train.config import read_config
    from train.loop import fit as run

    typer.echo(run(read_config(config), config, out, say=lambda line: typer.echo(line, err=True)))


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
    from train.dataset import key, read_dataset
    from train.folds import FOLDS, make_folds, read_folds, write_folds

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


@app.command(epilog="Example: birdrec train evaluate birdrec-out --dataset DATA")
def evaluate(
    out: Annotated[Path, typer.Argument(help="What `birdrec scan --scores` wrote.")],
    dataset: Annotated[Path, typer.Option(help="Folder with the labels (BirdCLEF layout).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare a scan of labelled soundscapes with the truth."""
    from train.evaluate import evaluate_scan

    result = evaluate_scan(out, dataset)
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
