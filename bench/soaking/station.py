"""The process of the station: `birdrec listen` with a microphone and a clock that are made up.

    python -m soaking.station FOLDER END_TICK

Nothing of recorder/ is other than it is in the field, but for what is put in here by name: the
microphone, the clock, the view (which also keeps the pace), and how often the station looks about.
"""

from __future__ import annotations

import sys
from pathlib import Path

from recorder.station import listen, station, which_device
from recorder.station.options import ListenOptions
from soaking.microphone import Microphone
from soaking.pace import Clock, Pace
from soaking.plan import load_plan
from soaking.stage import RATES_HZ, Account, Page

SPOOL_RAM_MB = 85.0
"""As on a board with 512 MB."""


def options_for(folder: Path) -> ListenOptions:
    return ListenOptions(
        device="made up",
        out=folder / "out",
        keep_audio="clips",
        voice="keep",
        clips_per_species=20,
        min_free_mb=1.0,
        spool_ram_mb=SPOOL_RAM_MB,
    )


def main() -> None:
    folder, end = Path(sys.argv[1]), int(sys.argv[2])
    page = Page(folder / "page")
    state = page.read()
    pace = Pace(state)
    microphone = Microphone(
        state, page, Account(folder / "account"), load_plan(folder / "plan.json"), pace,
        [folder / f"sound.{rate_hz}" for rate_hz in RATES_HZ], end,
    )  # fmt: skip
    station._SHOW_S = 0.02
    vars(listen)["SystemClock"] = lambda: Clock(state)
    vars(listen)["_view"] = lambda **_: pace
    vars(which_device)["open_microphone"] = lambda *_: microphone
    listen.run_listen(options_for(folder), quiet=False, as_json=True)


if __name__ == "__main__":
    main()
