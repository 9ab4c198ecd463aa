"""The songs of one folder, under ids that say nothing: only a folder the user named is ever looked at.

Every path is walked one component at a time from the folder's descriptor, following no symbolic link: nothing outside
the folder, no pipe and no device can be reached, whoever changes the folder meanwhile. Links inside it are skipped too.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import attrs

from wsactors.errors import SongRefused, SongUnknown

SUFFIXES = frozenset(
    {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".weba", ".webm", ".wv"}
)
"""What a scan takes for a song; what the bytes really are is decided when they are decoded."""
MAX_SONGS = 5_000
"""Songs of one library; a scan stops there."""
MAX_DEPTH = 8
"""Levels of subfolders a scan descends into."""
MAX_FILE = 1 << 30
"""Bytes of the largest file that is opened."""
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe without a writer must not wait; what it is, is looked at afterwards.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@attrs.frozen
class Entry:
    """One file a scan found."""

    id: str
    """Opaque: a keyed hash of the path, different on every node and after every start."""
    title: str
    """From the file's name; its tags are read when it is decoded."""
    path: tuple[str, ...] = attrs.field(repr=False)
    """Inside the folder, component by component; never shown."""


class Library:
    """The songs under `folder`, as found by the latest `scan`.

    `key` (16 bytes or more of randomness) makes the ids; the same key and path give the same id.
    Raises `ValueError` when `folder` is no folder.
    """

    def __init__(self, folder: str | Path, *, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("the key of a library needs at least 16 random bytes: secrets.token_bytes(16)")
        root = Path(folder).expanduser().resolve()
        if not root.is_dir():
            raise ValueError(f"the song folder {str(folder)!r} does not exist or is no folder; name one with SONGS=…")
        self._root = root
        self._key = key[:64]
        self._entries: dict[str, Entry] = {}

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What the latest scan found, by id, in the order of the paths."""
        return MappingProxyType(self._entries)

    def scan(self) -> int:
        """Look for songs again; how many there are now. Blocks on the disk: run it in a thread."""
        found: dict[str, Entry] = {}
        for path in _walk(self._root):
            entry = Entry(self._id(path), Path(path[-1]).stem, path)
            found[entry.id] = entry
            if len(found) >= MAX_SONGS:
                break
        self._entries = found
        return len(found)

    @contextmanager
    def open(self, song: str) -> Iterator[int]:
        """The descriptor of a song's file, closed at the end of the block.

        Raises `SongUnknown` for an id that the latest scan did not find, and `SongRefused` when what is there now is
        no plain file inside the folder, or too large.
        """
        entry = self._entries.get(song)
        if entry is None:
            raise SongUnknown("no song has this id: ask for the list of songs again")
        descriptor = open_inside(self._root, entry.path)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _id(self, path: tuple[str, ...]) -> str:
        raw = "/".join(path).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(raw, key=self._key, digest_size=16).hexdigest()


def open_inside(root: Path, path: tuple[str, ...]) -> int:
    """Open a plain file below `root` for reading, following no link; the caller closes the descriptor.

    Raises `SongRefused` for anything that is not such a file, without saying where it is.
    """
    if not path or any(part in {"", ".", ".."} or "/" in part or "\0" in part for part in path):
        raise SongRefused("this is no name of a file in the song folder")
    try:
        descriptor = _descend(root, path)
    except OSError as error:
        raise SongRefused(f"this song cannot be opened: {_why(error)}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise SongRefused("this song is no plain file: pipes, devices and folders are not opened")
    if status.st_size > MAX_FILE:
        os.close(descriptor)
        raise SongRefused(f"this song's file is larger than the {MAX_FILE >> 20} MiB that are allowed")
    return descriptor


def _descend(root: Path, path: tuple[str, ...]) -> int:
    folder = os.open(root, _FOLDER_FLAGS)
    try:
        for part in path[:-1]:
            inner = os.open(part, _FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(path[-1], _FILE_FLAGS, dir_fd=folder)
    finally:
        os.close(folder)


def _why(error: OSError) -> str:
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return "it is reached through a link, and links are not followed"
    return {errno.ENOENT: "it is gone", errno.EACCES: "it may not be read"}.get(error.errno or 0, "the disk refused it")


def _walk(root: Path) -> Iterator[tuple[str, ...]]:
    """Paths of the plain files below `root` that look like songs, sorted, following no link."""
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        at = waiting.pop()
        try:
            with os.scandir(root.joinpath(*at)) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError:
            continue  # a folder that may not be read, or is gone by now, holds no songs for us
        inner: list[tuple[str, ...]] = []
        for entry in entries:
            path = (*at, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if len(path) <= MAX_DEPTH and not entry.name.startswith("."):
                    inner.append(path)
            elif entry.is_file(follow_symlinks=False) and Path(entry.name).suffix.lower() in SUFFIXES:
                yield path
        waiting += reversed(inner)
