"""`birdrec model`: which bundles there are, what one can do, and whether it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from recorder.detect.bundle import Bundle

app = typer.Typer(
    help="List, explain and check model bundles.", no_args_is_help=True, rich_markup_mode=None
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folder = Annotated[Path, typer.Argument(help="A bundle: a folder with model.json.")]


@app.command("list", epilog="Example: birdrec model list --json")
def list_models(as_json: AsJson = False) -> None:
    """The bundles that come with birdrec, the default first."""
    from recorder.detect.bundle import DEFAULT_BUNDLE, read_bundle

    found = sorted(path.parent for path in DEFAULT_BUNDLE.parent.glob("*/model.json"))
    found.sort(key=lambda path: path != DEFAULT_BUNDLE)
    models = [_summary(read_bundle(path)) for path in found]
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
    from recorder.detect.bundle import read_bundle

    read = read_bundle(bundle)
    summary, species = _summary(read), [vars(label) for label in read.labels]
    if as_json:
        typer.echo(json.dumps({**summary, "species": species}, indent=2))
        return
    for name in ("name", "sha256", "megabytes", "licence", "backbone", "window_s", "evaluation"):
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
    from recorder.detect.bundle import read_bundle
    from recorder.detect.inference import Networks

    read = read_bundle(bundle)
    for precision in read.precisions:
        Networks(read, precision=precision)
    runs = " and ".join(read.precisions)
    typer.echo(f"{read.name}: whole, and it runs ({runs}); sha256 {read.sha256}")


def _summary(bundle: Bundle) -> dict[str, Any]:
    from recorder.detect.mel import TOKEN_S

    details = bundle.details
    size = sum(entry["bytes"] for entry in details["files"].values())
    return {
        "name": bundle.name,
        "path": str(bundle.path),
        "classes": len(bundle.labels),
        "sha256": bundle.sha256,
        "megabytes": round(size / 1e6, 1),
        "licence": details.get("licence", "not stated"),
        "backbone": details["encoder"].get("backbone", "not stated"),
        "window_s": bundle.window_tokens * TOKEN_S,
        "evaluation": details.get("training", {}).get("evaluation", "not stated"),
    }
