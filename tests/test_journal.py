"""What was acknowledged is there after anything; what was not is cut off, and said."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.keep.journal import Journal, Record

LINES: list[Record] = [
    {"kind": "live", "label": "coqui"},
    {"kind": "settled", "chunk": 1},
    {"kind": "settled", "chunk": 2},
    {"kind": "ledger", "analysed": 3},
]


def kinds(journal: Journal) -> list[str]:
    return [record["kind"] for record, _ in journal.read()]


def test_what_is_written_is_read_and_where_it_ends(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.append(LINES[:1])
    journal.append(LINES[1:])
    journal.sync()
    found = list(journal.read())
    assert [record for record, _ in found] == LINES
    assert found[-1][1] == journal.bytes == (tmp_path / "j").stat().st_size
    assert [record for record, _ in journal.read(found[0][1])] == LINES[1:]
    journal.close()


@given(cut=st.integers(0, 400))
def test_a_torn_end_is_cut_and_an_unclosed_batch_with_it(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("j") / "j"
    journal = Journal(path)
    journal.append(LINES)
    journal.append([{"kind": "gap"}])
    journal.append(LINES[1:])
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    left = path.stat().st_size
    again = Journal(path)
    assert again.bytes + again.cut_bytes == left
    found = kinds(again)
    assert (
        found
        == [*(one["kind"] for one in LINES), "gap", "settled", "settled", "ledger"][: len(found)]
    )
    assert found[-1:] != ["settled"]
    again.append([{"kind": "live"}])
    assert kinds(again) == [*found, "live"]
    again.close()


def test_a_long_line_at_the_end_is_read_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.append([{"kind": "ledger", "rows": [[number] * 5 for number in range(20_000)]}])
    journal.close()
    assert (tmp_path / "j").stat().st_size > 300_000
    again = Journal(tmp_path / "j")
    assert again.cut_bytes == 0
    again.close()


def test_a_damaged_line_in_the_middle_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b'{"kind": "live"}\n\x00\x00\xff\n[1]\n{"kind": "gap"}\n')
    journal = Journal(tmp_path / "j")
    assert kinds(journal) == ["live", "gap"]
    assert journal.cut_bytes == 0
    journal.close()


def test_short_writes_go_on_and_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "j")
    journal.append(LINES[:1])
    write = os.pwrite

    def short(descriptor: int, data: memoryview, place: int) -> int:
        return write(descriptor, data[:7], place)

    monkeypatch.setattr(os, "pwrite", short)
    journal.append(LINES[1:])
    assert [record for record, _ in journal.read()] == LINES
    calls = []

    def full(descriptor: int, data: memoryview, place: int) -> int:
        if calls:
            raise OSError(errno.ENOSPC, "No space left on device")
        calls.append(1)
        return write(descriptor, data[:5], place)

    before = (tmp_path / "j").read_bytes()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        journal.append([{"kind": "gap"}])
    assert (tmp_path / "j").read_bytes() == before
    monkeypatch.setattr(os, "pwrite", write)
    journal.append([{"kind": "gap"}])
    assert kinds(journal)[-1] == "gap"
    journal.close()


def test_names_that_are_not_unicode_survive(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x90\xa6")
    journal.append([{"kind": "health", "detail": name}])
    assert [record["detail"] for record, _ in journal.read()] == [name]
    assert json.loads((tmp_path / "j").read_bytes().decode("utf-8", "surrogateescape"))
    journal.close()
