"""MIDI as a controller sends it: notes, knobs and the pitch bend, one whole message at a time (MIDI 1.0, as Web MIDI hands
it out: no running status, no interleaved clock).

A knob has 7 bits, or 14 in two messages: controller ``n`` (0 to 31) carries the high ones, ``n + 32`` the low ones. `Pairs`
puts them together whichever comes first. It never waits for the other half, since that may be lost: each half changes the
value at once, so what comes out between the halves is within a 128th of the range of where the knob was or of where it
is, and when both have come it is exact, whatever was lost before.
"""

from __future__ import annotations

from typing import Final, TypeAlias, assert_never

import attrs

from .errors import ProtocolError

TOP_7: Final = 127
TOP_14: Final = 16_383
CENTRE: Final = 8_192
"""The pitch bend of a wheel at rest."""
MAX_MESSAGE: Final = 256
"""Longest message that is looked at, in bytes; a longer system-exclusive one is refused."""
WIDE: Final = range(32)
"""Controllers that have low bits, at 32 more."""
_OFF, _ON, _CONTROL, _BEND = 0x80, 0x90, 0xB0, 0xE0
_LENGTHS: Final = {_OFF: 3, _ON: 3, 0xA0: 3, _CONTROL: 3, 0xC0: 2, 0xD0: 2, _BEND: 3}
_SYSTEM: Final = {0xF1: 2, 0xF2: 3, 0xF3: 2}


@attrs.frozen
class Note:
    """A key or a button. ``velocity`` 0 is its release, in either of the two ways of saying it."""

    channel: int
    """0 to 15; printed as 1 to 16."""
    note: int
    velocity: int


@attrs.frozen
class ControlChange:
    """A knob, a fader, or half of one."""

    channel: int
    controller: int
    value: int


@attrs.frozen
class PitchBend:
    """The bend wheel; `CENTRE` is its rest, `TOP_14` its upper end."""

    channel: int
    value: int


MidiMessage: TypeAlias = Note | ControlChange | PitchBend


def decode_midi(data: bytes) -> MidiMessage | None:
    """The message in ``data``; None for one that a DJ's controls do not use (clock, programs, aftertouch, exclusive).

    Raises:
        ProtocolError: It is not one whole message. Nothing else is ever raised.

    Example:
        >>> decode_midi(bytes([0x90, 60, 127])), decode_midi(bytes([0xE1, 0, 64]))
        (Note(channel=0, note=60, velocity=127), PitchBend(channel=1, value=8192))
    """
    if not data or len(data) > MAX_MESSAGE or data[0] < 0x80:
        raise ProtocolError(f"midi: expected 1 to {MAX_MESSAGE} bytes that begin with a status byte")
    if data[0] >= 0xF0:
        _check_system(data)
        return None
    status, channel = data[0] & 0xF0, data[0] & 0x0F
    if len(data) != _LENGTHS[status] or max(data[1:]) > TOP_7:
        raise ProtocolError(f"midi: a message of this kind has {_LENGTHS[status] - 1} data bytes of 0 to 127")
    match status:
        case 0x80:
            return Note(channel, data[1], 0)
        case 0x90:
            return Note(channel, data[1], data[2])
        case 0xB0:
            return ControlChange(channel, data[1], data[2])
        case 0xE0:
            return PitchBend(channel, data[1] | data[2] << 7)
    return None


def _check_system(data: bytes) -> None:
    if data[0] == 0xF0:
        if len(data) < 2 or data[-1] != 0xF7 or max(data[1:-1], default=0) > TOP_7:
            raise ProtocolError("midi: a system-exclusive message ends with 0xf7, and has data bytes of 0 to 127")
    elif data[0] == 0xF7 or len(data) != _SYSTEM.get(data[0], 1) or max(data[1:], default=0) > TOP_7:
        raise ProtocolError("midi: not one whole system message")


def encode_midi(message: MidiMessage) -> bytes:
    """The bytes of a message. Raises `ProtocolError` when a number is out of its bounds; here the caller is at fault."""
    match message:
        case Note(channel, note, velocity):
            data = (_ON if velocity else _OFF, channel, note, velocity)
        case ControlChange(channel, controller, value):
            data = (_CONTROL, channel, controller, value)
        case PitchBend(channel, value):
            data = (_BEND, channel, value & TOP_7, value >> 7)
        case _:
            assert_never(message)
    status, channel, first, second = data
    if not (0 <= channel < 16 and 0 <= first <= TOP_7 and 0 <= second <= TOP_7):
        raise ProtocolError("midi: channels are 0 to 15, data bytes 0 to 127, bends 0 to 16383")
    return bytes((status | channel, first, second))


# -- knobs -------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Turn:
    """Where a knob is, as exactly as it has said so far."""

    value: int
    top: int
    """Its upper end: `TOP_7` or `TOP_14`."""

    @property
    def knob(self) -> float:
        """From 0 at the lower end to 1 at the upper one."""
        return self.value / self.top

    @property
    def balance(self) -> float:
        """From -1 to 1, and exactly 0 in the middle (64, or 8192), although there is one step less above it."""
        middle = (self.top + 1) // 2
        return (self.value - middle) / (middle if self.value < middle else middle - 1)


class Pairs:
    """Puts the two halves of 14-bit knobs together, of all channels of one controller."""

    def __init__(self) -> None:
        # At most 16 channels of 32 knobs.
        self._halves: dict[tuple[int, int], tuple[int, int | None]] = {}

    def take(self, half: ControlChange) -> tuple[int, Turn]:
        """The number (0 to 31) of the knob that ``half`` belongs to, and where that knob is now.

        Until a low half has come it is a knob of 7 bits. Raises `ValueError` for a controller above 63, which is no half.
        """
        if not 0 <= half.controller < 64:
            raise ValueError(f"controllers 0 to 63 are halves of knobs, got {half.controller}")
        number = half.controller % 32
        high, low = self._halves.get((half.channel, number), (0, None))
        if half.controller < 32:
            high = half.value
        else:
            low = half.value
        self._halves[half.channel, number] = high, low
        return number, Turn(high, TOP_7) if low is None else Turn(high << 7 | low, TOP_14)
