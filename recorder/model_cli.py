"""`birdrec model`: which bundles there are, what one can do, and whether it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from recorder.detect.bundle import ModelBundle

app = typer.Typer(
    help="List, explain and check model bundles.", no_args_is_help=True, rich_markup_mode=None
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_SHOWN = (
    "name", "kind", "sha256", "megabytes", "licence", "backbone", "precision", "window_s",
    "evaluation",
)  # fmt: skip
Folder = Annotated[Path, typer.Argument(help="A bundle: a folder with model.json.")]


@app.command("list", epilog="Example: birdrec model list --json")
def list_models(as_json: AsJson = False) -> None:
    """The bundles that come with birdrec, the default first."""
    from recorder.detect.bundle import DEFAULT_BUNDLE
    from recorder.detect.models import read_model

    found = sorted(path.parent for path in DEFAULT_BUNDLE.parent.glob("*/model.json"))
    found.sort(key=lambda path: path != DEFAULT_BUNDLE)
    models = [_summary(read_model(path)) for path in found]
    if as_json:
        typer.echo(json.dumps({"models": models}, indent=2))
        return
    for number, model in enumerate(models):
        note = " (default)" if number == 0 else ""
        typer.echo(
            f"{model['name']}{note}: {model['classes']} species, {model['megabytes']} MB, "
            f"{model['licence']}\n  {model['path']}"
        )


@app.command(epilog="Example: birdrec model info my_birds")
def info(bundle: Folder, as_json: AsJson = False) -> None:
    """What a bundle knows: species with their thresholds, window, training, licence."""
    from recorder.detect.models import read_model

    read = read_model(bundle)
    summary, species = _summary(read), [vars(label) for label in read.labels]
    if as_json:
        typer.echo(json.dumps({**summary, "species": species}, indent=2))
        return
    for name in _SHOWN:
        typer.echo(f"{name + ':':<12}{summary[name]}")
    said = f"from {read.any_bird_threshold:g}" if read.any_bird_threshold else "not said"
    typer.echo(f"{'any bird:':<12}{said if read.any_bird else 'not trained'}")
    typer.echo(f"{'species:':<12}{len(read.labels)}, each with the threshold that it must pass")
    for label in read.labels:
        names = f"{label.common_name} ({label.scientific_name})"
        typer.echo(f"  {label.threshold:<7.3g} {label.label:<32} {names}")


@app.command(epilog="Example: birdrec model verify my_birds")
def verify(bundle: Folder) -> None:
    """Check every file's hash, load every graph and run it; exit code 5 if anything fails."""
    from recorder.detect.bundle import Bundle
    from recorder.detect.models import AS_EXPORTED, load_model, read_model
    from recorder.detect.precision import int8_is_exact

    read = read_model(bundle)
    precisions = read.precisions if isinstance(read, Bundle) else (AS_EXPORTED,)
    ran = [one for one in precisions if one != "int8" or int8_is_exact()]
    for precision in ran:
        load_model(read, precision)
    left = "" if len(ran) == len(precisions) else "; int8 is not for this processor"
    typer.echo(f"{read.name}: whole, and it runs ({', '.join(ran)}{left}); sha256 {read.sha256}")


@app.command(
    epilog="Example: birdrec model wrap net.onnx --labels labels.txt --rate 48000 --window 3 "
    "--out my_net"
)
def wrap(
    graph: Annotated[Path, typer.Argument(help="An ONNX net that scores a window of sound.")],
    labels: Annotated[
        Path, typer.Option(help="A line for each of its numbers: Scientific name_Common name.")
    ],
    rate: Annotated[int, typer.Option(help="The sample rate that it wants, in Hz.")],
    window: Annotated[float, typer.Option(help="The length of its window, in seconds.")],
    out: Annotated[Path, typer.Option(help="The bundle's folder; its name names the model.")],
    activation: Annotated[
        str, typer.Option(help="What makes its numbers probabilities: sigmoid, softmax or none.")
    ] = "sigmoid",
    threshold: Annotated[
        float, typer.Option(help="From which score on a species is said to be there.")
    ] = 0.25,
    input_name: Annotated[
        str, typer.Option("--input", help="The graph's input, if it has several.")
    ] = "",
    output_name: Annotated[
        str, typer.Option("--output", help="The graph's output, if it has several.")
    ] = "",
    licence: Annotated[str, typer.Option(help="Of the net.")] = "not stated",
) -> None:
    """Make a bundle of somebody else's net, to scan with it: samples in, one number a label out."""
    from recorder.wrap import Listening
    from recorder.wrap import wrap as write

    listening = Listening(rate, window, activation, threshold, input_name, output_name)
    made = write(graph, labels, out, listening, licence)
    typer.echo(f"{made.path}: {len(made.labels)} labels; birdrec scan FOLDER --model {made.path}")


def _summary(bundle: ModelBundle) -> dict[str, Any]:
    from recorder.detect.bundle import Bundle
    from recorder.detect.mel import TOKEN_S
    from recorder.detect.models import AS_EXPORTED

    details = bundle.details
    if isinstance(bundle, Bundle):
        kind, window_s = "segmenter", bundle.window_tokens * TOKEN_S
        backbone, precisions = details["encoder"].get("backbone"), list(bundle.precisions)
        if "int8" in precisions:
            precisions[-1] += f" (gate: {bundle.int8_gate})"
    else:
        kind, window_s = "classifier", float(details["classifier"]["window_s"])
        backbone, precisions = details["classifier"].get("backbone"), [AS_EXPORTED]
    size = sum(entry["bytes"] for entry in details["files"].values())
    return {
        "name": bundle.name,
        "path": str(bundle.path),
        "kind": kind,
        "classes": len(bundle.labels),
        "sha256": bundle.sha256,
        "megabytes": round(size / 1e6, 1),
        "licence": details.get("licence", "not stated"),
        "backbone": backbone or "not stated",
        "precision": ", ".join(precisions),
        "window_s": window_s,
        "any_bird_threshold": bundle.any_bird_threshold or None,
        "evaluation": details.get("training", {}).get("evaluation", "not stated"),
    }
