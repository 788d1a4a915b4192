"""Charts as inline SVG: in the right place, well-formed, and no number made of none."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from recorder.report.svg import (
    LABELS,
    WIDTH,
    Axis,
    Bar,
    Line,
    bars,
    line_chart,
    matrix,
    number,
    words,
)
from train.judging.strips import Strip, strips

EVIL = "<script>alert('x')</script>&\"\x07"
NAN = float("nan")
UNIT = Axis("share", 0.0, 1.0, (0, 0.5, 1))


def _parse(svg: str) -> Element:
    """Well-formed, without anything that runs or is loaded, and with its title for the blind."""
    root = ElementTree.fromstring(svg)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label")
    for element in root.iter():
        assert element.tag in {"svg", "path", "text", "rect", "circle", "title"}
        assert not {"href", "src", "onload"} & set(element.attrib)
    return root


def _boxes(root: Element, kind: str) -> list[tuple[float, float]]:
    """(width, height) of the rectangles of a class."""
    found = [box for box in root.iter("rect") if box.get("class") == kind]
    return [(float(box.attrib["width"]), float(box.attrib["height"])) for box in found]


def _texts(root: Element) -> list[str]:
    return [element.text or "" for element in root.iter("text")]


def _paths(root: Element, kind: str) -> list[str]:
    """Of a class, in the order in which they are drawn; samples in the legend come first."""
    return [path.attrib["d"] for path in root.iter("path") if path.get("class") == kind]


def _points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


def test_words_are_escaped_and_controls_are_shown() -> None:
    escaped = words(EVIL + "\udce9")
    assert not set(escaped) & {"<", ">", '"', "'"}
    assert "\\x07" in escaped
    assert "\\udce9" in escaped


def test_what_is_no_number_is_a_dash() -> None:
    assert number(NAN) == "–"
    assert number(0.0) == "0.00"
    assert number(0.1236, 3) == "0.124"


def test_an_axis_places_values_upwards_too() -> None:
    axis = Axis("dB", -10.0, 10.0, ())
    assert axis.at(0.0, 100.0, 50.0) == 125.0
    assert axis.at(10.0, 100.0, -50.0) == 50.0


def test_a_line_is_drawn_to_scale_with_its_axes_named() -> None:
    line = Line("F1", [(0.0, 0.0), (0.5, 1.0), (1.0, 0.5)])
    root = _parse(line_chart("F1 by threshold", UNIT, Axis("F1", 0.0, 1.0, (0, 1)), [line]))
    (left, bottom), (middle, top), (right, half) = _points(_paths(root, "line a")[-1])
    assert middle - left == right - middle > 150
    assert bottom - top == 2 * (bottom - half) == 200
    assert {"F1", "share", "0", "0.5", "1"} <= set(_texts(root))


def test_a_line_breaks_where_there_is_no_number() -> None:
    points = [(0.0, 0.5), (0.25, NAN), (0.5, 0.5), (NAN, 0.5), (1.0, 0.5)]
    hints = ["one", "two", "three", "four", "five"]
    root = _parse(line_chart("t", UNIT, UNIT, [Line("l", points, "b", hints)]))
    path = _paths(root, "line b")[-1]
    assert (path.count("M"), path.count("L")) == (3, 0)
    assert "nan" not in path
    dots = [dot.findtext("title") for dot in root.iter("circle")]
    assert dots == ["one", "three", "five"]


def test_marks_stand_where_their_value_is_and_their_names_do_not_cross_them() -> None:
    marks = [(0.25, "in use"), (0.9, "last"), (0.2, "suggested")]
    root = _parse(line_chart("t", UNIT, UNIT, [], marks=marks))
    starts = [_points(line)[0] for line in _paths(root, "mark")]
    right = WIDTH - 14.0
    expected = [48 + share * (right - 48) for share in (0.9, 0.2, 0.25)]
    assert [x for x, _ in starts] == pytest.approx(expected, abs=0.06)
    assert sorted(y for _, y in starts) == [y for _, y in starts]
    anchors = {t.text: t.get("class") for t in root.iter("text")}
    assert (anchors["last"], anchors["suggested"]) == ("end", "")


def test_bars_are_as_long_as_their_values_and_none_is_not_0() -> None:
    rows = [Bar("a", 1.0, ("7", "–")), Bar("b", 0.25, ("2", "x")), Bar("c", 0.0), Bar("d", NAN)]
    root = _parse(bars("t", UNIT, rows, ("rows", "AUC")))
    (whole, _), (quarter, _), (nothing, _) = _boxes(root, "fill-a")
    assert quarter == pytest.approx(whole / 4, abs=0.06)
    assert nothing == 0.0
    texts = _texts(root)
    assert {"rows", "AUC", "7", "1.00", "0.25", "0.00"} <= set(texts)
    assert texts[texts.index("d") + 1] == "–"
    assert LABELS + whole < WIDTH


def test_a_long_name_is_cut_and_kept_whole_in_its_hint() -> None:
    name = "a_species_with_quite_a_long_name"
    root = _parse(bars("t", UNIT, [Bar(name, 0.5)]))
    label = next(text for text in root.iter("text") if text.findtext("title") == name)
    assert label.text == "a_species_with_quite_a_…"


def test_a_matrix_writes_per_cent_a_blank_for_0_and_a_dash_for_none() -> None:
    shares = [[1.0, 0.0], [NAN, 0.126]]
    hints = [["all", "no"], ["?", "few"]]
    root = _parse(
        matrix("t", ["r1", "r2"], ["c1", "c2"], shares, hints, row_title="x", column_title="y")
    )
    assert [text for text in _texts(root) if text[0] in "0123456789–"] == ["100", "–", "13"]
    filled = [box for box in root.iter("rect") if box.get("class") == "fill-a"]
    assert [box.findtext("title") for box in filled] == ["all", "no", "few"]
    assert [float(box.attrib["fill-opacity"]) for box in filled] == [0.55, 0.0, 0.07]


def test_strips_show_scores_truth_and_threshold() -> None:
    row = Strip(
        "ant",
        [0.0, 1.0, NAN, 0.5],
        ["w", "x", "y", "z"],
        0.25,
        [False, True, True, False],
        [True, True, True, False],
    )
    root = _parse(strips("t", Axis("seconds", 0.0, 20.0, (0, 20)), [row]))
    heights = [height for _, height in _boxes(root, "fill-a")]
    assert heights == [0.0, 22.0, 11.0]
    assert "–" in _texts(root)
    assert len(_boxes(root, "fill-b")) == 2
    assert len(_boxes(root, "maybe")) == 1
    time, own = _paths(root, "axis")
    (limit,) = _paths(root, "mark")
    assert _points(own)[0][1] - _points(limit)[0][1] == pytest.approx(22 * 0.25)
    assert _points(time)[0][1] > _points(own)[0][1]


def test_no_name_gets_out_of_its_place() -> None:
    unit = Axis(EVIL, 0.0, 1.0, (0, 1))
    line = Line(EVIL, [(0.0, 0.0)], "a", [EVIL])
    strip = Strip(EVIL, [0.5], [EVIL], 0.5, [True], [True])
    for svg in (
        line_chart(EVIL, unit, unit, [line], marks=[(0.5, EVIL)], notes=[(0.5, EVIL)]),
        bars(EVIL, unit, [Bar(EVIL, 0.5, (EVIL,))], (EVIL,)),
        matrix(EVIL, [EVIL], [EVIL], [[0.5]], [[EVIL]], row_title=EVIL, column_title=EVIL),
        strips(EVIL, unit, [strip]),
    ):
        _parse(svg)
        assert "<script" not in svg
