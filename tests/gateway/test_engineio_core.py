"""The rules of an Engine.IO session, most of them those of the protocol's own test suite, with a clock that the test moves."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wsactors.gateway.engineio_core import LINGER_SECONDS, EngineCore
from wsactors.gateway.engineio_events import (
    PARSE_ERROR,
    PING_TIMEOUT,
    SERVER_CLOSE,
    TOO_SLOW,
    TRANSPORT_CLOSE,
    TRANSPORT_ERROR,
    Answer,
    Closed,
    CloseSocket,
    Event,
    Received,
    ToSocket,
    Upgraded,
)
from wsactors.gateway.engineio_options import EngineOptions
from wsactors.wire import engineio as eio
from wsactors.wire.engineio import Packet
from wsactors.wire.ws_frame import binary_frame, text_frame

OPTIONS = EngineOptions(ping_interval=0.3, ping_timeout=0.2, upgrade_timeout=1, eio3=True)
WS, OTHER_WS = 1, 2


def core(*, socket: int | None = None, options: EngineOptions = OPTIONS, version: eio.Version = 4) -> EngineCore:
    return EngineCore("secret", options, now=0.0, version=version, socket=socket)


def events(session: EngineCore) -> list[Event]:
    found = list(session.events)
    session.events.clear()
    return found


def post(session: EngineCore, *packets: Packet, now: float = 0.0, ticket: int = 90) -> list[Event]:
    if session.begin_post(ticket, now):
        session.take(packets, now)
        session.end_post()
    return events(session)


def poll(session: EngineCore, now: float = 0.0, ticket: int = 10) -> list[Event]:
    session.poll(ticket, now)
    return events(session)


def upgrade(session: EngineCore, now: float = 0.0) -> list[Event]:
    session.attach(WS, now)
    session.message(WS, "2probe", now)
    session.message(WS, "5", now)
    return events(session)


def message(text: str) -> bytes:
    return text_frame(b"4" + text.encode())


# -- handshake --


@pytest.mark.parametrize(("socket", "upgrades"), [(None, ["websocket"]), (WS, [])])
def test_the_handshake_has_exactly_these_keys(socket: int | None, upgrades: list[str]) -> None:
    said = core(socket=socket).handshake()

    assert said[:1] == b"0"
    assert json.loads(said[1:]) == {
        "sid": "secret", "upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1000000
    }  # fmt: skip


# -- messages --


def test_what_is_posted_is_received_and_what_is_sent_is_polled() -> None:
    session = core()

    assert post(session, Packet(4, "hello"), Packet(4, b"\1\2")) == [
        Received("hello"),
        Received(b"\1\2"),
        Answer(90, b"ok"),
    ]

    session.send(message("hello") + binary_frame(b"\1\2\3\4"), None, 0.0)
    session.flush(0.0)

    assert poll(session) == [Answer(10, b"4hello\x1ebAQIDBA==")]


def test_a_get_waits_until_there_is_something() -> None:
    session = core()
    assert poll(session) == []

    session.send(message("a"), None, 0.0)
    session.send(message("b"), None, 0.0)
    session.flush(0.0)

    assert events(session) == [Answer(10, b"4a\x1e4b")]


def test_no_answer_has_more_than_sixteen_packets_even_of_one_message() -> None:
    session = core()
    for number in range(20):
        session.send(message(str(number)), None, 0.0)
    session.send(message("x") + binary_frame(b"y") * 15, None, 0.0)

    bodies = []
    while (answers := poll(session)) != []:
        assert isinstance(answers[0], Answer)
        assert answers[0].body is not None
        bodies.append(answers[0].body.split(b"\x1e"))

    assert [len(each) for each in bodies] == [16, 16, 4]
    assert [piece for each in bodies for piece in each] == [f"4{n}".encode() for n in range(20)] + [b"4x"] + [
        b"beQ=="
    ] * 15


def test_the_end_is_said_after_the_last_words_by_itself() -> None:
    session = core()
    for _ in range(16):
        session.send(message("x"), None, 0.0)
    session.close(SERVER_CLOSE, 0.0)
    events(session)

    assert poll(session) == [Answer(10, b"\x1e".join([b"4x"] * 16))]
    assert poll(session) == [Answer(10, b"1")]
    assert session.is_over


def test_a_websocket_session_receives_and_sends_at_once() -> None:
    session = core(socket=WS)
    session.message(WS, "4hello", 0.0)
    session.message(WS, b"\1\2", 0.0)

    assert events(session) == [Received("hello"), Received(b"\1\2")]


# -- wrong --


def test_an_invalid_payload_ends_the_session() -> None:
    session = core()
    assert session.begin_post(90, 0.0)
    session.end_post(is_valid=False)

    assert events(session) == [Closed(PARSE_ERROR), Answer(90, None)]
    assert poll(session) == [Answer(10, None)]


def test_an_invalid_message_ends_the_session() -> None:
    session = core(socket=WS)
    session.message(WS, "abc", 0.0)

    assert events(session) == [Closed(PARSE_ERROR), CloseSocket(WS)]


@pytest.mark.parametrize("packet", [Packet(0, "{}"), Packet(2, ""), Packet(5, "")])
def test_what_only_a_server_says_ends_the_session(packet: Packet) -> None:
    assert Closed(TRANSPORT_ERROR) in post(core(), packet)


def test_of_two_gets_the_first_is_told_that_it_is_over_and_the_second_refused() -> None:
    session = core()
    poll(session, ticket=1)

    assert poll(session, ticket=2) == [Answer(1, b"1"), Answer(2, None), Closed(TRANSPORT_ERROR)]
    assert poll(session, ticket=3) == [Answer(3, None)]


def test_of_two_posts_at_a_time_the_second_ends_the_session() -> None:
    session = core()
    assert session.begin_post(1, 0.0)

    assert not session.begin_post(2, 0.0)
    assert events(session) == [Answer(2, None), Closed(TRANSPORT_ERROR)]


def test_a_cancelled_get_ends_the_session() -> None:
    session = core()
    poll(session)
    session.poll_lost(10)

    assert events(session) == [Closed(TRANSPORT_ERROR)]
    assert poll(session) == [Answer(10, None)]


def test_a_get_that_was_answered_cannot_be_cancelled() -> None:
    session = core()
    session.send(message("a"), None, 0.0)
    poll(session)
    session.poll_lost(10)

    assert events(session) == []


def test_a_client_that_does_not_poll_is_given_up() -> None:
    session = core(options=EngineOptions(buffer_bytes=1000))
    assert session.send(message("x" * 900), None, 0.0)

    assert not session.send(message("x" * 900), None, 0.0)
    assert events(session) == [Closed(TOO_SLOW)]


# -- heartbeat --


def test_pings_go_on_while_they_are_answered() -> None:
    session = core()
    now = 0.0
    for _ in range(3):
        assert poll(session, now) == []
        assert session.deadline == pytest.approx(now + 0.3)
        now = session.deadline
        session.tick(now)
        assert events(session) == [Answer(10, b"2")]
        now += 0.1
        assert post(session, Packet(3, ""), now=now) == [Answer(90, b"ok")]


def test_a_ping_without_answer_ends_the_session_to_the_moment() -> None:
    session = core()

    assert poll(session, 0.5) == [Closed(PING_TIMEOUT), Answer(10, None)]


def test_a_ping_without_answer_ends_a_websocket() -> None:
    session = core(socket=WS)
    session.tick(0.31)
    assert events(session) == [ToSocket(WS, text_frame(b"2"))]
    session.tick(0.5)

    assert events(session) == [Closed(PING_TIMEOUT), CloseSocket(WS)]


# -- close --


def test_a_client_that_says_goodbye_gets_its_get_answered_with_nothing() -> None:
    session = core()
    poll(session)

    assert post(session, Packet(1, ""), Packet(4, "late")) == [
        Answer(10, b"6"),
        Closed(TRANSPORT_CLOSE),
        Answer(90, b"ok"),
    ]
    assert poll(session) == [Answer(10, None)]


def test_a_client_that_says_goodbye_on_a_websocket() -> None:
    session = core(socket=WS)
    session.message(WS, "1", 0.0)

    assert events(session) == [Closed(TRANSPORT_CLOSE), CloseSocket(WS)]


def test_whoever_is_sent_away_while_polling_gets_what_waits_first() -> None:
    session = core()
    session.send(message("bye"), None, 0.0)
    session.close(SERVER_CLOSE, 0.0)

    assert events(session) == [Closed(SERVER_CLOSE)]
    assert not session.is_over
    assert poll(session, 1.0) == [Answer(10, b"4bye")]
    assert poll(session, 1.0) == [Answer(10, b"1")]
    assert session.is_over


def test_last_words_that_nobody_fetches_are_forgotten() -> None:
    session = core()
    session.close(SERVER_CLOSE, 0.0)
    assert session.deadline == LINGER_SECONDS
    session.tick(LINGER_SECONDS)

    assert session.is_over


def test_a_lost_websocket_ends_the_session() -> None:
    session = core(socket=WS)
    session.socket_lost(WS)

    assert events(session) == [Closed(TRANSPORT_CLOSE)]


# -- upgrade --


def test_an_upgrade_takes_what_waits_along() -> None:
    session = core()
    session.attach(WS, 0.0)
    session.message(WS, "2probe", 0.0)
    assert events(session) == [ToSocket(WS, text_frame(b"3probe"))]
    assert poll(session) == [Answer(10, b"6")]
    session.send(message("a"), None, 0.0)
    session.message(WS, "5", 0.0)

    assert events(session) == [Upgraded(WS), ToSocket(WS, message("a"))]
    session.message(WS, "4hello", 0.0)
    assert events(session) == [Received("hello")]


def test_a_get_that_waits_is_answered_with_nothing_when_the_probe_comes() -> None:
    session = core()
    poll(session)
    session.attach(WS, 0.0)
    session.message(WS, "2probe", 0.0)

    assert events(session) == [ToSocket(WS, text_frame(b"3probe")), Answer(10, b"6")]
    assert poll(session, 0.01) == []
    session.tick(0.1)
    assert events(session) == [Answer(10, b"6")]


def test_whoever_is_sent_away_while_it_moves_gets_its_last_words_where_it_goes() -> None:
    """It has stopped polling, and would not notice the end of a WebSocket that it has not moved to yet."""
    session = core()
    session.attach(WS, 0.0)
    session.message(WS, "2probe", 0.0)
    events(session)
    session.send(message("last words"), None, 0.0)
    session.close("over", 0.0)
    assert events(session) == [Closed("over")]
    assert not session.is_over
    session.message(WS, "5", 0.0)
    assert events(session) == [Upgraded(WS), ToSocket(WS, message("last words")), CloseSocket(WS)]
    assert session.is_over


def test_whoever_is_sent_away_while_it_moves_may_still_poll() -> None:
    session = core()
    session.attach(WS, 0.0)
    session.message(WS, "2probe", 0.0)
    events(session)
    session.send(message("last words"), None, 0.0)
    session.close("over", 0.0)
    events(session)
    assert poll(session) == [Answer(10, b"4last words")]
    session.tick(1.0)
    assert session.deadline > 1.0, "it is not looked at for nothing"
    assert poll(session, ticket=11) == [Answer(11, b"1")]
    assert session.is_over


def test_after_an_upgrade_polling_and_other_websockets_are_refused() -> None:
    session = core()
    upgrade(session)

    assert poll(session) == [Answer(10, None)]
    assert post(session, Packet(4, "x")) == [Answer(90, None)]
    session.attach(OTHER_WS, 0.0)
    assert events(session) == [CloseSocket(OTHER_WS)]
    session.message(WS, "4still", 0.0)
    assert events(session) == [Received("still")]


@pytest.mark.parametrize("said", ["5", "2", "4hello", "x", b"\4"])
def test_a_websocket_that_does_not_probe_is_closed_and_polling_goes_on(said: str | bytes) -> None:
    session = core()
    session.attach(WS, 0.0)
    session.message(WS, said, 0.0)

    assert events(session) == [CloseSocket(WS)]
    assert post(session, Packet(4, "a")) == [Received("a"), Answer(90, b"ok")]


def test_a_second_websocket_while_one_is_probed_is_closed() -> None:
    session = core()
    session.attach(WS, 0.0)
    session.attach(OTHER_WS, 0.0)

    assert events(session) == [CloseSocket(OTHER_WS)]


def test_an_upgrade_that_is_not_finished_is_given_up() -> None:
    session = core(options=EngineOptions(upgrade_timeout=1))
    session.attach(WS, 0.0)
    session.message(WS, "2probe", 0.0)
    events(session)
    session.tick(1.0)

    assert events(session) == [CloseSocket(WS)]
    assert poll(session, 1.1) == []


def test_a_probing_websocket_may_be_lost() -> None:
    session = core()
    session.attach(WS, 0.0)
    session.message(WS, "2probe", 0.0)
    session.socket_lost(WS)
    events(session)

    assert poll(session) == []
    assert not session.is_closed


# -- revision 3 --


def test_a_client_of_revision_3_pings_and_is_answered() -> None:
    session = core(version=3)
    poll(session)

    assert post(session, Packet(2, "")) == [Answer(10, b"1:3"), Answer(90, b"ok")]
    session.tick(0.5)
    assert events(session) == [Closed(PING_TIMEOUT)]


def test_binary_on_a_websocket_of_revision_3_has_its_type() -> None:
    session = core(version=3)
    session.send(message("a") + binary_frame(b"\1"), None, 0.0)

    assert upgrade(session)[-1] == ToSocket(WS, message("a") + binary_frame(b"\4\1"))
    session.message(WS, b"\4\2", 0.0)
    assert events(session) == [Received(b"\2")]


# -- anything --


class AnySession(RuleBasedStateMachine):
    """Whatever comes in whatever order: every GET gets one answer, the end comes once, and nothing follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.session = core(
            options=EngineOptions(ping_interval=2, ping_timeout=1, upgrade_timeout=1, buffer_bytes=4000)
        )
        self.now = 0.0
        self.ticket = 0
        self.open_gets: set[int] = set()
        self.closed = 0
        self.sent: list[bytes] = []
        self.arrived: list[bytes] = []

    @rule()
    def get(self) -> None:
        self.ticket += 1
        self.open_gets.add(self.ticket)
        self.session.poll(self.ticket, self.now)

    @rule(
        packets=st.lists(st.sampled_from([Packet(4, "a"), Packet(3, ""), Packet(6, ""), Packet(2, ""), Packet(1, "")]))
    )
    def says(self, packets: list[Packet]) -> None:
        if self.session.begin_post(-1, self.now):
            self.session.take(packets, self.now)
            self.session.end_post()

    @rule(size=st.integers(0, 600), count=st.integers(1, 20))
    def send(self, size: int, count: int) -> None:
        for _ in range(count):
            data = b"%d.%s" % (len(self.sent), b"x" * size)
            if self.session.socket is None and self.session.send(text_frame(b"4" + data), None, self.now):
                self.sent.append(b"4" + data)
        self.session.flush(self.now)

    @rule(socket=st.sampled_from([WS, OTHER_WS]))
    def attach(self, socket: int) -> None:
        self.session.attach(socket, self.now)

    @rule(socket=st.sampled_from([WS, OTHER_WS]), said=st.sampled_from(["2probe", "5", "4x", "3", "1", "z", b"\0"]))
    def message(self, socket: int, said: str | bytes) -> None:
        self.session.message(socket, said, self.now)

    @rule(socket=st.sampled_from([WS, OTHER_WS]))
    def lose(self, socket: int) -> None:
        self.session.socket_lost(socket)

    @rule(seconds=st.floats(0, 1.5))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.session.tick(self.now)

    @rule()
    def close(self) -> None:
        self.session.close(SERVER_CLOSE, self.now)

    @invariant()
    def answers(self) -> None:
        for event in events(self.session):
            match event:
                case Answer(-1):
                    pass
                case Answer(ticket, body):
                    self.open_gets.remove(ticket)
                    if body is not None:
                        pieces = body.split(b"\x1e")
                        assert len(pieces) <= eio.MAX_PACKETS_OUT
                        self.arrived += [each for each in pieces if each[:1] == b"4"]
                case ToSocket(_, frames):
                    self.arrived += [each.data for each in eio.pieces_of(frames) if each.data[:1] == b"4"]
                case Received():
                    assert not self.closed
                case Closed():
                    self.closed += 1
        assert self.closed <= 1
        assert len(self.open_gets) <= 1
        assert self.session.is_closed == bool(self.closed)
        assert self.arrived == self.sent[: len(self.arrived)]


AnySession.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAnySession: Any = AnySession.TestCase


def test_fifty_thousand_random_messages_do_no_harm() -> None:
    luck = random.Random(6)
    session = core(socket=WS)
    for _ in range(50_000):
        if session.is_closed:
            session = core(socket=WS)
        said = "".join(
            chr(luck.choice((48 + luck.randrange(8), luck.randrange(0x300)))) for _ in range(luck.randint(0, 4))
        )
        session.message(WS, said, 0.0)
        events(session)
