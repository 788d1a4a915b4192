"""GUANO: what bat and bird recorders write into a recording about itself (guano-md.org)."""

from __future__ import annotations

from collections.abc import Mapping

_VERSION = "1.0"
OWN = "birdrec"
"""The namespace of the fields that only this program knows."""


def guano_text(fields: Mapping[str, object]) -> str:
    """The fields as the lines of a GUANO block; fields that are empty are left out."""
    lines = [f"GUANO|Version: {_VERSION}"]
    for name, value in fields.items():
        # A value may not break its line; GUANO writes the two characters \\n for a line's end.
        text = str(value).replace("\r", "").replace("\n", "\\n")
        if text:
            lines.append(f"{name}: {text}")
    return "\n".join(lines)
