"""What is known about songs, kept in a SQLite file: found by the digest of the samples, whatever the file was called.

Also the grids that people have corrected by hand, which count more than any found. The file is bounded in songs and in
bytes; those longest not asked for are forgotten first. A file that is damaged is set aside and begun anew, and says so:
an analysis can be made again. Everything here blocks on the disk: call it in a thread.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs
import msgpack

from wsactors.dj.analysis.values import DIGEST_SIZE, VERSION, Analysis
from wsactors.dj.beatgrid import Beatgrid
from wsactors.errors import CatalogueUnusable

MAX_SONGS = 5_000
"""Songs that are kept: as many as a library has."""
MAX_BYTES = 512 << 20
"""Bytes of analyses that are kept."""
MAX_ANALYSIS = 256 << 10
"""Bytes of one analysis; an honest one has 132 kB at most."""
_APPLICATION = 0x77736361  # "wsca" in the file's header: this is a catalogue of ours
_SCHEMA = 1
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_TABLES = """
BEGIN;
CREATE TABLE songs (
    digest BLOB PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL, version INTEGER NOT NULL, analysis BLOB, grid BLOB
);
CREATE INDEX songs_by_use ON songs (grid IS NOT NULL, used, size);
COMMIT;
"""

T = TypeVar("T")


class Catalogue:
    """The catalogue in the file `path`, which is made (mode 600) if there is none; `Catalogue(None)` forgets it at the end.

    Not for several processes, nor for several threads at the same time. Raises `CatalogueUnusable`, here and in all
    methods, when the file cannot be opened, read or written, or is something else.
    """

    def __init__(self, path: str | Path | None, *, songs: int = MAX_SONGS, size: int = MAX_BYTES) -> None:
        if songs < 1 or size < MAX_ANALYSIS:
            raise ValueError(f"a catalogue keeps at least one song and {MAX_ANALYSIS} bytes")
        self._path = None if path is None else Path(path)
        self._songs = songs
        self._size = size
        self.rebuilt = 0
        """How often the file was found damaged, set aside as ``PATH.damaged``, and begun anew."""
        self._connection = self._opened()

    def find(self, digest: bytes) -> Analysis | None:
        """What is known about a song, with the grid that was corrected by hand if there is one; None for nothing."""
        row = self._do(lambda: self._select(digest))
        if row is None:
            return None
        analysis, grid = _unpacked(row[0]), _grid(row[1])
        if analysis is None:
            return None
        return analysis if grid is None else attrs.evolve(analysis, grid=grid)

    def keep(self, digest: bytes, analysis: Analysis) -> None:
        """Keep what was found about a song; a grid corrected by hand stays."""
        _check(digest)
        packed = zlib.compress(msgpack.packb(analysis.to_wire()), 1)
        self._do(lambda: self._upsert(digest, "version = ?, analysis = ?, size = ?", (VERSION, packed, len(packed))))

    def correct(self, digest: bytes, grid: Beatgrid | None) -> None:
        """From now on this grid counts for the song; None forgets it, and the one that was found counts again."""
        _check(digest)
        packed = None if grid is None else msgpack.packb(grid.to_wire())
        self._do(lambda: self._upsert(digest, "grid = ?", (packed,)))

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        self._connection.close()

    def __len__(self) -> int:
        return int(self._do(lambda: self._connection.execute("SELECT count(*) FROM songs").fetchone()[0]))

    def _select(self, digest: bytes) -> tuple[object, object] | None:
        with self._connection as connection:
            connection.execute("UPDATE songs SET used = (SELECT max(used) + 1 FROM songs) WHERE digest = ?", (digest,))
            found = connection.execute(
                "SELECT analysis, grid FROM songs WHERE digest = ? AND version = ?", (digest, VERSION)
            )
            row: tuple[object, object] | None = found.fetchone()
            return row

    def _upsert(self, digest: bytes, changes: str, values: tuple[object, ...]) -> None:
        with self._connection as connection:
            connection.execute(
                "INSERT INTO songs (digest, used, size, version) VALUES (?, 0, 0, 0) ON CONFLICT DO NOTHING", (digest,)
            )
            used = "used = (SELECT max(used) + 1 FROM songs)"
            connection.execute(f"UPDATE songs SET {used}, {changes} WHERE digest = ?", (*values, digest))  # noqa: S608
            self._make_room(connection)

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Forget the songs longest not asked for, those without a grid made by hand first, until the rest fits."""
        count, size = connection.execute("SELECT count(*), total(size) FROM songs").fetchone()
        by_use = connection.execute("SELECT rowid, size FROM songs ORDER BY grid IS NOT NULL, used")
        gone: list[tuple[int]] = []
        while count > self._songs or size > self._size:
            row, bytes_ = by_use.fetchone()
            gone.append((row,))
            count, size = count - 1, size - bytes_
        by_use.close()
        connection.executemany("DELETE FROM songs WHERE rowid = ?", gone)

    def _do(self, work: Callable[[], T]) -> T:
        """Do it; with a damaged file, set that aside and do it with a new one."""
        try:
            return work()
        except sqlite3.ProgrammingError:
            raise CatalogueUnusable("the catalogue of songs was closed") from None
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in _DAMAGED:
                raise self._unusable(error) from None
        self._connection.close()
        self._set_aside()
        self._connection = self._connected()
        try:
            return work()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from None

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except sqlite3.DatabaseError as error:
            if self._path is None or error.sqlite_errorcode & 0xFF not in _DAMAGED:
                raise self._unusable(error) from None
        self._set_aside()
        return self._connected()

    def _connected(self) -> sqlite3.Connection:
        name = ":memory:" if self._path is None else str(self._prepared(self._path))
        connection = sqlite3.connect(name, check_same_thread=False, cached_statements=16)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute("PRAGMA synchronous = NORMAL")
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            schema = connection.execute("PRAGMA user_version").fetchone()[0]
            if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                connection.executescript(_TABLES)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {_SCHEMA}")
            elif application != _APPLICATION or schema != _SCHEMA:
                raise CatalogueUnusable(
                    f"{self._path} is a database of something else, or of another version: name another file"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepared(self, path: Path) -> Path:
        """The file, made for its owner alone if there is none. A link is not followed: it may be another's."""
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise CatalogueUnusable(f"the catalogue of songs {path} cannot be opened: {error.strerror}") from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CatalogueUnusable(f"the catalogue of songs {path} is no plain file: name another")
        finally:
            os.close(descriptor)
        return path

    def _set_aside(self) -> None:
        self.rebuilt += 1
        if self._path is None:
            return
        try:
            self._path.replace(self._path.with_name(f"{self._path.name}.damaged"))
            self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
        except OSError as error:
            raise CatalogueUnusable(
                f"the catalogue of songs {self._path} is damaged and cannot be set aside: {error.strerror}"
            ) from None

    def _unusable(self, error: sqlite3.DatabaseError) -> CatalogueUnusable:
        where = "in memory" if self._path is None else str(self._path)
        return CatalogueUnusable(f"the catalogue of songs {where} cannot be used: {error}")


def _check(digest: bytes) -> None:
    if type(digest) is not bytes or len(digest) != DIGEST_SIZE:
        raise ValueError(f"a song's digest has {DIGEST_SIZE} bytes")


def _unpacked(packed: object) -> Analysis | None:
    """The analysis in a row; None when the row is damaged: then it is found anew, as if it had never been."""
    if type(packed) is not bytes:
        return None
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(packed, MAX_ANALYSIS)
        return None if not inflate.eof else Analysis.from_wire(msgpack.unpackb(raw))
    except (zlib.error, ValueError, msgpack.UnpackException, RecursionError):
        return None


def _grid(packed: object) -> Beatgrid | None:
    if type(packed) is not bytes:
        return None
    try:
        return Beatgrid.from_wire(msgpack.unpackb(packed))
    except (ValueError, msgpack.UnpackException, RecursionError):
        return None
