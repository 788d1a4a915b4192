"""`birdrec export`: torch is imported when a command runs, not when help is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recorder.errors import UsageError

app = typer.Typer(
    help="Turn a trained checkpoint into a model bundle (needs the extra `train`).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    """Keep `onnx` a subcommand while it is the only one."""


@app.command(epilog="Example: birdrec export onnx run/checkpoint.pt --dataset DATA --out my_model")
def onnx(
    checkpoint: Annotated[Path, typer.Argument(help="What `birdrec train fit` wrote.")],
    out: Annotated[Path, typer.Option(help="The bundle's folder; its name names the model.")],
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="Its labelled soundscapes tune the threshold [default: what judged the training]."
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="A threshold of your own, for all species.")
    ] = None,
    licence: Annotated[
        str, typer.Option(help="Of the weights [default: by the recordings'].")
    ] = "",
    notes: Annotated[
        Path | None, typer.Option(help="Markdown for the model card: limits, backgrounds, credits.")
    ] = None,
) -> None:
    """Write a bundle: two ONNX graphs, model.json with the tuned threshold, and a model card."""
    from export.bundle import write_bundle
    from train.checkpoint import read_checkpoint
    from train.judge import dataset_judge
    from train.soundscapes import read_soundscapes

    if threshold is not None and not 0.0 < threshold < 1.0:
        raise UsageError(f"--threshold {threshold} must lie between 0 and 1")
    text = _read_notes(notes)
    trained = read_checkpoint(checkpoint)
    figures, judged_by = trained.content.get("figures", {}), trained.content.get("judged_by", "")
    if dataset is not None:
        judge = dataset_judge(
            read_soundscapes(dataset, trained.core),
            trained.core,
            trained.mel,
            any_bird=trained.any_bird,
            model=trained.kind,
        )
        figures, judged_by = judge.judge(trained.net), f"the labelled soundscapes of {dataset.name}"
    if threshold is not None:
        figures = {**figures, "threshold": threshold}
    if "threshold" not in figures:
        raise UsageError(
            f"nothing judged {checkpoint}, so its threshold is not known: give --threshold, or "
            "--dataset with labelled soundscapes that tune it"
        )
    evaluation = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    bundle = write_bundle(
        trained,
        out,
        threshold=figures["threshold"],
        any_bird_threshold=figures.get("bird_threshold", 0.0),
        evaluation=f"{evaluation} (by {judged_by or 'nothing'})",
        licence=licence,
        notes=text,
    )
    size_mb = sum(entry["bytes"] for entry in bundle.details["files"].values()) / 1e6
    typer.echo(f"{bundle.path}: {len(bundle.labels)} species, {size_mb:.1f} MB, {evaluation}")


def _read_notes(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--notes {path} cannot be read as text ({error})") from error
