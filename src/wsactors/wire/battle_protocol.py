"""The Socket.IO protocol of battles on the namespace ``/battle``: what players and spectators say, and the answers.

An event that a client sends is decoded whole or refused with a `ProtocolError` that names the field. Ids that it claims
(``battleId``, ``playerId``) are texts and no more: who it is, the connection says. A `MidiCommand` becomes the MIDI message
that it stands for, so that a mapping says what it does. What the node sends is in `wsactors.wire.battle_events`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, TypeAlias, assert_never

import attrs

from .battle_schema import deck, from_payload, identity, number, to_payload
from .errors import ProtocolError
from .midi import TOP_14, ControlChange, MidiMessage, Note, PitchBend
from .native_schema import integer, message_field, one_of, optional, refuse, text
from .plain import Plain

NAMESPACE: Final = "/battle"
MAX_OFFER: Final = 16 * 1024
"""Longest description of a WebRTC session, in characters; it is not read."""
_SEVEN: Final = optional(integer(0, 127))
_TIME: Final = number()


@attrs.frozen
class BattleQuery:
    """What the address of a connection says: ``?battleId=…&playerId=…``."""

    battle_id: str = message_field(identity)
    player_id: str = message_field(identity)


@attrs.frozen
class JoinBattle:
    """Let me see and hear this battle; and play, if I have a seat."""

    EVENT: ClassVar[str] = "join-battle"
    battle_id: str = message_field(identity)
    player_id: str | None = message_field(optional(identity), None)


@attrs.frozen
class LeaveBattle:
    """I have had enough of it."""

    EVENT: ClassVar[str] = "leave-battle"
    battle_id: str | None = message_field(optional(identity), None)
    player_id: str | None = message_field(optional(identity), None)


@attrs.frozen
class MidiCommand:
    """A button, a knob or the wheel of a controller, real or drawn."""

    EVENT: ClassVar[str] = "midi-command"
    type: str = message_field(one_of("note", "cc", "pitch_bend"))
    deck: str = message_field(deck)
    note: int | None = message_field(_SEVEN, None)
    controller: int | None = message_field(_SEVEN, None)
    value: int | None = message_field(optional(integer(0, TOP_14)), None)
    velocity: int | None = message_field(_SEVEN, None)
    timestamp: float | None = message_field(optional(_TIME), None)
    """The client's own clock; nobody else's, so it is not used."""
    latency_compensation: float | None = message_field(optional(_TIME), None)
    """What the client believes; the node believes what it measures."""
    frame: int | None = message_field(optional(integer(0, 1 << 52)), None)
    """The frame of the timeline that was heard when it was done (see `AudioSync`)."""

    def message(self, channel: int) -> MidiMessage:
        """The MIDI message on a channel (0 to 15). Raises `ProtocolError` when fields of its type are missing."""
        match self.type:
            case "note":
                velocity = next((each for each in (self.velocity, self.value) if each is not None), 127)
                return Note(channel, _needed(self.note, "note"), min(velocity, 127))
            case "cc":
                return ControlChange(channel, _needed(self.controller, "controller"), _needed(self.value, "value", 127))
        return PitchBend(channel, _needed(self.value, "value"))


def _needed(value: int | None, field: str, high: int = TOP_14) -> int:
    if value is None:
        raise ProtocolError(f"midi-command.{field}: missing")
    if value > high:
        raise refuse(f"midi-command.{field}", f"an integer from 0 to {high}")
    return value


@attrs.frozen
class Ping:
    """How far are you? Acknowledged with the node's time in milliseconds."""

    EVENT: ClassVar[str] = "ping"
    timestamp: float | None = message_field(optional(_TIME), None)


@attrs.frozen
class RequestAudioStream:
    """Send me the sound by WebRTC, please. It is answered with where the sound is instead."""

    EVENT: ClassVar[str] = "request-audio-stream"
    battle_id: str | None = message_field(optional(identity), None)
    offer: str | None = message_field(optional(text(MAX_OFFER)), None)


@attrs.frozen
class _Wrapped:
    """A command as one of the source's two clients sends it."""

    command: Any = message_field(lambda value, _path: value)
    battle_id: str | None = message_field(optional(identity), None)
    player_id: str | None = message_field(optional(identity), None)


ClientEvent: TypeAlias = JoinBattle | LeaveBattle | MidiCommand | Ping | RequestAudioStream
_CLASSES: Final[tuple[type[ClientEvent], ...]] = (JoinBattle, LeaveBattle, MidiCommand, Ping, RequestAudioStream)
CLIENT_EVENTS: Final = {cls.EVENT: cls for cls in _CLASSES}


def decode_query(query: dict[str, Any]) -> BattleQuery:
    """Which battle a connection is for. Other fields of the address are others' business. Raises `ProtocolError`."""
    known = {name: query[name] for name in ("battleId", "playerId") if name in query}
    found: BattleQuery = from_payload(BattleQuery, known, "query")
    return found


def decode_event(event: str, arguments: Sequence[Any]) -> ClientEvent:
    """What a client says. Raises `ProtocolError`, nothing else, whatever it is.

    Example:
        >>> decode_event("midi-command", [{"type": "note", "deck": "A", "note": 60, "velocity": 127}]).message(0)
        Note(channel=0, note=60, velocity=127)
    """
    cls = CLIENT_EVENTS.get(event)
    if cls is None:
        raise ProtocolError(f"unknown event; there are {', '.join(sorted(CLIENT_EVENTS))}")
    if len(arguments) > 1:
        raise refuse(event, "one argument")
    payload = arguments[0] if arguments else {}
    if cls is Ping and type(payload) in {int, float}:
        payload = {"timestamp": payload}
    if cls is Ping and payload is None:
        payload = {}
    if cls is MidiCommand and isinstance(payload, dict) and "command" in payload:
        payload = from_payload(_Wrapped, payload, event).command
    found: ClientEvent = from_payload(cls, payload, event)
    if isinstance(found, MidiCommand):
        found.message(0)
    return found


def encode_event(message: ClientEvent) -> tuple[str, list[Plain]]:
    """The event and its arguments, as a client sends it. Raises `ProtocolError` when a field is out of its bounds."""
    return message.EVENT, [to_payload(message, message.EVENT)]


# -- from commands' names to the deck's and back -----------------------------------------------------------------------


def deck_inside(name: str) -> str:
    """``"a"`` for ``"A"``."""
    return name.lower()


def deck_outside(name: str) -> str:
    """``"A"`` for ``"a"``."""
    return name.upper()


def midi_command(message: MidiMessage, deck_name: str) -> MidiCommand:
    """The event for a message that a controller has sent, as a page makes it."""
    match message:
        case Note(_, note, velocity):
            return MidiCommand("note", deck_name, note=note, velocity=velocity)
        case ControlChange(_, controller, value):
            return MidiCommand("cc", deck_name, controller=controller, value=value)
        case PitchBend(_, value):
            return MidiCommand("pitch_bend", deck_name, value=value)
        case _:
            assert_never(message)
