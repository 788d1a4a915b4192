"""One file of settings: strict, documented in place, changed without harm."""

from __future__ import annotations

import os
import re
import stat
import string
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from conftest import Birdrec, MakeSound, ReadLines
from hypothesis import example, given
from hypothesis import strategies as st

from recorder.config.change import parse_value, set_values, shown_tree, with_value
from recorder.config.keys import KEYS, TABLES, Key, shown
from recorder.config.listening import listen_options
from recorder.config.read import defaults, find_key, parse_settings, read_settings, template
from recorder.errors import ConfigError
from recorder.station.options import ListenOptions

ROOT = Path(__file__).parents[1]
PATHS = {key.path: key for key in KEYS}

WELL: dict[str, st.SearchStrategy[Any]] = {
    "microphone.device": st.text(string.printable[:95] + "äöü✓"),
    "microphone.channel": st.sampled_from(["1", "2", "17", "mix"]),
    "microphone.rate_hz": st.one_of(st.just(0), st.integers(8_000, 384_000)),
    "microphone.bits": st.sampled_from([16, 24]),
    "microphone.wait_s": st.floats(0, allow_nan=False),
    "analysis.model": st.text(string.printable[:95]),
    "analysis.precision": st.sampled_from(["auto", "fp32", "int8"]),
    "analysis.threshold": st.floats(0, 1, exclude_max=True),
    "analysis.threads": st.integers(1, 16),
    "analysis.when_late": st.sampled_from(["queue", "thin"]),
    "analysis.record_only": st.booleans(),
    "keep.out": st.text(string.printable[:95], min_size=1),
    "keep.audio": st.sampled_from(["none", "clips", "all"]),
    "keep.voice": st.sampled_from(["auto", "drop", "keep"]),
    "keep.clip_context_s": st.floats(0, 30),
    "keep.clips_per_species": st.integers(1, 1_000_000),
    "keep.days": st.floats(0, 1e9),
    "keep.gb": st.floats(0, 1e9),
    "keep.min_free_mb": st.floats(0, 1e9),
    "keep.spool_ram_mb": st.floats(0, 1e9),
    "site.location": st.sampled_from(["18.34, -65.82", "-90,180", "70.0 , +25.5"]),
    "schedule.windows": st.lists(
        st.sampled_from(["06:00 to 09:30", "22:00 to 02:00", "sunset to sunrise+01:00"])
    ),
    "schedule.clock": st.sampled_from(["local", "utc", "America/Puerto_Rico"]),
}
"""Of every key that fits any other, values that are allowed."""
JUNK = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.text(max_size=5)),
    st.lists(st.integers(), min_size=1), st.dictionaries(st.text(max_size=3), st.integers()),
)  # fmt: skip


def written(values: dict[str, Any]) -> str:
    return "".join(
        f"[{table}]\n"
        + "".join(
            f"{path.split('.')[1]} = {shown(value)}\n"
            for path, value in values.items()
            if path.startswith(f"{table}.")
        )
        for table in TABLES
    )


def outcome(work: Callable[[], Any]) -> tuple[Any, str]:
    """(what came of it, "") or (None, what the error of our own kind says)."""
    try:
        return work(), ""
    except ConfigError as error:
        return None, str(error)


def test_the_template_is_the_one_in_firmware_config_and_says_the_defaults() -> None:
    text = (ROOT / "firmware_config" / "birdrec.toml").read_text(encoding="utf-8")
    assert text == template()
    settings = parse_settings(text, "template")
    assert settings.given == PATHS.keys()
    assert settings.values == defaults().values
    assert parse_settings("", "empty").values == defaults().values


def test_the_defaults_are_those_of_the_command_line() -> None:
    assert listen_options(defaults()) == ListenOptions()


def test_every_setting_of_listen_is_in_the_file() -> None:
    of_one_call = {"replay", "speed", "duration_s"}
    changed = dict(zip(WELL, ["x", "2", 9_000, 24, 1.0, "m", "int8", 0.5, 2, "thin"], strict=False))
    changed |= {"keep.out": "o", "keep.audio": "clips", "keep.clip_context_s": 1.0}
    changed |= {"keep.voice": "keep"}
    changed |= {"keep.clips_per_species": 5, "keep.days": 2.0, "keep.gb": 3.0}
    changed |= {"keep.min_free_mb": 4.0, "keep.spool_ram_mb": 5.0}
    changed |= {"schedule.windows": ["06:00 to 07:00"], "site.species": "birds.txt"}
    options = listen_options(parse_settings(written(changed), "x"))
    recording = listen_options(parse_settings("analysis.record_only = true", "x"))
    assert (recording.record_only, recording.keep_audio) == (True, "all")
    same = {
        name
        for name in ListenOptions.__dataclass_fields__
        if getattr(options, name) == getattr(ListenOptions(), name)
    }
    assert same == of_one_call | {"record_only"}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_every_key_is_documented_where_it_stands(key: Key) -> None:
    lines = template().splitlines()
    begin = lines.index(f"[{key.table}]")
    at = next(i for i in range(begin, len(lines)) if lines[i].startswith(f"{key.name} = "))
    assert not any(line.startswith("[") for line in lines[begin + 1 : at])
    comment = []
    while lines[at - 1 - len(comment)].startswith("# "):
        comment.append(lines[at - 1 - len(comment)])
    assert len(" ".join(comment)) > 15
    assert key.accepts(key.default)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[keep]\naudoi = 'all'", "unknown key keep.audoi: did you mean keep.audio?"),
        ("[keep]\ndevice = 'x'", "unknown key keep.device: did you mean microphone.device?"),
        ("audio = 'all'", "audio is in no table: use audio below [keep]"),
        ("[micropone]\ndevice = ''", "did you mean [microphone]?"),
        ("[mqtt]\nhost = ''", "there are [microphone], [analysis], [keep], [site], [schedule]"),
        ("keep = 3", "keep = 3: use a table, [keep]"),
        ("[keep]\naudio = 'some'", 'keep.audio = "some": use "none" or "clips" or "all"'),
        ("[keep]\naudio = true", "keep.audio = true: use"),
        ("[keep]\ndays = '3'", 'keep.days = "3": use 0 or more, without quotes'),
        ("[keep]\ndays = nan", "keep.days = nan: use 0 or more"),
        ("[keep]\ndays = inf", "keep.days = inf: use 0 or more"),
        ("[analysis]\nthreshold = 1.0", "analysis.threshold = 1.0: use 0, or a number below 1"),
        ("[analysis]\nthreshold = nan", "analysis.threshold = nan: use"),
        ("[microphone]\nbits = 16.0", "microphone.bits = 16.0: use 16 or 24"),
        ("[microphone]\nbits = true", "microphone.bits = true: use 16 or 24"),
        ("[microphone]\nrate_hz = 4", "microphone.rate_hz = 4: use 0, or 8000 to 384000"),
        ("[microphone]\nchannel = 1", "microphone.channel = 1: use"),
        ("[microphone]\nchannel = '²'", "microphone.channel = "),
        ("[microphone]\nwait_s = -1", "microphone.wait_s = -1: use 0 or more seconds, or inf"),
        ("[site]\nlocation = '91, 0'", "use latitude -90 to 90"),
        ("[schedule]\nwindows = '06:00 to 07:00'", "schedule.windows = "),
        ("[schedule]\nwindows = ['6 to 7']", "'6' is no time: use 00:00 to 24:00, or sunrise"),
        ("[schedule]\nwindows = ['06:00 to 06:00']", "has no length"),
        ("[schedule]\nwindows = ['sunrise to 06:00']", "mixes a time of day with one of the sun"),
        ("[schedule]\nwindows = ['sunrise to sunset']", "site.location is empty"),
        ("[schedule]\nclock = 'Mars/Olympus'", "there is no time zone 'Mars/Olympus'"),
        ("[schedule]\nclock = '../../etc/passwd'", "there is no time zone"),
        ("[schedule]\nduty_on_min = 10", "duty_on_min = 10 of duty_every_min = 0: use 0 and 0"),
        ("[schedule]\nduty_on_min = 3\nduty_every_min = 7", "does not divide a day"),
        ("[keep\n", "is no TOML: "),
        ("keep = {" * 5_000, "is no TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "birdrec.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_settings(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_command_line_says_so_with_its_exit_code(birdrec: Birdrec, tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong.toml", tmp_path / "right.toml"
    wrong.write_text("[keep]\nout = 3\n")
    right.write_text("[keep]\ngb = 3\n")
    for arguments, code, words in (
        (("config", "check", wrong), 3, "keep.out = 3: use the path of a folder in quotes"),
        (
            ("config", "check", right),
            0,
            f"right; 1 keys are set; {len(KEYS) - 1} have their defaults",
        ),
        (("config", "check", tmp_path / "none"), 3, "No such file"),
        (("config", "check", tmp_path), 3, "cannot be read (Is a directory)"),
        (("config", "show", right), 0, "gb = 3.0\nmin_free_mb = 500.0  # the default"),
        (("config", "show", right, "--json"), 0, '"given": [\n    "keep.gb"\n  ]'),
        (("config", "set", right, "keep.gb"), 2, "keep.gb has no value"),
        (("config", "set", right, "keep.gb", "-1"), 3, "keep.gb = -1: use 0 or more"),
        (("config", "set", right, "keep.gb", "4", "keep.days", "2.5"), 0, "keep.days = 2.5"),
        (("config", "set", wrong, "keep.out", "x"), 3, "keep.out = 3"),
        (("listen", "--config", wrong), 3, "keep.out = 3"),
        (("config", "template"), 0, "[schedule]"),
    ):
        done = birdrec(*arguments)
        assert (done.returncode, words in done.stdout + done.stderr) == (code, True), done
        assert "Traceback" not in done.stderr
    assert read_settings(right)["keep.gb"] == 4.0


def test_a_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_bytes(b"[keep]\nout = '\xff'\n")
    with pytest.raises(ConfigError, match="line 2: not UTF-8"):
        read_settings(path)
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="larger than a megabyte"):
        read_settings(path)


def test_listen_takes_the_file_and_options_win(
    birdrec: Birdrec, read_lines: ReadLines, tmp_path: Path, birdlike: MakeSound
) -> None:
    soundfile.write(tmp_path / "a.wav", birdlike(12.0, seed=2), 32_000)
    (tmp_path / "b.toml").write_text(
        '[microphone]\ndevice = "usb:1:2"\n'
        f"[keep]\nout = {shown(str(tmp_path / 'out'))}\naudio = 'all'\nmin_free_mb = 1\n"
        "[analysis]\nthreshold = 0.001\n[schedule]\nwindows = ['06:00 to 06:01']\n"
    )
    replay = ("listen", "--config", tmp_path / "b.toml", "--replay", tmp_path / "a.wav")
    assert birdrec(*replay, "--speed", "max").returncode == 0
    rows = read_lines(tmp_path / "out" / "detections.jsonl")
    assert {row["threshold"] for row in rows if "label" in row} == {0.001}
    assert len(list((tmp_path / "out" / "recordings").glob("*/*.flac"))) == 1
    over = ("--speed", "max", "--threshold", "0.002", "--keep-audio", "none", "--out")
    assert birdrec(*replay, *over, tmp_path / "other").returncode == 0
    rows = read_lines(tmp_path / "other" / "detections.jsonl")
    assert {row["threshold"] for row in rows if "label" in row} == {0.002}
    assert not (tmp_path / "other" / "recordings").exists()


@given(st.fixed_dictionaries({}, optional=WELL))
def test_what_is_allowed_is_read_as_it_was_written(values: dict[str, Any]) -> None:
    values["site.location"] = "18.34, -65.82"
    settings = parse_settings(written(values), "x")
    assert settings.given == values.keys()
    for path, value in values.items():
        assert settings[path] == value
        assert type(settings[path]) is type(PATHS[path].default)
    listen_options(settings).check()


@given(st.sampled_from(KEYS), JUNK)
def test_no_value_passes_that_the_recorder_would_refuse(key: Key, value: Any) -> None:
    """Whatever is in a file: settings that the recorder can use, or one error of its own kind."""
    found, refused = outcome(lambda: key.checked(value))
    if refused:
        assert refused.startswith(f"{key.path} = ")
        return
    assert type(found) is type(key.default)
    text = f"[{key.table}]\n{key.name} = {shown(found)}\n"
    settings, refused = outcome(lambda: parse_settings(text, "x"))
    if refused:
        assert key.table == "schedule", "only there keys must fit each other"
        return
    listen_options(settings).check()


@given(st.text())
@example('"a\\u001b[31m" = 1')
@example("[keep]\naudio = ''' \n[keep]'''\n")
def test_any_text_is_read_or_refused(text: str) -> None:
    settings, refused = outcome(lambda: parse_settings(text, "x"))
    assert (settings is None) == bool(refused)
    assert refused.isprintable(), "what is in a file does nothing to a terminal"


@given(st.text(string.ascii_lowercase + "._", min_size=1))
def test_an_unknown_key_is_answered_with_one_that_exists(path: str) -> None:
    if path in PATHS:
        return
    with pytest.raises(ConfigError) as caught:
        find_key(path)
    (guess,) = re.findall(r"did you mean (\S+)\?", str(caught.value))
    assert guess in PATHS


STYLES = (
    template(),
    "",
    "# mine\r\n[keep]   # here\r\n  audio='all'#c\r\n\r\n[schedule]\r\nwindows = [ # odd\r\n"
    '  "06:00 to 07:00", # "first"\r\n]\r\n# end',
    "keep.audio = \"all\" # '#'\n[analysis]\nthreshold = 0.2",
    "[keep]\nout = '''a\n[keep]\naudio = \"none\"\n''' # out\n\"days\" = 1\n[microphone]\nbits=16",
    "keep = { audio = 'all' }\n",
)  # fmt: skip


@given(st.sampled_from(STYLES), st.data())
def test_set_changes_one_value_and_nothing_else(text: str, data: st.DataObject) -> None:
    key = PATHS[data.draw(st.sampled_from(sorted(WELL)))]
    value = data.draw(WELL[key.path])
    before = tomllib.loads(text)
    after, refused = outcome(lambda: with_value(text, key, value))
    if refused:
        assert "change it in an editor" in refused
        assert text.startswith("keep"), "only what is written in no table of its own"
        return
    before.setdefault(key.table, {})[key.name] = value
    assert shown_tree(tomllib.loads(after)) == shown_tree(before)
    comments = re.findall(r"# (?:mine|end|odd|here|out|'#'|\"first\"|[A-Z][^\n]*)", text)
    gone = [one for one in comments if one not in after]
    # What is inside a list that is replaced goes with it.
    assert not gone or (key.path == "schedule.windows" and set(gone) <= {"# odd", '# "first"'})
    again = with_value(after, key, value)
    assert shown_tree(tomllib.loads(again)) == shown_tree(tomllib.loads(after))


def test_set_keeps_the_line_where_it_is() -> None:
    text = template()
    after = with_value(text, PATHS["keep.audio"], "clips")
    changed = [(a, b) for a, b in zip(text.splitlines(), after.splitlines(), strict=True) if a != b]
    assert changed == [('audio = "none"', 'audio = "clips"')]
    text = "[keep]\naudio = 'all'  # ours\ndays = 3\n\n# next\n[site]\n"
    assert with_value(text, PATHS["keep.audio"], "none") == text.replace("'all'", '"none"')
    added = with_value(text, PATHS["keep.gb"], 2.0)
    assert added == text.replace("days = 3\n", "days = 3\ngb = 2.0\n")


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("keep.audio", "clips", "clips"),
        ("keep.audio", '"clips"', "clips"),
        ("microphone.device", "usb:1:2", "usb:1:2"),
        ("microphone.device", "3", "3"),
        ("microphone.wait_s", "inf", float("inf")),
        ("keep.days", "3", 3.0),
        ("analysis.record_only", "true", True),
        ("schedule.windows", '["06:00 to 07:00"]', ["06:00 to 07:00"]),
    ],
)
def test_values_of_the_command_line(path: str, text: str, value: object) -> None:
    assert parse_value(PATHS[path], text) == value


@pytest.mark.parametrize("text", ["3 # x\nother = 1", "3\n[x]", "", "some", "[", "'3'"])
def test_nothing_is_smuggled_in(text: str) -> None:
    with pytest.raises(ConfigError, match=r"keep\.days = "):
        parse_value(PATHS["keep.days"], text)


def test_set_keeps_mode_and_links_and_writes_nothing_wrong(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "link.toml"
    real.write_text(template())
    real.chmod(0o640)
    link.symlink_to(real)
    set_values(link, [(PATHS["keep.gb"], 9.0)])
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert read_settings(real)["keep.gb"] == 9.0
    before = real.read_bytes()
    with pytest.raises(ConfigError, match="would be wrong"):
        set_values(link, [(PATHS["schedule.duty_on_min"], 9.0)])
    assert real.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.toml", "real.toml"]


_KILLED = """
import os, sys
from pathlib import Path
from recorder.config import change
from recorder.config.read import find_key
calls = 0
def dying(work):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == {number}:
            os._exit(9)
        return work(*arguments, **named)
    return call
os.fsync, os.fchmod, Path.replace = dying(os.fsync), dying(os.fchmod), dying(Path.replace)
change.set_values(Path({path!r}), [(find_key("keep.gb"), 7.0)])
"""


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_kill_leaves_the_old_or_the_new_file(tmp_path: Path, number: int) -> None:
    path = tmp_path / "birdrec.toml"
    path.write_text(template())
    program = _KILLED.format(number=number, path=str(path))
    done = subprocess.run([sys.executable, "-c", program], check=False, env=dict(os.environ))
    assert done.returncode == (9 if number <= 4 else 0)
    new = with_value(template(), PATHS["keep.gb"], 7.0)
    assert path.read_text() == (template() if number <= 3 else new)
