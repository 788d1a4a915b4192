"""All checks in their order, whatever becomes of one of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from recorder.config.listening import listen_options
from recorder.config.read import Settings, defaults, read_settings
from recorder.doctor import machine, service, sound
from recorder.doctor.check import FAULT, Check, fault, ok
from recorder.doctor.expected import check_expected
from recorder.errors import BirdrecError, ConfigError
from recorder.sound.live.clock import Clock, SystemClock
from recorder.station.options import ListenOptions

SYSTEM_CONFIG = Path("/etc/birdrec/birdrec.toml")
"""Where the service has its settings."""

Told = Callable[[Check], None]


def examine(config: Path | None, out: Path | None, told: Told) -> list[Check]:
    """Every check, told as soon as it is done."""
    checks: list[Check] = []
    clock = SystemClock()

    def note(found: Check) -> None:
        checks.append(found)
        told(found)

    first, options = _configured(config)
    note(first)
    if out is not None:
        options = replace(options, out=out)
    for one in _hearing(options):
        note(one)
    for name, work in (
        ("model", lambda: sound.check_model(options)),
        ("species", lambda: check_expected(options)),
        ("disk", lambda: machine.check_disk(options.out, options.min_free_mb)),
        ("clock", lambda: machine.check_clock(clock)),
        ("schedule", lambda: _scheduled(options, clock)),
        ("temperature", machine.check_temperature),
        ("power", machine.check_power),
        ("unit", service.check_unit),
        ("ports", service.check_ports),
    ):
        note(_whatever_comes(name, work))
    return checks


def is_ready(checks: list[Check]) -> bool:
    """No check found a fault; what cannot be known here is none."""
    return all(one.status != FAULT for one in checks)


def _whatever_comes(name: str, work: Callable[[], Check]) -> Check:
    """A check that cannot be made is a fault, and stops no other."""
    try:
        return work()
    except (OSError, ValueError, BirdrecError, subprocess.SubprocessError) as error:
        return fault(name, f"it could not be checked ({error})", "ask as root; report this")


def _configured(config: Path | None) -> tuple[Check, ListenOptions]:
    path = config or (SYSTEM_CONFIG if SYSTEM_CONFIG.exists() else None)
    settings: Settings = defaults()
    found = ok("config", f"no {SYSTEM_CONFIG}: the defaults")
    if path is not None:
        try:
            settings = read_settings(path)
            found = ok("config", f"{path}: {len(settings.given)} keys are set")
        except ConfigError as error:
            found = fault("config", str(error), f"mend it: birdrec config check {path}")
    return found, listen_options(settings)


def _hearing(options: ListenOptions) -> list[Check]:
    """The microphone itself, or what the station that has it says."""
    process = service.holder_of(options.out)
    if process is not None:
        return service.check_station(options.out, process)
    found, device = sound.check_device(options)
    return [found, _whatever_comes("levels", lambda: sound.check_levels(options, device))]


def _scheduled(options: ListenOptions, clock: Clock) -> Check:
    schedule, now_s = options.schedule, clock.wall_s()
    if schedule.is_always:
        return ok("schedule", "it listens always")
    now = "on now" if schedule.is_on(now_s) else "off now"
    change_s = schedule.next_change(now_s)
    if change_s is None:
        if schedule.is_on(now_s):
            return ok("schedule", f"{now}, and without an end")
        advice = "its windows have no length at this place: change schedule.windows"
        return fault("schedule", "it will not listen within a year", advice)
    when = datetime.fromtimestamp(change_s, UTC)
    turns = "off" if schedule.is_on(now_s) else "on"
    return ok("schedule", f"{now}, {turns} at {when:%Y-%m-%d %H:%M} UTC")
