"""A stage or voice session as its node tells of it (``docs/stage.md``): everything once, then what has changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from wsactors.wire.native import Plain

MAX_PEOPLE: Final = 10_000
"""Most people that a mirror keeps, whatever a node tells."""
STAGE_EVENTS: Final = frozenset({"stage_state", "stage_change", "stage_you", "stage_clips", "stage_clip_failed"})
_FACTS: Final = ("kind", "topic", "hands_open", "audience", "on_stage", "hands", "hand_count", "board")


@attrs.frozen
class StagePerson:
    """Somebody in a session."""

    id: int
    name: str
    role: int = 1
    """1 audience, 2 speaker, 3 moderator."""
    track: int = 0
    """Of their voice; 0: none."""
    hand: bool = False
    muted: bool = False
    server_muted: bool = False
    priority: bool = False
    away: bool = False
    invited: bool = False
    """This, and what follows, is told of oneself alone."""
    push_to_talk: bool = False
    must_push: bool = False


_KNOWN: Final = frozenset(field.name for field in attrs.fields(StagePerson))


class StageMirror:
    """What is known of one session."""

    def __init__(self) -> None:
        self.version = 0
        """Of what is known; 0: nothing is yet."""
        self.facts: dict[str, Plain] = {}
        """``kind``, ``topic``, ``hands_open``, ``audience``, ``on_stage``, ``hands``, ``hand_count``, ``board``."""
        self.people: dict[int, StagePerson] = {}
        """Those on the stage and those whose hand is up, as far as they are told of."""
        self.you: StagePerson | None = None
        self.clips: list[Mapping[str, Plain]] = []
        self.levels: dict[int, int] = {}
        """How loud people are, −dBov."""
        self.failures: list[str] = []
        """Why clips that this client has uploaded are none: the latest ten, newest last."""
        self.failed = 0
        """How many there were."""

    @property
    def topic(self) -> str:
        """What the session is about."""
        return str(self.facts.get("topic", ""))

    @property
    def hands(self) -> list[StagePerson]:
        """Whose hand is up, the first one first."""
        order: Any = self.facts.get("hands", ())
        return [self.people[number] for number in order if number in self.people]

    def person_of(self, track: int) -> StagePerson | None:
        """Whose voice has that track."""
        return next((person for person in self.people.values() if person.track == track), None)

    def take(self, name: str, payload: Mapping[str, Any]) -> bool:
        """Take an event. False: something was missed before it, and the action ``state`` brings all of it."""
        match name:
            case "stage_state":
                self._take_state(payload)
            case "stage_you":
                self.you = _person(payload)
            case "stage_clips":
                self.clips = list(payload.get("clips", ()))
            case "stage_clip_failed":
                self.failures = [*self.failures[-9:], str(payload.get("error", ""))]
                self.failed += 1
            case "stage_change":
                return self._take_change(payload)
        return True

    def _take_state(self, payload: Mapping[str, Any]) -> None:
        self._take_facts(payload)
        self.version = payload.get("version", 0)
        self.people = {person.id: person for person in map(_person, payload.get("people", ())[:MAX_PEOPLE])}
        self.levels.clear()
        if "you" in payload:
            self.you = _person(payload["you"])

    def _take_change(self, payload: Mapping[str, Any]) -> bool:
        follows = payload.get("from") == self.version
        self._take_facts(payload)
        self.version = payload.get("version", self.version)
        for person in map(_person, payload.get("people", ())):
            if person.id in self.people or len(self.people) < MAX_PEOPLE:
                self.people[person.id] = person
        for number in payload.get("gone", ()):
            self.people.pop(number, None)
            self.levels.pop(number, None)
        for number, level in payload.get("levels", ()):
            if number in self.people:
                self.levels[number] = level
        return follows

    def _take_facts(self, payload: Mapping[str, Any]) -> None:
        self.facts.update((name, payload[name]) for name in _FACTS if name in payload)


def _person(facts: Mapping[str, Any]) -> StagePerson:
    return StagePerson(**{name: value for name, value in facts.items() if name in _KNOWN})
