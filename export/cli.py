"""`birdrec export`: torch is imported when a command runs, not when help is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recorder.errors import ModelError, UsageError

app = typer.Typer(
    help="Turn a trained checkpoint into a model bundle (needs the extra `train`).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


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
    judged_as: Annotated[
        Path | None,
        typer.Option(
            help="Another checkpoint or bundle that is judged in its place: of the same training "
            "without the clips that judge (`train_on_val`)."
        ),
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
    from train.clips.dataset import read_dataset
    from train.clips.soundscapes import read_soundscapes
    from train.learning.ancestors import heard_of_held_out, read_net
    from train.learning.checkpoint import read_checkpoint
    from train.learning.judge import dataset_judge

    if threshold is not None and not 0.0 < threshold < 1.0:
        raise UsageError(f"--threshold {threshold} must lie between 0 and 1")
    text = _read_notes(notes)
    trained = read_checkpoint(checkpoint)
    judged = read_net(judged_as) if judged_as else trained
    figures, judged_by = judged.content.get("figures", {}), judged.content.get("judged_by", "")
    if dataset is not None:
        heard = heard_of_held_out([judged], read_dataset(dataset))
        if heard:
            raise UsageError(
                f"{heard}, and the labelled soundscapes of {dataset} may be made of them: they "
                "cannot judge it. Name the same training without them (--judged-as), or give "
                "--threshold instead of --dataset"
            )
        judge = dataset_judge(
            read_soundscapes(dataset, judged.core),
            judged.core,
            judged.mel,
            any_bird=judged.any_bird,
            model=judged.kind,
        )
        figures, judged_by = judge.judge(judged.net), f"the labelled soundscapes of {dataset.name}"
    if judged_as:
        judged_by += f"; of {judged_as.name}, which knew less: it was not trained on what judged it"
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


@app.command(epilog="Example: birdrec export quantize my_model --sound DATA --out my_model_int8")
def quantize(
    bundle: Annotated[Path, typer.Argument(help="A bundle with a float encoder.")],
    sound: Annotated[
        list[Path],
        typer.Option(help="Recordings as they will be heard: their levels set the ranges."),
    ],
    out: Annotated[Path, typer.Option(help="The new bundle's folder.")],
    small: Annotated[
        bool,
        typer.Option("--small", help="Leave the float encoder out and halve the head's weights."),
    ] = False,
    percentile: Annotated[
        float,
        typer.Option(help="Of activations; what is beyond is cut off, the rest becomes finer."),
    ] = 100.0,
    first_float: Annotated[
        bool, typer.Option("--first-float", help="Leave the first convolution in floats.")
    ] = False,
) -> None:
    """Add an encoder in 8-bit integers: a quarter of the size, and faster on many processors.

    Where the gate refuses it, try --percentile 99.9999 and --first-float.
    """
    from export.quantize import quantize as write_int8
    from recorder.detect.bundle import read_bundle

    made, floats = write_int8(
        read_bundle(bundle),
        sound,
        out,
        small=small,
        percentile=percentile,
        first_float=first_float,
    )
    sizes = {name: entry["bytes"] / 1e6 for name, entry in made.details["files"].items()}
    typer.echo(f"{made.path}: " + ", ".join(f"{name} {mb:.1f} MB" for name, mb in sizes.items()))
    typer.echo(f"still computed in floats: {', '.join(floats)}; and the head")
    against = f" --against {bundle}" if small else ""
    typer.echo(f"next: birdrec export gate {made.path} --dataset DATA{against}")


@app.command(epilog="Example: birdrec export gate my_model_int8 --dataset DATA")
def gate(
    bundle: Annotated[Path, typer.Argument(help="A bundle with an int8 encoder.")],
    dataset: Annotated[Path, typer.Option(help="With labelled soundscapes to compare on.")],
    against: Annotated[
        Path | None, typer.Option(help="The bundle with the float encoder [default: the same].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare int8 with fp32 on labelled soundscapes; exit code 5 if it is not the same model.

    At most .002 of cmAP may change, and no species may lose more than .01 of its AUC. The report
    stays in the bundle: gate.json, gate.svg.
    """
    import json

    from export.gate import run_gate
    from recorder.detect.bundle import read_bundle

    reference = read_bundle(against) if against else None
    report = run_gate(read_bundle(bundle), dataset, reference)
    typer.echo(json.dumps(report, indent=1) if as_json else _gate_line(report))
    if not report["passed"]:
        raise ModelError(f"{bundle} is refused: {'; '.join(report['reasons'])}. See its gate.json")


@app.command(epilog="Example: birdrec export bench recorder/models/puerto_rico_edge")
def bench(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles to measure.")],
    runs: Annotated[int, typer.Option(help="How often each part is measured.")] = 40,
    out: Annotated[Path | None, typer.Option(help="Write the JSON here as well.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """What a model costs here, on one thread: each part of a live 5-s step, a scan, memory, files.

    Needs no torch: it runs on the board.
    """
    import json

    from export.bench import run_bench, table
    from recorder.keep.formats import write_json

    if runs < 1:
        raise UsageError(f"--runs {runs}: at least 1 is needed")
    report = run_bench(bundles, runs)
    if out is not None:
        try:
            write_json(out, report)
        except OSError as error:
            raise UsageError(
                f"--out {out} cannot be written ({error.strerror or error}): choose another file"
            ) from error
    typer.echo(json.dumps(report, indent=1) if as_json else table(report))


def _gate_line(report: dict[str, Any]) -> str:
    if "fp32" not in report:
        return "int8 could not be compared"
    drift = report["token_drift"]
    figures = ", ".join(
        f"{name} {report['fp32'][name]:.4f} -> {report['int8'][name]:.4f}"
        for name in ("row_f1", "pooled_f1", "cmap", "macro_auc")
    )
    return (
        f"{report['rows']} rows, fp32 -> int8: {figures}; {report['decisions_changed']} of "
        f"{report['decisions']} decisions changed; tokens moved by {drift['mean']:.5f} on average, "
        f"{drift['largest']:.2f} at most"
    )


def _read_notes(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--notes {path} cannot be read as text ({error})") from error


@app.command(epilog="Example: birdrec export voice voice.pt --threshold 0.5 --out my_voice")
def voice(
    checkpoint: Annotated[Path, typer.Argument(help="What `birdrec train voice` wrote.")],
    out: Annotated[Path, typer.Option(help="The folder: voice.onnx, voice.json, the card.")],
    threshold: Annotated[float, typer.Option(help="From this score on somebody speaks.")] = 0.5,
    licence: Annotated[str, typer.Option(help="Of the weights.")] = "not stated",
    notes: Annotated[
        Path | None, typer.Option(help="Markdown for the model card: limits, credits.")
    ] = None,
) -> None:
    """Write the net that hears people as the recorder reads it."""
    from export.voice import write_voice

    write_voice(checkpoint, out, threshold=threshold, licence=licence, notes=_read_notes(notes))
    typer.echo(out)
