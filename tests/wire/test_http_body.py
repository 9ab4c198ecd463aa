from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.wire.errors import HeadError
from wsactors.wire.http_body import ChunkedBody
from wsactors.wire.http_head import parse_head

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.binary(max_size=8), st.data())
def test_any_cut_of_a_body_gives_that_body_and_leaves_what_follows(
    pieces: list[bytes], after: bytes, data: st.DataObject
) -> None:
    wire = chunked(*pieces)
    body = ChunkedBody(max_bytes=1000)
    position = 0
    complete = False
    while not complete:
        step = data.draw(st.integers(1, len(wire) - position))
        complete = body.feed(wire[position : position + step])
        position += step
    assert position == len(wire)
    assert bytes(body.data) == b"".join(pieces)
    assert ChunkedBody(max_bytes=1000).feed(wire + after)


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"5;name=value\r\nhello\r\n", 400),
        (b"5 \r\nhello\r\n", 400),
        (b"+5\r\nhello\r\n", 400),
        (b"0x5\r\nhello\r\n", 400),
        (b"5_0\r\nhello\r\n", 400),
        (b"\r\n", 400),
        (b"-1\r\n", 400),
        (b"5\nhello\n", 400),
        (b"5\r\nhello!\r\n", 400),
        (b"5\r\nhello\n", 400),
        (b"5\r\nhello0\r\n\r\n", 400),
        (b"0\r\nTrailer: x\r\n\r\n", 400),
        (b"000000005\r\n", 400),
        (b"5" + b";" * 40, 400),
        (b"65\r\n", 413),
        (b"ffffffff\r\n", 413),
        (b"1\r\na\r\n" * 5, 413),
        ("５\r\nhello\r\n".encode(), 400),
    ],
)
def test_what_is_no_body_is_refused(wire: bytes, status: int) -> None:
    with pytest.raises(HeadError) as caught:
        ChunkedBody(max_bytes=100, max_chunks=4).feed(wire)
    assert caught.value.status == status


@given(st.lists(st.sampled_from([b"5", b"0", b"\r\n", b"\n", b"\r", b";x", b"hello", b" ", b"a", b"G"]), max_size=14))
def test_whatever_is_taken_is_understood_alike_by_the_server_behind(pieces: list[bytes]) -> None:
    """h11 is given the canonical request; here it reads the original and finds the same body and the same end."""
    wire = b"".join(pieces)
    body = ChunkedBody(max_bytes=1000)
    try:
        if not body.feed(wire):
            return
    except HeadError:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + wire)
    found = b""
    while True:
        event = server.next_event()
        if isinstance(event, h11.Data):
            found += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
    assert found == bytes(body.data)
    assert server.trailing_data[0] == bytes(body.rest)


@given(st.binary(max_size=50), st.sampled_from([b"", b"Expect: 100-continue\r\nTrailer: a\r\n"]))
def test_the_canonical_request_has_one_length_and_no_other_framing(content: bytes, more: bytes) -> None:
    head = parse_head(HEAD + more + b"X-A: b\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert head is not None
    assert head.body_length is None

    server = h11.Connection(h11.SERVER)
    server.receive_data(head.encode_with_length(len(content)) + content)
    request = server.next_event()

    assert isinstance(request, h11.Request)
    assert [(bytes(name), bytes(value)) for name, value in request.headers] == [
        (b"host", b"x"),
        (b"x-a", b"b"),
        (b"content-length", b"%d" % len(content)),
    ]
