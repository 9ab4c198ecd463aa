"""The people of one session, and what it knows beside: a value that the session actor changes. Pure: ``now`` comes in.

Every change is also written to a journal, a callable that gets a key and a value (None: gone). Whoever has the journal's
last values by key makes the same room of them again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final, TypeAlias

import attrs

from wsactors.realtime.identity import Refused
from wsactors.sessions.stage_options import StageOptions
from wsactors.sessions.stage_rules import Person, Role, Ruling, entering

MAX_REMEMBERED: Final = 10_000
"""People of whom a session remembers, after they have left, that they were kicked or muted; the oldest are forgotten."""

Key: TypeAlias = tuple[str, int | str]
Journal: TypeAlias = Callable[[Key, Any], None]


@attrs.frozen
class Visitor:
    """Somebody at the door, as the session sees them: made of what they have proven, not of what they say."""

    key: str = attrs.field(repr=False, metadata={"secret": True})
    """The same for the same person, whatever connection they come by."""
    name: str
    moderates: bool = False
    known: bool = True
    """Whether they have shown who they are."""


@attrs.frozen
class _Facts:
    topic: str
    hands_open: bool = True
    closed: bool = False
    next_id: int = 1
    next_hand: int = 1
    tracks: int = 0


class Room:
    """Who is in a session. See `wsactors.sessions.stage_rules` for what they may do.

    Args:
        options: Of the session.
        journal: Told of every change.
        rows: What a journal has kept; empty: a new session.
    """

    def __init__(self, options: StageOptions, journal: Journal, rows: Mapping[Key, Any] | None = None) -> None:
        self.options = options
        self._journal = journal
        self._facts = _Facts(options.topic)
        self._people: dict[int, Person] = {}
        self._order: list[int] = []
        self._by_key: dict[str, int] = {}
        self._on_stage: dict[int, None] = {}
        self._hands: dict[int, None] = {}
        self._away: OrderedDict[int, None] = OrderedDict()
        self._banned: OrderedDict[str, float] = OrderedDict()
        self._muted: OrderedDict[str, None] = OrderedDict()
        for (kind, name), value in (rows or {}).items():
            self._recall(kind, name, value)
        self._hands = dict.fromkeys(sorted(self._hands, key=lambda each: self._people[each].hand))
        self._away = OrderedDict.fromkeys(sorted(self._away, key=lambda each: self._people[each].away_since or 0.0))
        self._banned = OrderedDict(sorted(self._banned.items(), key=lambda ban: ban[1]))

    def _recall(self, kind: str, name: int | str, value: Any) -> None:
        match kind:
            case "person":
                self._index(value)
            case "facts":
                self._facts = value
            case "banned":
                self._banned[str(name)] = value
            case "muted":
                self._muted[str(name)] = None

    def rows(self) -> Iterable[tuple[Key, Any]]:
        """What a journal would hold now."""
        yield ("facts", 0), self._facts
        yield from ((("person", person.id), person) for person in self._people.values())
        yield from ((("banned", key), until) for key, until in self._banned.items())
        yield from ((("muted", key), True) for key in self._muted)

    # -- what it is like --

    @property
    def topic(self) -> str:
        """What it is about."""
        return self._facts.topic

    @property
    def hands_open(self) -> bool:
        """Whether hands may be raised."""
        return self._facts.hands_open

    @property
    def closed(self) -> bool:
        """Whether a moderator has ended it; the next one who comes opens it again."""
        return self._facts.closed

    @property
    def next_hand(self) -> int:
        """The place of the next hand in the order."""
        return self._facts.next_hand

    @property
    def stage_size(self) -> int:
        """How many are on the stage."""
        return len(self._on_stage)

    @property
    def hand_count(self) -> int:
        """How many hands of people who are here are up."""
        return sum(self._people[number].away_since is None for number in self._hands)

    @property
    def tracks(self) -> int:
        """How many audio tracks there have been."""
        return self._facts.tracks

    @tracks.setter
    def tracks(self, used: int) -> None:
        if used != self._facts.tracks:
            self._set(tracks=used)

    @property
    def audience(self) -> int:
        """How many only listen."""
        return len(self._people) - len(self._on_stage)

    def __len__(self) -> int:
        return len(self._people)

    def person(self, number: int) -> Person | None:
        """Who is called by that number."""
        return self._people.get(number)

    def people(self, after: int = 0) -> Iterable[Person]:
        """Everybody with a higher number than ``after``, in the order in which they came."""
        begin = bisect_right(self._order, after)
        return (self._people[number] for number in islice(self._order, begin, None))

    def on_stage(self) -> list[Person]:
        """Who may speak, in the order in which they came to the stage."""
        return [self._people[number] for number in self._on_stage]

    def hands(self) -> list[Person]:
        """Who has raised a hand, the first one first."""
        return [self._people[number] for number in self._hands]

    # -- coming and going --

    def enter(self, visitor: Visitor, now: float) -> Person:
        """Somebody comes in, or comes back, or comes by a second connection.

        Raises:
            Refused: ``refused`` (kicked, or the session is over) or ``too_many``.
        """
        self.expire(now)
        if visitor.key in self._banned:
            raise Refused("refused", "You were asked to leave. Come back later.")
        moderates = visitor.moderates or self._opens(visitor)
        known = self._people.get(self._by_key.get(visitor.key, 0))
        if self.closed and not moderates:
            raise Refused("refused", "This session is over. Wait until somebody opens it again.")
        if known is None:
            person = self._stranger(visitor, moderates=moderates)
        elif self.options.first_moderates and known.role is Role.MODERATOR:
            moderates, person = True, known
        else:
            person = known
        if self.closed:
            self._set(closed=False)
        person = entering(self.options, attrs.evolve(person, name=visitor.name), moderates=moderates)
        return self._put(person)

    def _opens(self, visitor: Visitor) -> bool:
        if not self.options.first_moderates or visitor.key in self._by_key:
            return False
        return all(person.role is not Role.MODERATOR for person in self.on_stage())

    def _stranger(self, visitor: Visitor, *, moderates: bool) -> Person:
        if self._is_full and not moderates:
            self._drop_ghost()
            if self._is_full:
                raise Refused("too_many", "This session is full. Try again later.")
        number = self._facts.next_id
        self._set(next_id=number + 1)
        return Person(number, visitor.key, visitor.name, visitor.known, server_muted=visitor.key in self._muted)

    @property
    def _is_full(self) -> bool:
        full = len(self._people) >= self.options.people
        return full or (self.options.kind == "voice" and self.stage_size >= self.options.speakers)

    def _drop_ghost(self) -> None:
        """Make room: a guest who is away cannot be told from one who only pretends to be somebody else each time."""
        for number in self._away:
            if not self._people[number].known:
                self.remove(number)
                return

    def lose(self, number: int, now: float) -> Person | None:
        """The last connection of somebody broke; as they are now, None: gone, as there is nothing to keep for them."""
        person = self._people.get(number)
        if person is None:
            return None
        keeps = person.on_stage or person.hand or person.invited or person.server_muted
        if not keeps or self.options.grace_seconds <= 0:
            self.remove(number)
            return None
        return self._put(attrs.evolve(person, away_since=now, talking=False))

    def remove(self, number: int) -> Person | None:
        """Somebody has left for good; whom that was."""
        person = self._people.pop(number, None)
        if person is None:
            return None
        del self._by_key[person.key]
        del self._order[bisect_left(self._order, number)]
        for index in (self._on_stage, self._hands, self._away):
            index.pop(number, None)
        self._journal(("person", number), None)
        return person

    def expire(self, now: float) -> list[Person]:
        """Those who did not come back in time, and are gone now; bans that are over end, too."""
        gone = []
        while self._away:
            since = self._people[next(iter(self._away))].away_since
            if since is None or since + self.options.grace_seconds > now:
                break
            found = self.remove(next(iter(self._away)))
            if found is not None:
                gone.append(found)
        while self._banned and next(iter(self._banned.values())) <= now:
            self._journal(("banned", self._banned.popitem(last=False)[0]), None)
        return gone

    @property
    def next_expiry(self) -> float | None:
        """When `expire` finds somebody; None: nobody is away."""
        for number in self._away:
            since = self._people[number].away_since
            return None if since is None else since + self.options.grace_seconds
        return None

    # -- what comes of requests --

    def apply(self, ruling: Ruling, now: float) -> None:
        """Make it so."""
        for person in ruling.people:
            if person.id in self._people:
                self._remember_mute(person)
                if person.hand == self.next_hand:
                    self._set(next_hand=person.hand + 1)
                self._put(person)
        if ruling.topic is not None:
            self._set(topic=ruling.topic)
        if ruling.hands_open is not None:
            self._set(hands_open=ruling.hands_open)
        if ruling.kicked is not None:
            self._ban(ruling.kicked, now)
        if ruling.ended:
            self._end()

    def _remember_mute(self, person: Person) -> None:
        was = self._people[person.id].server_muted
        if person.server_muted and not was:
            self._muted[person.key] = None
            self._journal(("muted", person.key), True)
            if len(self._muted) > MAX_REMEMBERED:
                self._journal(("muted", self._muted.popitem(last=False)[0]), None)
        elif was and not person.server_muted:
            self._muted.pop(person.key, None)
            self._journal(("muted", person.key), None)

    def _ban(self, person: Person, now: float) -> None:
        self.remove(person.id)
        if self.options.ban_seconds > 0:
            # All bans last equally long, so the oldest ends first.
            self._banned.pop(person.key, None)
            self._banned[person.key] = now + self.options.ban_seconds
            self._journal(("banned", person.key), self._banned[person.key])
            if len(self._banned) > MAX_REMEMBERED:
                self._journal(("banned", self._banned.popitem(last=False)[0]), None)

    def _end(self) -> None:
        for number in tuple(self._people):
            self.remove(number)
        self._set(closed=True, hands_open=True, topic=self.options.topic)

    # -- inside --

    def _set(self, **facts: Any) -> None:
        self._facts = attrs.evolve(self._facts, **facts)
        self._journal(("facts", 0), self._facts)

    def _put(self, person: Person) -> Person:
        if self._people.get(person.id) != person:
            self._index(person)
            self._journal(("person", person.id), person)
        return person

    def _index(self, person: Person) -> None:
        number = person.id
        if number not in self._people:
            insort(self._order, number)
        self._people[number] = person
        self._by_key[person.key] = number
        for index, belongs in ((self._on_stage, person.on_stage), (self._hands, bool(person.hand))):
            if not belongs:
                index.pop(number, None)
            elif number not in index:
                index[number] = None
        if person.away_since is None:
            self._away.pop(number, None)
        elif number not in self._away:
            self._away[number] = None
