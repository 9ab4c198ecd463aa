from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.wire.errors import HeadError
from wsactors.wire.http_head import MAX_HEAD_BYTES, parse_head

GET = b"GET /a/b?c=d HTTP/1.1\r\nHost: localhost:8080\r\n"


def test_a_head_is_read_and_what_follows_is_left() -> None:
    head = parse_head(GET + b"X-One:\t 1 \r\nUpgrade: h2c, WebSocket\r\n\r\nrest")

    assert head is not None
    assert (head.method, head.target, head.path, head.minor_version) == ("GET", "/a/b?c=d", "/a/b", 1)
    assert head.get(b"x-one") == b"1"
    assert head.wants_websocket
    assert head.size == len(GET) + len(b"X-One:\t 1 \r\nUpgrade: h2c, WebSocket\r\n\r\n")


def test_every_beginning_of_a_good_head_waits_for_more() -> None:
    whole = GET + b"\r\n"
    assert all(parse_head(whole[:cut]) is None for cut in range(len(whole)))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\r\n\r\n", 400),
        (b"GET http://evil/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (GET + b"Host: other\r\n\r\n", 400),
        (GET + b" folded\r\n\r\n", 400),
        (GET + b"Name : value\r\n\r\n", 400),
        (GET + b"Name: a\rb\r\n\r\n", 400),
        (GET + b"Name: a\x00b\r\n\r\n", 400),
        (GET + b"Name: a\nEvil: b\r\n\r\n", 400),
        (GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (GET + b"Content-Length: +1\r\n\r\n", 400),
        (GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400),
        (GET + b"Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: b\r\n\r\n", 400),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (GET + b"A: b\r\n" * 64 + b"\r\n", 431),
        (GET + b"A: " + b"b" * MAX_HEAD_BYTES, 431),
        (GET + b"A: " + b"b" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
    ],
)
def test_a_head_that_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(HeadError) as caught:
        parse_head(data)

    assert caught.value.status == status


PIECES = (
    b"GET|POST| |/|/x?y|HTTP/1.1|\r\n|\n|\r|Host|:|: |localhost|Upgrade: websocket\r\n|Content-Length: 3|\t|\x00|\xff"
    b"|Transfer-Encoding: chunked|GET / HTTP/1.1\r\nHost: a\r\n|\r\n\r\n"
).split(b"|")
pieces = st.sampled_from(PIECES)


@given(st.lists(pieces, max_size=14).map(b"".join) | st.binary(max_size=60))
def test_what_passes_here_is_understood_alike_by_the_server_behind(data: bytes) -> None:
    """One parser decides: h11, which reads the replayed bytes, sees the same request."""
    try:
        head = parse_head(data)
    except HeadError:
        return
    if head is None:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)

    request = server.next_event()

    assert isinstance(request, h11.Request)
    assert request.method == head.method.encode()
    assert request.target == head.target.encode()
    assert [(bytes(name), bytes(value)) for name, value in request.headers] == list(head.headers)
