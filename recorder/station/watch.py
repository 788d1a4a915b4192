"""How a station fares, said several times a second: health, lag, the account, the screen."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import dataclass

from recorder.keep.spool import Spool
from recorder.keep.station_log import StationLog
from recorder.notify import Notifier
from recorder.station.audio import AudioKeeper
from recorder.station.backlog import Backlog
from recorder.station.clips import ClipKeeper
from recorder.station.intake import Intake, Noted
from recorder.station.run import Run
from recorder.station.view import State, View, state_lines

LATE_S, CAUGHT_UP_S = 60.0, 10.0
"""Of sound that waits: said from the first on, over below the second."""


@dataclass
class Live:
    """A run with what feeds it."""

    run: Run
    intake: Intake
    backlog: Backlog
    spool: Spool | None
    keeper: AudioKeeper | None = None
    clips: ClipKeeper | None = None


class Watch:
    """What the intake says from its own thread, and what is wrong beside it, become rows."""

    def __init__(self, log: StationLog, view: View, notifier: Notifier) -> None:
        self._log, self._view, self._notifier = log, view, notifier
        self._notes: queue.SimpleQueue[Noted] = queue.SimpleQueue()
        self._open: set[str] = set()

    def tell(self, note: Noted) -> None:
        """From any thread."""
        self._notes.put(note)

    def look(self, live: Live) -> None:
        """Write what has changed, and show how things are."""
        rows, records = live.run.rows, []
        while not self._notes.empty():
            record = rows.note(self._notes.get())
            if record is not None:
                records.append(record)
        found = self._found(live)
        for name, begins, detail in self._changes(found):
            records.append(rows.health(live.intake.frames, name, begins=begins, detail=detail))
        live.run.add(records)
        rate_hz = live.run.info.sample_rate
        state = State(
            device=live.intake.opened.name,
            sample_rate_hz=rate_hz,
            totals=live.run.ledger.totals(),
            lag_s=live.backlog.frames / rate_hz,
            level_dbfs=live.intake.health.level_dbfs,
            peak_dbfs=live.intake.health.peak_dbfs,
            away=live.intake.away,
            problems=tuple(sorted({*found, *live.intake.health.problems})),
        )
        self._view.state(state)
        self._notifier.status(state_lines(state)[1])

    def _changes(self, found: dict[str, str]) -> Iterator[tuple[str, bool, str]]:
        for name in sorted(self._open - found.keys()):
            yield name, False, "over"
        for name in sorted(found.keys() - self._open):
            yield name, True, found[name]
        self._open = set(found)

    def _found(self, live: Live) -> dict[str, str]:
        """What is wrong beside the microphone's own signal."""
        lag_s = live.backlog.frames / live.run.info.sample_rate
        late = lag_s > (CAUGHT_UP_S if "late" in self._open else LATE_S)
        bad = live.intake.bad_samples
        found = {
            "wrong_rate": live.intake.timeline.wrong_rate or "",
            "spool": live.backlog.disk_trouble,
            "disk": self._log.trouble,
            "audio": live.keeper.trouble if live.keeper is not None else "",
            "clips": live.clips.trouble if live.clips is not None else "",
            "late": f"analysis is {lag_s:.0f} s behind" if late else "",
            "numbers": "samples that are no numbers are taken for silence" if bad else "",
        }
        return {name: detail for name, detail in found.items() if detail}
