"""`birdrec doctor`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recorder.doctor.check import Check

_COLOURS = {"ok": typer.colors.GREEN, "fault": typer.colors.RED, "unknown": typer.colors.YELLOW}


def doctor(
    config: Annotated[
        Path | None,
        typer.Option(
            help="A birdrec.toml; default: /etc/birdrec/birdrec.toml, where there is one."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The station's folder; default: as in the settings.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Is this machine ready to be left alone?

    A line for the microphone, a second of its sound, the model, disk, clock, schedule, temperature,
    power, the service, and ports. Exit code: 0 nothing is at fault, 1 something is, and what to do.
    """
    from recorder.doctor.examine import examine, is_ready

    checks = examine(config, out, (lambda _: None) if as_json else _print)
    ready = is_ready(checks)
    if as_json:
        found = {"ok": ready, "checks": [asdict(one) for one in checks]}
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    raise typer.Exit(0 if ready else 1)


def _print(check: Check) -> None:
    """A line as soon as it is known, and what to do below it."""
    from recorder.ui import printable

    word = typer.style(f"{check.status:<8}", fg=_COLOURS[check.status])
    typer.echo(f"{word}{check.name:<12} {printable(check.detail)}")
    if check.advice:
        typer.echo(f"{'':<21}-> {printable(check.advice)}")
    sys.stdout.flush()
