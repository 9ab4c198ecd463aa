"""Resume tokens: good once, for one person, for a while, and not after a kick."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from wsactors.actors.redact import safe_repr
from wsactors.realtime.identity import ANONYMOUS, AuthRefused, User
from wsactors.realtime.resume import ResumeStore
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node

ADA, BOB = User("ada"), User("bob")


def refused(store: ResumeStore, token: str, user: User, now: float = 0.0) -> None:
    with pytest.raises(AuthRefused) as caught:
        store.redeem(token, user, now)
    assert (caught.value.code, caught.value.message) == ("resume", "There is nothing to resume: begin anew.")


def parked(store: ResumeStore, user: User, owner: object = 1, now: float = 0.0) -> str:
    token = store.issue(user, owner)
    assert store.park(owner, "state", now)
    return token


def test_a_token_is_long_random_and_new_each_time() -> None:
    store = ResumeStore()
    tokens = [store.issue(ADA, owner) for owner in range(500)]

    assert len(set(tokens)) == 500
    assert all(len(base64.urlsafe_b64decode(token)) * 8 >= 128 for token in tokens)
    assert len({token[:4] for token in tokens}) > 480  # not a counter


def test_a_place_is_taken_up_once() -> None:
    store = ResumeStore()
    token = parked(store, ADA)

    assert store.redeem(token, ADA, now=1.0).state == "state"
    refused(store, token, ADA, now=1.0)
    assert len(store) == 0


def test_another_s_token_is_worth_nothing_and_void_from_then_on() -> None:
    for thief in (BOB, ANONYMOUS):
        store = ResumeStore()
        token = parked(store, ADA)
        refused(store, token, thief)
        refused(store, token, ADA)
    store = ResumeStore()
    refused(store, parked(store, ANONYMOUS), ADA)


def test_nobody_in_particular_resumes_by_token_alone() -> None:
    store = ResumeStore()
    token = parked(store, ANONYMOUS)

    for guess in ("", token[:-1], f"{token}x", token.swapcase(), "\udcff", "x" * 100_000):
        refused(store, guess, ANONYMOUS)
    assert store.redeem(token, ANONYMOUS, now=0.0).state == "state"


def test_a_place_waits_for_a_while() -> None:
    store = ResumeStore(seconds=10)
    early, late = parked(store, ADA, 1, now=0.0), parked(store, ADA, 2, now=1.0)

    refused(store, early, ADA, now=10.0)
    assert store.redeem(late, ADA, now=10.5).state == "state"
    connected = store.issue(ADA, 3)
    store.expire(1e9)  # while its client is connected it does not wait
    assert store.redeem(connected, ADA, now=1e9).owner == 3


def test_after_a_kick_nothing_can_be_resumed() -> None:
    store = ResumeStore()
    waiting, connected, other = parked(store, ADA, 1), store.issue(ADA, 2), parked(store, BOB, 3)

    assert store.void(subject="ada") == 2
    refused(store, waiting, ADA)
    refused(store, connected, ADA)
    assert not store.park(2, "state", 0.0)  # the kicked connection ends afterwards
    assert store.redeem(other, BOB, 0.0)
    token = store.issue(ANONYMOUS, 4)
    assert store.void(owner=4) == 1
    refused(store, token, ANONYMOUS)
    assert store.void(subject="") == 0


def test_a_kick_of_nobody_kicks_nobody() -> None:
    store = ResumeStore()
    token = parked(store, ANONYMOUS)

    assert store.void(subject="") == 0
    assert store.redeem(token, ANONYMOUS, 0.0)


def test_who_logs_in_later_binds_the_token_then() -> None:
    store = ResumeStore()
    token = store.issue(ANONYMOUS, 1)
    store.rebind(1, ADA)
    store.park(1, "state", 0.0)
    refused(store, token, ANONYMOUS)

    token = store.issue(ANONYMOUS, 2)
    store.rebind(2, ADA)
    store.rebind(99, ADA)
    assert store.void(subject="ada") == 1


def test_a_connection_has_one_place_and_a_person_a_bounded_number() -> None:
    store = ResumeStore(most_per_subject=3)
    tokens = [store.issue(ADA, 1) for _ in range(10)]
    assert len(store) == 1
    refused(store, tokens[0], ADA)
    for owner in range(2, 50):
        store.issue(ADA, owner)
    assert len(store) == 3


def test_what_waits_is_bounded_and_the_oldest_gives_way() -> None:
    store = ResumeStore(most=100)
    tokens = [parked(store, ANONYMOUS, owner) for owner in range(1_000)]

    assert len(store) == 100
    refused(store, tokens[899], ANONYMOUS)
    assert store.redeem(tokens[900], ANONYMOUS, 0.0)


def test_no_report_shows_a_token() -> None:
    store = ResumeStore()
    token = parked(store, ADA)

    shown = repr(vars(store)) + safe_repr(vars(store)) + repr(store.redeem(token, ADA, 0.0))
    assert token not in shown


USERS = st.sampled_from([ANONYMOUS, ADA, BOB])


class Model(RuleBasedStateMachine):
    """Everything at once, against a plain dictionary; and nothing is left over in any index."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.store = ResumeStore(seconds=10, most=4, most_per_subject=100)
        self.places: dict[str, dict[str, Any]] = {}
        self.now = 0.0

    @rule(target=tokens, user=USERS, owner=st.integers(0, 5))
    def issue(self, user: User, owner: int) -> str:
        self._drop(lambda place: place["owner"] == owner)
        token = self.store.issue(user, owner)
        self.places[token] = {"user": user, "owner": owner, "until": None}
        return token

    @rule(owner=st.integers(0, 5))
    def park(self, owner: int) -> None:
        mine = [token for token, place in self.places.items() if place["owner"] == owner]
        assert self.store.park(owner, owner, self.now) == bool(mine)
        for token in mine:
            place = self.places.pop(token)
            self.places[token] = place | {"until": self.now + 10}
        waiting = [token for token, place in self.places.items() if place["until"] is not None]
        for token in waiting[:-4]:
            del self.places[token]

    @rule(token=consumes(tokens), user=USERS)
    def redeem(self, token: str, user: User) -> None:
        place = self.places.pop(token, None)
        if place is not None and place["user"] == user:
            assert self.store.redeem(token, user, self.now).owner == place["owner"]
        else:
            refused(self.store, token, user, self.now)

    @rule(user=USERS, owner=st.integers(0, 5))
    def rebind(self, user: User, owner: int) -> None:
        self.store.rebind(owner, user)
        for place in self.places.values():
            if place["owner"] == owner:
                place["user"] = user

    @rule(user=USERS)
    def kick(self, user: User) -> None:
        self.store.void(subject=user.subject)
        if user.subject:
            self._drop(lambda place: place["user"] == user)

    @rule(seconds=st.integers(0, 6))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.store.expire(self.now)
        self._drop(lambda place: place["until"] is not None and place["until"] <= self.now)

    def _drop(self, which: Any) -> None:
        self.places = {token: place for token, place in self.places.items() if not which(place)}

    @invariant()
    def nothing_is_left_over(self) -> None:
        store = self.store
        assert len(store) == len(self.places) == len(store._of_owner)
        assert sum(map(len, store._of_subject.values())) == sum(
            bool(each["user"].subject) for each in self.places.values()
        )
        assert len(store._parked) == sum(each["until"] is not None for each in self.places.values())


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_what_is_parked_is_bounded_in_bytes_and_the_oldest_gives_way() -> None:
    store = ResumeStore(most_bytes=1_000)
    tokens = [store.issue(ADA, owner) for owner in range(4)]
    for owner in range(4):
        assert store.park(owner, "state", 0.0, size=400)

    refused(store, tokens[0], ADA)
    refused(store, tokens[1], ADA)
    assert store.redeem(tokens[2], ADA, 0.0).owner == 2
    late = parked(store, ADA, owner=9)
    assert store.park(9, "more", 0.0, size=700)  # again: it counts once, with what it is now
    assert store.redeem(late, ADA, 0.0).state == "more"
    refused(store, tokens[3], ADA)


def test_places_end_in_time_though_nobody_asks() -> None:
    alarms: list[tuple[float, Callable[[], object]]] = []
    store = ResumeStore(seconds=10.0)
    store.later = lambda when, do: alarms.append((when, do))
    for owner in range(100):
        store.issue(User("ada"), owner)
        store.park(owner, None, now=float(owner // 10))
    assert len(store) == 100
    times = []
    while alarms:  # one at a time, not one for each
        ((when, do),) = alarms
        alarms.clear()
        times.append(when)
        do()
    assert times == [10.0 + step for step in range(10)]
    assert len(store) == 0
    store.issue(User("ada"), 1)
    store.park(1, None, now=50.0)
    assert len(alarms) == 1


async def test_a_node_forgets_places_when_their_time_has_come(autojump_clock: trio.testing.MockClock) -> None:
    async with Node("forgetful", watchdog=None) as node:
        places = (await start_realtime(node)).places
        for owner in range(50):
            places.issue(User("ada"), owner)
            places.park(owner, {"much": "state"}, trio.current_time())
        await trio.sleep(places.seconds - 1)
        assert len(places) == 50
        await trio.sleep(2)
        assert len(places) == 0
