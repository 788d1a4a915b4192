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
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Check nothing: which profile suits this board?")
    ] = False,
) -> None:
    """Is this machine ready to be left alone?

    A line for the microphone, a second of its sound, the model, species list and prior, disk,
    clock, schedule, temperature, power, the service, and ports. Exit code: 0 nothing is at fault,
    1 something is, and what to do.
    """
    if suggest:
        _suggest(as_json=as_json)
        return
    from recorder.doctor.examine import examine, is_ready

    checks = examine(config, out, (lambda _: None) if as_json else _print)
    ready = is_ready(checks)
    if as_json:
        found = {"ok": ready, "checks": [asdict(one) for one in checks]}
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    raise typer.Exit(0 if ready else 1)


def _suggest(*, as_json: bool) -> None:
    """The profile of this machine, its settings, and the limits of the service."""
    from recorder.config.keys import shown
    from recorder.doctor.suggest import suggest, this_machine
    from recorder.ui import printable

    machine = this_machine()
    profile = suggest(machine)
    if as_json:
        found = {
            "profile": profile.name,
            "machine": asdict(machine),
            "settings": {key.path: value for key, value in profile.settings},
            "unit": {
                "memory_high_mb": profile.memory_high_mb,
                "memory_max_mb": profile.memory_max_mb,
            },
        }
        typer.echo(json.dumps(found, indent=2))
        return
    board = printable(machine.model) or "no board says its name"
    size = f"{machine.memory_mb} MB, {machine.cores} cores, {machine.architecture}"
    typer.echo(f"profile {profile.name}: {profile.title} ({board}; {size})")
    for key, value in profile.settings:
        typer.echo(f"  {key.path} = {shown(value)}")
    typer.echo(f"  MemoryHigh={profile.memory_high_mb}M MemoryMax={profile.memory_max_mb}M")
    typer.echo(f"birdrec config profile FILE {profile.name} puts the settings into a file")


def _print(check: Check) -> None:
    """A line as soon as it is known, and what to do below it."""
    from recorder.ui import printable

    word = typer.style(f"{check.status:<8}", fg=_COLOURS[check.status])
    typer.echo(f"{word}{check.name:<12} {printable(check.detail)}")
    if check.advice:
        typer.echo(f"{'':<21}-> {printable(check.advice)}")
    sys.stdout.flush()
