"""`birdrec report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    out: Annotated[Path, typer.Argument(help="What --out of a scan or of listen named.")],
    recordings: Annotated[
        Path | None, typer.Option(help="Where the scanned recordings are, if they have moved.")
    ] = None,
    examples: Annotated[int, typer.Option(help="Of each species, with sound; 0 = none.")] = 2,
    page: Annotated[Path | None, typer.Option(help="The page; default: OUT/report.html.")] = None,
) -> None:
    """Write one page that says who was heard, when, how it sounded, and how the recording went.

    It needs nothing beside it: pictures and sound lie in it, no script, no network. Exit code: 0
    written, 2 no results there or no room.
    """
    from recorder.errors import UsageError
    from recorder.keep.formats import written
    from recorder.report.data import read_report
    from recorder.report.page import page as make_page

    if not 0 <= examples <= 50:
        raise UsageError(f"--examples {examples}: use 0 to 50")
    found = read_report(out, recordings=recordings, examples=examples)
    target = page or out / "report.html"
    try:
        with written(target) as stream:
            stream.write(make_page(found))
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written ({error.strerror or error}): make room, or choose another "
            "--page"
        ) from error
    typer.echo(f"{target}: {len(found.species)} species")
