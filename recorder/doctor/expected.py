"""The user's species list and prior: can the station read them, and whose hours are they?"""

from __future__ import annotations

import time

from recorder.detect.bundle import DEFAULT_BUNDLE
from recorder.detect.models import read_model
from recorder.doctor.check import Check, fault, ok
from recorder.errors import ConfigError, UsageError
from recorder.species.expectation import read_expectation
from recorder.station.options import ListenOptions


def check_expected(options: ListenOptions) -> Check:
    """As `listen` reads them at its start; a file that is wrong keeps it from starting."""
    asked = options.expects
    if asked.species is None and asked.prior is None:
        return ok("species", "no list and no prior: all that the model knows can occur")
    try:
        read = read_expectation(asked, read_model(options.model or DEFAULT_BUNDLE))
    except (ConfigError, UsageError) as error:
        return fault("species", str(error), "mend the file, or leave it out of [site]")
    said = [read.said, *read.words]
    if read.expectation is not None and read.expectation.occurrence.has_hours:
        zone = asked.timezone or f"the machine's time zone ({time.strftime('%Z')})"
        said.append(f"its hours are taken as those of {zone}")
    return ok("species", "; ".join(said))
