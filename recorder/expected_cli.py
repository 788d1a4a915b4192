"""Options of `scan` and of `listen` that say what can occur at the site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SpeciesFile = Annotated[
    Path | None, typer.Option(help="A list of the species that can occur; no others are said.")
]
PriorFile = Annotated[
    Path | None, typer.Option(help="How often each is met, and when: eBird's bar chart, a CSV.")
]
PriorWeight = Annotated[float, typer.Option(help="How much it counts; 0 = not at all.")]
