"""The half of a stage's session actor that knows who is there: the door, the seats, and the table in which it is kept."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import trio

from wsactors.actors import ANY, Actor, Member, Pid
from wsactors.media.forwarder import Forwarded
from wsactors.realtime.identity import Refused
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions import stage_news as news
from wsactors.sessions.fan_out import FanOut
from wsactors.sessions.listener import listeners_of
from wsactors.sessions.member import StageSeat
from wsactors.sessions.messages import SESSIONS, Leave, SessionCard
from wsactors.sessions.mix_places import MixPlaces
from wsactors.sessions.soundboard_rules import Board
from wsactors.sessions.stage_messages import Denied, Entered, MixFor
from wsactors.sessions.stage_metrics import StageMetrics
from wsactors.sessions.stage_mixer import MIX_OPTIONS
from wsactors.sessions.stage_options import StageOptions
from wsactors.sessions.stage_room import Key, Room, Visitor
from wsactors.sessions.stage_rules import Person, may_be_heard
from wsactors.sessions.stage_seats import Seats
from wsactors.sessions.stage_sound import StageSound

BREATH: Final = 128
"""Sinks served between two looks at the rest of the node: a millisecond or two."""
ARRIVE_SECONDS: Final = 5.0
"""In which somebody who was let in has to be there."""


@attrs.frozen
class Expire:
    """To itself, when somebody's grace is over."""


@attrs.frozen
class Arrived:
    """To itself: is this person there?"""

    person: int


@attrs.frozen
class Tell:
    """To itself, when what has changed may be told."""


@attrs.frozen
class Flush:
    """To itself: send the ends of what was said."""


@attrs.frozen
class Dismiss:
    """To itself: send those away whose session is over."""


def _offer_voice(seat: StageSeat, voice: tuple[bytes, int]) -> None:
    data, track = voice
    if track not in seat.skips and not seat.mixed:
        seat.offer(data, AUDIO)


class StagePeople(Actor):
    """Who is in a session. What they do there is in `wsactors.sessions.stage.Stage`."""

    async def _open(self, options: StageOptions) -> None:
        """Find everybody who is there already, and watch who comes and goes."""
        self._options = options
        self._drops: Counter[str] = Counter()
        self._frames = 0
        self._endings: list[Forwarded] = []
        self._told_at = self._counted_at = float("-inf")
        self._telling = False
        self._expires_at: float | None = None
        self._mixes = MixFor()
        self._coded: tuple[int, bytes] | None = None
        self._leaving: deque[tuple[Pid, str]] = deque()
        self._fan: FanOut[StageSeat, tuple[bytes, int]] = FanOut(self, _offer_voice)
        self._seats = Seats(self._fan)
        rows = self._kept()
        self._board = Board(options.board, rows)
        self._room = Room(options, self._note, rows)
        self._sound = StageSound(options, self._room.tracks)
        for person in self._room.on_stage():
            self._sound.follow(person, trio.current_time())
        self._room.tracks = self._sound.used
        self._news = news.News(self._room, self._sound.track_of)
        card = SessionCard(options.name, options.title or options.name, options.kind, options.track, options)
        self.node.groups.join(SESSIONS, self.pid, card)
        _ref, seated = self.node.groups.monitor(self.pid, listeners_of(options.name))
        await self._come(seated)
        for person in tuple(self._room.people()):
            if not self._seats.of(person.id) and person.away_since is None:
                self._room.lose(person.id, trio.current_time())
        self._expire_later()
        self.node.cast(options.part("mixer"), self._mixes)  # what it was told before may be of old
        self._metrics = metrics = StageMetrics.of(self.node)
        metrics.begin(self)
        self.at_death("metrics", lambda _: metrics.end(self))
        places = MixPlaces.of(self.node)
        self.at_death("mixes", lambda pid: places.claim(pid, 0))

    # -- what it counts --

    def frames(self) -> Counter[str]:
        """See `wsactors.sessions.stage_metrics.Counting`."""
        return self._drops + self._sound.drops() + Counter(forwarded=self._frames)

    def roles(self) -> dict[str, int]:
        """See `wsactors.sessions.stage_metrics.Counting`."""
        roles = Counter(person.role.name.lower() for person in self._room.on_stage())
        return {**roles, "audience": self._room.audience}

    # -- coming and going --

    def _enter(self, visitor: Visitor) -> Entered | Denied:
        try:
            person = self._room.enter(visitor, trio.current_time())
        except Refused as refusal:
            self._metrics.joins.add(refusal.code)
            return Denied(refusal.code, refusal.message)
        self._metrics.joins.add("ok")
        self.send_after(ARRIVE_SECONDS, self.pid, Arrived(person.id))
        return Entered(person.id)

    async def _come(self, members: Sequence[Member]) -> None:
        for at, member in enumerate(members):
            self._sit_down(member.pid, member.meta)
            if at % BREATH == BREATH - 1:
                await trio.lowlevel.checkpoint()

    def _sit_down(self, listener: Pid, seat: StageSeat) -> None:
        person = self._expected(seat)
        if isinstance(person, str):
            seat.give_up(person)
            self.node.cast(listener, Leave())
            return
        self._seats.add(listener, seat)
        seat.drops = self._drops
        self._follow_seats(person)
        if seat.events:
            seat.offer(self._coded_state(), (news.STATE, self._options.name))
            self._offer_event(seat, news.YOU, self._you(person))
        if self._board.clips:
            self._offer_event(seat, news.CLIPS, self._board.payload())
        if seat.mixed:
            self._mix_anew()
        else:
            for sent in self._sound.late_join(trio.current_time()):
                seat.offer(sent.coded(), AUDIO)
        if not self._sound.is_busy:
            seat.stop_waiting()

    def _coded_state(self) -> bytes:
        """What everybody is told who comes, coded once for all who come before it changes."""
        if self._coded is None or self._coded[0] != self._news.version:
            self._coded = self._news.version, news.event(self._options.name, news.STATE, self._state())
        return self._coded[1]

    def _expected(self, seat: StageSeat) -> Person | str:
        """Who sits there, or why nobody may. Whom the session does not know (any more) is asked again at the door."""
        person = self._room.person(seat.person)
        if person is not None and person.key == seat.visitor.key and person.away_since is None:
            return person
        try:
            person = self._room.enter(seat.visitor, trio.current_time())
        except Refused as refusal:
            return refusal.message
        seat.person = person.id
        return person

    def _go(self, listener: Pid) -> None:
        seat = self._seats.remove(listener)
        if seat is not None and seat.mixed:
            self._mix_anew()
        person = None if seat is None else self._room.person(seat.person)
        if seat is None or person is None:
            return
        if self._seats.of(person.id):
            self._follow_seats(person)  # another of their connections has the voice now
        elif seat.said_goodbye:
            self._room.remove(person.id)
        else:
            self._lose(person.id)

    def _lose(self, person: int) -> None:
        self._room.lose(person, trio.current_time())
        self._expire_later()

    def _arrived(self, person: int) -> None:
        if not self._seats.of(person):
            self._lose(person)

    def _expire(self) -> None:
        self._expires_at = None
        self._room.expire(trio.current_time())
        self._expire_later()

    def _expire_later(self) -> None:
        at = self._room.next_expiry
        if at is not None and (self._expires_at is None or at < self._expires_at):
            self._expires_at = at
            self.send_after(max(0.0, at - trio.current_time()), self.pid, Expire())

    def _renew(self, listener: Pid, visitor: Visitor) -> None:
        """Somebody has shown who they are anew: with other rights, or as somebody else than the guest they were."""
        seat = self._seats.get(listener)
        if seat is None:
            return
        try:
            person = self._room.enter(visitor, trio.current_time())
        except Refused as refusal:
            self._send_away(listener, refusal.message)
            return
        before, seat.visitor = seat.person, visitor
        if before != person.id:
            self._seats.remove(listener)
            seat.person = person.id
            self._seats.add(listener, seat)
            if not self._seats.of(before):
                self._room.remove(before)
            self._tell_you(person)
        self._follow_seats(person)

    def _send_away(self, listener: Pid, reason: str) -> None:
        seat = self._seats.get(listener)
        if seat is not None:
            seat.give_up(reason)
            self.node.cast(listener, Leave())

    def _send_all_away(self, reason: str) -> None:
        """In its turn: there may be thousands."""
        if not self._leaving:
            self.node.send(self.pid, Dismiss())
        self._leaving += ((listener, reason) for listener in self._seats.listeners())

    async def _dismiss(self) -> None:
        for at in range(len(self._leaving)):
            self._send_away(*self._leaving.popleft())
            if at % BREATH == BREATH - 1:
                await trio.lowlevel.checkpoint()

    # -- what follows from a change --

    def _note(self, key: Key, value: Any) -> None:
        """Something about the room has changed."""
        self._write(key, value)
        if key[0] == "person":
            number, now = int(key[1]), trio.current_time()
            if isinstance(value, Person):
                self._endings += self._sound.follow(value, now)
                self._room.tracks = self._sound.used
                self._follow_seats(value)
                self._tell_you(value)
            else:
                self._endings += self._sound.forget(number, now)
                self._board.forget(number)
            if self._endings:
                self.node.send(self.pid, Flush())
        self._tell_later()

    def _follow_seats(self, person: Person) -> None:
        """Tell the seats of somebody what they may say and hear."""
        silenced = "" if may_be_heard(person) else "muted" if person.on_stage else "role"
        self._seats.follow(person, silenced, self._sound.track_of(person.id))
        self._mix_anew()

    def _mix_anew(self) -> None:
        """Tell the mixer who wants which mix, if that has changed."""
        places = MixPlaces.of(self.node).claim(self.pid, min(MIX_OPTIONS.outputs, len(self._seats.mixing)))
        wanted = MixFor(*self._seats.mixes(places))
        if wanted != self._mixes:
            self._mixes = wanted
            self.node.cast(self._options.part("mixer"), wanted)

    def _tell_you(self, person: Person) -> None:
        for listener in self._seats.of(person.id):
            seat = self._seats.get(listener)
            if seat is not None:
                self._offer_event(seat, news.YOU, self._you(person))

    def _tell_later(self) -> None:
        if not self._telling:
            self._telling = True
            at = self._told_at + self._options.tell_after(len(self._seats))
            self.send_after(max(0.0, at - trio.current_time()), self.pid, Tell())

    def _state(self) -> dict[str, Any]:
        return {**self._news.state(), "board": self._sound.board}

    def _you(self, person: Person) -> dict[str, Any]:
        return news.you_payload(person, self._sound.track_of(person.id))

    def _offer_event(self, seat: StageSeat, name: str, payload: Mapping[str, Any]) -> None:
        if seat.events:
            seat.offer(news.event(self._options.name, name, payload), (name, self._options.name))

    # -- the table --

    def _write(self, key: Key, value: Any) -> None:
        table = self.node.tables.whereis(self._options.part("table"))
        if table is None:
            return  # its keeper begins anew, and will have everything written
        if value is None:
            table.delete(key)
        else:
            table.insert((key, value))

    def _write_all(self) -> None:
        for key, value in (*self._room.rows(), *self._board.rows()):
            self._write(key, value)

    def _kept(self) -> dict[Key, Any]:
        table = self.node.tables.whereis(self._options.part("table"))
        return {} if table is None else dict(table.select((ANY, ANY)))
