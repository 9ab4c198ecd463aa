"""One connection's place in a stage or a voice session, and who sits there."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio

from wsactors.actors import Pid, Runtime
from wsactors.errors import CallExit, CallTimeout, MailboxFull
from wsactors.media.reports import Heard
from wsactors.realtime.identity import Refused, User
from wsactors.realtime.limits import Bucket, Rate
from wsactors.sessions.listener import LEFT, Seat, Sink, Way
from wsactors.sessions.messages import Leave
from wsactors.sessions.stage_messages import Act, Denied, Done, Renew, Spoken
from wsactors.sessions.stage_options import StageOptions
from wsactors.sessions.stage_room import Visitor
from wsactors.sessions.stage_rules import short_name
from wsactors.wire.errors import ProtocolError
from wsactors.wire.native import AudioFrame, Joined, Plain, decode_uplink

FRAMES: Final = Rate(per_second=110.0, burst=40.0, debt=0.0)
"""Audio frames of one connection: packets of 10 ms, and some more after a hold-up."""
ACTS: Final = Rate(per_second=10.0, burst=40.0, debt=0.0)
"""Acts of one connection in one session."""
COSTS: Final = {"state": 4.0, "people": 4.0}
"""What asks for much counts for more."""
ACT_SECONDS: Final = 3.0
"""In which the session has to answer."""
JOINING: Final = "joining"


def visitor_of(options: StageOptions, user: User, guest: str) -> Visitor:
    """Who somebody is to a session, from what they have proven. ``guest`` tells those apart who have proven nothing."""
    if user.anonymous:
        return Visitor(f"guest:{guest}", f"Guest {zlib.crc32(guest.encode()) % 10_000:04}", known=False)
    moderates = user.subject in options.moderators or user.role in options.moderator_roles
    return Visitor(f"user:{user.subject}", _name_of(user), moderates)


def _name_of(user: User) -> str:
    for claim in ("name", "preferred_username"):
        said = user.claims.get(claim)
        if isinstance(said, str) and (name := short_name(said)):
            return name
    return short_name(user.subject) or "Somebody"


class StageSeat(Seat):
    """A place in a stage. What its user may say is checked here first, so that floods end before the session's mailbox.

    The session sets what is not said to be the seat's own; it finds the seat again when it has been restarted.
    """

    __slots__ = ("_frames", "drops", "hushed", "mixed", "own", "person", "said_goodbye", "silenced", "skips", "visitor")

    def __init__(
        self,
        sink: Sink,
        person: int,
        visitor: Visitor,
        *,
        events: bool = True,
        way: Way = Way(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(sink, events=events, way=way)
        self.started = True
        self.mixed = not events
        """Whether it gets all voices in one stream: so does whoever takes no events, and could not tell tracks apart."""
        self.visitor = visitor
        self.person = person
        """What the session calls its user."""
        self.silenced: str = JOINING
        """Why its user's voice goes nowhere; empty: it is heard."""
        self.skips: frozenset[int] = frozenset()
        """Audio tracks that are not sent here: its own user's, and those that its user does not want to hear."""
        self.own = 0
        """The track of its own user; 0: none."""
        self.hushed: dict[int, int] = {}
        """People that its user does not want to hear, and their tracks. Kept here: it is about this connection."""
        self.said_goodbye = False
        """Whether its user has left, rather than been cut off."""
        self.drops: Counter[str] = Counter()
        """Frames that went nowhere, by reason; the session's, shared by its seats."""
        self._frames: Bucket | None = None  # most never speak

    def choose(self) -> None:
        """Work out anew which tracks are not sent here."""
        self.skips = frozenset(self.hushed.values()) | {self.own}

    def hear(self, data: bytes, now: float) -> AudioFrame | None:
        """A frame that may go to the session; None: it was dropped."""
        reason = self.silenced or self._refuse_flood(now)
        if not reason:
            try:
                return decode_uplink(data)
            except ProtocolError:
                reason = "malformed"
        self.drops[reason] += 1
        return None

    def _refuse_flood(self, now: float) -> str:
        if self._frames is None:
            self._frames = Bucket(FRAMES, now)
        return "" if self._frames.take(now).taken else "rate"


class StageMembership:
    """One connection's membership of a stage: `wsactors.gateway.directory.Membership`."""

    takes_speech = True

    def __init__(self, node: Runtime, listener: Pid, seat: StageSeat, joined: Joined, options: StageOptions) -> None:
        self._node = node
        self._listener = listener
        self._seat = seat
        self._joined = joined
        self._options = options
        self._session = options.part("session")
        self._acts: Bucket | None = None

    @property
    def joined(self) -> Joined:
        """What to tell the client."""
        return self._joined

    @property
    def listener(self) -> Pid:
        """The listener actor."""
        return self._listener

    async def wait_ended(self) -> str:
        """Wait until the membership has ended, and why."""
        await self._seat.ended.wait()
        return self._seat.reason

    def when_ended(self, tell: Any) -> None:
        """Have ``tell`` called with that reason when it ends; at once if it has. It must not wait."""
        self._seat.when_ended(tell)

    def leave(self, *, lost: bool = False) -> None:
        """End it from this side. ``lost``: its user may be back in a moment, and then has role, hand and place again."""
        self._seat.said_goodbye = self._seat.said_goodbye or not lost
        self._seat.give_up(LEFT)
        self._node.cast(self._listener, Leave())

    async def act(self, action: str, args: Mapping[str, Plain]) -> Plain:
        """Do something: ``docs/stage.md`` lists the actions. Raises `Refused`."""
        now = trio.current_time()
        if self._acts is None:
            self._acts = Bucket(ACTS, now)
        if not self._acts.take(now, COSTS.get(action, 1.0)).taken:
            raise Refused("rate", "Not so fast. Wait a moment.")
        session = self._node.whereis(self._session)
        if session is None:
            raise Refused("overloaded", "The session begins anew. Try again in a moment.")
        try:
            answer = await self._node.call(session, Act(self._listener, action, args), ACT_SECONDS)
        except CallTimeout:
            raise Refused("timeout", "The session does not answer. Try again.") from None
        except MailboxFull:
            raise Refused("overloaded", "The session has too much to do. Try again.") from None
        except CallExit:
            raise Refused("crash", "The session failed, and nobody knows whether it was done.") from None
        match answer:
            case Done(said):
                return said
            case Denied(code, text):
                raise Refused(code, text)
        raise TypeError(f"a session answered {type(answer).__name__}")

    def speak(self, data: bytes, now: float) -> None:
        """Take an audio frame of the user, an uplink frame; dropped and counted when it is none, or may not be said."""
        frame = self._seat.hear(data, now)
        if frame is not None:
            self._node.cast(self._session, Spoken(self._listener, frame))

    def hear(self, heard: Sequence[Heard], now: float) -> None:
        """The listener has reported: voices are forwarded as their speakers have coded them, so nothing follows."""

    def renew(self, user: User) -> None:
        """The user has shown who it is anew: its rights may be others. A guest who logs in is somebody else from now on."""
        visitor = visitor_of(self._options, user, "")
        if not user.anonymous:
            self._node.cast(self._session, Renew(self._listener, visitor))
