"""`--prior FILE`: eBird's bar chart, tables, and what is wrong with them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.detect.bundle import Label
from recorder.errors import BirdrecError, ConfigError
from recorder.species.names import Names
from recorder.species.prior_table import PriorTable, read_prior
from recorder.species.text import TextFile

LABELS = (
    Label("banana", "Coereba flaveola", "Bananaquit", 0.5),
    Label("bkwvir", "Vireo altiloquus", "Black-whiskered Vireo", 0.5),
)
NAMES = Names(LABELS)
SHARES = [round(0.01 * week, 4) for week in range(48)]
LISTS = ["0.0", *["12.0"] * 47]


def read(text: str) -> PriorTable:
    return read_prior(TextFile(Path("prior.txt"), text, ""), NAMES, len(LABELS))


def answer(text: str) -> str:
    """What is said of it."""
    try:
        return "empty" if np.isnan(read(text).frequency).all() else "read"
    except BirdrecError as error:
        return str(error)


def tabbed(name: str, numbers: list[object] | list[float] | list[str]) -> str:
    return "\t".join([name, *map(str, numbers)])


def bar_chart(*rows: str, lists: list[str] = LISTS) -> str:
    """As eBird writes it, with its blank lines and tabs at the ends."""
    months = "\t".join(["", *(f"{month}\t\t\t" for month in ("Jan", "Feb", "Mar"))])
    head = [
        "",
        "Frequency of observations in the selected location(s).\t",
        "\t",
        "Number of taxa: \t2",
        "",
        months,
        tabbed("Sample Size: ", lists) + "\t",
        "",
    ]
    return "\n".join([*head, *(f"{row}\t" for row in rows), ""])


@pytest.mark.parametrize(
    "name",
    [
        'Bananaquit (<em class="sci">Coereba flaveola</em>)',
        'Bananaquit (Puerto Rican) (<em class=""sci"">Coereba flaveola</em>)',
        "Bananaquit (Coereba flaveola)",
        "Sugar Bird (Coereba flaveola)",
        "Bananaquit (Certhia flaveola)",
        "Bananaquit",
    ],
)
def test_a_bar_chart_as_it_is_downloaded(name: str) -> None:
    found = read(bar_chart(tabbed("duck sp.", SHARES), tabbed(name, SHARES)))
    assert found.frequency.shape == (2, 48, 1)
    assert math.isnan(found.frequency[0, 0, 0]), "a week in which nobody wrote a list"
    assert found.frequency[0, 1:, 0].tolist() == SHARES[1:]
    assert np.isnan(found.frequency[1]).all()
    assert (found.form, found.unknown) == ("eBird bar chart", ("duck sp.",))


def test_a_table_of_weeks_of_months_of_hours() -> None:
    weeks = read("species,week,frequency\nbanana,1,0.25\nBananaquit,48,0\nbkwvir,2,1\n")
    assert weeks.frequency.shape == (2, 48, 1)
    assert weeks.frequency[0, [0, 47], 0].tolist() == [0.25, 0.0]
    assert np.isnan(weeks.frequency[0, 1:47]).all()
    months = read("scientific_name;month;hour;frequency\nCoereba flaveola;2;23;0.5\n")
    assert months.frequency.shape == (2, 48, 24)
    assert months.frequency[0, 4:8, 23].tolist() == [0.5] * 4
    assert np.isfinite(months.frequency).sum() == 4
    always = read("frequency,label\n1e-3,banana\n0.5,xyz\n")
    assert always.frequency.shape == (2, 1, 1)
    assert (always.frequency[0, 0, 0], always.unknown) == (0.001, ("xyz",))


WEEKLY = "label,week,frequency\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is neither eBird's bar chart"),
        ("bird,frequency\nbanana,1\n", "nor a CSV whose header has one of label,"),
        ("label,week\nbanana,1\n", "line 1: the column frequency is missing"),
        ("label,weeks,frequency\nbanana,1,0\n", "line 1: unknown column 'weeks': use label"),
        ("label,week,month,frequency\n", "line 1: week and month exclude each other"),
        (WEEKLY, "has no row"),
        (WEEKLY + "xyz,1,0.5\n", "knows none of its 1 species, the first is 'xyz'"),
        (WEEKLY + "banana,49,0.5\n", "line 2: week '49': use 1 to 48"),
        (WEEKLY + "banana,0,0.5\n", "line 2: week '0': use 1 to 48"),
        (WEEKLY + "\n# x\nbanana,1.5,0.5\n", "line 4: week '1.5': use 1 to 48"),
        (WEEKLY + "banana,,0.5\n", "line 2: week '': use 1 to 48"),
        ("label,month,frequency\nbanana,13,0\n", "line 2: month '13': use 1 to 12"),
        ("label,hour,frequency\nbanana,24,0\n", "line 2: hour '24': use 0 to 23"),
        ("label,hour,frequency\nbanana,-1,0\n", "line 2: hour '-1': use 0 to 23"),
        (WEEKLY + "banana,1,1.01\n", "line 2: frequency '1.01': use a number from 0 to 1"),
        (WEEKLY + "banana,1,-0.1\n", "line 2: frequency '-0.1': use a number from 0 to 1"),
        (WEEKLY + "banana,1,nan\n", "line 2: frequency 'nan': use a number from 0 to 1"),
        (WEEKLY + "banana,1,often\n", "line 2: frequency 'often': use a number from 0 to 1"),
        (WEEKLY + "banana,1\n", "line 2: 2 columns: the header has 3"),
        (
            WEEKLY + "banana,1,0\nbkwvir,1,0\nBananaquit,1,0\n",
            "line 4: Bananaquit was there in line 2 already, for this time",
        ),
        (
            bar_chart(tabbed("Bananaquit", SHARES[:47])),
            "line 9: 'Bananaquit' has 47 numbers: a bar",
        ),
        (bar_chart(tabbed("Bananaquit", [*SHARES, 0.5])), "has 49 numbers: a bar chart has 48"),
        (
            bar_chart(tabbed("Bananaquit", [2.0, *SHARES[1:]])),
            "line 9: 'Bananaquit' has '2.0': use numbers from 0 to 1",
        ),
        (bar_chart(tabbed("Bananaquit", ["nan", *SHARES[1:]])), "has 'nan': use numbers from 0 to"),
        (bar_chart(lists=LISTS[:5]), "line 7: 'Sample Size: ' has 5 numbers"),
        (bar_chart(lists=["-1", *LISTS[1:]]), "has '-1': use numbers from 0 or more"),
        (bar_chart(), "has no row: it says nothing of any species"),
        (
            bar_chart(tabbed("Bananaquit", SHARES), tabbed("X (Coereba flaveola)", SHARES)),
            "line 10: Coereba flaveola was there in line 9 already",
        ),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(text)
    assert words in str(raised.value)
    assert "prior.txt" in str(raised.value)


@given(
    st.text(st.characters(codec="utf-8"), max_size=60)
    | st.text("label,frequncy\n01.#", max_size=40)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, WEEKLY + text, bar_chart() + text):
        assert answer(whole) == "read" or "prior.txt" in answer(whole)


CELLS = st.dictionaries(
    st.tuples(st.integers(0, 1), st.integers(1, 48), st.integers(0, 23)),
    st.floats(0.0, 1.0),
    min_size=1,
    max_size=40,
)


@given(CELLS)
def test_a_table_that_was_written_is_read(cells: dict[tuple[int, int, int], float]) -> None:
    lines = [
        f"{LABELS[index].common_name},{week},{hour},{share!r}"
        for (index, week, hour), share in cells.items()
    ]
    found = read("\n".join(["common_name,week,hour,frequency", *lines])).frequency
    assert {
        (int(index), int(week) + 1, int(hour)): float(found[index, week, hour])
        for index, week, hour in np.argwhere(np.isfinite(found))
    } == cells
