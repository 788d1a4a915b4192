"""A clock that shows what the state says, and how far the analysis is behind it."""

from __future__ import annotations

from recorder.station.view import JsonLines
from recorder.station.view import State as Fares
from soaking.stage import BOOT_S, TICKS, UTC_S, State


class Clock:
    """A `Clock`: shows what the state says."""

    def __init__(self, state: State) -> None:
        self._state = state

    def boottime_s(self) -> float:
        return BOOT_S + (self._state.now - self._state.boot_tick) / TICKS

    def wall_s(self) -> float:
        return UTC_S + self._state.now / TICKS + self._state.offset_s

    def synced(self) -> bool:
        return bool(self._state.synced)

    def boot_id(self) -> str:
        return f"boot-{self._state.boot}"


class Pace(JsonLines):
    """Prints what is safe, and knows how far analysis is behind."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state
        self.looked = False
        self._done = 0

    def state(self, state: Fares) -> None:
        self._done = self._state.now - round(state.lag_s * TICKS)
        self.looked = True

    def ahead(self) -> int:
        """Ticks that are not analysed yet."""
        return self._state.now - self._done

    def word(self, text: str) -> None: ...
