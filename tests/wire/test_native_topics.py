from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.plain_values import PLAIN_VALUES
from wsactors.wire import native
from wsactors.wire.errors import ProtocolError

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"

letters = st.characters(codec="utf-8")
topics = st.text(letters, min_size=1, max_size=60)
events = st.text(letters, min_size=1, max_size=60)
words = st.text(letters, max_size=60)
epochs = st.text(letters, max_size=12)
u32 = st.integers(0, 2**32 - 1)
offsets = st.integers(0, native.MAX_EXACT_INT)
seconds = st.floats(0, 1e9)
positions = st.builds(native.Position, epochs, offsets)
maps = st.dictionaries(st.text(letters, max_size=9), PLAIN_VALUES, max_size=3)
metas = st.dictionaries(topics, st.lists(maps, max_size=2), max_size=3)
maybe = st.none() | st.booleans()

client_messages = st.one_of(
    st.builds(
        native.Hello,
        st.just((2, 1)),
        words,
        token=words,
        api_key=words,
        resume=words,
        topics=st.dictionaries(topics, positions, max_size=4),
    ),
    st.builds(
        native.JoinTopic, u32, topics, PLAIN_VALUES, st.none() | positions, st.booleans(), st.booleans(), st.booleans()
    ),
    st.builds(native.LeaveTopic, u32, topics),
    st.builds(native.Push, topics, events, PLAIN_VALUES, u32),
    st.builds(native.Publish, topics, events, PLAIN_VALUES, u32, maybe, words),
    st.builds(native.Track, topics, maps, u32),
    st.builds(native.Untrack, topics, u32),
    st.builds(native.Authenticate, u32, topics),
)
server_messages = st.one_of(
    st.builds(
        native.Welcome,
        st.just(2),
        words,
        words,
        st.none() | seconds,
        seconds,
        offsets,
        words,
        seconds,
        st.none() | st.lists(topics, max_size=3).map(tuple),
    ),
    st.builds(native.TopicJoined, u32, topics, epochs, offsets, maybe, u32, PLAIN_VALUES),
    st.builds(native.TopicLeft, topics, u32, st.sampled_from(["left", "ended", "crash"]), words),
    st.builds(native.Message, topics, events, PLAIN_VALUES, epochs, offsets, words, seconds, st.none() | maps),
    st.builds(native.Push, topics, events, PLAIN_VALUES),
    st.builds(native.PresenceState, topics, metas),
    st.builds(native.PresenceDiff, topics, metas, metas),
    st.builds(native.Reply, u32, st.sampled_from(["ok", "error"]), PLAIN_VALUES),
    st.builds(native.Published, u32, epochs, offsets),
    st.builds(native.Authenticated, u32, words, st.none() | seconds),
    st.builds(native.Expiring, seconds),
    st.builds(native.Hint, st.sampled_from(native.HINTS), seconds, seconds, words),
    st.builds(native.Error, st.sampled_from(native.ERROR_CODES), words, words, u32, words, seconds, PLAIN_VALUES),
)


@given(client_messages)
def test_a_client_message_comes_back_as_it_was(message: Any) -> None:
    assert native.decode_client(native.encode(message)) == message


@given(server_messages)
def test_a_server_message_comes_back_as_it_was(message: Any) -> None:
    assert native.decode_server(native.encode(message)) == message


@given(st.one_of(client_messages, server_messages))
def test_version_1_gets_what_it_knows_or_nothing(message: Any) -> None:
    """A strict decoder of version 1 never meets a field that came later."""
    data = native.encode(message, 1)

    decode = native.decode_client if isinstance(message, native.Hello) else native.decode_server
    if message.KIND in {"hello", "welcome", "error"}:
        assert decode(data, 1) == type(message)(*(getattr(message, name) for name in FIRST_FIELDS[message.KIND]))
    else:
        with pytest.raises(ProtocolError, match="expected one of"):
            decode(data, 1)


FIRST_FIELDS = {
    "hello": ("versions", "client"),
    "welcome": ("version", "node"),
    "error": ("code", "message", "session"),
}


@given(st.one_of(client_messages, server_messages), st.data())
def test_a_message_that_was_tampered_with_is_a_message_or_a_protocol_error(message: Any, data: st.DataObject) -> None:
    encoded = bytearray(native.encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))

    for decode in (native.decode_client, native.decode_server):
        try:
            found = decode(bytes(encoded))
        except ProtocolError:
            continue
        if not isinstance(found, native.AudioFrame):
            assert decode(native.encode(found)) == found


def pack(**body: object) -> bytes:
    return bytes(msgpack.packb(body))


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (pack(t="join_topic", topic="a"), "join_topic.ref: missing"),
        (pack(t="join_topic", ref=1, topic=""), "join_topic.topic: expected a topic"),
        (pack(t="join_topic", ref=1, topic="ü" * 128), "join_topic.topic: expected a topic of 1 to 255 bytes"),
        (pack(t="join_topic", ref=-1, topic="a"), "join_topic.ref"),
        (pack(t="join_topic", ref=1, topic="a", presence=1), "join_topic.presence: expected true or false"),
        (pack(t="join_topic", ref=1, topic="a", since={"epoch": "e"}), "join_topic.since.offset: missing"),
        (pack(t="join_topic", ref=1, topic="a", since={"epoch": "e", "offset": -1}), "since.offset: expected an int"),
        (pack(t="join_topic", ref=1, topic="a", since={"epoch": "e", "offset": 1, "x": 1}), "since: unknown field"),
        (pack(t="publish", topic="a", event=""), "publish.event"),
        (pack(t="publish", topic="a", event="e", payload=float("nan")), "publish.payload: numbers must be finite"),
        (pack(t="publish", topic="a", event="e", payload=2**60), "publish.payload: integers"),
        (pack(t="publish", topic="a", event="e", payload=nested(33)), "publish.payload: .*nested too deep"),
        (pack(t="publish", topic="a", event="e", payload={b"k": 1}), "publish.payload: a map's keys"),
        (pack(t="publish", topic="a", event="e", payload=[[]] * 20_000), "more than 20000 lists and maps"),
        (pack(t="publish", topic="a", event="e", payload=[{}] * 20_000), "more than 20000 lists and maps"),
        (pack(t="track", topic="a", meta=[1]), "track.meta: expected a map"),
        (pack(t="auth", ref=1, token=""), "auth.token"),
        (pack(t="auth", ref=1, token="x" * 8_193), "auth.token"),
        (pack(t="leave_topic", ref=1, topic="a", x=b"x" * 20_000), "more than the 16384"),
        (pack(t="hello", topics={"a": {"epoch": "e", "offset": 1, "more": 1}}), "hello.topics.a: unknown field"),
        (pack(t="hello", topics={str(n): {"epoch": "", "offset": 0} for n in range(101)}), "a map of at most 100"),
        (pack(t="message", topic="a", event="e"), "t: expected one of"),
    ],
)
def test_what_a_client_may_not_send(data: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        native.decode_client(data)


def test_a_client_of_version_1_may_not_speak_version_2() -> None:
    with pytest.raises(ProtocolError, match="expected one of hello, join, leave, list, ping, pong"):
        native.decode_client(native.encode(native.Publish("a", "e")), 1)


def test_a_payload_may_be_large_and_the_limit_is_the_nodes() -> None:
    data = native.encode(native.Publish("a", "e", b"x" * 1_000_000))

    assert native.decode_client(data) == native.Publish("a", "e", b"x" * 1_000_000)
    with pytest.raises(ProtocolError, match="more than the 65536 of a message"):
        native.decode_client(data, max_bytes=65_536)
    with pytest.raises(ProtocolError, match="more than the 16777216"):
        native.encode(native.Publish("a", "e", b"x" * 16 * 1024 * 1024))


@pytest.mark.parametrize("offered", [(2, 1), (1, 2), (2,), (9, 2, 1)])
def test_both_speak_the_best_version_they_have_in_common(offered: tuple[int, ...]) -> None:
    assert native.common_version(offered) == 2


def test_there_may_be_no_common_version() -> None:
    assert (native.common_version((1,)), native.common_version((9, 3)), native.common_version(())) == (1, None, None)


def test_secrets_are_not_shown() -> None:
    shown = repr(
        (
            native.Hello(token="hush", api_key="hush", resume="hush"),
            native.Welcome(2, "n", resume="hush"),
            native.Authenticate(1, "hush"),
        )
    )
    assert "hush" not in shown


def documented() -> list[tuple[str, str]]:
    return re.findall(r"`(\{\"t\".*?\})`[^`\n]*:\n\n    ([0-9a-f ]+)\n", PROTOCOL.read_text())


def binary(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$binary"}:
            return base64.b64decode(value["$binary"])
        return {key: binary(each) for key, each in value.items()}
    return value


@pytest.mark.parametrize(("said", "data"), documented(), ids=lambda text: text[:30])
def test_the_documented_bytes_are_the_real_ones(said: str, data: str) -> None:
    meant = binary(json.loads(said))
    raw = bytes.fromhex(data)

    assert msgpack.unpackb(raw) == meant
    decode: Any = native.decode_client if meant["t"] in native.CLIENT_MESSAGES else native.decode_server
    assert native.encode(decode(raw)) == raw


def test_the_documentation_has_examples() -> None:
    assert len(documented()) >= 12


def test_the_documentation_names_every_message_field_and_code() -> None:
    text = PROTOCOL.read_text()
    for cls in {**native.CLIENT_MESSAGES, **native.SERVER_MESSAGES}.values():
        assert f"`{cls.KIND}`" in text
        for field in cls.__attrs_attrs__:
            assert f"`{field.name}`" in text, (cls.KIND, field.name)
    for word in (*native.ERROR_CODES, *native.HINTS):
        assert word in text
