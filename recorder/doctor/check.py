"""What a check found: well, at fault, or not to be known here; and what to do."""

from __future__ import annotations

from dataclasses import dataclass

OK, FAULT, UNKNOWN = "ok", "fault", "unknown"


@dataclass(frozen=True)
class Check:
    """One line of the screen."""

    name: str
    status: str
    """ok | fault | unknown"""
    detail: str
    """What was found."""
    advice: str = ""
    """What to do; never empty unless the status is ok."""


def ok(name: str, detail: str) -> Check:
    """All is well."""
    return Check(name, OK, detail)


def fault(name: str, detail: str, advice: str) -> Check:
    """A person is needed before this machine is left alone."""
    return Check(name, FAULT, detail, advice)


def unknown(name: str, detail: str, advice: str) -> Check:
    """It cannot be asked here."""
    return Check(name, UNKNOWN, detail, advice)
