"""Which species list and prior a scan or a station used, for its report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def expected_of_scan(expected: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """List and prior of a scan, in words."""
    for key, title in (("species", "species list"), ("prior", "prior")):
        if key in expected:
            one = expected[key]
            weight = f", weight {one['weight']:g}" if "weight" in one else ""
            known = f"{one['species']} species of the model{weight}"
            yield title, f"{one['file']}, sha256 {one['sha256'][:16]}, {known}"


def expected_of_run(details: str) -> str:
    """List and prior of a station's run; empty where there were none."""
    said = json.loads(details).get("expected", "")
    return f", {said}" if said else ""
