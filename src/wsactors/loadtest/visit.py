"""One connection of one user, from the first packet to the end: a line, what is said on it, and what is counted.

Everything here runs in the poller's turn and never waits; what concerns the user's behaviour is told to its actor.
"""

from __future__ import annotations

import random
import ssl
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from wsactors.loadtest.conversations import Manners, conversation_for
from wsactors.loadtest.frames import BINARY
from wsactors.loadtest.histogram import Histogram
from wsactors.loadtest.line import Line
from wsactors.loadtest.poller import Poller
from wsactors.loadtest.scenario import Pacer
from wsactors.loadtest.settings import GroupSettings, LoadSettings
from wsactors.loadtest.stamp import MARK, Template, read_stamp
from wsactors.loadtest.tally import Tally
from wsactors.loadtest.target import Target
from wsactors.wire.audio_frame import AUDIO_HEADER_BYTES, AUDIO_KIND
from wsactors.wire.errors import ProtocolError

__all__ = ["Dropped", "Ended", "Joined", "Visit", "World"]

_RATE = 48_000
_WRAP = 1 << 32
_PLACE = struct.Struct(">IQ")
"""Sequence and timestamp in an audio frame's header."""


@attrs.define(eq=False)
class World:
    """What all users of one process share."""

    run: int
    index: int
    settings: LoadSettings
    target: Target
    tls: ssl.SSLContext | None
    poller: Poller
    pacer: Pacer
    tallies: Mapping[str, Tally]
    chance: random.Random
    send_lag: Histogram = attrs.field(factory=Histogram)
    """How much later than intended messages were sent: our own fault."""
    quiet: bool = False
    """Nobody speaks, comes or goes any more."""
    _senders: int = 0

    def new_sender(self) -> int:
        """A number for one who speaks, unique in the run: 8 bits of the process, 24 of its own."""
        self._senders += 1
        return (self.index << 24 | self._senders) & 0xFFFF_FFFF


@attrs.frozen(eq=False)
class Joined:
    """To the user: its visit is in, and out again when it was."""

    visit: Visit


@attrs.frozen(eq=False)
class Dropped:
    """To the user: the membership ended; the connection stays."""

    visit: Visit


@attrs.frozen(eq=False)
class Ended:
    """To the user: the connection is gone, or there never was one."""

    visit: Visit


class Visit:
    """A connection under way.

    Args:
        tell: sends a message to the user's actor.

    Raises:
        OSError: this machine could not even try.
    """

    __slots__ = (
        "_audio", "_conversation", "_first", "_parting", "_ranks", "_run", "_sequence", "_since", "_tally", "_tell", "is_joined",
        "line", "was_joined",
    )  # fmt: skip

    def __init__(
        self, world: World, group: GroupSettings, tally: Tally, manners: Manners, tell: Callable[[Any], object]
    ) -> None:
        conversation = conversation_for(group.transport)
        self._tally, self._tell, self._run = tally, tell, world.run
        self._audio = manners.audio
        self._first = True
        self._ranks: dict[int, int] = {}
        """The newest sequence of each sender, by run and sender."""
        self._sequence = -1
        self._since = (time.monotonic(), 0.0)
        """When we began to connect; when the soonest audio frame was sent at the latest, minus its timestamp."""
        self.is_joined = self.was_joined = self._parting = False
        self._conversation = conversation(self, manners)
        path = group.path or conversation.path(manners)
        self.line = Line(world.poller, world.target, world.tls, path, self)

    # -- what the user does --

    def template(self, size: int) -> Template:
        """The message it may send from now on, until it joins again."""
        return Template(self._conversation.speech, size)

    @property
    def beat_seconds(self) -> float | None:
        """How often `beat` must be called."""
        return self._conversation.BEAT

    def beat(self) -> None:
        """Say that we are still there."""
        self.say(self._conversation.beat())

    def join(self) -> None:
        """Join again, after `Dropped`."""
        self._sequence, self._ranks = -1, {}
        self._conversation.join()

    def say_goodbye(self) -> None:
        """Leave politely; the connection ends when the other side says so, or with `cut`."""
        self._parting = True
        self._leave()
        self.say(self._conversation.goodbye())

    def cut(self, *, reset: bool = False) -> None:
        """End it here and now."""
        self._leave()
        self.line.cut(reset=reset)

    # -- what the line does (Hearer) --

    def opened(self) -> None:
        """The WebSocket is open."""
        self._conversation.opened()

    def take(self, opcode: int, data: bytes | bytearray, start: int, end: int) -> bool:
        """One message. The first lines are what thousands of listeners per core live on."""
        at = data.find(MARK, start, end)
        if at >= 0:
            self._heard(data, at)
        elif self._audio and opcode == BINARY and data[start] == AUDIO_KIND and end - start >= AUDIO_HEADER_BYTES:
            self._frame(data, start)
        else:
            self._tally.other += 1
            try:
                self._conversation.take(opcode, bytes(memoryview(data)[start:end]))
            except ProtocolError as error:
                self.ended(f"protocol error: {error}")
                return False
        return True

    def ended(self, reason: str) -> None:
        """The connection is gone."""
        self.cut()
        if not self._parting:
            self._tally.because(reason)
            self._tell(Ended(self))

    def _leave(self) -> None:
        self._tally.joined -= self.is_joined
        self.is_joined = False

    # -- what is heard --

    def _heard(self, data: bytes | bytearray, at: int) -> None:
        found = read_stamp(data, at)
        if found is None or found[0] >> 32 != self._run:
            self._tally.other += 1
            return
        sender, sequence, intended = found
        tally, now = self._tally, self.line.now
        tally.received += 1
        tally.latency.record(now - intended)
        last = self._ranks.get(sender)
        if last is not None and sequence != last + 1:
            if sequence <= last:
                tally.repeated += 1
                return
            tally.missed += sequence - last - 1
        self._ranks[sender] = sequence
        if self._first:
            self._note_first(now)

    def _frame(self, data: bytes | bytearray, start: int) -> None:
        tally, now = self._tally, self.line.now
        sequence, timestamp = _PLACE.unpack_from(data, start + 6)
        tally.audio += 1
        if self._sequence >= 0 and sequence != (self._sequence + 1) % _WRAP:
            if sequence <= self._sequence:
                tally.repeated += 1
                return
            tally.missed += sequence - self._sequence - 1
        self._sequence = sequence
        began, offset = self._since
        behind = now - timestamp / _RATE
        if self._first or behind < offset:
            self._since = (began, behind)
            offset = behind
        tally.late.record(behind - offset)
        if self._first:
            self._note_first(now)

    def _note_first(self, now: float) -> None:
        self._first = False
        self._tally.first.record(now - self._since[0])

    # -- what is said to us (Room) --

    def say(self, data: bytes) -> bool:
        """Send whole frames; False if they could not be sent."""
        return self.line.send(data)

    def joined(self) -> None:
        """We are in."""
        if self.is_joined or self._parting:
            return
        self._tally.joins += 1
        self._tally.joined += 1
        if not self.was_joined:
            self._tally.join.record(self.line.now - self._since[0])
        self.is_joined = self.was_joined = True
        self._tell(Joined(self))

    def refused(self, reason: str) -> None:
        """We may not come in; or, when we are in, something else that we asked for was refused."""
        if self.is_joined or self._parting:
            self._tally.because(f"refused: {reason}")
        else:
            self.ended(f"refused: {reason}")

    def dropped(self, reason: str) -> None:
        """Our membership ended."""
        if self.is_joined:
            self._tally.because(f"dropped: {reason}")
            self._tally.drops += 1
            self._leave()
            self._tell(Dropped(self))
