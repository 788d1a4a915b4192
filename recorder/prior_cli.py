"""`birdrec prior`: a table of when each species is met, from one's own results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make a prior of your own.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Make a prior of your own."""


@app.command(epilog="Example: birdrec prior make results/ --out site.csv")
def make(
    results: Annotated[
        list[Path], typer.Argument(help="What --out of scans named, with wrong rows taken out.")
    ],
    out: Annotated[Path, typer.Option(help="The table; `--prior` reads it.")],
    timezone: Annotated[
        str, typer.Option(help="Of the site, where recordings say UTC: as America/Puerto_Rico.")
    ] = "",
) -> None:
    """Count in which share of each hour's chunks each species was met.

    Listen first, and take the rows that are wrong out of detections.csv: what is left is believed,
    and a prior made of a model's mistakes repeats them. Exit code: 0 written, 2 nothing to count.
    """
    from recorder.errors import UsageError
    from recorder.keep.formats import refuse_other, written
    from recorder.species.expectation import Asked
    from recorder.species.from_scan import prior_of_scans

    found = prior_of_scans(results, Asked(timezone=timezone).zone())
    refuse_other(out, "--out", (b"label,scientific_name,common_name,hour,",))
    try:
        with written(out) as stream:
            stream.write(found.table)
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written ({error.strerror or error}): make room, or choose another "
            "--out"
        ) from error
    more = f"; {found.left_out} recordings left out, their hour is not known" * bool(found.left_out)
    typer.echo(f"{out}: {found.species} species in {found.hours:.1f} hours of sound{more}")
