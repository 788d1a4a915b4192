"""Memory that is not needed for minutes, back to the system."""

from __future__ import annotations

import ctypes

_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc's; other libraries have none, and keep what they have."""


def give_back() -> None:
    """Let go of what was freed: loading a net and settling ten minutes leave some 20 MB of it."""
    if _TRIM is not None:
        _TRIM(0)
