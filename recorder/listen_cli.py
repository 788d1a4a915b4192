"""`birdrec listen` and `birdrec devices`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from recorder.errors import EXIT_INTERRUPTED
from recorder.expected_cli import PriorFile, PriorWeight, SpeciesFile


def listen(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="A birdrec.toml; options given here win over it.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Index, name or id of the microphone; see birdrec devices.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="A recording to hear instead of a microphone.")
    ] = None,
    speed: Annotated[str, typer.Option(help="Of the replay: times real time, or max.")] = "1",
    out: Annotated[Path, typer.Option(help="Where the results go.")] = Path("birdrec-station"),
    model: Annotated[
        Path | None, typer.Option(help="A model bundle; default: the packaged one.")
    ] = None,
    precision: Annotated[str, typer.Option(help="Of the encoder: auto, fp32 or int8.")] = "auto",
    threshold: Annotated[
        float | None, typer.Option(help="One threshold for all species, 0 to 1.")
    ] = None,
    channel: Annotated[str, typer.Option(help="Of the device: 1, 2 ..., or mix.")] = "1",
    rate: Annotated[int, typer.Option(help="Hz; default: the device's own.")] = 0,
    bits: Annotated[int, typer.Option(help="Of a sample: 16 or 24.")] = 16,
    wait: Annotated[
        float, typer.Option(help="Seconds for a microphone that is not there yet; inf = for ever.")
    ] = 5.0,
    keep_audio: Annotated[
        str, typer.Option(help="none, clips (around what was detected), or all; as FLAC.")
    ] = "none",
    voice: Annotated[
        str,
        typer.Option(
            help="Sound in which a person speaks: drop, keep, or auto (drop clips, keep all)."
        ),
    ] = "auto",
    clip_context: Annotated[
        float, typer.Option(help="Seconds of a clip before and after the bird's chunks.")
    ] = 3.0,
    clips_per_species: Annotated[int, typer.Option(help="The best so many are kept.")] = 100,
    keep_days: Annotated[
        float | None, typer.Option(help="Older sound goes, but for the ten best of a species.")
    ] = None,
    keep_gb: Annotated[
        float | None, typer.Option(help="Of kept sound in all; the least wanted goes.")
    ] = None,
    min_free_mb: Annotated[float, typer.Option(help="Left free on the disk.")] = 500.0,
    duration: Annotated[float | None, typer.Option(help="Seconds of sound; then it ends.")] = None,
    when_late: Annotated[
        str, typer.Option(help="On too slow a board: queue, or thin (leave out evenly).")
    ] = "queue",
    record_only: Annotated[
        bool, typer.Option("--record-only", help="Keep all sound, analyse nothing.")
    ] = False,
    species: SpeciesFile = None,
    prior: PriorFile = None,
    prior_weight: PriorWeight = 0.5,
    timezone: Annotated[
        str, typer.Option(help="Of the site, for a prior by hours; default: the machine's.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but troubles.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the journal's lines.")] = False,
) -> None:
    """Hear a microphone for a month, and log every bird.

    Writes detections.jsonl and station.sqlite to --out, whose ledger accounts for every sample.
    Ctrl-C or SIGTERM ends it in good order; after a crash the same command goes on. Exit code: 0
    ended, 1 unreadable recording, 2 usage, 3 --config, list or prior, 4 no such microphone, 5
    model, 130 interrupted twice.
    """
    from recorder.config.listening import listen_options
    from recorder.config.read import defaults, read_settings
    from recorder.station.listen import run_listen
    from recorder.station.options import parse_speed

    asked = {
        "device": device,
        "replay": replay,
        "speed": parse_speed(speed),
        "out": out,
        "model": model,
        "precision": precision,
        "threshold": threshold,
        "channel": channel,
        "rate_hz": rate,
        "bits": bits,
        "wait_s": wait,
        "keep_audio": keep_audio,
        "voice": voice,
        "clip_context_s": clip_context,
        "clips_per_species": clips_per_species,
        "keep_days": keep_days,
        "keep_gb": keep_gb,
        "duration_s": duration,
        "when_late": when_late,
        "record_only": record_only,
        "min_free_mb": min_free_mb,
        "species": species,
        "prior": prior,
        "prior_weight": prior_weight,
        "timezone": timezone,
    }
    settings = defaults() if config is None else read_settings(config)
    options = listen_options(settings, **_said(context, asked))
    try:
        run_listen(options, quiet=quiet, as_json=as_json)
    except KeyboardInterrupt:
        typer.echo("Interrupted; the same command goes on from there.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


_RENAMED = {"rate_hz": "rate", "wait_s": "wait", "clip_context_s": "clip_context"}
_RENAMED["duration_s"] = "duration"
"""Options whose names on the command line have no unit."""


def _said(context: typer.Context, asked: dict[str, Any]) -> dict[str, Any]:
    """Those that were given, and not those that have their defaults."""
    sources = {name: context.get_parameter_source(_RENAMED.get(name, name)) for name in asked}
    return {
        name: asked[name]
        for name, source in sources.items()
        if source is not None and source.name != "DEFAULT"
    }


def devices(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The microphones: index, stable id, name, channels, native rates.

    The index changes when cards come and go; the id is that of the card, or of its socket.
    """
    from recorder.sound.live.devices import list_devices, native_rates

    found = [{**asdict(one), "rates_hz": native_rates(one)} for one in list_devices()]
    if as_json:
        typer.echo(json.dumps({"devices": found}, indent=2))
        return
    if not found:
        typer.echo("No microphone is there: plug one in, or see `arecord -l`.")
    for one in found:
        rates = ", ".join(str(rate) for rate in one["rates_hz"])
        mark = " (default)" if one["is_default"] else ""
        typer.echo(
            f"{one['index']:>3}  {one['id']}{mark}\n     {one['name']}, {one['channels']} "
            f"channels; {rates} Hz"
        )
