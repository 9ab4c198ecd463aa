"""The rules of a stage, tried with whatever anybody may ask for, in any order."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.realtime.identity import Refused
from wsactors.sessions.stage_options import MAX_TOPIC, StageOptions, voice_options
from wsactors.sessions.stage_room import Room, Visitor
from wsactors.sessions.stage_rules import ACTIONS, Person, Role, Ruling, decide, may_be_heard

MOD = Visitor("user:mod", "Mod", moderates=True)
PEOPLE = [Visitor(f"user:{name}", name) for name in ("ann", "bob", "cat")] + [
    Visitor("guest:1", "Guest 1", known=False),
    Visitor("guest:2", "Guest 2", known=False),
]

SELF = -1
"""Stands for the number of whoever asks."""
someone = st.one_of(st.just(SELF), st.integers(1, 6))
numbers = st.integers(0, 8)
values = st.one_of(
    st.booleans(), numbers, st.sampled_from(["speakers", "audience", "moderator", "x" * 500, ""]), st.none()
)
requests = st.tuples(
    st.sampled_from([*sorted(ACTIONS), "become_moderator", "", "__init__"]),
    st.dictionaries(st.sampled_from(["id", "on", "up", "open", "to", "text", "role", "key"]), values, max_size=3),
)
sensible = st.one_of(
    st.tuples(st.just("hand"), st.fixed_dictionaries({"up": st.booleans()})),
    st.tuples(st.sampled_from(["accept", "decline", "stand_down"]), st.just({})),
    st.tuples(st.sampled_from(["mute", "talk", "push_to_talk"]), st.fixed_dictionaries({"on": st.booleans()})),
    st.tuples(
        st.sampled_from(["server_mute", "priority", "invite", "push_to_talk"]),
        st.fixed_dictionaries({"id": someone, "on": st.booleans()}),
    ),
    st.tuples(
        st.just("move"),
        st.fixed_dictionaries({"id": someone, "to": st.sampled_from(["speakers", "audience"])}),
    ),
    requests,
)
life = st.one_of(
    st.tuples(st.just("act"), st.integers(0, 5), sensible),
    st.tuples(st.sampled_from(["come", "come", "go", "break"]), st.integers(0, 5), st.none()),
    st.tuples(st.just("wait"), st.integers(1, 60), st.none()),
)


class House:
    """A room with a journal, and people who come and go."""

    def __init__(self, options: StageOptions) -> None:
        self.options = options
        self.kept: dict[Any, Any] = {}
        self.room = Room(options, self.write)
        self.now = 0.0
        self.ids: dict[str, int] = {}

    def write(self, key: Any, value: Any) -> None:
        if value is None:
            self.kept.pop(key, None)
        else:
            self.kept[key] = value

    def come(self, visitor: Visitor) -> bool:
        try:
            self.ids[visitor.key] = self.room.enter(visitor, self.now).id
        except Refused:
            return False
        return True

    def person(self, visitor: Visitor) -> Person | None:
        person = self.room.person(self.ids.get(visitor.key, 0))
        return person if person is not None and person.away_since is None else None

    def act(self, visitor: Visitor, action: str, args: dict[str, Any]) -> bool:
        """Whether it was done."""
        who = self.person(visitor)
        if who is None:
            return False
        if args.get("id") == SELF:
            args = {**args, "id": who.id}
        try:
            self.room.apply(decide(self.options, self.room, who, action, args), self.now)
        except Refused:
            return False
        return True

    def live(self, step: tuple[str, int, Any], visitors: list[Visitor]) -> bool:
        what, number, request = step
        visitor = visitors[number % len(visitors)]
        match what:
            case "act":
                return self.act(visitor, *request)
            case "come":
                return self.come(visitor)
            case "go" if (person := self.person(visitor)) is not None:
                self.room.remove(person.id)
            case "break" if (person := self.person(visitor)) is not None:
                self.room.lose(person.id, self.now)
            case "wait":
                self.now += number
                self.room.expire(self.now)
        return True

    def check(self) -> None:
        """What is always so."""
        room, people = self.room, list(self.room.people())
        assert [person for person in people if person.on_stage] == sorted(room.on_stage(), key=lambda each: each.id)
        hands = room.hands()
        assert [each.hand for each in hands] == sorted({each.hand for each in hands})
        assert {each.id for each in hands} == {each.id for each in people if each.hand}
        assert all(not each.on_stage for each in hands)
        assert all(each.on_stage for each in people if each.priority)
        assert len({each.key for each in people}) == len(people) == len(room)
        again = Room(self.options, lambda key, value: None, dict(self.kept))
        assert dict(again.rows()) == dict(room.rows()) == self.kept
        assert again.hands() == hands
        assert again.next_expiry == room.next_expiry


def house_with(options: StageOptions, *visitors: Visitor) -> House:
    house = House(options)
    for visitor in visitors:
        assert house.come(visitor)
    return house


@settings(max_examples=40)
@given(st.lists(life, min_size=25, max_size=60))
def test_no_sequence_of_requests_of_the_audience_gives_any_right(steps: list[Any]) -> None:
    house = house_with(StageOptions(ban_seconds=10), MOD, *PEOPLE)
    mod = house.person(MOD)
    for step in steps:
        if step != ("wait", 1, None):
            house.live(step, PEOPLE)
        house.check()
        for person in house.room.people():
            if person.key != MOD.key:
                assert person.role is Role.AUDIENCE
                assert not may_be_heard(person)
                assert not person.priority
    assert house.person(MOD) == mod
    assert house.room.topic == ""
    assert not house.room.closed


@settings(max_examples=40)
@given(st.lists(life, min_size=25, max_size=60))
def test_rights_come_from_moderators_alone_and_are_the_same_after_a_restart(steps: list[Any]) -> None:
    """Everybody acts, the moderator, too. Whoever gets a right has it from a moderator, or from the one before."""
    house = house_with(StageOptions(speakers=3, hands=3), MOD, *PEOPLE)
    everybody = [*PEOPLE, MOD]
    muted: set[str] = set()
    granted: set[str] = set()
    for step in steps:
        what, number, request = step
        who = everybody[number % len(everybody)]
        before = {person.key: person for person in house.room.people()}
        done = house.live(step, everybody)
        wanted = request[1].get("id") if request else None
        target = before.get(who.key) if wanted == SELF else next((p for p in before.values() if p.id == wanted), None)
        if what == "act" and done and who is MOD and target is not None:
            match request:
                case ("server_mute", {"on": bool(on)}):
                    (muted.add if on else muted.discard)(target.key)
                case ("invite", {"id": _}) | ("move", {"to": "speakers"}):
                    granted.add(target.key)
        house.check()
        granted &= {person.key for person in house.room.people()}  # who leaves begins anew
        for person in house.room.people():
            assert not (person.key in muted and may_be_heard(person))
            assert person.server_muted == (person.key in muted)
            if person.key != MOD.key:
                assert person.role is not Role.MODERATOR
                assert person.role is Role.AUDIENCE or person.key in granted
            else:
                assert person.role is Role.MODERATOR
        assert house.room.stage_size <= 4


@settings(max_examples=40)
@given(st.lists(life, min_size=25, max_size=60))
def test_in_a_voice_session_a_server_muted_person_is_never_heard_again_without_a_moderator(steps: list[Any]) -> None:
    house = house_with(voice_options(people=4, ban_seconds=10), MOD, *PEOPLE[:3])
    ann = house.person(PEOPLE[0])
    assert ann is not None
    assert ann.role is Role.SPEAKER
    assert may_be_heard(ann)
    assert house.act(MOD, "server_mute", {"id": ann.id, "on": True})
    for step in steps:
        house.live(step, PEOPLE)
        house.check()
        assert len(house.room) <= 4
        for person in house.room.people():
            assert person.key == MOD.key or person.role is Role.SPEAKER
            assert not (person.key == PEOPLE[0].key and may_be_heard(person))


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=40))
def test_hands_are_in_the_order_in_which_they_went_up(moves: list[tuple[int, bool]]) -> None:
    house = house_with(StageOptions(), *PEOPLE)
    model: list[int] = []
    for number, up in moves:
        person = house.person(PEOPLE[number])
        assert person is not None
        house.act(PEOPLE[number], "hand", {"up": up})
        if up and person.id not in model:
            model.append(person.id)
        elif not up and person.id in model:
            model.remove(person.id)
        assert [each.id for each in house.room.hands()] == model
    assert house.act(PEOPLE[0], "hand", {"up": False})


@given(requests, st.sampled_from(list(Role)))
def test_any_request_is_decided_or_refused_and_nothing_else(request: tuple[str, Any], role: Role) -> None:
    house = house_with(StageOptions(), MOD, *PEOPLE)
    ann = house.room.person(2)
    assert ann is not None
    who = attrs.evolve(ann, role=role)
    codes = set()
    try:
        decide(house.options, house.room, who, *request)
    except Refused as refusal:
        codes.add(refusal.code)
    assert codes <= {"unauthorized", "not_found", "too_many", "too_large", "refused"}


def test_a_reconnect_within_the_grace_keeps_role_hand_and_place() -> None:
    house = house_with(StageOptions(grace_seconds=30), MOD, *PEOPLE[:3])
    ann, bob, cat = (house.ids[visitor.key] for visitor in PEOPLE[:3])
    house.act(MOD, "move", {"id": ann, "to": "speakers"})
    house.act(PEOPLE[1], "hand", {"up": True})
    house.act(PEOPLE[2], "hand", {"up": True})
    before = [house.room.person(number) for number in (ann, bob, cat)]
    for number in (ann, bob):
        assert house.room.lose(number, house.now) is not None
    assert not may_be_heard(house.room.person(ann))  # type: ignore[arg-type]
    house.now += 29
    assert house.come(PEOPLE[1])
    assert house.come(PEOPLE[0])
    assert [house.room.person(number) for number in (ann, bob, cat)] == before
    assert [each.id for each in house.room.hands()] == [bob, cat]


def test_after_the_grace_everything_begins_anew_and_the_place_is_free() -> None:
    house = house_with(StageOptions(grace_seconds=30, speakers=2), MOD, *PEOPLE[:2])
    ann, bob = (house.ids[visitor.key] for visitor in PEOPLE[:2])
    house.act(MOD, "move", {"id": ann, "to": "speakers"})
    house.room.lose(ann, house.now)
    assert not house.act(MOD, "move", {"id": bob, "to": "speakers"})  # hers is kept
    house.now += 30
    assert [each.id for each in house.room.expire(house.now)] == [ann]
    assert house.act(MOD, "move", {"id": bob, "to": "speakers"})
    assert house.come(PEOPLE[0])
    assert house.ids[PEOPLE[0].key] > bob
    assert house.room.person(house.ids[PEOPLE[0].key]).role is Role.AUDIENCE  # type: ignore[union-attr]


def test_who_was_moved_without_asking_comes_with_the_microphone_off() -> None:
    house = house_with(StageOptions(), MOD, *PEOPLE[:2])
    ann, bob = (house.ids[visitor.key] for visitor in PEOPLE[:2])
    house.act(PEOPLE[1], "hand", {"up": True})
    for number in (ann, bob):
        assert house.act(MOD, "move", {"id": number, "to": "speakers"})
    assert [may_be_heard(house.room.person(number)) for number in (ann, bob)] == [False, True]  # type: ignore[arg-type]
    assert house.act(PEOPLE[0], "mute", {"on": False})
    assert may_be_heard(house.room.person(ann))  # type: ignore[arg-type]


def test_push_to_talk_that_a_moderator_wants_cannot_be_put_off() -> None:
    house = house_with(voice_options(), MOD, PEOPLE[0])
    ann = house.ids[PEOPLE[0].key]

    def heard() -> bool:
        return may_be_heard(house.room.person(ann))  # type: ignore[arg-type]

    assert house.act(MOD, "push_to_talk", {"id": ann, "on": True})
    assert not heard()
    assert house.act(PEOPLE[0], "push_to_talk", {"on": False})
    assert not house.act(PEOPLE[0], "push_to_talk", {"id": house.ids[MOD.key], "on": True})
    assert not heard()
    assert house.act(PEOPLE[0], "talk", {"on": True})
    assert heard()
    house.room.lose(ann, house.now)
    assert house.come(PEOPLE[0])
    assert not heard()  # the key was let go


def test_a_token_with_fewer_rights_takes_them_away() -> None:
    house = house_with(StageOptions(), MOD)
    assert house.come(attrs.evolve(MOD, moderates=False))
    assert house.person(MOD).role is Role.AUDIENCE  # type: ignore[union-attr]


def test_who_was_kicked_stays_out_for_a_while() -> None:
    house = house_with(StageOptions(ban_seconds=60), MOD, PEOPLE[0])
    assert house.act(MOD, "kick", {"id": house.ids[PEOPLE[0].key]})
    assert not house.come(PEOPLE[0])
    house.now += 60
    assert house.come(PEOPLE[0])


def test_moderators_kick_no_moderators_and_a_session_that_was_ended_waits_for_one() -> None:
    other = Visitor("user:mod2", "Mod 2", moderates=True)
    house = house_with(StageOptions(topic="first"), MOD, other, *PEOPLE)
    for action, args in (("kick", {}), ("move", {"to": "audience"}), ("push_to_talk", {"on": True})):
        assert not house.act(MOD, action, {"id": house.ids[other.key], **args})
    assert house.act(MOD, "topic", {"text": "second"})
    assert not house.act(PEOPLE[0], "end", {})
    assert house.act(MOD, "end", {})
    assert len(house.room) == 0
    assert house.room.topic == "first"
    assert not house.come(PEOPLE[0])
    assert house.come(MOD)
    assert house.come(PEOPLE[0])


def test_a_rehearsal_belongs_to_who_comes_first() -> None:
    house = house_with(StageOptions(first_moderates=True), *PEOPLE[3:])
    one, two = (house.person(each) for each in PEOPLE[3:])
    assert one is not None
    assert one.role is Role.MODERATOR
    assert two is not None
    assert two.role is Role.AUDIENCE
    house.room.lose(one.id, house.now)
    house.come(PEOPLE[0])
    assert house.person(PEOPLE[0]).role is Role.AUDIENCE  # type: ignore[union-attr]
    house.come(PEOPLE[3])
    assert house.person(PEOPLE[3]).role is Role.MODERATOR  # type: ignore[union-attr]


def test_a_full_session_takes_moderators_and_lets_no_ghosts_keep_others_out() -> None:
    house = house_with(voice_options(people=2), PEOPLE[3], PEOPLE[0])
    assert not house.come(PEOPLE[1])
    assert house.come(MOD)
    house.room.remove(house.ids[MOD.key])
    house.room.lose(house.ids[PEOPLE[3].key], house.now)  # a guest, who may come as somebody else each time
    assert house.come(PEOPLE[1])
    house.room.lose(house.ids[PEOPLE[0].key], house.now)  # somebody who is known, and keeps the place
    assert not house.come(PEOPLE[4])
    assert house.come(PEOPLE[0])


@pytest.mark.parametrize(("text", "code"), [("x" * (MAX_TOPIC + 1), "too_large"), (7, "refused"), (None, "refused")])
def test_a_topic_is_a_short_text(text: Any, code: str) -> None:
    house = house_with(StageOptions(), MOD)
    with pytest.raises(Refused) as refused:
        decide(house.options, house.room, house.person(MOD), "topic", {"text": text})  # type: ignore[arg-type]
    assert refused.value.code == code


def test_a_topic_is_made_harmless() -> None:
    house = house_with(StageOptions(), MOD)
    assert house.act(MOD, "topic", {"text": "a\u202eb\x1b[31m\nc<script>"})
    assert house.room.topic == "ab[31m c<script>"


def test_what_is_remembered_of_those_who_left_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsactors.sessions.stage_room.MAX_REMEMBERED", 3)
    house = house_with(StageOptions(), MOD)
    for number in range(10):
        visitor = Visitor(f"user:{number}", "x")
        house.come(visitor)
        house.act(MOD, "server_mute", {"id": house.ids[visitor.key], "on": True})
        house.act(MOD, "kick", {"id": house.ids[visitor.key]})
        house.check()
    assert sum(key[0] in {"banned", "muted"} for key in house.kept) == 6


@pytest.mark.parametrize("role", [Role.AUDIENCE, Role.SPEAKER])
@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("hands", {"open": False}),
        ("invite", {}),
        ("invite", {"on": False}),
        ("move", {"to": "speakers"}),
        ("move", {"to": "audience"}),
        ("server_mute", {"on": False}),
        ("priority", {"on": True}),
        ("topic", {"text": "mine"}),
        ("kick", {}),
        ("end", {}),
    ],
)
def test_what_moderators_do_nobody_else_does_not_even_to_themselves(
    role: Role, action: str, args: dict[str, Any]
) -> None:
    house = house_with(StageOptions(), MOD, *PEOPLE)
    ann = house.room.person(2)
    assert ann is not None
    house.room.apply(Ruling((attrs.evolve(ann, role=role),)), 0.0)
    who = house.room.person(2)
    assert who is not None
    for target in (1, 2, 3):
        given = {**args, "id": target} if action in {"invite", "move", "server_mute", "priority", "kick"} else args
        with pytest.raises(Refused) as refused:
            decide(house.options, house.room, who, action, given)
        assert refused.value.code == "unauthorized"
