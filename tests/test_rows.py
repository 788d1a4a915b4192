"""Rows in columns: the same rows come out, in any order, and damage is seen when they are read."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.keep.formats import ChunkRow, EventRow, ManifestRow, values_of
from recorder.keep.result import DoneFiles, FileResult
from recorder.keep.rows import Rows

TEXTS = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=[]), max_size=9),
    st.binary(max_size=9).map(lambda name: name.decode("utf-8", "surrogateescape")),
)
NUMBERS = st.floats(allow_nan=False)
EVENTS = st.lists(st.builds(EventRow, TEXTS, NUMBERS, NUMBERS, TEXTS, NUMBERS))


def chunk_rows(count: int) -> list[ChunkRow]:
    """Whose row ids are all different."""
    return [
        ChunkRow(f"stem_{5 * n}", "caf\udce9.wav", 5.0 * n, 5.0 * n + 5, "wren" if n % 3 else "")
        for n in range(count)
    ]


@given(EVENTS)
def test_what_is_put_in_comes_out(events: list[EventRow]) -> None:
    rows = Rows(EventRow, events)
    assert list(rows) == events
    assert len(rows) == len(events)
    assert rows == tuple(events)
    assert rows[1:] == tuple(events[1:])
    assert pickle.loads(pickle.dumps(rows)) == rows
    packed = json.loads(json.dumps(rows.packed()))
    assert Rows.unpacked(EventRow, packed) == rows


def test_many_different_texts_come_out_too() -> None:
    wanted = chunk_rows(5_000)
    rows = Rows(ChunkRow, wanted)
    assert rows == wanted
    assert (rows[-1], rows[4_321]) == (wanted[-1], wanted[4_321])
    with pytest.raises(IndexError):
        rows[5_000]
    assert rows != wanted[:-1]


def damaged(packed: list[list[str]], how: str) -> list[list[str]]:
    ids = packed[0]
    match how:
        case "which":
            ids[0] = base64.b64encode(np.full(50, 99, np.uint32).tobytes()).decode()
        case "ends":
            ids[1] = base64.b64encode(np.arange(51, 0, -1, dtype=np.uint64).tobytes()).decode()
        case "texts":
            ids[2] = base64.b64encode(b"\xff" * len(base64.b64decode(ids[2]))).decode()
        case "shorter":
            ids[0] = ids[0][:40]
        case "no base64":
            ids[0] = "?" + ids[0][1:]
        case "column":
            packed.pop()
    return packed


@pytest.mark.parametrize("how", ["which", "ends", "texts", "shorter", "no base64", "column"])
def test_what_is_damaged_is_refused(how: str) -> None:
    """Before any of it is used."""
    packed = damaged(Rows(ChunkRow, chunk_rows(50)).packed(), how)
    with pytest.raises(ValueError, match=r".+"):
        Rows.unpacked(ChunkRow, packed)


def test_a_result_is_kept_and_found_again(tmp_path: Path) -> None:
    manifest = ManifestRow("a.wav", "analysed", "", 250.0, 250.0, 32_000, 1, "", "m", "v", 1.0)
    scores = np.random.default_rng(0).random((50, 3), dtype=np.float32)
    result = FileResult(manifest, chunks=Rows(ChunkRow, chunk_rows(50)), scores=scores)
    done = DoneFiles(tmp_path, "settings")
    part = done.part("identity", "a.wav")
    done.put(part, result)
    again = done.get(part)
    assert again is not None
    assert (again.manifest, again.chunks, again.bird) == (manifest, result.chunks, None)
    assert again.scores is not None
    np.testing.assert_array_equal(again.scores, scores)
    (kept,) = tmp_path.iterdir()
    kept.write_text("".join(kept.read_text().splitlines(keepends=True)[:-1]))
    assert done.get(part) is None


def test_values_are_those_of_the_rows() -> None:
    rows = Rows(ChunkRow, chunk_rows(50))
    assert list(rows.values()) == [tuple(values_of(row)) for row in rows]
    assert rows.names == list(ChunkRow.__slots__)
