"""The job `listen`: a source, its intake, the run that analyses it, and what is said meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from recorder.detect.models import Model
from recorder.detect.voice import voice_detector
from recorder.errors import AudioDeviceError
from recorder.keep.ledger import Ledger
from recorder.keep.spool import Spool, remove_torn
from recorder.keep.station_log import StationLog
from recorder.notify import Notifier
from recorder.sound.live.clock import Clock, utc_text
from recorder.sound.live.source import Lost, Opened, Sound, Source
from recorder.species.expectation import NOTHING_EXPECTED, Read
from recorder.station.analyst import check_channel
from recorder.station.audio import AudioKeeper
from recorder.station.backlog import Backlog, Piece
from recorder.station.clips import ClipKeeper
from recorder.station.intake import Intake
from recorder.station.options import ListenOptions
from recorder.station.prior import (
    REPLAY_BOOT,
    Prior,
    downtime_frames,
    last_run,
    next_start_sample,
    pieces_to_repeat,
    restored_ledger,
    unfinished,
)
from recorder.station.rows import FixedTimes, RunInfo, Times
from recorder.station.run import Run
from recorder.station.spools import remove_others, spool_folders, spool_of
from recorder.station.view import View
from recorder.station.voice import VoiceFilter
from recorder.station.watch import CAUGHT_UP_S, LATE_S, Live, Watch

_MEMORY_S = 30.0
_FLUSH_S = 3.0
"""What is behind at the end has so long; then it waits in the spool for the next start."""
_SHOW_S = 0.25
_THIN_PIECE_S = 10.0


class Station:
    """One folder, one model, one source."""

    def __init__(
        self,
        options: ListenOptions,
        *,
        model: Model | None,
        log: StationLog,
        view: View,
        clock: Clock | None,
        stop: threading.Event,
        expects: Read = NOTHING_EXPECTED,
    ) -> None:
        """When `stop` is set it finishes what is at hand, and ends.

        `clock` is None for a replay, whose time is that of the file; without a model sound is only
        recorded.
        """
        self._options, self._model, self._log, self._view = options, model, log, view
        self._clock = clock
        self._folders = spool_folders(
            options.out, round(options.min_free_mb * 1e6), round(options.spool_ram_mb * 1e6)
        )
        remove_torn(self._folders)
        self._notifier = Notifier()
        self._watch = Watch(log, view, self._notifier)
        self._stop, self._expects = stop, expects
        self._thinning = False
        self._ahead: Sound | None = None
        """Of a run that begins because the last one's device came back in another form."""

    def listen(self, source: Source) -> None:
        """Until the source is over, the time is up, or `stop`; AudioDeviceError if it never opens.

        A device that comes back in another form of sound begins another run.
        """
        opened: Opened | None = self._opened(source)
        while opened is not None:
            opened = self._listen_once(source, opened)

    def _opened(self, source: Source) -> Opened | None:
        """Wait for the device; None when told to stop meanwhile."""
        deadline_s, reason = time.monotonic() + self._options.wait_s, ""
        while not self._stop.is_set():
            event = source.read(_SHOW_S)
            if isinstance(event, Opened):
                return event
            if isinstance(event, Lost):
                if event.reason != reason:
                    self._view.word(f"waiting for the microphone: {event.reason}")
                    self._notifier.status(f"waiting for the microphone: {event.reason}")
                reason = event.reason
            if reason and time.monotonic() < deadline_s:
                # The system's start must not wait for a microphone, nor take this for a hang.
                self._notifier.ready()
                self._notifier.alive()
            # While it says nothing it is still being opened: a slow board needs its time.
            late = bool(reason) and time.monotonic() > deadline_s
            if late or (isinstance(event, Lost) and event.final):
                raise AudioDeviceError(
                    f"no sound from {self._options.device or 'the default microphone'}: "
                    f"{reason or 'it gives none'}; see `birdrec devices`, or let it wait with "
                    "--wait inf"
                )
        return None

    def _listen_once(self, source: Source, opened: Opened) -> Opened | None:
        check_channel(self._options.channel, opened.channels)
        prior = unfinished(self._log.store)
        if prior is not None and self._goes_on(prior, opened):
            live = self._continued(source, opened, prior)
        else:
            live = self._begun(source, opened, prior)
        self._notifier.ready()
        self._work(live)
        self._ahead = live.intake.ahead
        return None if self._ahead is None else live.intake.reopened

    def _goes_on(self, prior: Prior, opened: Opened) -> bool:
        """The same boot, device, form and model: one run, with a gap for the time in between."""
        info = prior.info
        return (
            self._clock is not None
            and info.boot == self._clock.boot_id()
            and info.device == opened.device_id
            and (info.sample_rate, info.channels) == (opened.sample_rate_hz, opened.channels)
            and (info.model, info.expected) == (self._model_name(), self._expects.said)
            and prior.until_boottime_s > 0.0
        )

    def _continued(self, source: Source, opened: Opened, prior: Prior) -> Live:
        spool = spool_of(prior.info, self._folders)
        ledger = restored_ledger(prior, spool)
        backlog = Backlog(spool, memory_frames=round(_MEMORY_S * opened.sample_rate_hz))
        intake = self._intake(source, opened, ledger, backlog)
        intake.continue_from(prior.ended_boottime_s(ledger.end))
        repeated = pieces_to_repeat(prior, ledger.end, spool)
        live = self._live(prior.info, intake, backlog, ledger, spool, intake.timeline)
        intake.start()
        self._repeat(live.run, prior, repeated)
        return live

    def _begun(self, source: Source, opened: Opened, prior: Prior | None) -> Live:
        ledger = Ledger()
        info = self._new_info(opened)
        # What is replayed needs no second place, but for the clips that are cut out later.
        needed = self._clock is not None or self._options.keep_audio == "clips"
        spool = spool_of(info, self._folders) if needed else None
        backlog = Backlog(spool, memory_frames=round(_MEMORY_S * opened.sample_rate_hz))
        intake = self._intake(source, opened, ledger, backlog)
        began_s = time.monotonic()
        intake.start()
        if prior is not None:
            self._settle(prior, began_s)
        info = replace(info, start_sample=next_start_sample(self._log.store))
        times: Times = intake.timeline
        if self._clock is None:
            times = FixedTimes(0, 0.0, opened.sample_rate_hz, synced=False)
        live = self._live(info, intake, backlog, ledger, spool, times)
        remove_others(self._folders, info)
        live.run.add([info.record()])
        live.run.commit([])
        return live

    def _settle(self, prior: Prior, began_s: float) -> None:
        """Analyse what a run left that cannot go on, and close its account."""
        replayed = prior.info.boot == REPLAY_BOOT
        spool = None if replayed else spool_of(prior.info, self._folders)
        ledger = restored_ledger(prior, spool)
        run = self._run(prior.info, ledger, prior.times)
        self._clips(run, prior.info, spool)
        self._repeat(run, prior, pieces_to_repeat(prior, ledger.end, spool))
        ago_s = time.monotonic() - began_s
        lost = 0 if replayed else downtime_frames(prior, ledger.end, self._clock, ago_s=ago_s)
        run.finish(lost_after=lost)
        if spool is not None:
            spool.remove()

    def _repeat(self, run: Run, prior: Prior, pieces: Iterator[Piece]) -> None:
        run.settled_frames = run.final_frames = prior.settled_until
        run.live_chunks = prior.live_chunks
        run.gaps_said_until = prior.known
        behind_s = (run.ledger.end - prior.settled_until) / prior.info.sample_rate
        self._view.word(f"the last run did not end: {behind_s:.0f} s of it are analysed now")
        for piece in pieces:
            run.take(piece)
            self._notifier.alive()

    def _new_info(self, opened: Opened) -> RunInfo:
        last = last_run(self._log.store)
        clock = self._clock
        return RunInfo(
            run=1 if last is None else last.run + 1,
            boot=REPLAY_BOOT if clock is None else clock.boot_id(),
            start_sample=0,
            sample_rate=opened.sample_rate_hz,
            channels=opened.channels,
            dtype=self._dtype(),
            device=opened.device_id,
            model=self._model_name(),
            start_utc=utc_text(0.0 if clock is None else clock.wall_s()),
            time_quality="synced" if clock is not None and clock.synced() else "unsynced",
            expected=self._expects.said,
        )

    def _dtype(self) -> str:
        if self._clock is None:
            return "float32"
        return "int16" if self._options.bits == 16 else "int32"

    def _model_name(self) -> str:
        if self._model is None:
            return "none"
        return f"{self._model.bundle.name}@{self._model.bundle.sha256[:12]}"

    def _intake(self, source: Source, opened: Opened, ledger: Ledger, backlog: Backlog) -> Intake:
        limit_s = self._options.duration_s
        return Intake(
            source,
            opened,
            ledger=ledger,
            backlog=backlog,
            clock=self._clock,
            tell=self._watch.tell,
            channel=self._options.channel,
            limit_frames=None if limit_s is None else round(limit_s * opened.sample_rate_hz),
            first=self._ahead,
        )

    def _live(
        self,
        info: RunInfo,
        intake: Intake,
        backlog: Backlog,
        ledger: Ledger,
        spool: Spool | None,
        times: Times,
    ) -> Live:
        everything = self._options.keep_audio == "all"
        keeper = None
        if everything:
            keeper = AudioKeeper(self._options, info, times, voice=self._voice_filter(info))
        run = self._run(info, ledger, times)
        run.boottime_of = intake.timeline.boottime_of
        return Live(run, intake, backlog, spool, keeper, self._clips(run, info, spool))

    def _clips(self, run: Run, info: RunInfo, spool: Spool | None) -> ClipKeeper | None:
        if self._options.keep_audio != "clips" or spool is None:
            return None
        voice, store = self._voice_filter(info), self._log.store
        keeper = ClipKeeper(self._options, info, run.rows, spool=spool, store=store, voice=voice)
        run.clips_of = keeper.settled
        return keeper

    def _voice_filter(self, info: RunInfo) -> VoiceFilter | None:
        if not self._options.drops_voice:
            return None
        return VoiceFilter(voice_detector(), info.sample_rate)

    def _run(self, info: RunInfo, ledger: Ledger, times: Times) -> Run:
        return Run(
            info,
            log=self._log,
            ledger=ledger,
            times=times,
            model=self._model,
            threshold=self._options.threshold,
            channel=self._options.channel,
            expectation=self._expects.expectation,
            heard=self._view.heard,
        )

    def _work(self, live: Live) -> None:
        """Take pieces until the source is over or it is time to stop; then settle the rest."""
        deadline_s, shown_s = float("inf"), 0.0
        while time.monotonic() < deadline_s:
            if self._stop.is_set() and deadline_s == float("inf"):
                self._notifier.stopping()
                live.intake.stop()
                deadline_s = time.monotonic() + _FLUSH_S
            try:
                piece = live.backlog.get(_SHOW_S)
            except EOFError:
                break
            if piece is not None:
                self._take(live, piece)
            # At rest a piece of nothing comes every few seconds: only an intake that hangs is mute.
            if piece is not None or (live.intake.away and not live.intake.rests):
                self._notifier.alive()
            if time.monotonic() - shown_s >= _SHOW_S:
                shown_s = time.monotonic()
                self._watch.look(live)
        live.intake.join(_FLUSH_S)
        if live.intake.failure is not None:
            raise live.intake.failure
        self._watch.look(live)
        self._end(live)

    def _end(self, live: Live) -> None:
        if live.keeper is not None:
            live.run.add(live.keeper.close())
        left = live.backlog.frames
        if left:
            live.run.commit([])
            left_s = left / live.run.info.sample_rate
            self._view.word(f"{left_s:.0f} s wait in the spool: the next start analyses them")
            return
        live.run.finish()
        # What went wrong while the last rows settled is said too.
        self._watch.look(live)
        self._log.flush(tables=True)
        if live.spool is not None:
            live.spool.remove()

    def _take(self, live: Live, piece: Piece) -> None:
        if live.keeper is not None:
            live.run.add(live.keeper.take(piece))
        if self._thinned(live, piece):
            live.run.ledger.give_up(piece.first, piece.stop, "thinned")
            piece = Piece(piece.first, piece.count, None)
        live.run.take(piece)
        # Until its rows are safe the sound is not let go, unless newer sound needs the room.
        if live.spool is not None and (self._log.safe or live.backlog.disk_trouble):
            live.spool.drop_before(live.run.needed_from_frame)

    def _thinned(self, live: Live, piece: Piece) -> bool:
        """Is this piece left out, because the board is late and the user wishes it so?"""
        if self._options.when_late != "thin":
            return False
        lag_s = live.backlog.frames / live.run.info.sample_rate
        self._thinning = lag_s > (CAUGHT_UP_S if self._thinning else LATE_S)
        stretch = int(piece.first / live.run.info.sample_rate / _THIN_PIECE_S)
        return self._thinning and stretch % 2 == 1
