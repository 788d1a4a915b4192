"""`birdrec config`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Check, show or change the file of settings, birdrec.toml.",
    no_args_is_help=True,
    add_completion=False,
)
File = Annotated[Path, typer.Argument(help="The file, as /etc/birdrec/birdrec.toml.")]


@app.command(epilog="Example: birdrec config check /etc/birdrec/birdrec.toml")
def check(file: File) -> None:
    """Read it as the recorder does, and the model, the list and the prior that it names.

    Exit code: 0 right, 3 wrong: the key, its value, and what is allowed are named; 5 the model.
    """
    from recorder.config.listening import listen_options
    from recorder.config.read import read_settings
    from recorder.detect.bundle import DEFAULT_BUNDLE
    from recorder.detect.models import precision_of, read_model
    from recorder.species.expectation import read_expectation

    settings = read_settings(file)
    options = listen_options(settings)
    options.check()
    if not options.record_only:
        bundle = read_model(options.model or DEFAULT_BUNDLE)
        precision_of(bundle, options.precision)
        for words in read_expectation(options.expects, bundle).words:
            typer.echo(f"birdrec: {words}", err=True)
    left = len(settings.values) - len(settings.given)
    rest = f"; {left} have their defaults" if left else ""
    typer.echo(f"{file}: right; {len(settings.given)} keys are set{rest}")


@app.command(epilog="Example: birdrec config show /etc/birdrec/birdrec.toml")
def show(
    file: File,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Every key with the value that holds, and which of them the file leaves to the default."""
    from recorder.config.keys import KEYS, TABLES, shown
    from recorder.config.read import read_settings

    settings = read_settings(file)
    if as_json:
        tables = {
            table: {key.name: settings[key.path] for key in KEYS if key.table == table}
            for table in TABLES
        }
        typer.echo(json.dumps({**tables, "given": sorted(settings.given)}, indent=2))
        return
    for table in TABLES:
        typer.echo(f"[{table}]")
        for key in KEYS:
            if key.table == table:
                note = "" if key.path in settings.given else "  # the default"
                typer.echo(f"{key.name} = {shown(settings[key.path])}{note}")


@app.command(
    "set",
    epilog="Example: birdrec config set /etc/birdrec/birdrec.toml keep.audio clips keep.gb 20",
    context_settings={"ignore_unknown_options": True},
)
def set_(
    file: File,
    pairs: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY VALUE...",
            help="Keys as table.key, values as in the file; words need no quotes.",
        ),
    ],
) -> None:
    """Change values together: all else in the file stays as it is.

    It is written whole or not at all. Exit code: 0 written, 2 a key without a value, 3 it would be
    wrong, or cannot be written: then the file is as it was.
    """
    from recorder.config.change import parse_value, set_values
    from recorder.config.keys import shown
    from recorder.config.read import find_key
    from recorder.errors import UsageError

    if len(pairs) % 2:
        raise UsageError(f"{pairs[-1]} has no value: use KEY VALUE, as keep.audio clips")
    keys = [find_key(name) for name in pairs[::2]]
    values = [parse_value(key, text) for key, text in zip(keys, pairs[1::2], strict=True)]
    changes = list(zip(keys, values, strict=True))
    set_values(file, changes)
    for key, value in changes:
        typer.echo(f"{file}: {key.path} = {shown(value)}")


@app.command(epilog="Example: birdrec config profile /etc/birdrec/birdrec.toml pi4")
def profile(
    file: File,
    name: Annotated[
        str, typer.Argument(help="zero2w, pi3, pi4, pi5 or generic; default: this board's own.")
    ] = "",
) -> None:
    """Put a profile's settings into the file, together, as `set` does.

    Exit code: 0 written, 2 no such profile, 3 it would be wrong, or cannot be written.
    """
    from recorder.config.change import set_values
    from recorder.config.keys import shown
    from recorder.doctor.suggest import read_profile, suggest, this_machine

    chosen = read_profile(name) if name else suggest(this_machine())
    set_values(file, chosen.settings)
    for key, value in chosen.settings:
        typer.echo(f"{file}: {key.path} = {shown(value)}")


@app.command(epilog="Example: birdrec config template > birdrec.toml")
def template() -> None:
    """Print a file with every key, its default, and what it says."""
    from recorder.config.read import template as text

    typer.echo(text(), nl=False)
