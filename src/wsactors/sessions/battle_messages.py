"""What a gateway asks a battle's session on behalf of whoever plays it or looks on. The session decides everything."""

from __future__ import annotations

import attrs

from wsactors.dj.command import Command
from wsactors.wire.battle_events import BattleState
from wsactors.wire.midi import MidiMessage

OPERATE_SECONDS = 2.0
"""How long a gateway waits for an answer."""


@attrs.frozen
class Operate:
    """Call: a player does something. Answer: `Operated` or `NotOperated`."""

    player: str
    """The subject of the connection's user; empty: nobody in particular."""
    deck: str | None
    """Of a MIDI message whose protocol says so: ``"a"`` or ``"b"``."""
    what: MidiMessage | Command
    arrived: int
    """The timeline frame at which the gateway had it."""
    stamp: int | None = None
    """The timeline frame that the player says he heard (`wsactors.dj.stamp`)."""
    round_trip: int = 0
    """Of the player's connection, in frames, as the gateway has measured it."""


@attrs.frozen
class Operated:
    """It was carried out, or (``frame`` is None) there was nothing to be done."""

    frame: int | None
    """The timeline frame at which it took effect."""


@attrs.frozen
class NotOperated:
    """It was not carried out."""

    code: str
    message: str
    """For the player to read."""


@attrs.frozen
class Describe:
    """Call: how is the battle, for this user? Answer: `Description`."""

    player: str


@attrs.frozen
class Description:
    """Answer to `Describe`."""

    state: BattleState
