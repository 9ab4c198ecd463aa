from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.wire.errors import ProtocolError
from wsactors.wire.proxy_header import MAX_BLOCK, MAX_LINE, SIGNATURE, ProxyHeader, parse_proxy_header

addresses = st.ip_addresses()


def line(client: str, server: str, port: int, family: int) -> bytes:
    return f"PROXY TCP{family} {client} {server} {port} 443\r\n".encode()


def block(client: str, port: int, *, command: int = 0x21, more: bytes = b"") -> bytes:
    packed = ipaddress.ip_address(client).packed
    family = 0x11 if len(packed) == 4 else 0x21
    body = packed + packed + struct.pack("!HH", port, 443) + more
    return SIGNATURE + bytes((command, family)) + struct.pack("!H", len(body)) + body


@given(addresses, st.integers(0, 65_535), st.booleans(), st.binary(max_size=20))
def test_both_versions_say_the_same_and_every_beginning_waits(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, text: bool, after: bytes
) -> None:
    client = str(address)
    wire = line(client, client, port, address.version) if text else block(client, port, more=b"\x04\x00\x01x")
    assert parse_proxy_header(wire + after) == ProxyHeader((client, port), len(wire))
    assert all(parse_proxy_header(wire[:cut]) is None for cut in range(len(wire)))


@pytest.mark.parametrize(
    "wire",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        block("192.0.2.7", 1, command=0x20),
        SIGNATURE + b"\x21\x00\x00\x00",
        SIGNATURE + b"\x21\x31" + struct.pack("!H", 216) + bytes(216),
    ],
)
def test_a_proxy_may_speak_for_itself(wire: bytes) -> None:
    assert parse_proxy_header(wire + b"GET") == ProxyHeader(None, len(wire))


@pytest.mark.parametrize(
    "wire",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443 \r\n",
        b"PROXY TCP4  192.0.2.7 192.0.2.1 4711 443\r\n",
        b"PROXY TCP4 999.0.2.7 192.0.2.1 4711 443\r\n",
        b"PROXY TCP4 ::1 ::1 4711 443\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 70000\r\n",
        b"PROXY UDP4 192.0.2.7 192.0.2.1 4711 443\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\n" + b"x" * MAX_LINE,
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
        SIGNATURE + b"\x21\x11" + struct.pack("!H", MAX_BLOCK),
    ],
)
def test_what_is_no_header_is_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_proxy_header(wire)


@given(
    st.binary(max_size=120)
    | st.binary(max_size=120).map(SIGNATURE.__add__)
    | st.binary(max_size=99).map(b"PROXY ".__add__)
)
def test_arbitrary_bytes_are_a_header_or_a_protocol_error(data: bytes) -> None:
    try:
        header = parse_proxy_header(data)
    except ProtocolError:
        return
    assert header is None or header.size <= len(data)
