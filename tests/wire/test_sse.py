from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.wire.errors import ProtocolError
from wsactors.wire.sse import (
    COMMENT,
    MAX_LINE,
    EventReader,
    ServerEvent,
    decode_position,
    encode_event,
    encode_position,
)

line = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)
word = st.text("abcdefgh_", min_size=1, max_size=8)


@given(st.lists(st.tuples(line, word, word, st.none() | st.integers(0, 9999)), max_size=6), st.data())
def test_events_arrive_as_they_were_written_however_they_are_cut(
    sent: list[tuple[str, str, str, int | None]], data: st.DataObject
) -> None:
    wire = b"".join(
        encode_event(text.encode(), kind=kind, id=place, retry=retry) + COMMENT for text, kind, place, retry in sent
    )
    reader = EventReader()
    got: list[ServerEvent] = []
    position = 0
    while position < len(wire):
        step = data.draw(st.integers(1, len(wire) - position))
        got += reader.feed(wire[position : position + step])
        position += step
    assert [(each.data, each.kind, each.id, each.retry) for each in got] == sent


@given(
    st.lists(
        st.sampled_from([b"data: a", b"data", b"\n", b"\r", b"\r\n", b":x", b"id: 1", b"event: e", b"\xff"]),
        max_size=20,
    )
)
def test_a_reader_takes_whatever_comes(pieces: list[bytes]) -> None:
    whole, single = EventReader(), EventReader()
    together = whole.feed(b"".join(pieces) + b"\n\n")
    apart = [event for piece in [*pieces, b"\n\n"] for byte in piece for event in single.feed(bytes([byte]))]
    assert together == apart


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(ProtocolError):
        EventReader().feed(b"data: " + b"x" * (MAX_LINE + 1))


@pytest.mark.parametrize("fields", [{"data": b"a\nb"}, {"data": b"a\rb"}, {"kind": "a\nb"}, {"id": "a\nid: b"}])
def test_a_field_of_several_lines_is_not_written(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="one line"):
        encode_event(**{"data": b"x", **fields})  # type: ignore[arg-type]


def test_a_position_reads_back_and_nothing_else_is_one() -> None:
    assert decode_position(encode_position("a-Z_9", 12)) == ("a-Z_9", 12)
    assert encode_position("", 0) == ""
    for text in ("", "a", "a:", ":1", "a:-1", "a:1:2", "a b:1", "a:1\n", "a:" + "9" * 16, "a:١"):
        with pytest.raises(ProtocolError):
            decode_position(text)
