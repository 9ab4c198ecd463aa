from __future__ import annotations

import json
import math
from typing import Any

import msgpack
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wsactors.wire import native
from wsactors.wire.errors import ProtocolError

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=native.MAX_NAME)
words = st.text(st.characters(codec="utf-8"), max_size=200)
u32 = st.integers(0, 2**32 - 1)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-native.MAX_EXACT_INT, native.MAX_EXACT_INT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
infos = st.builds(native.SessionInfo, names, words, st.just("battle"), u32)
client_messages = st.one_of(
    st.builds(
        native.Hello,
        st.lists(st.integers(1, 255), max_size=16).map(tuple),
        st.text(st.characters(codec="utf-8"), max_size=128),
    ),
    st.just(native.ListSessions()),
    st.builds(native.Join, names),
    st.builds(native.Leave, names),
    st.builds(native.Ping, u32),
    st.builds(native.Pong, u32),
)
server_messages = st.one_of(
    st.builds(native.Welcome, st.integers(1, 255), names),
    st.builds(native.Sessions, st.lists(infos, max_size=4).map(tuple)),
    st.builds(native.Joined, names, u32, words),
    st.builds(native.Left, names, words),
    st.builds(native.Error, st.just("no_session"), words),
    st.builds(native.Event, names, st.just("state"), st.dictionaries(st.just("decks"), st.integers(0, 9), max_size=1)),
)


@given(client_messages)
def test_a_client_message_comes_back_as_it_was(message: Any) -> None:
    assert native.decode_client(native.encode(message)) == message


@given(server_messages)
def test_a_server_message_comes_back_as_it_was(message: Any) -> None:
    assert native.decode_server(native.encode(message)) == message


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    for decode in (native.decode_client, native.decode_server):
        try:
            message = decode(data)
        except ProtocolError:
            continue
        if not isinstance(message, native.AudioFrame):
            assert decode(native.encode(message)) == message


@given(plain)
def test_an_event_carries_plain_data_or_is_refused_for_depth(value: Any) -> None:
    event = native.Event("s", "state", {"x": value})
    try:
        data = native.encode(event)
    except ProtocolError:
        assume(False)

    received = native.decode_server(data)

    assert isinstance(received, native.Event)
    json.dumps(received.payload, allow_nan=False)  # whatever came in, a text-only client can be told


def pack(**body: object) -> bytes:
    return bytes(msgpack.packb(body))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "expected a msgpack map"),
        (b"\x93\x01\x02\x03", "expected a msgpack map"),
        (b"\xdf\xff\xff\xff\xff", "expected a msgpack map"),
        (pack(t="hello")[:-1], "not one well-formed"),
        (pack(t="list") + b"\x00", "not one well-formed"),
        (pack(t="shutdown"), "t: expected one of"),
        (pack(), "t: expected one of"),
        (pack(t=["join"]), "t: expected one of"),
        (pack(t="welcome", version=1, node="x"), "t: expected one of"),
        (pack(t="join"), "join.session: missing"),
        (pack(t="join", session="a", admin=True), "join: unknown field"),
        (pack(t="join", session=""), "join.session: expected a text of 1 to 128"),
        (pack(t="join", session="x" * 129), "join.session"),
        (pack(t="join", session=b"abc"), "join.session"),
        (pack(t="ping", nonce=True), "ping.nonce: expected an integer"),
        (pack(t="ping", nonce=-1), "ping.nonce"),
        (pack(t="ping", nonce=1.0), "ping.nonce"),
        (pack(t="hello", versions=[1] * 17), "hello.versions: expected a list"),
        (pack(t="hello", versions=[0]), r"hello.versions\[0\]"),
        (b"\x82\xa1t\xa4list\xa1t\xa4list", "appears twice"),
        (b"\x82\xa1t\xa4join\xa7session\xa2\xed\xa0", "not one well-formed"),
        (b"\x81\xa1t\xd4\x05\x00", "extension"),
        (b"\x82\xa1t\xa4ping\xa5nonce" + b"\x91" * 2000 + b"\x01", "not one well-formed|ping.nonce"),
        (pack(t="hello", client="x" * 20_000), "more than the 16384"),
    ],
)
def test_what_a_client_may_not_send(data: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        native.decode_client(data)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"x": math.nan}, "event.payload.x: expected a finite number"),
        ({"x": math.inf}, "finite"),
        ({"x": 2**60}, "double"),
        ({"x": [[[[1]]]]}, "nesting"),
        ({"x": {"k" * 200: 1}}, "keys"),
        ({"x": object()}, "plain data"),
    ],
)
def test_nothing_is_sent_that_another_codec_could_not_carry(payload: Any, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        native.encode(native.Event("s", "state", payload))


def test_a_surrogate_is_refused_and_clip_makes_it_sendable() -> None:
    with pytest.raises(ProtocolError, match="UTF-8"):
        native.encode(native.Left("s", "a\ud800"))

    left = native.Left("s", native.clip("a\ud800" + "x" * 600))

    assert native.decode_server(native.encode(left)) == left
    assert len(left.reason) == native.MAX_TEXT


@given(st.lists(infos, max_size=130))
def test_a_list_of_sessions_always_fits_one_message(found: list[native.SessionInfo]) -> None:
    message = native.sessions_that_fit(found)

    assert native.decode_server(native.encode(message)) == message
    assert list(message.sessions) == found[: len(message.sessions)]


def test_a_list_of_sessions_is_cut_only_when_it_must_be() -> None:
    short = [native.SessionInfo(f"s{n}", "t") for n in range(130)]
    long = [native.SessionInfo(f"s{n}", "ü" * 512) for n in range(130)]

    assert len(native.sessions_that_fit(short).sessions) == native.MAX_SESSIONS
    assert 12 <= len(native.sessions_that_fit(long).sessions) < native.MAX_SESSIONS
    native.encode(native.sessions_that_fit(long))


def test_the_documented_bytes_are_the_real_ones() -> None:
    assert native.encode(native.Ping(7)).hex(" ") == "82 a1 74 a4 70 69 6e 67 a5 6e 6f 6e 63 65 07"
    frame = native.encode_audio(3, 258, 960, b"\xfc\xff\xfe", level=20, flags=native.FLAG_DISCONTINUITY)
    assert frame.hex(" ") == "01 01 00 00 00 03 00 00 01 02 00 00 00 00 00 00 03 c0 14 fc ff fe"


@given(
    u32,
    st.integers(0, 2**40),
    st.integers(0, native.MAX_EXACT_INT),
    st.binary(min_size=1, max_size=400),
    st.integers(0, 127),
    st.integers(0, 0x7F),
)
def test_an_audio_frame_comes_back_as_it_was(
    track: int, sequence: int, timestamp: int, payload: Any, level: int, flags: int
) -> None:
    data = native.encode_audio(track, sequence, timestamp, payload, level=level, flags=flags)

    assert native.decode_server(data) == native.AudioFrame(track, sequence % 2**32, timestamp, payload, level, flags)


@pytest.mark.parametrize("data", [
    b"\x01" * 19,
    b"\x01\x80" + b"\x00" * 18,
    b"\x01\x00" + b"\x00" * 8 + b"\xff" * 8 + b"\x00x",
    b"\x01\x00" + b"\x00" * 16 + b"\x80x",
    native.encode_audio(1, 1, 1, b"x" * 4000) + b"y",
])  # fmt: skip
def test_a_malformed_audio_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="audio frame"):
        native.decode_server(data)


def test_a_client_may_not_send_audio_frames() -> None:
    with pytest.raises(ProtocolError):
        native.decode_client(native.encode_audio(1, 1, 1, b"x"))


@pytest.mark.parametrize("arguments", [(1, 1, -1, b"x"), (1, 1, 2**53, b"x"), (1, 1, 1, b""), (1, 1, 1, b"x" * 4001)])
def test_an_audio_frame_out_of_range_is_refused_at_the_encoder(arguments: Any) -> None:
    with pytest.raises(ProtocolError):
        native.encode_audio(*arguments)
