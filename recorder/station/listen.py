"""`birdrec listen` from the command line's options to its exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from recorder.detect.bundle import DEFAULT_BUNDLE
from recorder.detect.models import Model, load_model, precision_of, read_model
from recorder.errors import AudioFileError, ModelError, UsageError
from recorder.keep.alone import alone_in
from recorder.keep.formats import RUN, make_writable
from recorder.keep.kept_files import remove_unfinished
from recorder.keep.recording import recover_recordings
from recorder.keep.station_log import StationLog
from recorder.memory import give_back
from recorder.sound.live.clock import Clock, SystemClock
from recorder.sound.live.replay import Replay
from recorder.sound.live.source import Source
from recorder.species.expectation import NOTHING_EXPECTED, Read, read_expectation
from recorder.station import audio, clips
from recorder.station.options import ListenOptions
from recorder.station.scheduled import Scheduled
from recorder.station.station import Station
from recorder.station.view import JsonLines, Lines, Quiet, Screen, View


def run_listen(options: ListenOptions, *, quiet: bool, as_json: bool) -> None:
    """Listen until the time is up or a signal comes.

    Raises UsageError, ModelError, AudioDeviceError, AudioFileError.
    """
    options.check()
    make_writable(options.out)
    stop = threading.Event()
    with _signals(stop), alone_in(options.out):
        if (options.out / RUN).exists():
            raise UsageError(
                f"--out {options.out} holds the results of a scan, into which a station would "
                "write: choose another folder"
            )
        model = _model(options)
        expects = _expected(options, model)
        view = _view(quiet=quiet, as_json=as_json)
        log = _log(options.out, view)
        try:
            clock = SystemClock() if options.replay is None else None
            source = _source(options, log, view, clock)
            for words in expects.words:
                view.word(words)
            try:
                station = Station(
                    options,
                    model=model,
                    log=log,
                    view=view,
                    clock=clock,
                    stop=stop,
                    expects=_of_recording(expects, source),
                )
                station.listen(source)
            finally:
                source.close()
        finally:
            view.close()
            log.close()


def _model(options: ListenOptions) -> Model | None:
    try:
        bundle = read_model(options.model or DEFAULT_BUNDLE)
        model = load_model(bundle, precision_of(bundle, options.precision), threads=options.threads)
        give_back()
        model.rolling()
    except ModelError as error:
        if options.record_only:
            return None
        raise ModelError(f"{error}; to record without it: --record-only") from error
    return None if options.record_only else model


def _expected(options: ListenOptions, model: Model | None) -> Read:
    """The user's list and prior; nothing where nothing is analysed."""
    if model is None:
        return NOTHING_EXPECTED
    return read_expectation(options.expects, model.bundle)


def _of_recording(expects: Read, source: Source) -> Read:
    """A replay is judged by the time of the recording, as by a scan."""
    if expects.expectation is None or not isinstance(source, Replay):
        return expects
    return replace(expects, expectation=replace(expects.expectation, recording=source.start))


def _view(*, quiet: bool, as_json: bool) -> View:
    if as_json:
        return JsonLines()
    if quiet:
        return Quiet()
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        return Screen()
    return Lines()


def _log(out: Path, view: View) -> StationLog:
    try:
        log = StationLog(out, view.said)
    except OSError as error:
        raise UsageError(
            f"--out {out} cannot be used ({error.strerror or error}): free some space, or choose "
            "another folder"
        ) from error
    if log.journal.cut_bytes:
        view.word(
            f"{log.journal.cut_bytes} bytes at the end of detections.jsonl were never "
            "acknowledged, and have been cut off"
        )
    if log.store.remade:
        view.word(
            f"station.sqlite was damaged ({log.store.remade}): it was put aside and made again "
            "from detections.jsonl"
        )
    remove_unfinished(out / clips.FOLDER)
    for path in recover_recordings(out / audio.FOLDER):
        view.word(f"{path} was not ended; what is in it can be read")
    return log


def _source(options: ListenOptions, log: StationLog, view: View, clock: Clock | None) -> Source:
    if clock is not None:
        from recorder.station.which_device import open_microphone

        microphone = open_microphone(options, log, view.word)
        if options.schedule.is_always:
            return microphone
        return Scheduled(microphone, options.schedule, clock)
    assert options.replay is not None
    try:
        return Replay(options.replay, speed=options.speed)
    except AudioFileError as error:
        raise AudioFileError(f"--replay {options.replay}: {error}") from error


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end in good order; a second Ctrl-C at once."""
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {name: signal.getsignal(name) for name in names}

    def ask(number: int, _frame: object) -> None:
        stop.set()
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    for name in names:
        signal.signal(name, ask)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
