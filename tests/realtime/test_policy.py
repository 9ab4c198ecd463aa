"""The policy: what is not allowed in time is refused, and no answer outlives a kick."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from wsactors.actors import UNHANDLED, Actor, NoReply
from wsactors.realtime.identity import ANONYMOUS, User
from wsactors.realtime.policy import ALLOWED, Decide, Decision, Policy, PolicyOptions
from wsactors.realtime.rules import Rule
from wsactors.supervision.node import Node

ADA = User("ada", "member", stamp="t1")
OWN = Rule(topics=("user:{sub}",), allow=("join",))
SHUT = Rule(topics=("secret",), deny=("join",))


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("policy") as node:
        yield node


class Asked:
    """A callback that counts."""

    def __init__(self, answer: Any = True, seconds: float = 0.0) -> None:
        self.answer = answer
        self.seconds = seconds
        self.questions: list[Decide] = []

    async def __call__(self, question: Decide) -> Any:
        self.questions.append(question)
        await trio.sleep(self.seconds)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_without_rules_public_topics_are_open_and_private_ones_shut(node: Node) -> None:
    policy = Policy(node)

    for action in ("join", "publish", "presence_read", "presence_write"):
        assert (await policy.decide(action, ADA, "room")).allow
        refusal = await policy.decide(action, ADA, "room", private=True)
        assert (refusal.allow, refusal.code) == (False, "unauthorized")
        assert refusal.reason
    assert (await policy.decide("connect", ANONYMOUS)).allow


async def test_a_private_topic_is_for_those_whom_a_rule_names(node: Node) -> None:
    policy = Policy(node, PolicyOptions(rules=(OWN,)))

    assert (await policy.decide("join", ADA, "user:ada", private=True)).allow
    assert not (await policy.decide("join", ADA, "user:bob", private=True)).allow
    assert not (await policy.decide("publish", ADA, "user:ada", private=True)).allow
    assert not (await policy.decide("join", ANONYMOUS, "user:", private=True)).allow


async def test_rules_speak_before_the_decider(node: Node) -> None:
    asked = Asked()
    policy = Policy(node, PolicyOptions(rules=(SHUT,)), asked)

    assert not (await policy.decide("join", ADA, "secret", {"password": "right"})).allow
    assert asked.questions == []
    assert (await policy.decide("join", ADA, "other", private=True)).allow
    assert len(asked.questions) == 1


@pytest.mark.parametrize(
    ("answer", "allow"),
    [
        (True, True),
        (ALLOWED, True),
        (False, False),
        (None, False),
        (1, False),
        ("yes", False),
        ([True], False),
        (Decision(allow=False, reason="Not today.", code="closed"), False),
        (ZeroDivisionError("secret=hunter2"), False),
    ],
    ids=str,
)
async def test_only_a_clear_yes_is_one(
    node: Node, answer: Any, allow: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    decision = await Policy(node, decider=Asked(answer)).decide("join", ADA, "room")

    assert decision.allow == allow
    assert allow or decision.reason
    if isinstance(answer, Decision):
        assert decision == answer
    assert "hunter2" not in "".join(capsys.readouterr())


async def test_a_plain_function_may_decide(node: Node) -> None:
    policy = Policy(node, decider=lambda question: question.user.role == "member" and question.topic == "room")

    assert (await policy.decide("join", ADA, "room")).allow
    assert not (await policy.decide("join", ANONYMOUS, "room")).allow


async def test_no_answer_in_time_is_a_no_and_is_asked_again(node: Node, autojump_clock: MockClock) -> None:
    asked = Asked(seconds=10)
    policy = Policy(node, PolicyOptions(deadline=2.0), asked)
    start = trio.current_time()

    decision = await policy.decide("join", ADA, "room")

    assert (decision.allow, decision.code, trio.current_time() - start) == (False, "timeout", 2.0)
    asked.seconds = 0
    assert (await policy.decide("join", ADA, "room")).allow


class Gatekeeper(Actor):
    """A policy actor with every fault."""

    def handle_call(self, message: Any, caller: Any) -> Any:
        match message:
            case Decide(topic="open"):
                return True
            case Decide(topic="limited"):
                return Decision(allow=True, reason="slowly")
            case Decide(topic="silent"):
                return NoReply()
            case Decide(topic="crash"):
                raise RuntimeError("broken")
            case _:
                return UNHANDLED


async def test_an_actor_may_decide_by_name_and_its_death_is_a_no(node: Node, autojump_clock: MockClock) -> None:
    policy = Policy(node, PolicyOptions(deadline=1.0), "gatekeeper")
    assert not (await policy.decide("join", ADA, "open")).allow  # there is none yet
    await node.spawn(Gatekeeper, name="gatekeeper")

    assert (await policy.decide("join", ADA, "open")).allow
    assert (await policy.decide("join", ADA, "limited")).reason == "slowly"
    assert (await policy.decide("join", ADA, "silent")).code == "timeout"
    assert (await policy.decide("join", ADA, "crash")).code == "policy_failed"
    assert (await policy.decide("publish", ADA, "open")).code == "policy_failed"  # it is dead


# --- memory -------------------------------------------------------------------------------------------------------


async def test_an_answer_is_remembered_for_its_user_token_action_and_topic(
    node: Node, autojump_clock: MockClock
) -> None:
    asked = Asked()
    policy = Policy(node, PolicyOptions(cache_seconds=60), asked)
    questions: list[dict[str, Any]] = [
        {"action": "join", "user": ADA, "topic": "a"},
        {"action": "publish", "user": ADA, "topic": "a"},
        {"action": "join", "user": ADA, "topic": "b"},
        {"action": "join", "user": User("bob", "member", stamp="t1"), "topic": "a"},
        {"action": "join", "user": User("ada", "admin", stamp="t2"), "topic": "a"},  # a new token
        {"action": "join", "user": ADA, "topic": "a", "private": True},
    ]
    for _ in range(3):
        for question in questions:
            assert (await policy.decide(**question)).allow
            assert policy.known(**question) == ALLOWED
    assert len(asked.questions) == len(policy) == len(questions)

    await trio.sleep(60)
    assert policy.known("join", ADA, "a") is None
    await policy.decide("join", ADA, "a")
    assert len(asked.questions) == len(questions) + 1


async def test_a_no_is_remembered_too(node: Node) -> None:
    asked = Asked(answer=False)
    policy = Policy(node, decider=asked)
    for _ in range(100):
        assert not (await policy.decide("publish", ADA, "a")).allow
    assert len(asked.questions) == 1


async def test_what_a_password_opened_is_not_open_without_it(node: Node) -> None:
    policy = Policy(node, decider=lambda question: question.params == {"password": "right"})

    assert (await policy.decide("join", ADA, "room", {"password": "right"})).allow
    assert not (await policy.decide("join", ADA, "room", {"password": "wrong"})).allow
    assert not (await policy.decide("join", ADA, "room")).allow
    assert (await policy.decide("join", ADA, "room", {"password": "right"})).allow


async def test_memory_is_bounded_and_keeps_what_is_used(node: Node) -> None:
    asked = Asked()
    policy = Policy(node, PolicyOptions(cache_entries=100), asked)
    for number in range(500):
        await policy.decide("join", ADA, "used")
        await policy.decide("join", ADA, f"room {number}")

    assert len(policy) == 100
    assert len(asked.questions) == 501


async def test_a_kick_forgets_what_was_decided_about_somebody(node: Node) -> None:
    asked = Asked()
    policy = Policy(node, decider=asked)
    bob = User("bob", stamp="t9")
    for user in (ADA, bob):
        for topic in ("a", "b"):
            await policy.decide("join", user, topic)
    asked.answer = False

    assert policy.forget(subject="ada") == 2
    assert not (await policy.decide("join", ADA, "a")).allow
    assert (await policy.decide("join", bob, "a")).allow
    assert policy.forget(topic="a") == 2
    assert policy.forget() == 1


async def test_an_answer_that_was_on_its_way_during_a_kick_is_not_remembered(
    node: Node, autojump_clock: MockClock
) -> None:
    asked = Asked(seconds=1.0)
    policy = Policy(node, decider=asked)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(policy.decide, "join", ADA, "a")
        await trio.sleep(0.5)
        policy.forget(subject="ada")
    asked.answer = False

    assert not (await policy.decide("join", ADA, "a")).allow
