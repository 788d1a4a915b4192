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
    voice: Annotated[
        str, typer.Option(help="Examples in which a person speaks: drop their sound, or keep it.")
    ] = "drop",
    page: Annotated[Path | None, typer.Option(help="The page; default: OUT/report.html.")] = None,
) -> None:
    """Write one page that says who was heard, when, how it sounded, and how the recording went.

    It needs nothing beside it: pictures and sound lie in it, no script, no network. Exit code: 0
    written, 2 no results there or no room.
    """
    from functools import partial

    from recorder.detect.voice import voice_detector
    from recorder.errors import UsageError
    from recorder.keep.formats import refuse_other, written
    from recorder.report.data import read_report
    from recorder.report.html import PAGE_BEGINS
    from recorder.report.media import media_of
    from recorder.report.page import page as make_page

    if not 0 <= examples <= 50:
        raise UsageError(f"--examples {examples}: use 0 to 50")
    if voice not in ("drop", "keep"):
        raise UsageError(f"--voice {voice!r} is unknown: use drop or keep")
    found = read_report(out, recordings=recordings, examples=examples)
    target = page or out / "report.html"
    refuse_other(target, "--page", (PAGE_BEGINS.lower().encode(),))
    try:
        with written(target) as stream:
            detector = voice_detector() if voice == "drop" else None
            stream.write(make_page(found, partial(media_of, voice=detector)))
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written ({error.strerror or error}): make room, or choose another "
            "--page"
        ) from error
    typer.echo(f"{target}: {len(found.species)} species")
