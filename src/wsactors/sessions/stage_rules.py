"""What people in a stage may do, and what comes of it. Pure: people in, people out; nobody is asked and nothing is kept.

`decide` is the only way from a request to a right. It takes what the session knows of who asks, never what that person
says about itself. ``docs/stage.md`` lists the actions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, Final, Protocol, TypeAlias

import attrs

from wsactors.dj.song import clean_text
from wsactors.realtime.identity import Refused
from wsactors.sessions.stage_options import MAX_TOPIC, StageOptions

MAX_NAME: Final = 40
"""Longest name that is shown, in characters."""
MAX_NAME_BYTES: Final = 64
"""The same in bytes of UTF-8: as many names as are told of at once have to fit into one message."""


class Role(IntEnum):
    """What somebody is in a session; the numbers are those in audio frames."""

    AUDIENCE = 1
    SPEAKER = 2
    MODERATOR = 3


@attrs.frozen
class Person:
    """Somebody in a session, over all of their connections."""

    id: int
    """What others call them by; never used again in the life of the session."""
    key: str = attrs.field(repr=False, metadata={"secret": True})
    """Who they are: shown to nobody."""
    name: str
    known: bool = True
    """Whether they have shown who they are."""
    role: Role = Role.AUDIENCE
    hand: int = 0
    """When they have raised a hand: the lower the earlier; 0: they have not."""
    invited: bool = False
    """Whether a moderator wants them on the stage."""
    muted: bool = False
    """By themselves."""
    server_muted: bool = False
    """By a moderator."""
    push_to_talk: bool = False
    """Whether they want to hold a key while they speak."""
    must_push: bool = False
    """Whether they have to."""
    talking: bool = False
    """Whether they hold it."""
    priority: bool = False
    """Whether others are played more quietly while they speak."""
    away_since: float | None = None
    """When their last connection broke; None: they are here."""

    @property
    def on_stage(self) -> bool:
        """Whether they may speak, muted or not."""
        return self.role >= Role.SPEAKER


def may_be_heard(person: Person) -> bool:
    """Whether what this person says goes to the others now."""
    pushes = person.push_to_talk or person.must_push
    silenced = person.muted or person.server_muted or (pushes and not person.talking)
    return person.on_stage and not silenced and person.away_since is None


@attrs.frozen
class Ruling:
    """What comes of a request."""

    people: tuple[Person, ...] = ()
    """As they are from now on."""
    topic: str | None = None
    hands_open: bool | None = None
    kicked: Person | None = None
    ended: bool = False


class RoomView(Protocol):
    """What the rules need to know of a session."""

    @property
    def hands_open(self) -> bool:
        """Whether hands may be raised."""
        ...

    def person(self, number: int) -> Person | None:
        """Who is called by that number."""
        ...

    @property
    def stage_size(self) -> int:
        """How many are on the stage."""
        ...

    @property
    def hand_count(self) -> int:
        """How many hands of people who are here are up."""
        ...

    @property
    def next_hand(self) -> int:
        """The place of the next hand in the order."""
        ...


Args: TypeAlias = Mapping[str, Any]


def decide(options: StageOptions, room: RoomView, who: Person, action: str, args: Args) -> Ruling:
    """What comes of it when ``who`` asks for ``action``.

    Raises:
        Refused: Nothing does: ``unauthorized`` (not with this role), ``not_found`` (nobody is called so), ``too_many``,
            ``too_large``, or ``refused`` (no such action or argument, or not now).
    """
    rule = _RULES.get(action)
    if rule is None or (rule.stage_only and options.kind != "stage"):
        raise Refused("refused", "There is no such action in this session.")
    given = _checked(rule, args)
    if "id" not in given:
        if rule.moderators_only:
            _must_moderate(who)
        return rule.apply(_Case(options, room, who, who), given)
    target = room.person(given.pop("id"))
    if rule.moderators_only or target is None or target.id != who.id:
        _must_moderate(who)
    if target is None:
        raise Refused("not_found", "Nobody here is called by that number.")
    return rule.apply(_Case(options, room, who, target), given)


def entering(options: StageOptions, person: Person, *, moderates: bool) -> Person:
    """``person`` as they come in, or come back: with the rights that they have now, and what they had earned before."""
    if moderates:
        role = Role.MODERATOR
    elif options.kind == "voice":
        role = Role.SPEAKER
    else:
        # Who was a moderator and is none any more goes back to where all begin.
        role = Role.SPEAKER if person.role is Role.SPEAKER else Role.AUDIENCE
    hand = 0 if role >= Role.SPEAKER else person.hand
    priority = person.priority and role >= Role.SPEAKER
    must_push = role < Role.MODERATOR and (person.must_push or options.push_to_talk)
    return attrs.evolve(
        person, role=role, hand=hand, priority=priority, must_push=must_push, talking=False, away_since=None
    )


# -- the rules --------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Case:
    options: StageOptions
    room: RoomView
    who: Person
    target: Person

    def change(self, **facts: Any) -> Ruling:
        return Ruling((attrs.evolve(self.target, **facts),))


def _must_moderate(who: Person) -> None:
    if who.role is not Role.MODERATOR:
        raise Refused("unauthorized", "Only moderators may do that.")


def _must_be_audience(case: _Case) -> None:
    if case.target.on_stage:
        raise Refused("refused", "On the stage already.")


def _room_on_stage(case: _Case) -> None:
    if case.room.stage_size >= case.options.speakers:
        raise Refused("too_many", "The stage is full. Wait until somebody has left it.")


def _not_a_moderator(case: _Case) -> None:
    if case.target.role is Role.MODERATOR:
        raise Refused("refused", "Moderators cannot do that to moderators.")


def _hand(case: _Case, args: Args) -> Ruling:
    if not args["up"]:
        return case.change(hand=0)
    if case.target.id != case.who.id:
        raise Refused("unauthorized", "Nobody raises the hand of somebody else.")
    _must_be_audience(case)
    if case.target.hand:
        return Ruling()
    if not case.room.hands_open:
        raise Refused("refused", "Hands are not taken now.")
    if case.room.hand_count >= case.options.hands:
        raise Refused("too_many", "Too many hands are up. Wait a moment.")
    return case.change(hand=case.room.next_hand)


def _hands(_case: _Case, args: Args) -> Ruling:
    return Ruling(hands_open=args["open"])


def _invite(case: _Case, args: Args) -> Ruling:
    if args.get("on", True):
        _must_be_audience(case)
    return case.change(invited=args.get("on", True))


def _accept(case: _Case, _args: Args) -> Ruling:
    if not case.target.invited:
        raise Refused("unauthorized", "Nobody has invited you to the stage. Raise your hand.")
    _must_be_audience(case)
    _room_on_stage(case)
    return case.change(role=Role.SPEAKER, invited=False, hand=0, muted=False, talking=False)


def _decline(case: _Case, _args: Args) -> Ruling:
    return case.change(invited=False)


def _move(case: _Case, args: Args) -> Ruling:
    if args["to"] == "audience":
        return _to_audience(case)
    _must_be_audience(case)
    _room_on_stage(case)
    # Who has not asked to speak comes to the stage with the microphone off.
    asked = bool(case.target.hand)
    return case.change(role=Role.SPEAKER, invited=False, hand=0, muted=not asked, talking=False)


def _stand_down(case: _Case, _args: Args) -> Ruling:
    return _to_audience(case)


def _to_audience(case: _Case) -> Ruling:
    _not_a_moderator(case)
    return case.change(role=Role.AUDIENCE, invited=False, priority=False, talking=False)


def _mute(case: _Case, args: Args) -> Ruling:
    return case.change(muted=args["on"])


def _server_mute(case: _Case, args: Args) -> Ruling:
    return case.change(server_muted=args["on"])


def _push_to_talk(case: _Case, args: Args) -> Ruling:
    if case.target.id == case.who.id and case.who.role is not Role.MODERATOR:
        return case.change(push_to_talk=args["on"], talking=False)
    if case.target.id == case.who.id:
        return case.change(push_to_talk=args["on"], must_push=False, talking=False)
    _not_a_moderator(case)
    return case.change(must_push=args["on"], talking=False)


def _talk(case: _Case, args: Args) -> Ruling:
    return case.change(talking=args["on"])


def _priority(case: _Case, args: Args) -> Ruling:
    if args["on"] and not case.target.on_stage:
        raise Refused("refused", "Only who is on the stage can have priority.")
    return case.change(priority=args["on"])


def _topic(_case: _Case, args: Args) -> Ruling:
    return Ruling(topic=clean_text(args["text"]))


def _kick(case: _Case, _args: Args) -> Ruling:
    _not_a_moderator(case)
    return Ruling(kicked=case.target)


def _end(_case: _Case, _args: Args) -> Ruling:
    return Ruling(ended=True)


def short_name(text: str) -> str:
    """``text`` as a name that can be shown: clean, one line, at most `MAX_NAME` characters and `MAX_NAME_BYTES` bytes.

    >>> short_name("  Ann\\x1b[31m \\n Other ")
    'Ann[31m Other'
    """
    cut = clean_text(text)[:MAX_NAME].encode()[:MAX_NAME_BYTES]
    return cut.decode("utf-8", "ignore").strip()


# -- arguments --------------------------------------------------------------------------------------------------------

_Check: TypeAlias = Callable[[Any], bool]


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**53


def _topic_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if len(value) > MAX_TOPIC:
        raise Refused("too_large", f"A topic has at most {MAX_TOPIC} characters.")
    return True


def _side(value: Any) -> bool:
    return value in ("speakers", "audience") if isinstance(value, str) else False


@attrs.frozen
class _Rule:
    apply: Callable[[_Case, Args], Ruling]
    required: Mapping[str, _Check] = attrs.field(factory=dict)
    optional: Mapping[str, _Check] = attrs.field(factory=dict)
    moderators_only: bool = False
    stage_only: bool = False


def _checked(rule: _Rule, args: Args) -> dict[str, Any]:
    known = {**rule.required, **rule.optional}
    if not args.keys() <= known.keys() or not rule.required.keys() <= args.keys():
        wants = ", ".join([*rule.required, *(f"maybe {name}" for name in rule.optional)]) or "nothing"
        raise Refused("refused", f"This action takes {wants}.")
    for name, value in args.items():
        if not known[name](value):
            raise Refused("refused", f"{name} has a value that it cannot have.")
    return dict(args)


_ID: Final = {"id": _number}
_ON: Final = {"on": _boolean}
_RULES: Final[Mapping[str, _Rule]] = {
    "hand": _Rule(_hand, {"up": _boolean}, _ID, stage_only=True),
    "hands": _Rule(_hands, {"open": _boolean}, moderators_only=True, stage_only=True),
    "invite": _Rule(_invite, _ID, _ON, moderators_only=True, stage_only=True),
    "accept": _Rule(_accept, stage_only=True),
    "decline": _Rule(_decline, stage_only=True),
    "move": _Rule(_move, {**_ID, "to": _side}, moderators_only=True, stage_only=True),
    "stand_down": _Rule(_stand_down, stage_only=True),
    "mute": _Rule(_mute, _ON),
    "server_mute": _Rule(_server_mute, {**_ID, **_ON}, moderators_only=True),
    "push_to_talk": _Rule(_push_to_talk, _ON, _ID),
    "talk": _Rule(_talk, _ON),
    "priority": _Rule(_priority, {**_ID, **_ON}, moderators_only=True),
    "topic": _Rule(_topic, {"text": _topic_text}, moderators_only=True),
    "kick": _Rule(_kick, _ID, moderators_only=True),
    "end": _Rule(_end, moderators_only=True),
}
ACTIONS: Final = frozenset(_RULES)
"""Every action that this module decides about."""
