"""The command line. Each job is imported when it is asked for, and torch never is."""

from __future__ import annotations

import io
import json
import sys
import traceback
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from recorder import (
    __version__,
    config_cli,
    doctor_cli,
    listen_cli,
    model_cli,
    prior_cli,
    report_cli,
)
from recorder.errors import EXIT_INTERRUPTED, BirdrecError, UsageError
from recorder.expected_cli import PriorFile, PriorWeight, SpeciesFile

_PLUGIN_HELP = {
    "train": "Train a model on your own weakly labelled recordings (extra `train`).",
    "export": "Turn a trained model into a bundle for the recorder (extra `train`).",
}


class _Commands(TyperGroup):
    """The recorder's own commands, and those of the entry-point group `birdrec.commands`.

    A plugin is imported only when it is called: the recorder knows no torch.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_plugins()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        plugin = _plugins().get(cmd_name)
        if own is not None or plugin is None:
            return own
        if _named() != cmd_name:
            return typer.main.get_command(_signpost(_PLUGIN_HELP.get(cmd_name, "")))
        return typer.main.get_command(plugin.load())


def _named() -> str:
    """The command on the command line, behind options of birdrec itself."""
    return next((word for word in sys.argv[1:] if not word.startswith("-")), "")


def _signpost(help_text: str) -> typer.Typer:
    """Stands for a plugin in the list of commands, so that none is imported for `--help`."""
    app = typer.Typer(add_completion=False)

    @app.command(help=help_text)
    def signpost() -> None: ...

    return app


app = typer.Typer(
    cls=_Commands,
    help="A field recorder that knows birds.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"birdrec {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    # Both are seen elsewhere: in their own callback, and by main() when an error arrives.
    del version, debug


@app.command(epilog="Example: birdrec scan recordings/ --out results/")
def scan(
    paths: Annotated[
        list[str], typer.Argument(help="Recordings, or folders of them; or one s3:// address.")
    ],
    out: Annotated[Path, typer.Option(help="Where the results go.")] = Path("birdrec-out"),
    model: Annotated[
        Path | None, typer.Option(help="A model bundle; default: the packaged one.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="One threshold for all species, between 0 and 1.")
    ] = None,
    precision: Annotated[str, typer.Option(help="Of the encoder: auto, fp32 or int8.")] = "auto",
    formats: Annotated[
        str, typer.Option(help="Of csv, jsonl, raven, audacity, parquet; csv is always written.")
    ] = "csv",
    scores: Annotated[bool, typer.Option(help="Keep all scores as scores/*.npz.")] = False,
    workers: Annotated[
        int, typer.Option(help="Processes; they share a long recording out, too.")
    ] = 1,
    cluster: Annotated[
        str, typer.Option(help="Address of a Dask scheduler whose workers do the work.")
    ] = "",
    resume: Annotated[bool, typer.Option(help="Keep files that are done already.")] = True,
    strict: Annotated[bool, typer.Option(help="Stop at the first file that fails.")] = False,
    start: Annotated[
        str, typer.Option(help="Time of day at which the one recording begins, ISO 8601.")
    ] = "",
    species: SpeciesFile = None,
    prior: PriorFile = None,
    prior_weight: PriorWeight = 0.5,
    timezone: Annotated[
        str, typer.Option(help="Of the site, for a prior by hours: as America/Puerto_Rico, or utc.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
) -> None:
    """Analyse every recording below PATHS and write what was heard, and what was not.

    Writes detections.csv, chunks.csv, events.csv, manifest.jsonl and run.json to --out; the
    recordings' folder is never written to. What --species or --prior took away is in
    rejected.csv. Exit code: 0 all analysed, 1 some files failed (each named), 2 usage, 3 the list
    or the prior is wrong, 5 model, 6 no audio found.
    """
    from recorder.scan import ScanOptions, run_scan
    from recorder.species.expectation import Asked

    options = ScanOptions(
        paths=tuple(paths),
        out=out,
        model=model,
        threshold=threshold,
        precision=precision,
        formats=tuple(name.strip() for name in formats.split(",") if name.strip()),
        scores=scores,
        workers=workers,
        cluster=cluster,
        strict=strict,
        resume=resume,
        start=start,
        expects=Asked(species, prior, prior_weight, timezone),
    )
    try:
        run, tally, code = run_scan(options, quiet=quiet or as_json)
    except KeyboardInterrupt:
        again = "the same command" if resume else "the same command without --no-resume"
        typer.echo(f"Interrupted; what is done is kept: {again} goes on from there.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(run, indent=2))
    elif not quiet:
        from recorder.ui import print_species

        print_species(tally)
        typer.echo(_closing_line(run, out))
    raise typer.Exit(code)


app.command(epilog="Example: birdrec listen --device 1")(listen_cli.listen)
app.command(epilog="Example: birdrec devices --json")(listen_cli.devices)
app.command(epilog="Example: birdrec doctor --json")(doctor_cli.doctor)
app.command(epilog="Example: birdrec report birdrec-out/")(report_cli.report)
app.add_typer(model_cli.app, name="model")
app.add_typer(config_cli.app, name="config")
app.add_typer(prior_cli.app, name="prior")


def _closing_line(run: dict[str, Any], out: Path) -> str:
    totals = run["totals"]
    troubled = "".join(
        f", {totals[status]} {status}"
        for status in ("repaired", "partial", "failed", "skipped")
        if totals[status]
    )
    rejected = run.get("expected", {}).get("rejected", 0)
    troubled += f", {rejected} detections rejected (rejected.csv)" if rejected else ""
    minutes = totals["seconds_analysed"] / 60
    of_all = "" if run["complete"] else f" of {totals['found']}, which is not all"
    return (
        f"{minutes:.1f} min of sound in {totals['files']}{of_all} files{troubled}, "
        f"{run['x_real_time']:.0f} x real time. Results: {out}"
    )


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group="birdrec.commands"))}


def main() -> NoReturn:
    """Run the command line; every expected error is one line and its own exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a letter of a file's name shows its code.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except BirdrecError as error:
        if "--debug" in sys.argv:
            raise
        print(f"birdrec: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        if isinstance(error, ModuleNotFoundError) and _named() in _PLUGIN_HELP:
            print(
                f"birdrec: `birdrec {_named()}` needs {error.name}, which is not installed: "
                "pip install 'birdrec[train]'",
                file=sys.stderr,
            )
            sys.exit(UsageError.exit_code)
        traceback.print_exc()
        words = "birdrec: this is a fault of birdrec itself: please report it with these lines"
        print(words, file=sys.stderr)
        sys.exit(BirdrecError.exit_code)
    sys.exit(0)


if __name__ == "__main__":
    main()
