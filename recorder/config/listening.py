"""From `birdrec.toml` to what `birdrec listen` is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recorder.config.read import Settings
from recorder.species.expectation import Asked
from recorder.station.options import ListenOptions


def listen_options(settings: Settings, **said: Any) -> ListenOptions:
    """The file's settings, and over them what the command line says; ConfigError.

    What belongs to one call only (a replay, its speed, a duration) is in no file.
    """
    options: dict[str, Any] = {
        "device": settings["microphone.device"] or None,
        "channel": settings["microphone.channel"],
        "rate_hz": settings["microphone.rate_hz"],
        "bits": settings["microphone.bits"],
        "wait_s": settings["microphone.wait_s"],
        "model": _path(settings["analysis.model"]),
        "precision": settings["analysis.precision"],
        "threshold": settings["analysis.threshold"] or None,
        "threads": settings["analysis.threads"],
        "when_late": settings["analysis.when_late"],
        "record_only": settings["analysis.record_only"],
        "out": Path(settings["keep.out"]),
        "keep_audio": settings["keep.audio"],
        "voice": settings["keep.voice"],
        "clip_context_s": settings["keep.clip_context_s"],
        "clips_per_species": settings["keep.clips_per_species"],
        "keep_days": settings["keep.days"] or None,
        "keep_gb": settings["keep.gb"] or None,
        "min_free_mb": settings["keep.min_free_mb"],
        "spool_ram_mb": settings["keep.spool_ram_mb"],
        "schedule": settings.schedule,
        "species": _path(settings["site.species"]),
        "prior": _path(settings["site.prior"]),
        "prior_weight": settings["site.prior_weight"],
        "timezone": settings["schedule.clock"],
    }
    if said.get("replay") is not None:
        # A recording is heard whole, and instead of the microphone.
        del options["device"], options["schedule"]
    options |= said
    options["expects"] = Asked(
        options.pop("species"),
        options.pop("prior"),
        options.pop("prior_weight"),
        # Nothing said: that of the machine, or what a recording carries.
        options.pop("timezone").removeprefix("local"),
    )
    if options["record_only"]:
        options["keep_audio"] = "all"
    return ListenOptions(**options)


def _path(text: str) -> Path | None:
    return Path(text) if text else None
