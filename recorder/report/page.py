"""The page of `birdrec report`: who was heard, when, how it sounded, and how it went."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recorder.report.data import Example, Report, Species
from recorder.report.html import html_page, say, section, table
from recorder.report.media import Media, media_of
from recorder.report.svg import Axis, Bar, Line, bars, line_chart, matrix, number, words

_CSS = """
.heard{display:flex;flex-wrap:wrap;gap:1rem;margin:.5rem 0 1rem}
figure{margin:0;flex:1 1 18rem;max-width:20.5rem}
figure img{width:100%;height:auto;background:#fff;display:block}
figure audio{width:100%} figcaption{font-size:.9rem;color:var(--dim)}
"""
_DAYS_DRAWN = 62
"""More than two months of bars nobody reads: the latest are drawn, and it is said."""

MediaOf = Callable[[Path, Example], Media | None]


def page(report: Report, media: MediaOf = media_of) -> str:
    """The whole file; every name in it is escaped."""
    species = sorted(report.species.values(), key=lambda one: (-one.chunks, one.label))
    body = "\n".join(
        (
            _summary(report, species),
            _activity(report, species),
            _days(report),
            _accumulation(report),
            _examples(report, species, media),
            _health(report),
            "<h2>How it was decided</h2>" + table(("", ""), report.about, numbers=()),
            '<p class="soft">Made by birdrec report. A chunk is 5 s of sound in which a species is '
            "over its threshold: a measure of activity, not a number of birds.</p>",
        )
    )
    return html_page(report.title, body, more_css=_CSS, media=True)


def _summary(report: Report, species: list[Species]) -> str:
    amounts = [[name, _duration(seconds)] for name, seconds in report.seconds.items()]
    sound = table(("sound", ""), amounts, numbers=(1,))
    if report.rejected is not None:
        sound += say(
            f"{report.rejected} detections rejected by the species list or the prior: they are "
            "kept, each with its reason, in rejected.csv, or in a station's table `rejected`."
        )
    if not species:
        return sound + say("No species was over its threshold.")
    rows = [
        [one.name, one.scientific_name, str(one.chunks), number(max(one.best).score)]
        if one.best
        else [one.name, one.scientific_name, str(one.chunks), "–"]
        for one in species
    ]
    return (
        sound
        + f"<h2>{len(species)} species</h2>"
        + table(("species", "", "chunks", "best score"), rows, numbers=(2, 3))
    )


def _activity(report: Report, species: list[Species]) -> str:
    """Of the chunks of each hour, the share in which a species was heard."""
    title = "When they call: share of the sound of each hour, in per cent"
    if not any(report.effort.values()):
        return section(title, "Nobody knows at what time of day these recordings were made.")
    hours = range(24)
    chunks = [report.effort[hour] / 5.0 for hour in hours]
    shares = [
        [
            min(1.0, one.hours[hour] / chunks[hour]) if chunks[hour] else float("nan")
            for hour in hours
        ]
        for one in species
    ]
    hints = [
        [f"{one.name}, {hour}:00 to {hour}:59: {one.hours[hour]} chunks" for hour in hours]
        for one in species
    ]
    said = (
        f"Time of day: {report.clock}. A dash is an hour without sound; below, the hours of sound."
    )
    if report.undated:
        said += f" Left out: {report.undated} recordings whose time is not known."
    drawn = matrix(
        title,
        [one.name for one in species],
        [f"{hour:02d}" for hour in hours],
        shares,
        hints,
        row_title="species",
        column_title="hour",
    )
    effort = [[f"{hour:02d}", _duration(report.effort[hour])] for hour in hours if chunks[hour]]
    return section(title, said, drawn if species else "") + table(
        ("hour", "sound"), effort, numbers=(1,)
    )


def _days(report: Report) -> str:
    if not report.days:
        return ""
    days = sorted(report.days)[-_DAYS_DRAWN:]
    most = max(report.days[day] for day in days)
    said = "Chunks with a species, added over all species."
    if len(days) < len(report.days):
        said += f" The last {len(days)} of {len(report.days)} days."
    rows = [Bar(day, float(report.days[day]), said=str(report.days[day])) for day in days]
    step = max(1, round(most / 4))
    axis = Axis("chunks", 0.0, float(max(most, 1)), [float(x) for x in range(0, most + 1, step)])
    return section("Detections per day", said, bars("Detections per day", axis, rows))


def _accumulation(report: Report) -> str:
    """How many species are known after each day, or each recording."""
    seen: set[str] = set()
    points = [(0.0, 0.0)]
    for unit in sorted(report.by_unit):
        seen |= report.by_unit[unit]
        points.append((float(len(points)), float(len(seen))))
    if len(points) < 3:
        return ""
    plural = f"{report.unit}s"
    said = f"A line that still rises: more {plural} would find more species."
    x = Axis(plural, 0.0, points[-1][0], _ticks(int(points[-1][0])))
    y = Axis("species", 0.0, max(1.0, float(len(seen))), _ticks(max(1, len(seen))))
    chart = line_chart("Species found so far", x, y, [Line("species", points)])
    return section("Species found so far", said, chart)


def _examples(report: Report, species: list[Species], media: MediaOf) -> str:
    parts, missing = [], 0
    for one in species:
        shown = []
        for example in sorted(one.best, reverse=True):
            found = media(report.root, example)
            if found is None:
                missing += 1
            else:
                shown.append(_figure(one, example, found))
        if shown:
            parts.append(f'<h3>{words(one.name)}</h3><div class="heard">{"".join(shown)}</div>')
    if not parts and not missing:
        return ""
    said = (
        "The highest scores, with a second before and after; time to the right, 50 Hz to 15 kHz "
        "upwards. Listen before you believe: a score is not a proof."
    )
    if missing:
        said += f" Of {missing} the sound is not there any more."
    return f"<h2>How they sounded</h2>{say(said)}{''.join(parts)}"


def _figure(species: Species, example: Example, media: Media) -> str:
    said = f"{number(example.score)} · {example.when or f'{example.start_s:g} s'} · {example.path}"
    if media.sound:
        sound = f'<audio controls preload="none" src="{media.sound}"></audio>'
    else:
        sound = "<p>Somebody speaks: the sound is left out.</p>"
    return (
        f'<figure><img src="{media.picture}" alt="spectrogram of {words(species.name)}"/>'
        f"{sound}<figcaption>{words(said)}</figcaption></figure>"
    )


def _health(report: Report) -> str:
    parts = ["<h2>How the recording went</h2>"]
    if report.statuses:
        rows = [[status, str(count)] for status, count in sorted(report.statuses.items())]
        parts.append(table(("files", ""), rows, numbers=(1,)))
    if report.troubles:
        parts.append(table(("what", "", "why"), report.troubles, numbers=()))
    elif not any(report.seconds.values()):
        parts.append(say("Nothing was recorded: there is no second of sound."))
    else:
        parts.append(say("Nothing was lost, and nothing was wrong."))
    return "".join(parts)


def _duration(seconds: float) -> str:
    """Hours where there are any."""
    if seconds >= 3600.0:
        return f"{seconds / 3600.0:.1f} h"
    return f"{seconds / 60.0:.1f} min" if seconds >= 60.0 else f"{seconds:.1f} s"


def _ticks(highest: int) -> list[float]:
    step = max(1, round(highest / 5))
    return [float(value) for value in range(0, highest + 1, step)]
