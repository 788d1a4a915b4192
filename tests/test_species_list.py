"""`--species FILE`: what people write in such lists, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.detect.bundle import Label
from recorder.errors import BirdrecError, ConfigError
from recorder.species.names import Names
from recorder.species.species_list import SpeciesList, read_species_list
from recorder.species.text import TextFile, read_text_file

LABELS = (
    Label("banana", "Coereba flaveola", "Bananaquit", 0.5),
    Label("coccyzus_vieilloti", "Coccyzus vieilloti", "Puerto Rican Lizard Cuckoo", 0.5),
    Label("setophaga_adelaidae", "Setophaga adelaidae", "Adelaide's Warbler", 0.5),
    Label("unnamed", "Aves", "", 0.5),
)
NAMES = Names(LABELS)


def read(text: str) -> SpeciesList:
    return read_species_list(TextFile(Path("birds.txt"), text, ""), NAMES, len(LABELS))


def listed(text: str) -> list[int]:
    return np.flatnonzero(read(text).allowed).tolist()


@pytest.mark.parametrize(
    "name",
    [
        "setophaga_adelaidae",
        "Setophaga adelaidae",
        "SETOPHAGA  ADELAIDAE ",
        "Adelaide's Warbler",
        "adelaide’s warbler",
        "Setophaga adelaidae_Adelaide's Warbler",
        "Setophaga adelaidae_Reinita mariposera",
        "Dendroica adelaidae_Adelaide's Warbler",
        "Adelaide's Warbler  # the one from the dry forest",
    ],
)
def test_a_species_may_be_called_many_ways(name: str) -> None:
    assert listed(f"# mine\r\n\r\n  {name}\r\n") == [2]


@pytest.mark.parametrize(
    "text",
    [
        "label\nbanana\ncoccyzus_vieilloti",
        "Scientific_Name,Common_Name\nCoereba flaveola,Bananaquit\n,Puerto Rican Lizard Cuckoo",
        "n;common_name\n1;Bananaquit\n2;puerto rican lizard-cuckoo\n",
        "count\tspecies_code\n7\tbanana\n# gone\n1\tcoccyzus_vieilloti",
        'label,notes\nbanana,"common, everywhere"\ncoccyzus_vieilloti,',
        "species_code,scientific_name\nnonsense1,Coereba flaveola\nx,Coccyzus vieilloti",
    ],
)
def test_a_table_has_a_header_that_names_a_column(text: str) -> None:
    assert listed(text) == [0, 1]


def test_a_byte_order_mark_is_no_letter(tmp_path: Path) -> None:
    path = tmp_path / "birds.txt"
    path.write_bytes("banana\n".encode("utf-8-sig"))
    found = read_species_list(read_text_file(path), NAMES, len(LABELS))
    assert found.allowed.tolist() == [True, False, False, False]


def test_an_unknown_name_is_said_once_with_the_nearest() -> None:
    found = read("Banana\nCoccyzus vieiloti\nCoccyzus vieiloti\nXyzzy quux\n")
    assert found.unknown == ("Coccyzus vieiloti", "Coccyzus vieiloti", "Xyzzy quux")
    assert NAMES.unknown("birds.txt", found.unknown) == [
        "birds.txt: the model does not know 'Coccyzus vieiloti': did you mean Coccyzus vieilloti?",
        "birds.txt: the model does not know 'Xyzzy quux'",
    ]


def test_of_a_long_list_the_first_unknown_names_are_said() -> None:
    said = NAMES.unknown("all.txt", [f"Genus{number} species" for number in range(6_000)])
    assert len(said) == 9
    slip = [*(f"Genus{number} species" for number in range(50)), "Coereba flaveolla"]
    assert NAMES.unknown("all.txt", slip)[0].endswith("did you mean Coereba flaveola?")
    assert said[-1] == "all.txt: nor 5992 other names"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "names no species: write one a line"),
        (b"# only a comment\n\n", "names no species"),
        (b"label\n", "names no species"),
        (b"Banana quit\nxyz", "knows none of its 2 names, the first is 'Banana quit' (did you"),
        (b"name,number\nbanana,3\n", "the first is 'name,number'"),
        (b"label,n\nbanana\n", "line 2: 1 columns: the header has 2"),
        (b"label,n\nbanana,1,2\n", "line 2: 3 columns: the header has 2"),
        (b"label,n\n,1\n", "line 2: it names no species"),
        (b"label,label\nbanana,banana\n", "line 1: a column is there twice"),
        (b"banana\ncaf\xe9\n", "line 2: not UTF-8: save it as UTF-8"),
        (b"\xff\xfeb\x00a\x00", "line 1: not UTF-8"),
        (b"label,n\nbanana," + b"x" * 200_000, "line 2: not a line of a CSV (field larger"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "birds.txt"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as raised:
        read_species_list(read_text_file(path), NAMES, len(LABELS))
    assert words in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(ConfigError, match=words):
            read_text_file(path)


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("label,\n#; _'\"", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        said = "birds.txt" if read(text).allowed.any() else "no bird"
    except BirdrecError as error:
        said = str(error)
    assert "birds.txt" in said


@given(st.data(), st.sets(st.integers(0, 2), min_size=1), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_any_way_of_writing_a_list_is_the_list(
    data: st.DataObject, wanted: set[int], newline: str
) -> None:
    lines = []
    for index in data.draw(st.permutations(sorted(wanted))):
        one = LABELS[index]
        both = f"{one.scientific_name}_{one.common_name}"
        name = data.draw(st.sampled_from([one.label, one.scientific_name, one.common_name, both]))
        change = data.draw(st.sampled_from([str, str.upper, str.lower, str.title]))
        lines.append(change(name))
    assert listed(newline.join(lines)) == sorted(wanted)
