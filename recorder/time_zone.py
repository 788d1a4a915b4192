"""Time zones by name."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from recorder.errors import ConfigError

CLOCK_WORDS = '"local", "utc", or the name of a time zone, as "America/Puerto_Rico"'


def parse_clock(text: str) -> tzinfo | None:
    """A time zone; None of `local`, the machine's own. ConfigError when there is none like it."""
    if text == "local":
        return None
    if text == "utc":
        return UTC
    try:
        return ZoneInfo(text)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"there is no time zone {text!r} here: use {CLOCK_WORDS}; "
            "`sudo apt-get install tzdata` brings them"
        ) from error
