"""The core by itself: what it decides when. That it comes back for real, see ``test_link.py``."""

from __future__ import annotations

from typing import Any

import pytest

from wsactors.client.backoff import Retry
from wsactors.client.core import Core, Offline, Reconnect, Rhythm
from wsactors.client.errors import ClientError, Disconnected
from wsactors.client.membership import Membership
from wsactors.wire import native
from wsactors.wire.errors import ProtocolError

QUIET = Rhythm(latency=None)
USUAL = Retry()


def ready(*, retry: Retry | None = USUAL, rhythm: Rhythm = QUIET, can_renew: bool = False) -> Core:
    core = Core(name="x", retry=retry, rhythm=rhythm, can_renew=can_renew, random=lambda: 0.5)
    core.connected(100.0)
    core.receive(native.encode(native.Welcome(2, "n", resume="r", resume_for=30.0)), 100.0)
    sent(core)
    core.take_events()
    return core


def sent(core: Core) -> list[Any]:
    return [native.decode_client(data) for data in core.take_outgoing()]


def join(core: Core, topic: str, now: float = 100.0) -> Membership:
    membership = Membership(topic)
    core.join_topic(membership, now=now, timeout=10.0, resolve=lambda _: None)
    (request,) = sent(core)
    core.receive(native.encode(native.TopicJoined(request.ref, topic, "e", 7)), now)
    assert membership.phase == "joined"
    return membership


@pytest.mark.parametrize(
    ("code", "can_renew", "retry", "again", "word"),
    [
        (None, False, Retry(), True, ""),
        (1012, False, Retry(), True, ""),
        (1013, False, Retry(), True, ""),
        (4408, False, Retry(), True, ""),
        (1002, False, Retry(), False, "protocol"),
        (4403, False, Retry(), False, "kicked"),
        (4409, False, Retry(), False, "replaced"),
        (4426, False, Retry(), False, "version"),
        (4401, False, Retry(), False, ""),
        (4401, True, Retry(), True, ""),
        (None, False, Retry(attempts=1), False, "connection_failed"),
        (None, False, None, False, ""),
    ],
)
def test_whether_it_comes_back(code: int, can_renew: bool, retry: Retry | None, again: bool, word: str) -> None:
    core = ready(retry=retry, can_renew=can_renew)
    membership = join(core, "a")

    plan = core.disconnected(code, "gone", 101.0)

    assert (plan.wait is not None, plan.code) == (again, word)
    assert membership.phase == ("wanted" if again else "ended")
    assert any(isinstance(event, Offline) for event in core.take_events())


def test_it_resumes_while_it_can_and_says_what_it_has_seen() -> None:
    core = ready()
    join(core, "a")
    core.receive(native.encode(native.Message("a", "e", 1, "e", 9)), 101.0)
    core.disconnected(None, "gone", 102.0)

    core.connected(131.9)
    assert sent(core)[0].topics == {"a": native.Position("e", 9)}
    core.disconnected(None, "gone", 132.0)
    core.connected(133.0)

    (hello,) = sent(core)
    assert (hello.resume, hello.topics) == ("", {})


def test_what_the_node_does_not_restore_is_joined_one_by_one() -> None:
    core = ready()
    first, second = join(core, "a"), join(core, "b")
    core.disconnected(None, "gone", 101.0)
    core.connected(102.0)
    sent(core)

    core.receive(native.encode(native.Welcome(2, "n", resumed=("b", "other"))), 102.0)

    assert [(each.topic, each.since) for each in sent(core)] == [("a", native.Position("e", 7))]
    core.receive(native.encode(native.TopicJoined(0, "b", "e", 7, True)), 102.0)
    assert (first.phase, second.phase) == ("joining", "joined")


def test_many_long_topics_do_not_make_a_hello_too_large() -> None:
    core = ready()
    for number in range(150):
        join(core, f"{number:03}" + "ü" * 100)
    core.disconnected(None, "gone", 101.0)
    core.connected(102.0)

    (hello,) = sent(core)
    assert 20 < len(hello.topics) < 100


def test_requests_wait_for_the_connection_and_for_their_topic() -> None:
    core = Core(retry=Retry(), rhythm=QUIET, random=lambda: 0.5)
    answers: list[Any] = []
    core.join_topic(Membership("a"), now=0.0, timeout=10.0, resolve=answers.append)
    core.ask(9, native.Push("a", "e", 1, 9), now=0.0, timeout=10.0, resolve=answers.append, topic="a")
    assert sent(core) == []
    core.connected(1.0)
    core.receive(native.encode(native.Welcome(2, "n")), 1.0)
    request = sent(core)[-1]
    assert isinstance(request, native.JoinTopic)
    core.receive(native.encode(native.TopicJoined(request.ref, "a")), 1.0)
    assert [each.KIND for each in sent(core)] == ["push"]
    core.receive(native.encode(native.Reply(9, "ok", {"n": 1})), 1.0)
    assert answers[1] == {"n": 1}


def test_what_was_sent_fails_with_the_connection_and_what_was_not_waits() -> None:
    core = ready()
    join(core, "a")
    answers: list[Any] = []
    core.ask(8, native.Push("a", "e", 1, 8), now=100.0, timeout=10.0, resolve=answers.append, topic="a")
    core.disconnected(None, "gone", 101.0)
    core.ask(9, native.Push("a", "e", 2, 9), now=101.0, timeout=10.0, resolve=answers.append, topic="a")

    assert [type(answer) for answer in answers] == [Disconnected]
    core.tick(111.0)
    assert isinstance(answers[1], ClientError)
    assert answers[1].code == "no_answer"


def test_a_silent_node_is_asked_and_then_left() -> None:
    core = ready(rhythm=Rhythm(heartbeat=20.0, patience=10.0, latency=None))

    assert core.deadline == 120.0
    core.tick(120.0)
    (ping,) = sent(core)
    core.receive(native.encode(native.Pong(ping.nonce)), 125.0)
    core.tick(144.9)
    assert sent(core) == []
    core.tick(145.0)
    assert core.deadline == 155.0
    core.tick(155.0)
    assert Reconnect("the node does not answer") in core.take_events()


def test_a_node_that_does_not_greet_is_left() -> None:
    core = Core(retry=Retry(), rhythm=QUIET, random=lambda: 0.5)
    core.connected(0.0)
    core.tick(10.0)
    assert core.take_events() == [Reconnect("the node does not greet")]


def test_drain_is_followed_at_a_moment_of_its_own_also_when_the_connection_ends_first() -> None:
    core = ready()
    core.receive(native.encode(native.Hint("drain", 2.0, 4.0)), 100.0)
    core.tick(103.9)
    assert not any(isinstance(event, Reconnect) for event in core.take_events())
    core.tick(104.0)
    assert Reconnect("the node stops") in core.take_events()
    assert core.disconnected(None, "left", 104.0).wait == 0.0

    core = ready()
    core.receive(native.encode(native.Hint("drain", 2.0, 4.0)), 100.0)
    assert core.disconnected(1012, "restart", 101.0).wait == pytest.approx(3.0)


def test_a_hint_to_come_back_later_replaces_the_pause_once() -> None:
    core = ready()
    core.receive(native.encode(native.Hint("reconnect", 30.0, 10.0)), 100.0)

    assert core.disconnected(None, "gone", 101.0).wait == 35.0
    assert (core.disconnected(None, "nobody there", 140.0).wait or 0) < 1.0


def test_who_is_to_slow_down_sends_no_requests_for_as_long() -> None:
    core = ready()
    join(core, "a")
    core.receive(native.encode(native.Hint("slow_down", 3.0)), 100.0)
    core.ask(9, native.Push("a", "e", 1, 9), now=100.0, timeout=10.0, resolve=lambda _: None, topic="a")

    assert (sent(core), core.deadline) == ([], 103.0)
    core.tick(103.0)
    assert [each.KIND for each in sent(core)] == ["push"]


def test_a_refused_rejoin_is_tried_again_if_the_reason_passes_and_ends_otherwise() -> None:
    core = ready()
    first, second = join(core, "a"), join(core, "b")
    core.disconnected(None, "gone", 101.0)
    core.connected(102.0)
    core.receive(native.encode(native.Welcome(2, "n")), 102.0)
    refs = {each.topic: each.ref for each in sent(core) if isinstance(each, native.JoinTopic)}
    core.receive(native.encode(native.Error("rate", "wait", "", refs["a"], "a", after=2.0)), 102.0)
    core.receive(native.encode(native.Error("unauthorized", "no", "", refs["b"], "b")), 102.0)

    assert (first.phase, first.again_at) == ("wanted", 104.0)
    assert second.phase == "ended"
    assert isinstance(second.error, ClientError)
    core.tick(104.0)
    assert [each.topic for each in sent(core)] == ["a"]


def test_presence_is_shown_again_after_a_break_and_not_when_the_node_has_kept_it() -> None:
    for resumed, expected in (((), ["join_topic", "track"]), (("a",), [])):
        core = ready()
        join(core, "a")
        core.track("a", {"n": 1}, now=100.0, timeout=10.0, resolve=lambda _: None)
        core.receive(native.encode(native.Reply(sent(core)[0].ref)), 100.0)
        core.disconnected(None, "gone", 101.0)
        core.connected(102.0)
        sent(core)
        core.receive(native.encode(native.Welcome(2, "n", resumed=resumed)), 102.0)
        said = sent(core)
        core.receive(native.encode(native.TopicJoined(said[0].ref if said else 0, "a")), 102.0)
        assert [each.KIND for each in said + sent(core)] == expected


def test_a_node_that_breaks_the_protocol_is_an_error() -> None:
    core = ready()
    with pytest.raises(ProtocolError):
        core.receive(b"\xc1", 100.0)
    with pytest.raises(ProtocolError):
        core.receive(native.encode(native.JoinTopic(1, "a")), 100.0)


def test_a_refused_request_is_not_why_the_connection_ends_later() -> None:
    core = ready(retry=None)
    core.join_topic(Membership("a"), now=100.0, timeout=10.0, resolve=lambda _: None)
    core.receive(native.encode(native.Error("unmatched_topic", "no", "", sent(core)[0].ref, "a")), 100.0)
    assert core.disconnected(None, "gone", 101.0).code == ""

    core = ready(retry=None)
    core.receive(native.encode(native.Error("expired", "Your token has expired.")), 100.0)
    plan = core.disconnected(4401, "gone", 101.0)
    assert (plan.code, plan.reason) == ("expired", "Your token has expired.")
