from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from wsactors.wire.errors import ProtocolError
from wsactors.wire.plain import Plain
from wsactors.wire.supabase_payloads import (
    Broadcast,
    Join,
    Replay,
    RestMessage,
    UnknownPresenceEvent,
    Unprocessable,
    UnsupportedMedia,
    parse_batch,
    parse_broadcast,
    parse_join,
    parse_presence,
    parse_single,
)

from .plain_values import PLAIN_VALUES


def test_a_join_as_clients_send_it() -> None:
    config: dict[str, Any] = {
        "broadcast": {"ack": True, "self": "True", "replay": {"since": 1_700_000_000_000, "limit": 100}},
        "presence": {"key": "ada", "enabled": "false"},
        "postgres_changes": [None, {"event": "*", "schema": "public"}],
        "private": True,
    }
    assert parse_join({"config": config, "access_token": "secret"}) == Join(
        ack=True, self_broadcast=True, presence_key="ada", private=True, replay=Replay(1_700_000_000_000, 25),
        postgres_changes=({"event": "*", "schema": "public"},), access_token="secret",
    )  # fmt: skip


@pytest.mark.parametrize("payload", [{}, {"config": None}, {"config": {}}, None, [], "x", 1, b""])
def test_everything_has_a_default(payload: Plain) -> None:
    assert parse_join(payload) == Join()


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ([], "config: "), ({"broadcast": 1}, "config.broadcast: "), ({"presence": "x"}, "config.presence: "),
        ({"broadcast": {"self": "maybe"}}, "config.broadcast.self: "), ({"broadcast": {"ack": 1}}, "config.broadcast.ack"),
        ({"presence": {"enabled": []}}, "config.presence.enabled: "), ({"presence": {"key": []}}, "config.presence.key: "),
        ({"presence": {"key": "x" * 256}}, "config.presence.key: "), ({"postgres_changes": {}}, "config.postgres_changes"),
        ({"postgres_changes": [1]}, "config.postgres_changes: "),
    ],
)  # fmt: skip
def test_what_is_malformed_has_its_default_and_is_named(config: Plain, problem: str) -> None:
    join = parse_join({"config": config})

    assert (join.self_broadcast, join.ack, join.presence_enabled, join.presence_key, join.private) == (
        False, False, False, "", False,
    )  # fmt: skip
    assert [each for each in join.problems if each.startswith(problem)] == list(join.problems)
    assert join.problems


def test_who_cannot_say_private_does_not_get_public() -> None:
    join = parse_join({"config": {"private": "yes"}})

    assert join.private
    assert join.problems


@pytest.mark.parametrize("replay", [1, {}, {"since": "1"}, {"since": 1.5}, {"since": -1}, {"since": True},
                                    {"since": 2**53}, {"since": 1, "limit": "1"}, {"since": 1, "limit": True}])  # fmt: skip
def test_a_replay_that_cannot_be_understood(replay: Plain) -> None:
    join = parse_join({"config": {"broadcast": {"replay": replay}}})

    assert join.replay is None
    assert join.bad_replay


@pytest.mark.parametrize(("limit", "most"), [(-1, 1), (0, 1), (1, 1), (25, 25), (26, 25), (None, 25)])
def test_how_much_is_replayed(limit: int | None, most: int) -> None:
    replay: dict[str, Plain] = {"since": 0}
    if limit is not None:
        replay["limit"] = limit
    assert parse_join({"config": {"broadcast": {"replay": replay}}}).replay == Replay(0, most)


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(parse_join({"access_token": "secret"}))


@settings(deadline=None)
@given(PLAIN_VALUES)
def test_whatever_a_join_holds_is_understood(value: Plain) -> None:
    deep: dict[str, Plain] = {"broadcast": value, "presence": value, "private": value, "postgres_changes": value}
    payloads: list[Plain] = [value, {"config": value}, {"config": deep}]
    for payload in payloads:
        parse_join(payload)


@settings(deadline=None)
@given(PLAIN_VALUES)
def test_whatever_else_is_sent_is_understood_or_refused(value: Plain) -> None:
    for parse in (parse_broadcast, parse_presence):
        for payload in (value, {"event": value}, {"event": "track", "payload": value}):
            try:
                parse(payload)
            except ProtocolError:
                continue


def test_broadcasts() -> None:
    assert parse_broadcast({"type": "broadcast", "event": "hit", "payload": [1]}) == Broadcast("hit", [1])
    assert parse_broadcast({"event": "hit", "payload": None, "meta": {"id": "1"}}) == Broadcast(
        "hit", None, {"id": "1"}
    )
    assert parse_broadcast({"type": "broadcast", "event": "hit", "x": 1}) == Broadcast("hit", {"x": 1})
    for wrong in ({}, {"event": ""}, {"event": 1}, {"event": "x" * 256}, b"", None):
        with pytest.raises(ProtocolError):
            parse_broadcast(wrong)  # type: ignore[arg-type]


def test_presence() -> None:
    assert parse_presence({"type": "presence", "event": "TRACK", "payload": {"a": 1}}) == {"a": 1}
    assert parse_presence({"event": "track"}) == {}
    assert parse_presence({"event": "untrack", "payload": 1}) is None
    with pytest.raises(ProtocolError, match="must be a map"):
        parse_presence({"event": "track", "payload": [1]})
    for wrong in ({}, {"event": "join"}, {"event": 1}, None, b""):
        with pytest.raises(UnknownPresenceEvent):
            parse_presence(wrong)  # type: ignore[arg-type]


# -- REST -----------------------------------------------------------------------------------------------------------------


def test_a_batch() -> None:
    body = b'{"messages":[{"topic":"a","event":"hit","payload":{"x":1},"private":true},{"topic":"b","event":"e","payload":{}}]}'
    assert parse_batch(body) == (RestMessage("a", "hit", {"x": 1}, private=True), RestMessage("b", "e", {}))
    assert parse_batch(b'{"messages":[]}') == ()


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b"{}", {"messages": ["can't be blank"]}),
        (b"[]", {"messages": ["can't be blank"]}),
        (b'{"messages":{}}', {"messages": ["expected a list of at most 100 messages"]}),
        (b'{"messages":[1]}', {"messages": [{"message": ["is invalid"]}]}),
        (
            b'{"messages":[{"topic":"a","event":"e","payload":{}},{"topic":"","payload":[],"private":1}]}',
            {"messages": [{}, {"topic": ["can't be blank"], "event": ["can't be blank"], "payload": ["is invalid"],
                               "private": ["is invalid"]}]},
        ),
    ],
)  # fmt: skip
def test_a_batch_that_is_refused_says_which_fields(body: bytes, errors: dict[str, Plain]) -> None:
    with pytest.raises(Unprocessable) as refusal:
        parse_batch(body)
    assert refusal.value.errors == errors


def test_a_batch_has_a_bound() -> None:
    with pytest.raises(Unprocessable):
        parse_batch(b'{"messages":[' + b",".join([b'{"topic":"a","event":"e","payload":{}}'] * 101) + b"]}")


def test_single_messages() -> None:
    assert parse_single("a", "e", "", "application/json; charset=utf-8", b'{"x":1}') == RestMessage("a", "e", {"x": 1})
    assert parse_single("a", "e", "private=true", None, b"{}") == RestMessage("a", "e", {}, private=True)
    assert parse_single("a", "e", "x=1&private=FALSE", "application/octet-stream", b"\xff") == RestMessage(
        "a", "e", b"\xff"
    )
    assert parse_single("a", "e", "", "application/octet-stream", b"") == RestMessage("a", "e", b"")


@pytest.mark.parametrize(
    ("topic", "event", "media", "body", "error"),
    [
        ("", "e", None, b"{}", Unprocessable), ("a", "x" * 256, None, b"{}", Unprocessable),
        ("a", "e", None, b"[1]", Unprocessable), ("a", "e", "text/plain", b"x", UnsupportedMedia),
        ("a", "e", "application/json", b"{", ProtocolError), ("a", "e", "application/json", b"[" * 100_000, ProtocolError),
    ],
)  # fmt: skip
def test_single_messages_that_are_refused(
    topic: str, event: str, media: str | None, body: bytes, error: type[ProtocolError]
) -> None:
    with pytest.raises(error):
        parse_single(topic, event, "", media, body)


@pytest.mark.parametrize("query", ["private", "private=", "private=1", "private=TRUE", "private=false&private=true"])
def test_what_may_mean_private_is_not_published_to_all(query: str) -> None:
    assert parse_single("a", "e", query, None, b"{}").private


@pytest.mark.parametrize(
    "query", ["private=true&" + "a=1&" * 30, "private=true&a=" + "x" * 2_000, "private=true&a=\xe9"]
)
def test_a_query_that_cannot_be_read_is_refused(query: str) -> None:
    with pytest.raises(ProtocolError):
        parse_single("a", "e", query, None, b"{}")
