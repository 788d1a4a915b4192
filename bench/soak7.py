#!/usr/bin/env python3
"""A week of a station at full speed, with everything going wrong that can be made to.

    nice -n 5 .venv/bin/python bench/soak7.py [--days 7] [--seed 7] [--keep FOLDER]

`birdrec listen` as it is, but for a microphone, a clock and a disk that are made up
(bench/soaking): the device goes away and comes back, also in another form of sound; overruns, told
and untold; disks full, read-only, broken and slow; the clock set; kill -9, power cuts, SIGSTOP; a
starved processor; a microphone that is dead, clipped or offset; spool and tables damaged between
two starts. The microphone's own account is then held against ledger and rows. Needs cc. SIGTERM
ends it early, in good order. Writes bench/results/soak7.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import tempfile
import threading
from pathlib import Path

from soaking.parent import make_sounds
from soaking.plan import make_plan
from soaking.soak import calm, soak

_PERIOD_S = 1800
"""So the sound repeats."""
RESULTS = Path(__file__).resolve().parent / "results" / "soak7.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="work here, and leave it")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="birdrec-soak-") as name:
        folder, seconds = options.keep or Path(name), options.days * 86_400
        make_sounds(folder / "sound", _PERIOD_S)
        references = {
            form: calm(folder / f"calm{form}", folder / "sound", form, _PERIOD_S) for form in (0, 1)
        }
        found = soak(
            folder / "soak", folder / "sound", make_plan(options.seed, seconds), seconds,
            seed=options.seed, references=references, period_s=_PERIOD_S, stop=stop,
        )  # fmt: skip
    found["date"] = datetime.date.today().isoformat()
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} processors"
    found["command"] = f"bench/soak7.py --days {options.days:g} --seed {options.seed}"
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
