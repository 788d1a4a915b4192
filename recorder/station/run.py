"""One run of a station: pieces of sound in, rows and the ledger out, in an order that can be cut.

Nothing here knows where the sound comes from, and nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable

from recorder.detect.decide import thresholds
from recorder.detect.mel import CHUNK_S
from recorder.detect.models import Model
from recorder.detect.pipeline import ChunkResult
from recorder.detect.rolling import Heard
from recorder.keep.journal import Record
from recorder.keep.ledger import LOST, Ledger
from recorder.keep.station_log import StationLog
from recorder.memory import give_back
from recorder.species.expectation import Expectation
from recorder.station.analyst import Analyst
from recorder.station.backlog import Piece
from recorder.station.rows import RowMaker, RunInfo, Times

COMMIT_S = 300.0
"""Of sound: the ledger is on disk at least this often."""
_TABLES_EVERY = 2
"""Commits: the tables follow the journal every ten minutes, which spares a card a tenth."""


class Run:
    """From the first frame of a microphone to the last, or of what was left when it crashed."""

    def __init__(
        self,
        info: RunInfo,
        *,
        log: StationLog,
        ledger: Ledger,
        times: Times,
        model: Model | None,
        threshold: float | None,
        channel: str,
        expectation: Expectation | None = None,
        heard: Callable[[Record], None] = lambda _: None,
    ) -> None:
        """Without a model the sound is counted, and stays pending."""
        self.clips_of: Callable[[list[Record]], list[Record]] = lambda _: []
        """Keeps the sound of settled rows while it is at hand, and says what it kept."""
        self.info, self.log, self.ledger = info, log, ledger
        self.rows = RowMaker(info, times, expectation)
        self._on_live = heard
        self._model = model
        self._analyst: Analyst | None = None
        if model is not None:
            self._limits = thresholds(model.bundle, threshold)
            self._analyst = Analyst(
                model.rolling,
                rate_hz=info.sample_rate,
                model_rate_hz=model.bundle.sample_rate_hz,
                channel=channel,
            )
        self.frames = 0
        """Taken so far."""
        self.boottime_of: Callable[[int], float] = lambda _: 0.0
        """When a frame was heard, by the clock that runs from boot on."""
        self.live_chunks = 0
        """Live rows of the chunks before this one have been said."""
        self.settled_frames = 0
        """What was settled before this run went on after a crash is not said again."""
        self.gaps_said_until = 0
        """Gaps before this frame have been written, but for those that the crash itself made."""
        self.final_frames = 0
        """The account of what was before this frame has been written, and changes no more."""
        self._gap: tuple[int, int] | None = None
        self._commits = 0
        self._committed_frames = 0

    def take(self, piece: Piece) -> None:
        """The next piece of sound, or of a gap."""
        if piece.frames is None:
            self._in_gap(piece)
        else:
            self._end_gap()
        self.frames = piece.stop
        if self._analyst is not None:
            self._heard(self._analyst, self._analyst.take(piece))
        # The first one anchors the run in time: after a crash the gap is counted from there.
        first = not self._committed_frames
        if first or piece.stop - self._committed_frames >= COMMIT_S * self.info.sample_rate:
            self.commit([])

    @property
    def needed_from_frame(self) -> int:
        """From here on the sound is still needed to settle what has not been settled."""
        return self.frames if self._analyst is None else self._analyst.needed_from_frame

    def finish(self, *, lost_after: int = 0) -> None:
        """Nothing follows but what was lost thereafter: settle everything, close the account."""
        self._end_gap()
        rows: list[Record] = []
        if self._analyst is not None:
            heard = self._analyst.finish()
            self._live(heard.live)
            self._failed(self._analyst)
            self.ledger.analysed(self.frames)
            rows = self._settled_rows(heard)
            self.settled_frames = self.frames
        if lost_after:
            rows.insert(0, self.rows.gap(self.ledger.end, lost_after, "shutdown"))
            self.ledger.lost(lost_after, "shutdown")
        self.commit(rows, ended=True)

    def commit(self, records: list[Record], *, ended: bool = False) -> None:
        """Write rows and the ledger as it stands, and make both safe."""
        entries = self.ledger.tail(self.final_frames)
        start = entries[0].start if entries else 0
        totals = self.ledger.totals()
        ledger: Record = {
            "run": self.info.run,
            "from": self.info.start_sample + start,
            "rows": self.rows.ledger_rows(entries),
            "analysed": totals.analysed,
            "pending": totals.pending,
            "lost": totals.lost,
            "settled_until": self.settled_frames,
            "live_chunks": self.live_chunks,
            "synced": int(self.rows.synced),
            "until_boottime_s": round(self.boottime_of(entries[-1].stop), 6) if entries else 0.0,
            "ended": int(ended),
        }
        self.log.commit(records, ledger, tables=ended or self._commits % _TABLES_EVERY == 0)
        self._commits += 1
        self.final_frames = self.ledger.first_pending()
        self._committed_frames = self.frames

    def add(self, records: list[Record]) -> None:
        """Write rows that belong to no batch."""
        self.log.add(records, self.frames / self.info.sample_rate)

    def _heard(self, analyst: Analyst, heard: Heard) -> None:
        self._live(heard.live)
        self._failed(analyst)
        until = analyst.settled_frames
        if until > self.settled_frames:
            rows = self._settled_rows(heard)
            self.ledger.analysed(until)
            self.settled_frames = until
            self.commit(rows)
            # Until the next window, in five minutes, a live step needs little.
            give_back()

    def _live(self, results: list[ChunkResult]) -> None:
        new = [one for one in results if one.index >= self.live_chunks]
        if not new:
            return
        self.live_chunks = new[-1].index + 1
        # What is rejected is written when it settles: that is the last word.
        records, _ = self._detections("live", new)
        for record in records:
            self._on_live(record)
        self.add(records)

    def _settled_rows(self, heard: Heard) -> list[Record]:
        done = round(self.settled_frames / self.info.sample_rate / CHUNK_S)
        new = [one for one in heard.settled if one.index >= done]
        rows, rejected = self._detections("settled", new)
        # Before them: the ledger's line must close the settled and the rejected rows.
        return [*self.clips_of(rows), *rejected, *rows]

    def _detections(
        self, kind: str, results: list[ChunkResult]
    ) -> tuple[list[Record], list[Record]]:
        assert self._model is not None
        return self.rows.detections(kind, results, self._model.bundle, self._limits)

    def _failed(self, analyst: Analyst) -> None:
        """What the net could not decide is lost, and said; never "no bird"."""
        if analyst.failed is None:
            return
        first, stop, why = analyst.failed
        analyst.failed = None
        self.ledger.give_up(first, stop, "decode")
        self.add([self.rows.health(first, "model", begins=True, detail=why)])

    def _in_gap(self, piece: Piece) -> None:
        # Sound that was to be in the spool and cannot be read any more.
        self.ledger.give_up(piece.first, piece.stop, "disk")
        first = piece.first if self._gap is None else self._gap[0]
        self._gap = (first, piece.stop)

    def _end_gap(self) -> None:
        if self._gap is None:
            return
        (first, stop), self._gap = self._gap, None
        rows = [
            self.rows.gap(begin, min(stop, one.stop) - begin, one.reason)
            for one in self.ledger.tail(first + 1)
            if one.state == LOST and (begin := max(first, one.start)) < stop
            if self._is_news(begin, one.reason)
        ]
        self.add(rows)
        self.commit([])

    def _is_news(self, frame: int, reason: str) -> bool:
        if frame >= self.gaps_said_until:
            return True
        return reason == "shutdown" and frame >= self.settled_frames
