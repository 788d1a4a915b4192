"""The model card: what the net is, what it was made of, and whom to thank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train.learning.checkpoint import Checkpoint


def attribution(checkpoint: Checkpoint) -> list[str]:
    """The recordists of all that it learned from, by itself or from other nets."""
    names = {source[2] for source in checkpoint.content["sources"]}
    for net in checkpoint.content.get("ancestors", []):
        names.update(net["attribution"])
    return sorted(names - {""})


def default_licence(checkpoint: Checkpoint) -> str:
    licences = [source[3] for source in checkpoint.content["sources"]]
    licences += [one for net in checkpoint.content.get("ancestors", []) for one in net["licences"]]
    if any("-nc" in licence.lower() for licence in licences):
        return "CC BY-NC-SA 4.0"
    return "not stated: choose one that the licences of the recordings allow"


def model_card(checkpoint: Checkpoint, details: dict[str, Any], notes: str) -> str:
    """Markdown; `details` is what `model.json` says, `notes` the maker's own."""
    species = "\n".join(
        f"| `{entry['label']}` | *{entry['scientific_name']}* | {entry['common_name']} |"
        for entry in details["labels"]
    )
    sources = sorted(checkpoint.content["sources"], key=lambda source: (source[1], source[0]))
    recordings = "\n".join(
        f"| {Path(name).stem} | `{label}` | {author} | {_licence_name(licence)} | {url} |"
        for name, label, author, licence, url in sources
    )
    return _CARD.format(
        name=details["name"],
        what=_WHAT[checkpoint.kind].format(backbone=checkpoint.net.config.backbone),
        evaluation=details["training"]["evaluation"],
        steps=details["training"]["steps"],
        start=_start(details),
        authors=", ".join(details["attribution"]) or "recordists whose names are not known",
        licence=details["licence"],
        notes=notes.strip() + "\n\n" if notes else "",
        species=species,
        recordings=recordings,
    )


def _start(details: dict[str, Any]) -> str:
    names = "; ".join(details["ancestors"])
    return (
        f"starting from, taught by or averaged with other nets ({names})"
        if names
        else "from scratch"
    )


def _licence_name(url: str) -> str:
    """`https://creativecommons.org/licenses/by-nc-sa/4.0/` -> `CC BY-NC-SA 4.0`."""
    parts = url.rstrip("/").split("/")
    return f"CC {parts[-2].upper()} {parts[-1]}" if "creativecommons" in url else url


_WHAT = {
    "segmenter": "A segmenter ({backbone} encoder, global self-attention over ten minutes)",
    "classifier": "A classifier ({backbone}) of 5-s chunks",
}

_CARD = """# Model card: {name}

{what}, trained with `birdrec train fit` on weakly labelled
recordings, {steps} steps, {start}.

**Licence of these weights:** {licence}. It follows from the recordings they were trained on; the
code of birdrec is MIT.

**Evaluation** on soundscapes of sessions that were not trained on: {evaluation}

It knows the species below and no others: calls of others can be taken for one of these.

{notes}## Species

| label | scientific name | common name |
|---|---|---|
{species}

## Recordists

Thank you: {authors}.

| recording | label | recordist | licence | address |
|---|---|---|---|---|
{recordings}
"""
