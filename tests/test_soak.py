"""The soak in small: faults of every kind from a seed, and an account that must come out even.

The week is bench/soak7.py. Here it is shown as well that what judges it can say no.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "bench"))

from soaking.judge import judge_ledger
from soaking.parent import Seen, make_sounds
from soaking.plan import Fault, load_plan, make_plan
from soaking.rows import Rows, judge_rows
from soaking.soak import calm, soak
from soaking.stage import RATES_HZ, ticks_of
from soaking.truth import Truth, truth_of

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or not sys.platform.startswith("linux"),
    reason="the disk that fails is a library in C",
)

PERIOD_S = 60
EIO, EROFS = 5, 30


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forest")
    make_sounds(folder, PERIOD_S)
    return folder


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory, sounds: Path) -> Rows:
    """What is said when nothing goes wrong."""
    return calm(tmp_path_factory.mktemp("calm") / "stage", sounds, 0, PERIOD_S)


Soak = Callable[[list[Fault], float], tuple[dict[str, Any], Path]]


@pytest.fixture
def soaked(tmp_path: Path, sounds: Path, peace: Rows) -> Soak:
    def run(plan: list[Fault], seconds: float) -> tuple[dict[str, Any], Path]:
        folder = tmp_path / "stage"
        found = soak(
            folder, sounds, plan, seconds, seed=1, references={0: peace}, period_s=PERIOD_S
        )
        return found, folder

    return run


def faultless(found: dict[str, Any]) -> None:
    assert found["broken"] == ""
    assert found["ledger_wrong"] == []
    assert found["wrong"] == []
    for name in ("rows_twice", "printed_rows_lost"):
        assert found[name] == 0, name
    assert found["largest_shift_samples"] <= 2
    assert found["tables_unlike_the_journal"] == []
    assert found["ills_said_in_60_s"] == found["ills_that_lasted"]
    assert found["chunks_heard"] > 10
    assert found["rows_printed"] > 50


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_whatever_goes_wrong_every_sample_has_its_fate(soaked: Soak, seed: int) -> None:
    plan = make_plan(seed, 600.0, slot_s=100.0)
    assert len({one.kind for one in plan}) > 3
    found, _ = soaked(plan, 600.0)
    faultless(found)
    assert sum(found["faults"].values()) > 3


def test_another_form_of_sound_goes_on_where_the_last_one_ended(soaked: Soak) -> None:
    plan = [
        Fault("other", ticks_of(100.0), ticks_of(20.0)),
        Fault("overrun", ticks_of(330.0), amount=50_000),
        Fault("other", ticks_of(400.0), ticks_of(100.0)),
    ]
    found, folder = soaked(plan, 660.0)
    faultless(found)
    assert found["between_runs_s"] == [0.0, 0.0]
    runs = sqlite3.connect(folder / "out" / "station.sqlite").execute(
        "SELECT sample_rate, channels FROM runs ORDER BY run"
    )
    assert [one[0] for one in runs] == [RATES_HZ[0], RATES_HZ[1], RATES_HZ[0]]


def test_a_kill_while_the_card_takes_nothing_costs_no_sound(soaked: Soak) -> None:
    """What is settled but not written is still in the spool, and is settled again."""
    plan = [
        Fault("gone", ticks_of(200.0), ticks_of(420.0)),
        Fault("disk", ticks_of(630.0), ticks_of(600.0), EROFS),
        Fault("kill", ticks_of(700.0), ticks_of(30.0)),
    ]
    found, folder = soaked(plan, 800.0)
    faultless(found)
    assert found["heard_and_lost_s"] < 1.1
    # What was settled at the kill is written once, and is not written again at each start.
    lines = [json.loads(line) for line in (folder / "out" / "detections.jsonl").open()]
    settled = [one for one in lines if one["kind"] == "settled"]
    assert {one["chunk"] for one in settled if one["chunk"] < 40}


def test_the_judge_can_say_no(soaked: Soak, peace: Rows) -> None:
    found, folder = soaked([Fault("kill", ticks_of(60.0), ticks_of(40.0))], 200.0)
    faultless(found)
    seen = Seen()
    truth = truth_of(folder, load_plan(folder / "plan.json"), seen)

    def judged(*changes: str) -> tuple[list[str], dict[str, Any]]:
        return _after(folder / "out", truth, peace, changes)

    wrong, rows = judged()
    assert wrong == []
    assert rows["rows_wrong"] == rows["rows_twice"] == 0
    lost = "state = 'lost'"
    for changes in (
        [f"UPDATE ledger SET reason = 'device' WHERE {lost}"],
        [f"UPDATE ledger SET samples = samples + 100 WHERE {lost}"],
        ["DELETE FROM ledger WHERE state = 'lost'"],
        [
            f"UPDATE ledger SET samples = samples - 32000 WHERE {lost}",
            "UPDATE ledger SET start_sample = start_sample - 32000, samples = samples + 32000 "
            "WHERE start_sample > (SELECT start_sample FROM ledger WHERE state = 'lost')",
        ],
    ):
        assert judged(*changes)[0], changes
    _, rows = judged("INSERT INTO detections SELECT * FROM detections LIMIT 1")
    assert rows["rows_twice"] == 1
    _, rows = judged("DELETE FROM detections WHERE kind = 'settled' AND score > threshold + 0.3")
    assert rows["rows_wrong"] > 0


def _after(
    out: Path, truth: Truth, peace: Rows, changes: tuple[str, ...]
) -> tuple[list[str], dict[str, Any]]:
    """Of tables that were tampered with."""
    copy = out.with_name("tampered")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(out, copy)
    base = sqlite3.connect(copy / "station.sqlite")
    with base:
        for change in changes:
            base.execute(change)
    base.close()
    verdict = judge_ledger(copy, truth)
    return verdict.wrong, judge_rows(copy, truth, verdict.gone, {0: peace}, PERIOD_S)
