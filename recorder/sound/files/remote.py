"""Recordings that lie elsewhere: whatever fsspec has an address for (s3://, gs://, sftp://, ...).

A recording is fetched into a folder for a while, and read as any other. Of a long one that others
share, only the stretch is fetched that is needed: the rest of the file is a hole.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from recorder.errors import AudioFileError, UsageError
from recorder.sound.files.finder import Found, classified, is_wanted

_EDGE_BYTES = 1 << 20
"""Of a file's beginning and end: its header, and what is written behind the sound."""
_BLOCK_BYTES = 8 << 20
"""Asked of another machine at once."""
_HASHED_BYTES = 1 << 18
_STAMPS = (
    *("ETag", "etag", "LastModified", "Last-Modified", "last_modified", "mtime", "modify"),
    *("modified", "updated", "created", "md5", "md5Hash", "content_md5", "generation"),
)
"""What fsspec's systems call the time of a file's last change, or a hash of it."""
_PLAIN_SUFFIXES = (".wav", ".wave", ".rf64")
"""Where the bytes of a second lie is known without reading what is before them."""


class BadSectorError(AudioFileError):
    """A disk or card that fails; what is read before that is good."""


def is_url(text: str) -> bool:
    """An address, not a path."""
    return "://" in text


def find_remote(url: str) -> list[Found]:
    """Everything below an address with an audio suffix, sorted by name; or the one file there.

    UsageError when nothing answers, or what is needed for such addresses is not installed.
    """
    system, root = _system(url)
    refused: dict[str, str] = {}
    try:
        # Of an address on the web nobody knows whether it is a folder: any answers.
        if is_wanted(root) and system.isfile(root):
            entries = {root: system.info(root)}
            root = str(PurePosixPath(root).parent)
        else:
            entries = _entries(system, root, refused)
    except Exception as error:
        # Each of fsspec's systems has errors of its own.
        raise UsageError(f"{url} cannot be listed ({_one_line(error)})") from error
    found = [
        Found(Path(path), os.path.relpath(path, root), f"folder cannot be read ({words})")
        for path, words in refused.items()
    ]
    for path, info in entries.items():
        if is_wanted(path):
            name = os.path.relpath(path, root)
            one = classified(PurePosixPath(path))
            found.append(
                replace(
                    one,
                    name=name,
                    url=system.unstrip_protocol(path),
                    stamp=_stamp(info := _known(system, path, info)),
                    size_bytes=int(info.get("size") or 0),
                )
            )
    return sorted(found, key=lambda one: os.fsencode(one.name))


def _entries(system: Any, root: str, refused: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What is known of each file below a folder; `refused` has the folders that cannot be listed,
    with the reason.

    Where a system has a list of its own of all that it holds (object stores), it is asked for that.
    Of others fsspec would walk through links, and leave out without a word what it is refused.
    """
    from fsspec.spec import AbstractFileSystem

    if type(system).find is not AbstractFileSystem.find or not system.isdir(root):
        whole: dict[str, dict[str, Any]] = system.find(root, detail=True)
        return whole
    found, folders = {}, [root]
    while folders:
        folder = folders.pop()
        try:
            inside = system.ls(folder, detail=True)
        except OSError as error:
            if folder == root:
                raise
            refused[folder] = error.strerror or _one_line(error)
            continue
        for info in inside:
            if info["type"] != "directory":
                found[info["name"]] = info
            elif not info.get("islink") and info["name"].rstrip("/") != folder.rstrip("/"):
                folders.append(info["name"])
    return found


def has_spans(found: Found) -> bool:
    """Can a part of it be fetched alone?"""
    return not found.url or PurePosixPath(found.name).suffix.lower() in _PLAIN_SUFFIXES


@contextmanager
def at_hand(found: Found, *, span: tuple[float, float] | None = None) -> Iterator[Found]:
    """The same recording as a local file, while it lasts; a local one is as it was.

    With a `span` in shares of the file (0 to 1) only that much of it needs to be there. Raises
    AudioFileError when it cannot be fetched.
    """
    if not found.url:
        yield found
        return
    system, path = _system(found.url)
    with tempfile.TemporaryDirectory(prefix="birdrec-") as folder:
        suffix = PurePosixPath(found.name).suffix
        local = Path(folder, f"sound{suffix}")
        try:
            if span is not None and has_spans(found):
                _fetch_span(system, path, local, span)
            else:
                system.get_file(path, str(local))
        except Exception as error:
            # Each of fsspec's systems has errors of its own.
            raise AudioFileError(f"cannot be fetched ({_one_line(error)})") from error
        yield replace(found, path=local, url="")


def sha256_of(found: Found) -> str:
    """Of the whole file, wherever it is.

    AudioFileError when it has vanished, BadSectorError when it cannot be read to its end.
    """
    digest = hashlib.sha256()
    try:
        with _opened(found) as stream:
            while block := stream.read(_HASHED_BYTES):
                digest.update(block)
    except Exception as error:
        # Each of fsspec's systems has errors of its own.
        if isinstance(error, OSError) and error.errno == errno.EIO and not found.url:
            raise BadSectorError(
                f"a part of the file cannot be read ({error.strerror}): its disk or card fails"
            ) from error
        raise AudioFileError(f"vanished while it was analysed ({_one_line(error)})") from error
    return digest.hexdigest()


def _opened(found: Found) -> Any:
    if not found.url:
        return found.path.open("rb")
    system, path = _system(found.url)
    return system.open(path, "rb", block_size=_BLOCK_BYTES, cache_type="readahead")


def _fetch_span(system: Any, path: str, local: Path, span: tuple[float, float]) -> None:
    size = int(system.size(path))
    first = max(0, int(span[0] * size) - _EDGE_BYTES)
    stop = min(size, int(span[1] * size) + _EDGE_BYTES)
    with local.open("wb") as stream:
        stream.truncate(size)
        for begin, end in ((0, _EDGE_BYTES), (first, stop), (size - _EDGE_BYTES, size)):
            for at in range(max(0, begin), min(end, size), _BLOCK_BYTES):
                stream.seek(at)
                stream.write(system.cat_file(path, start=at, end=min(end, at + _BLOCK_BYTES)))


def _system(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{url}: addresses need fsspec, which is not installed: pip install 'birdrec[cluster]'"
        ) from error
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url}: {_one_line(error)}") from error
    return system, path


def _known(system: Any, path: str, info: dict[str, Any]) -> dict[str, Any]:
    """What is known of a file, where a list of its folder says too little of it."""
    if info.get("size") is not None and _stamp(info):
        return info
    try:
        more: dict[str, Any] = system.info(path)
    except Exception:
        # Each of fsspec's systems has errors of its own. Fetching it will say what is wrong.
        return info
    return more


def _stamp(info: dict[str, Any]) -> str:
    """What changes when the file does; "" where nothing is known to."""
    words = [str(info[key]) for key in _STAMPS if info.get(key) is not None]
    return "|".join([str(info.get("size")), *words]) if words else ""


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
