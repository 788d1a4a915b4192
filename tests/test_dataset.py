"""Datasets on disk: three layouts, and nothing that does not fit is left out in silence."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from recorder.errors import ConfigError
from train.clips.dataset import Clip, core_labels, key, read_dataset, read_split, read_table

COLUMNS_2021 = [
    "primary_label",
    "secondary_labels",
    "type",
    "latitude",
    "longitude",
    "scientific_name",
    "common_name",
    "author",
    "date",
    "filename",
    "license",
    "rating",
    "time",
    "url",
]
COLUMNS_2024 = [
    "primary_label",
    "secondary_labels",
    "type",
    "latitude",
    "longitude",
    "scientific_name",
    "common_name",
    "author",
    "license",
    "rating",
    "url",
    "filename",
]


def row(label: str, filename: str, **cells: str) -> dict[str, str]:
    """A row that has a cell for every column of either year."""
    usual = {
        "secondary_labels": "[]",
        "type": "['song']",
        "latitude": "18.0",
        "longitude": "-66.1",
        "scientific_name": f"Genus {label}",
        "common_name": label.title(),
        "author": "Ada Lark",
        "date": "2020-05-01",
        "license": "CC0",
        "rating": "4.0",
        "time": "06:00",
        "url": "u",
    }
    return {"primary_label": label, "filename": filename, **usual, **cells}


def write_table(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def of_2021(tmp_path: Path) -> Path:
    rows = [
        row("wren", "XC1.ogg", secondary_labels="['todus', 'rare']"),
        row("todus", "XC2.ogg", secondary_labels="", date="2020-05-02"),
        row("rare", "XC3.ogg", author="Bo Crane"),
    ]
    write_table(tmp_path / "train_metadata.csv", COLUMNS_2021, rows)
    audio = tmp_path / "train_short_audio"
    touch(audio / "wren" / "XC1.ogg", audio / "todus" / "XC2.ogg", audio / "rare" / "XC3.ogg")
    return tmp_path


def test_the_layout_of_2021_is_read_with_authors_and_secondary_labels(of_2021: Path) -> None:
    dataset = read_dataset(of_2021)
    assert dataset.problems() == []
    assert dataset.clips[0] == Clip(
        path=of_2021 / "train_short_audio" / "wren" / "XC1.ogg",
        label="wren",
        secondary_labels=("todus", "rare"),
        scientific_name="Genus wren",
        common_name="Wren",
        author="Ada Lark",
        licence="CC0",
        url="u",
        session="Ada Lark 2020-05-01",
        inside="XC1.ogg",
    )
    assert [clip.label for clip in dataset.clips] == ["wren", "todus", "rare"]
    assert dataset.clips[1].secondary_labels == ()
    assert len({clip.session for clip in dataset.clips}) == 3


def test_the_layout_of_2024_is_read_whatever_the_order_of_its_columns(tmp_path: Path) -> None:
    rows = [row("wren", "wren/XC1.ogg"), row("wren", "wren/XC2.ogg", latitude="10.0")]
    write_table(tmp_path / "train_metadata.csv", COLUMNS_2024, rows)
    touch(*(tmp_path / "train_audio" / "wren" / name for name in ("XC1.ogg", "XC2.ogg")))
    dataset = read_dataset(tmp_path)
    assert [clip.path for clip in dataset.clips] == [
        tmp_path / "train_audio" / "wren" / "XC1.ogg",
        tmp_path / "train_audio" / "wren" / "XC2.ogg",
    ]
    # There is no date in it: recordist and place are the next best thing.
    assert [clip.session for clip in dataset.clips] == [
        "Ada Lark 18.0,-66.1",
        "Ada Lark 10.0,-66.1",
    ]
    assert dataset.problems() == []


def test_a_folder_a_species_needs_no_table(tmp_path: Path) -> None:
    touch(
        tmp_path / "Turdus_merula" / "site_20200501_060000.WAV",
        tmp_path / "Turdus_merula" / "site_20200501_070000.wav",
        tmp_path / "Turdus_merula" / "deeper" / "a.flac",
        tmp_path / "Parus_major" / "b.mp3",
        tmp_path / "Parus_major" / "notes.txt",
        tmp_path / "Parus_major" / "._b.mp3",
        tmp_path / "train_soundscapes" / "1_X_20200501.ogg",
        tmp_path / "stray.wav",
    )
    dataset = read_dataset(tmp_path)
    found = {(clip.label, clip.path.name, clip.session) for clip in dataset.clips}
    assert found == {
        ("Turdus_merula", "site_20200501_060000.WAV", "Turdus_merula 2020-05-01"),
        ("Turdus_merula", "site_20200501_070000.wav", "Turdus_merula 2020-05-01"),
        ("Turdus_merula", "a.flac", "file Turdus_merula/deeper/a.flac"),
        ("Parus_major", "b.mp3", "file Parus_major/b.mp3"),
    }
    assert dataset.clips[0].scientific_name == "Parus major"
    assert dataset.unlisted == (tmp_path / "stray.wav",)
    told = " | ".join(dataset.problems())
    assert "1 file (stray.wav) not listed" in told
    assert "2 of 4 clips have neither recordist nor date" in told


@pytest.mark.parametrize(
    ("known", "session"),
    [({"author": "Ada Lark"}, "Ada Lark"), ({"date": "2020-05-01"}, "2020-05-01")],
)
def test_a_recordist_or_a_date_alone_is_one_session(
    of_2021: Path, known: dict[str, str], session: str
) -> None:
    nothing = dict.fromkeys(("author", "date", "latitude", "longitude"), "")
    rows = [
        row("wren", "XC1.ogg", **{**nothing, **known}),
        row("todus", "XC2.ogg", **{**nothing, **known}),
        row("rare", "XC3.ogg", **nothing),
    ]
    write_table(of_2021 / "train_metadata.csv", COLUMNS_2021, rows)
    dataset = read_dataset(of_2021)
    assert [clip.session for clip in dataset.clips] == [session, session, "file XC3.ogg"]
    assert dataset.without_session == 1


def test_files_of_one_name_in_the_folders_of_two_species_are_two_sessions(tmp_path: Path) -> None:
    touch(tmp_path / "finch" / "a.wav", tmp_path / "wren" / "a.wav")
    finch, wren = read_dataset(tmp_path).clips
    assert finch.session != wren.session


def test_files_of_one_name_in_two_folders_of_a_species_are_two_clips(tmp_path: Path) -> None:
    for folder in ("wren/2023", "wren/2024"):
        touch(tmp_path / folder / "a.wav")
    assert [key(clip) for clip in read_dataset(tmp_path).clips] == [
        "wren/2023/a.wav",
        "wren/2024/a.wav",
    ]


def test_rows_without_audio_and_audio_without_a_row_are_counted_and_named(of_2021: Path) -> None:
    audio = of_2021 / "train_short_audio"
    (audio / "wren" / "XC1.ogg").unlink()
    touch(*(audio / "wren" / f"XC9{number}.ogg" for number in range(5)))
    dataset = read_dataset(of_2021)
    assert [clip.label for clip in dataset.clips] == ["todus", "rare"]
    assert dataset.missing == (audio / "wren" / "XC1.ogg",)
    assert len(dataset.unlisted) == 5
    missing, unlisted = dataset.problems()
    assert missing.startswith("1 file (train_short_audio/wren/XC1.ogg) listed")
    assert unlisted.startswith("5 files (")
    assert "and 2 more" in unlisted


def test_a_dataset_without_a_single_clip_is_an_error_that_says_what_is_needed(
    of_2021: Path, tmp_path: Path
) -> None:
    for path in (of_2021 / "train_short_audio").rglob("*.ogg"):
        path.unlink()
    with pytest.raises(ConfigError, match=r"no clips in .*3 files .*without audio.*one folder"):
        read_dataset(of_2021)
    with pytest.raises(ConfigError, match="not a folder"):
        read_dataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no clips"):
        read_dataset(tmp_path / "empty")


def test_a_table_without_its_audio_folder_is_an_error(of_2021: Path) -> None:
    (of_2021 / "train_short_audio").rename(of_2021 / "audio")
    with pytest.raises(ConfigError, match="train_short_audio or train_audio"):
        read_dataset(of_2021)


@pytest.mark.parametrize("column", ["primary_label", "filename"])
def test_a_column_that_is_needed_is_named_when_it_is_not_there(of_2021: Path, column: str) -> None:
    columns = [name for name in COLUMNS_2021 if name != column]
    write_table(of_2021 / "train_metadata.csv", columns, [row("wren", "XC1.ogg")])
    with pytest.raises(ConfigError, match=f"no column {column}; it has"):
        read_dataset(of_2021)


@pytest.mark.parametrize("column", ["primary_label", "filename"])
def test_an_empty_cell_that_is_needed_is_an_error(of_2021: Path, column: str) -> None:
    write_table(
        of_2021 / "train_metadata.csv", COLUMNS_2021, [{**row("wren", "XC1.ogg"), column: " "}]
    )
    with pytest.raises(ConfigError, match=f"a row has no {column}"):
        read_dataset(of_2021)


@pytest.mark.parametrize("filename", ["/etc/passwd", "../../secret.ogg"])
def test_a_filename_cannot_lead_out_of_the_dataset(of_2021: Path, filename: str) -> None:
    write_table(of_2021 / "train_metadata.csv", COLUMNS_2021, [row("wren", filename)])
    with pytest.raises(ConfigError, match="leads out of"):
        read_dataset(of_2021)


@pytest.mark.parametrize(
    "cell", ["__import__('pathlib').Path({!r}).touch()", "todus", "'todus'", "['a'", "3"]
)
def test_a_secondary_label_that_is_no_list_is_an_error_that_names_the_file_and_never_runs(
    of_2021: Path, cell: str
) -> None:
    victim = of_2021 / "victim"
    rows = [row("wren", "XC1.ogg", secondary_labels=cell.format(str(victim)))]
    write_table(of_2021 / "train_metadata.csv", COLUMNS_2021, rows)
    with pytest.raises(ConfigError, match=r"secondary_labels of XC1\.ogg"):
        read_dataset(of_2021)
    assert not victim.exists()


def test_a_byte_order_mark_is_no_part_of_the_first_column(of_2021: Path) -> None:
    table = of_2021 / "train_metadata.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert len(read_dataset(of_2021).clips) == 3


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b""])
def test_a_table_that_is_none_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=r"t\.csv"):
        read_table(tmp_path / "t.csv", ("a",))


def test_the_split_and_the_core_set_are_read_and_may_be_missing(of_2021: Path) -> None:
    dataset = read_dataset(of_2021)
    assert read_split(of_2021) is None
    assert core_labels(dataset) == ["rare", "todus", "wren"]
    marks = [
        {"filename": f"XC{n}.ogg", "primary_label": label, "split": part, "in_core_set": core}
        for n, label, part, core in (
            (1, "wren", "train", "1"),
            (2, "todus", "val", "1"),
            (3, "rare", "train", "0"),
        )
    ]
    write_table(of_2021 / "split_by_session.csv", list(marks[0]), marks)
    assert read_split(of_2021) == {"XC1.ogg": "train", "XC2.ogg": "val", "XC3.ogg": "train"}
    assert core_labels(dataset) == ["todus", "wren"]
