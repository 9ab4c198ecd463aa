"""What a render process and its host say to each other: closed, versioned, one msgpack array per datagram.

The link is an inherited ``SOCK_SEQPACKET`` socket pair: datagrams keep their borders and their order. A `Load` carries
the song's memfd beside it (SCM_RIGHTS). Whoever reads anything else ends: the host crashes, the process exits.

Frames are timeline frames (`wsactors.dj.timeline`), the same for both without a word about it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, assert_never

import attrs
import msgpack

from wsactors.dj.state import BattleState, from_wire, to_wire

VERSION = 3
MAX_DATAGRAM = 8192
"""Bytes; the longest message is a packet of sound, 1.3 kB at most for each rate that it is coded at."""
MAX_LOWER = 3
"""Lower bit rates that a battle's sound is coded at beside its own."""
MAX_ID = 128
"""Characters of a battle's or song's id."""
MAX_FRAMES = 24 * 3600 * 48_000
"""Frames of the longest song a process maps: a day."""


class RenderProtocolError(ValueError):
    """The other end sent something outside the protocol."""


@attrs.frozen
class Load:
    """To the process, with a descriptor: here is a song; int16 stereo samples of 48 kHz, mapped and kept."""

    song: str
    frames: int


@attrs.frozen
class Unload:
    """To the process: forget a song."""

    song: str


@attrs.frozen
class SetState:
    """To the process: from timeline frame `frame` on, this is the truth about the battle. Begins it if it is new."""

    battle: str
    frame: int
    state: BattleState


@attrs.frozen
class SetTiers:
    """To the process: code a battle's sound at these lower bit rates, too, from now on, and at no others."""

    battle: str
    bitrates: tuple[int, ...]


@attrs.frozen
class Drop:
    """To the process: the battle is over."""

    battle: str


@attrs.frozen
class Ready:
    """From the process, first: I speak this version, my render-ahead is this many frames."""

    version: int
    ahead: int
    lookahead: int
    """The Opus encoder's delay in frames: the pre-skip of an Ogg stream."""


@attrs.frozen
class Packet:
    """From the process: 20 ms of a battle's sound."""

    battle: str
    frame: int
    """Timeline frame of its first sample."""
    rms: float
    """dBFS."""
    peak: float
    """dBFS."""
    data: bytes
    """One Opus packet of `wsactors.dj.timeline.PACKET` frames."""
    lower: tuple[tuple[int, bytes], ...] = ()
    """The same sound at lower bit rates: each with its packet."""


Order: TypeAlias = Load | Unload | SetState | SetTiers | Drop
Report: TypeAlias = Ready | Packet


def encode(message: Order | Report) -> bytes:
    """The datagram of a message."""
    match message:
        case Load(song, frames):
            body: list[object] = ["load", song, frames]
        case Unload(song):
            body = ["unload", song]
        case SetState(battle, frame, state):
            body = ["state", battle, frame, to_wire(state)]
        case SetTiers(battle, bitrates):
            body = ["tiers", battle, bitrates]
        case Drop(battle):
            body = ["drop", battle]
        case Ready(version, ahead, lookahead):
            body = ["ready", version, ahead, lookahead]
        case Packet(battle, frame, rms, peak, data, lower):
            body = ["packet", battle, frame, rms, peak, data, lower]
        case _:
            assert_never(message)
    packed: bytes = msgpack.packb(body)
    return packed


def decode_order(data: bytes) -> Order:
    """What the host sent. Raises `RenderProtocolError` for anything else."""
    order: Order = _decode(data, _ORDERS)
    return order


def decode_report(data: bytes) -> Report:
    """What the process sent. Raises `RenderProtocolError` for anything else."""
    report: Report = _decode(data, _REPORTS)
    return report


def _decode(data: bytes, kinds: dict[str, Callable[..., Any]]) -> Any:
    if not data or len(data) > MAX_DATAGRAM:
        raise RenderProtocolError(f"a message has 1 to {MAX_DATAGRAM} bytes, got {len(data)}")
    try:
        body = msgpack.unpackb(data, strict_map_key=True)
        if not isinstance(body, list) or not body:
            raise RenderProtocolError("a message is an array that begins with its kind")
        kind, *fields = body
        make = kinds[kind]
        return make(*fields)
    except RenderProtocolError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError, msgpack.UnpackException) as error:
        raise RenderProtocolError(f"not a message of this protocol: {type(error).__name__}") from None


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        raise RenderProtocolError(f"an id is a text of 1 to {MAX_ID} characters")
    return value


def _whole(value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise RenderProtocolError(f"expected a whole number from {low} to {high}")
    return value


def _level(value: object) -> float:
    if type(value) is not float or not -200.0 <= value <= 100.0:
        raise RenderProtocolError("a level is a float in dBFS")
    return value


def _sound(value: object) -> bytes:
    if not isinstance(value, bytes) or not 0 < len(value) <= 1276:
        raise RenderProtocolError("an Opus packet of one frame has 1 to 1276 bytes")
    return value


def _rate(value: object) -> int:
    return _whole(value, 6_000, 510_000)


def _few(value: object) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_LOWER:
        raise RenderProtocolError(f"expected at most {MAX_LOWER} lower bit rates")
    return value


_FRAME_MAX = 1 << 52

_ORDERS: dict[str, Callable[..., Any]] = {
    "load": lambda song, frames: Load(_name(song), _whole(frames, 1, MAX_FRAMES)),
    "unload": lambda song: Unload(_name(song)),
    "state": lambda battle, frame, state: SetState(_name(battle), _whole(frame, 0, _FRAME_MAX), from_wire(state)),
    "tiers": lambda battle, rates: SetTiers(_name(battle), tuple(_rate(each) for each in _few(rates))),
    "drop": lambda battle: Drop(_name(battle)),
}
_REPORTS: dict[str, Callable[..., Any]] = {
    "ready": lambda version, ahead, lookahead: Ready(
        _whole(version, 1, 255), _whole(ahead, 0, 480_000), _whole(lookahead, 0, 5_760)
    ),
    "packet": lambda battle, frame, rms, peak, data, lower: Packet(
        _name(battle),
        _whole(frame, 0, _FRAME_MAX),
        _level(rms),
        _level(peak),
        _sound(data),
        tuple((_rate(rate), _sound(sound)) for rate, sound in _few(lower)),
    ),
}
