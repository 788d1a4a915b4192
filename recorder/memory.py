"""What becomes of memory that is not needed at the moment."""

from __future__ import annotations

import ctypes

_LIBRARY = ctypes.CDLL(None)
_TRIM = getattr(_LIBRARY, "malloc_trim", None)
"""glibc's; other libraries have none, and keep what they have."""
_OPTION = getattr(_LIBRARY, "mallopt", None)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _LARGEST_BYTES = 64 << 20, 32 << 20


def give_back() -> None:
    """Let go of what was freed: loading a net and settling ten minutes leave some 20 MB of it."""
    if _TRIM is not None:
        _TRIM(0)


def keep() -> None:
    """Use again what was freed, as glibc does when nobody tells it otherwise.

    Dask tells its workers to give everything back at once: then each array is made of new pages,
    which makes a scan take 1.6 times as long.
    """
    if _OPTION is not None:
        _OPTION(_MMAP_THRESHOLD, _LARGEST_BYTES)
        _OPTION(_TRIM_THRESHOLD, _KEPT_BYTES)
