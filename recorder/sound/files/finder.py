"""Which recordings lie below the given paths, and what else was found that is not readable."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

AUDIO_SUFFIXES = frozenset(
    {
        ".wav", ".wave", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif",
        ".aiff", ".aifc", ".caf", ".au", ".snd",
    }
)  # fmt: skip
"""What a folder scan picks up, in upper or lower case."""
OTHER_SUFFIXES = frozenset(
    {".m4a", ".mp4", ".m4b", ".aac", ".ac3", ".wma", ".amr", ".wv", ".ape", ".tta", ".mka", ".webm"}
)
"""Sound that no decoder is here for: named, so that nobody takes it for analysed."""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that a scan has to account for."""

    path: Path
    name: str
    """Relative to the scanned root, with forward slashes."""
    problem: str = ""
    """Why there is nothing to decode; empty for a recording."""
    harmless: bool = False
    """The problem is expected (a Mac's shadow file): skipped, not failed."""
    url: str = ""
    """Where it lies, if that is not `path` on this machine."""
    stamp: str = ""
    """Of what lies at `url`: another when it has changed."""
    size_bytes: int = 0
    """Of what lies at `url`."""


def find_recordings(paths: Sequence[Path], *, leave_out: Path) -> list[Found]:
    """Everything below `paths` with an audio suffix, sorted by name, each file once.

    Links to folders are not followed (no loops); `leave_out`, where the results go, is not
    searched. A named file is taken whatever its suffix. Names are relative to the folder that
    was given, or to what several given paths have in common.
    """
    resolved = [Path(os.path.abspath(path)) for path in paths]
    root = common_folder(paths)
    found: dict[Path, Found] = {}
    for path in resolved:
        for one in _below(path, Path(os.path.abspath(leave_out))):
            name = os.path.relpath(one.path, root).replace(os.sep, "/")
            found[one.path] = Found(one.path, name, one.problem, one.harmless)
    return sorted(found.values(), key=lambda one: os.fsencode(one.name))


def identity_of(one: Found) -> str:
    """Another when the file has changed: its size and the time of its last change, or what another
    system has instead. "" when nobody knows."""
    if one.url:
        return one.stamp
    try:
        status = one.path.stat()
    except OSError:
        return ""
    return f"{status.st_size}|{status.st_mtime_ns}"


def common_folder(paths: Sequence[Path]) -> Path:
    """What the names of all recordings below `paths` are relative to."""
    resolved = [Path(os.path.abspath(path)) for path in paths]
    return Path(os.path.commonpath([one if one.is_dir() else one.parent for one in resolved]))


def _below(path: Path, leave_out: Path) -> Iterator[Found]:
    if not os.path.lexists(path):
        yield Found(path, "", "no such file or folder")
        return
    if not os.path.isdir(path):
        # Taken whatever its suffix, but for one that nothing here decodes.
        known = path.suffix.lower() in OTHER_SUFFIXES
        yield classified(path) if known else Found(path, "")
        return
    problems: list[OSError] = []
    for folder, folders, names in os.walk(path, onerror=problems.append):
        folders[:] = sorted(name for name in folders if Path(folder, name) != leave_out)
        for name in names:
            if is_wanted(name):
                path = Path(folder, name)
                problem = _of_link(path) if path.is_symlink() else ""
                yield Found(path, "", problem) if problem else classified(path)
    for error in problems:
        yield Found(Path(error.filename), "", f"folder cannot be read ({error.strerror})")


def _of_link(path: Path) -> str:
    """Why a link leads to nothing; "" when it does."""
    try:
        path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return "a link to nowhere"
        return f"a link that cannot be followed ({error.strerror})"
    return ""


def is_wanted(name: str) -> bool:
    """Does a scan account for a file of this name?"""
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES | OTHER_SUFFIXES


def classified(path: PurePath) -> Found:
    """What can be said of a file by its name."""
    local = Path(path)
    if path.name.startswith("._"):
        return Found(local, "", "a Mac's shadow of another file, not audio", harmless=True)
    suffix = path.suffix.lower()
    if suffix in OTHER_SUFFIXES:
        problem = f"{suffix[1:]} cannot be decoded here: convert it to flac or wav first"
        return Found(local, "", problem, harmless=True)
    return Found(local, "")
