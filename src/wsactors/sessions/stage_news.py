"""What a stage tells its people besides sound: everything once, then what has changed. Pure.

The payloads of the events ``stage_state``, ``stage_change`` and ``stage_you``; ``docs/stage.md`` lists their fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from wsactors.sessions.stage_room import Room
from wsactors.sessions.stage_rules import Person
from wsactors.wire.native import QUIETEST, Event, Plain, encode

STATE: Final = "stage_state"
CHANGE: Final = "stage_change"
YOU: Final = "stage_you"
COUNT: Final = "audience"
"""What changes whenever somebody comes or goes."""
CLIPS: Final = "stage_clips"
CLIP_FAILED: Final = "stage_clip_failed"
LISTED: Final = 60
"""Most people on the stage that are told of; who else is there says the action ``people``."""
HANDS: Final = 30
"""Most people whose hands are up that are told of. All together fit into one message, whatever their names are."""
LOUD: Final = 20
"""Most levels in one message."""
PAGE: Final = 50
"""Most people in one answer to the action ``people``."""
STEP: Final = 6
"""How much louder or quieter somebody has to be to be told again, in dB."""


def person_payload(person: Person, track: int) -> dict[str, Plain]:
    """What everybody may know of somebody, whose voice has this track; what is false or missing is left out."""
    facts: dict[str, Plain] = {
        "id": person.id,
        "name": person.name,
        "role": int(person.role),
        "track": track,
        "hand": bool(person.hand),
        "muted": person.muted,
        "server_muted": person.server_muted,
        "priority": person.priority,
        "away": person.away_since is not None,
    }
    return {name: value for name, value in facts.items() if value or name in {"id", "name"}}


def you_payload(person: Person, track: int) -> dict[str, Plain]:
    """What somebody is told of themselves."""
    mine = {"invited": person.invited, "push_to_talk": person.push_to_talk, "must_push": person.must_push}
    return {**person_payload(person, track), **{name: value for name, value in mine.items() if value}}


class News:
    """What the people of one session know, and what they are to be told next.

    Args:
        room: The session.
        track_of: Gives the track of somebody's voice; 0: none.
    """

    def __init__(self, room: Room, track_of: Callable[[int], int]) -> None:
        self._room = room
        self._track_of = track_of
        self._known = self._facts()
        self._listed = self._listing()
        self._levels: dict[int, int] = {}
        self._louder: dict[int, int] = {}
        self._spoke: dict[int, None] = {}
        self.version = 1

    def spoke(self, person: int, level: int) -> None:
        """Somebody was just so loud (−dBov)."""
        self._spoke.pop(person, None)
        self._spoke[person] = None
        if len(self._spoke) > LISTED:
            del self._spoke[next(iter(self._spoke))]
        self._louder[person] = min(level, self._louder.get(person, QUIETEST))

    @property
    def is_loud(self) -> bool:
        """Whether somebody was told to be heard, so that their silence is to be told, too."""
        return bool(self._levels)

    def state(self) -> dict[str, Plain]:
        """Everything that was told so far, for somebody new."""
        people = {number: dict(facts) for number, facts in self._listed.items()}
        return {"version": self.version, **self._known, "people": list(people.values())}

    @property
    def is_counted(self) -> bool:
        """Whether everybody knows how many listen."""
        return self._known[COUNT] == self._room.audience

    def change(self, *, count: bool = True) -> dict[str, Plain] | None:
        """What has changed since the last time; None: nothing. Without ``count``, how many listen is not worth a message."""
        found: dict[str, Plain] = {}
        known, listed = self._facts(), self._listing()
        found.update({name: value for name, value in known.items() if value != self._known[name]})
        people: list[Plain] = [facts for number, facts in listed.items() if self._listed.get(number) != facts]
        gone: list[Plain] = [number for number in self._listed if number not in listed]
        if people:
            found["people"] = people
        if gone:
            found["gone"] = gone
        levels = self._new_levels()
        if found.keys() == {COUNT} and not levels and not count:
            return None
        before = self.version
        if found:
            self.version += 1
            self._known, self._listed = known, listed
        if levels:
            found["levels"] = levels
        return {"from": before, "version": self.version, **found} if found else None

    def page(self, after: int) -> dict[str, Plain]:
        """Everybody, in the order in which they came, a page at a time."""
        people = list(islice(self._room.people(after), PAGE + 1))
        more = people[PAGE - 1].id if len(people) > PAGE else 0
        return {"people": [self._payload(person) for person in people[:PAGE]], "more": more}

    def _payload(self, person: Person) -> dict[str, Plain]:
        return person_payload(person, self._track_of(person.id))

    def _facts(self) -> dict[str, Plain]:
        room = self._room
        return {
            "kind": room.options.kind,
            "topic": room.topic,
            "hands_open": room.hands_open,
            COUNT: room.audience,
            "on_stage": room.stage_size,
            "hands": [person.id for person in islice(room.hands(), HANDS)],
            "hand_count": room.hand_count,
        }

    def _listing(self) -> dict[int, dict[str, Plain]]:
        found = {person.id: person for person in self._chosen(self._room.on_stage())}
        found.update((person.id, person) for person in islice(self._room.hands(), HANDS))
        return {number: self._payload(person) for number, person in found.items()}

    def _chosen(self, stage: list[Person]) -> Iterable[Person]:
        """Those on the stage who are told of: all, else those who moderate or have just spoken, then the first ones."""
        if len(stage) <= LISTED:
            return stage
        spoke = {number: place for place, number in enumerate(self._spoke, 1)}
        return sorted(stage, key=lambda person: (-person.role, -spoke.get(person.id, 0)))[:LISTED]

    def _new_levels(self) -> list[Plain]:
        """Whoever is heard louder or more quietly than was told, the loudest first."""
        now, self._louder = self._louder, {}
        quiet = {number: QUIETEST for number in self._levels if number not in now}
        changed = {
            number: level
            for number, level in (quiet | now).items()
            if abs(level - self._levels.get(number, QUIETEST)) >= STEP
        }
        loudest = sorted(changed.items(), key=lambda each: each[1])[:LOUD]
        for number, level in loudest:
            if level < QUIETEST:
                self._levels[number] = level
            else:
                self._levels.pop(number, None)
        return [[number, level] for number, level in loudest]


def event(session: str, name: str, payload: Mapping[str, Any]) -> bytes:
    """The encoded event."""
    return encode(Event(session, name, payload))
