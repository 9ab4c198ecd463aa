"""A battle's log: every command and where it took effect, and each second a hash of the sound it made.

With it a battle is rendered again and held against what was heard: same commands, same frames, equal hashes. So it has what
else changed the sound, too: the truth at the start, what was shed under load, and when a render process was replaced.

The file is an eight-byte magic, then records: length and CRC-32 of the body (both 32 bits, little-endian), then the body, a
msgpack array that begins with the record's kind. It is only ever appended to, and whoever writes it may die at any byte: a
reader takes the records up to the first that is cut off or damaged, and says so. Nothing here touches a disk.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, assert_never

import attrs
import msgpack

from wsactors.wire.errors import ProtocolError
from wsactors.wire.native_schema import boolean, one_of
from wsactors.wire.plain import Plain, check_plain

from .command import DECKS, Command, from_map, to_map
from .command_fields import real
from .timeline import SAMPLE_RATE

MAGIC: Final = b"WSACLOG1"
MAX_RECORD: Final = 64 * 1024
"""Longest body of a record, in bytes."""
MAX_LOG: Final = 64 * 1024 * 1024
"""Bytes of a log unless told otherwise: about three hours of two busy DJs."""
DIGEST: Final = 16
"""Bytes of the hash of a second (BLAKE2b)."""
SONG_DIGEST: Final = 32
"""Bytes of the hash of a song's samples, as their analysis has it."""
FRAME_BYTES: Final = 8
"""Of a stereo frame of float32."""
_HEAD: Final = struct.Struct("<II")
_MAX_FRAME: Final = 1 << 53
_RESERVE: Final = 64


class LogError(ValueError):
    """These bytes are no log of a battle."""


@attrs.frozen
class Began:
    """First: which battle this is, and the truth at its first frame, as the engine's wire format has it."""

    frame: int
    battle: str
    engine: int
    """The version of the render protocol; another one may sound different."""
    truth: Plain
    about: Plain = None
    """What whoever keeps recordings wants to know: names, titles, build and CPU class."""


@attrs.frozen
class Known:
    """A song that a `Load` after this puts on a deck. Ids differ from start to start of a node, so its samples are named."""

    frame: int
    song: str
    digest: bytes
    """The hash of its samples."""
    frames: int
    grid: Plain = None
    """As `Beatgrid.to_wire` has it."""
    trim: float = 1.0
    loop: bool = False


@attrs.frozen
class Applied:
    """A command took effect as of ``frame``. The first sound that was made with it is that of ``sounded``, not before."""

    frame: int
    sounded: int
    player: str
    decks: tuple[str, ...]
    """The player's."""
    command: Command


@attrs.frozen
class Changed:
    """The truth changed otherwise than by a command (a round began, a song ended): what it was at ``frame``."""

    frame: int
    truth: Plain


@attrs.frozen
class Shed:
    """From ``frame`` on the render process did without these, for want of time; nothing: it did everything again."""

    frame: int
    without: tuple[str, ...]


@attrs.frozen
class Rebuilt:
    """The render process was replaced: the sound before ``frame`` was the old one's, and may end in a gap."""

    frame: int


@attrs.frozen
class Hashed:
    """The sound of ``frames`` frames from ``frame`` on, as float32, has this hash."""

    frame: int
    frames: int
    digest: bytes


@attrs.frozen
class Ended:
    """Last: the battle is over (``"over"``), or the log is (``"full"``)."""

    frame: int
    why: str


Entry: TypeAlias = Began | Known | Applied | Changed | Shed | Rebuilt | Hashed | Ended


class LogWriter:
    """Makes the bytes of a log, which grows to ``limit`` bytes and no further.

    When an entry does not fit any more, an `Ended` is written in its place, and nothing from then on (`is_full`).
    """

    def __init__(self, limit: int = MAX_LOG) -> None:
        if limit < len(MAGIC) + _RESERVE:
            raise ValueError(f"a log needs {len(MAGIC) + _RESERVE} bytes at least, got {limit}")
        self._left = limit
        self._is_new = True
        self.is_full = False

    def take(self, entry: Entry) -> bytes:
        """What to append to the file for an entry.

        Raises:
            ValueError: The entry cannot be written: too long, or not plain; the caller is at fault.
        """
        if self.is_full:
            return b""
        data = _record(entry)
        if self._is_new:
            data = MAGIC + data
        if len(data) + _RESERVE > self._left:
            self.is_full = True
            data = (MAGIC if self._is_new else b"") + _record(Ended(entry.frame, "full"))
        self._is_new = False
        self._left -= len(data)
        return data


def _record(entry: Entry) -> bytes:
    try:
        body: bytes = msgpack.packb(_fields(entry))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"this entry cannot be logged: {error}") from None
    if len(body) > MAX_RECORD:
        raise ValueError(f"an entry has at most {MAX_RECORD} bytes, this one {len(body)}")
    if _entry(body) is None:
        raise ValueError("this entry cannot be logged: it could not be read again")
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _fields(entry: Entry) -> list[object]:
    match entry:
        case Began(frame, battle, engine, truth, about):
            check_plain([truth, about])
            return ["began", frame, battle, engine, truth, about]
        case Known(frame, song, digest, frames, grid, trim, loop):
            check_plain([grid])
            return ["known", frame, song, digest, frames, grid, trim, loop]
        case Applied(frame, sounded, player, decks, command):
            return ["applied", frame, sounded, player, list(decks), to_map(command)]
        case Changed(frame, truth):
            check_plain([truth])
            return ["changed", frame, truth]
        case Shed(frame, without):
            return ["shed", frame, list(without)]
        case Rebuilt(frame):
            return ["rebuilt", frame]
        case Hashed(frame, frames, digest):
            return ["hashed", frame, frames, digest]
        case Ended(frame, why):
            return ["ended", frame, why]
        case _:
            assert_never(entry)


# -- reading -----------------------------------------------------------------------------------------------------------


class LogReader:
    """Reads a log piece by piece, in memory for one record.

    ``ends`` says how the log ends as far as it has been read: ``"well"`` with an `Ended`, ``"cut"`` in the middle of a
    record or between two (it may still grow), ``"damaged"`` at a record that is not what was written. `good` is the number
    of bytes up to there: a writer that goes on begins by cutting the file at it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._has_magic = False
        self.good = 0
        self.ends = "cut"

    def take(self, data: bytes) -> Iterator[Entry]:
        """The entries that ``data`` completes. Raises `LogError` when the file is no log at all."""
        if self.ends != "cut":
            return
        self._buffer += data
        if not self._has_magic:
            if not MAGIC.startswith(self._buffer[: len(MAGIC)]):
                raise LogError("this is no log of a battle: it begins otherwise")
            if len(self._buffer) < len(MAGIC):
                return
            self._has_magic = True
            self._drop(len(MAGIC))
        while self.ends == "cut" and (entry := self._next()) is not None:
            yield entry

    def _next(self) -> Entry | None:
        if len(self._buffer) < _HEAD.size:
            return None
        size, checksum = _HEAD.unpack_from(self._buffer)
        if size > MAX_RECORD:
            self.ends = "damaged"
            return None
        if len(self._buffer) < _HEAD.size + size:
            return None
        body = bytes(self._buffer[_HEAD.size : _HEAD.size + size])
        entry = _entry(body) if zlib.crc32(body) == checksum else None
        if entry is None:
            self.ends = "damaged"
            return None
        self._drop(_HEAD.size + size)
        if isinstance(entry, Ended):
            self.ends = "well"
        return entry

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self.good += size


def read_log(data: bytes) -> tuple[list[Entry], str]:
    """The entries of a whole log, and how it ends (`LogReader.ends`). Raises `LogError` for what is no log."""
    reader = LogReader()
    return list(reader.take(data)), reader.ends


def _entry(body: bytes) -> Entry | None:
    """The entry in a record; None for what no writer of ours has written."""
    try:
        value = msgpack.unpackb(body, strict_map_key=True)
        kind, *fields = value
        entry: Entry = _KINDS[kind](*fields)
    except (ValueError, TypeError, KeyError, RecursionError, msgpack.UnpackException):
        return None
    return entry


def _frame(value: object) -> int:
    if type(value) is not int or not -_MAX_FRAME <= value <= _MAX_FRAME:
        raise ProtocolError("expected a frame")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ProtocolError("expected a text")
    return value


def _plain(value: Any) -> Plain:
    check_plain(value)
    plain: Plain = value
    return plain


_deck: Final = one_of(*DECKS)


def _digest(value: object, size: int = DIGEST) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise ProtocolError("expected a hash")
    return value


_KINDS: Final[dict[str, Callable[..., Entry]]] = {
    "began": lambda frame, battle, engine, truth, about: Began(
        _frame(frame), _text(battle), _frame(engine), _plain(truth), _plain(about)
    ),
    "known": lambda frame, song, digest, frames, grid, trim, loop: Known(
        _frame(frame),
        _text(song),
        _digest(digest, SONG_DIGEST),
        _frame(frames),
        _plain(grid),
        real(0.0, 4.0)(trim, "trim"),
        boolean(loop, "loop"),
    ),
    "applied": lambda frame, sounded, player, decks, command: Applied(
        _frame(frame), _frame(sounded), _text(player), tuple(_deck(each, "decks") for each in decks), from_map(command)
    ),
    "changed": lambda frame, truth: Changed(_frame(frame), _plain(truth)),
    "shed": lambda frame, without: Shed(_frame(frame), tuple(_text(each) for each in without)),
    "rebuilt": lambda frame: Rebuilt(_frame(frame)),
    "hashed": lambda frame, frames, digest: Hashed(_frame(frame), _frame(frames), _digest(digest)),
    "ended": lambda frame, why: Ended(_frame(frame), _text(why)),
}


# -- hashes ------------------------------------------------------------------------------------------------------------


class PcmHasher:
    """Hashes sound second by second of the timeline, however it is cut into blocks."""

    def __init__(self, frame: int, rate: int = SAMPLE_RATE) -> None:
        self._rate = rate
        self._begin(frame)

    def _begin(self, frame: int) -> None:
        self._start = self._frame = frame
        self._hash = hashlib.blake2b(digest_size=DIGEST)

    def take(self, block: bytes | memoryview) -> list[Hashed]:
        """The seconds that ``block`` completes: stereo float32 in order, for instance a C-contiguous array's ``data``.

        Raises `ValueError` unless it is whole frames.
        """
        view = memoryview(block).cast("B") if len(block) else memoryview(b"")
        if len(view) % FRAME_BYTES:
            raise ValueError(f"a block is whole frames of {FRAME_BYTES} bytes, got {len(view)} bytes")
        done = []
        while view:
            whole = self._rate - self._frame % self._rate
            part = view[: whole * FRAME_BYTES]
            self._hash.update(part)
            self._frame += len(part) // FRAME_BYTES
            view = view[len(part) :]
            if self._frame % self._rate == 0:
                done += self.skip_to(self._frame)
        return done

    def skip_to(self, frame: int) -> list[Hashed]:
        """End the second that has begun, and go on at ``frame``: there is no sound in between, or there will be no more."""
        begun = self._frame > self._start
        hashed = [Hashed(self._start, self._frame - self._start, self._hash.digest())] if begun else []
        self._begin(frame)
        return hashed
