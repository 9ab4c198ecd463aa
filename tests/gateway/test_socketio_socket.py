"""What a socket keeps for a client that comes back, against a model; and what its namespace's formats write."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.gateway.socketio_formats import (
    ARGUMENTS,
    UNLESS,
    Marked,
    Offsets,
    RoomFormat,
    TopicFormat,
    frames_of,
)
from wsactors.gateway.socketio_socket import Once, RecoveryLog, Socket
from wsactors.realtime.identity import ANONYMOUS
from wsactors.realtime.publication import PresenceDiff, Publication
from wsactors.wire import socketio as sio
from wsactors.wire.engineio import pieces_of

PACKETS, SPACE = 6, 400


def event(*arguments: Any) -> bytes:
    return frames_of(sio.Packet(sio.EVENT, "/", ["e", *arguments]))


def said(frames: bytes | None) -> Any:
    assert frames is not None
    return json.loads(next(pieces_of(frames)).data.partition(b"[")[2].join([b"[", b""]))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 150)), max_size=25), st.integers(-1, 24))
@settings(max_examples=300)
def test_what_is_given_back_is_whole_or_nothing(sent: list[tuple[bool, int]], seen: int) -> None:
    """A client has seen everything up to ``seen``, and says so by the last offset that it has got."""
    log = RecoveryLog(PACKETS, SPACE)
    frames = [event("x" * size, f"offset {number}") for number, (_, size) in enumerate(sent)]
    for (repeats, _), each in zip(sent, frames, strict=True):
        log.add(each if repeats else Once(each))
    kept = frames[-PACKETS:]
    while sum(map(len, kept)) > SPACE:
        kept = kept[1:]

    if 0 <= seen < len(sent):
        missed = log.since(f"offset {seen}")
        expected = [each for (repeats, _), each in zip(sent[seen + 1 :], frames[seen + 1 :], strict=True) if repeats]
        assert missed == (expected if frames[seen] in kept else None)
    else:
        expected = [each for (repeats, _), each in zip(sent, frames, strict=True) if repeats]
        assert log.since(None) == (expected if len(kept) == len(frames) else None)


def test_an_offset_that_stands_for_two_places_stands_for_none() -> None:
    log = RecoveryLog(PACKETS, SPACE)
    log.add(Once(event("again")))
    log.add(event("o1"))
    log.add(Once(event("again")))

    assert log.since("again") is None
    assert log.since("o1") == []


def test_offsets_are_never_the_same() -> None:
    offsets, others = Offsets(), Offsets()

    assert len({maker.next() for _ in range(100) for maker in (offsets, others)}) == 200


def test_a_publication_becomes_an_event_with_its_payload_or_its_arguments() -> None:
    room = RoomFormat("/chat")

    assert said(room.publication(Publication(topic="t", event="e", payload={"a": 1}))) == ["e", {"a": 1}]
    assert said(room.publication(Publication(topic="t", event="e", payload=[1, 2]))) == ["e", [1, 2]]
    arguments = Publication(topic="t", event="e", payload=[1, 2], meta={ARGUMENTS: True})
    assert said(room.publication(arguments)) == ["e", 1, 2]
    assert room.publication(Publication(topic="t", event="disconnect", payload={})) is None
    assert room.publication(Publication(topic="t", event="e", payload=float("nan"))) is None


def test_who_is_left_out_is_said_with_the_bytes() -> None:
    marked = RoomFormat("/").publication(Publication(topic="t", event="e", payload=1, meta={UNLESS: ["a", "b"]}))

    assert isinstance(marked, Marked)
    assert marked.unless == frozenset({"a", "b"})
    assert not marked.is_volatile
    socket = Socket(RoomFormat("/"), ANONYMOUS)
    socket.rooms |= {"b"}
    assert socket.offer(marked)
    assert socket._held == []


def test_topics_are_events_with_their_names() -> None:
    topics = TopicFormat("/")

    message = topics.publication(Publication(topic="t", event="e", payload=None, offset=3, epoch="x", id="i", at=1.5))
    assert said(message) == ["message", "t", "e", None, {"epoch": "x", "offset": 3, "id": "i", "at": 1.5}]
    diff = PresenceDiff("t", {"k": [{"phx_ref": "1"}]}, {})
    assert said(topics.presence_diff(diff)) == [
        "presence_diff",
        "t",
        {"joins": {"k": [{"phx_ref": "1"}]}, "leaves": {}},
    ]
