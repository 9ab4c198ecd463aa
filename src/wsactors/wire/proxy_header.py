"""The PROXY protocol: the line or block with which a proxy says for whom it has opened a connection. Pure.

Versions 1 (text) and 2 (binary) of the HAProxy specification "The PROXY protocol" (2020/03/05). TLVs of version 2 are
skipped; what is read is bounded, as the specification asks.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import Final

import attrs

from .errors import ProtocolError

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_LINE: Final = 107
"""Longest header of version 1 (§2.1), its CRLF included."""
MAX_BLOCK: Final = 16 + 1024
"""Longest header of version 2 that is read here: addresses of UNIX sockets take 216 bytes, the rest is for TLVs."""
_V1: Final = b"PROXY "
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) ([0-9]{1,5}) ([0-9]{1,5})")
_V2_HEAD = struct.Struct("!12sBBH")
_ADDRESS_BYTES: Final = {1: 4, 2: 16}
"""By address family, the upper half of the family byte: AF_INET, AF_INET6."""
_LOCAL, _PROXY = 0x20, 0x21


@attrs.frozen
class ProxyHeader:
    """What a proxy said."""

    client: tuple[str, int] | None
    """Address and port of the client; None when the proxy speaks for itself, as in a health check."""
    size: int
    """How many bytes it took."""


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """The PROXY header that ``data`` begins with; None while it is not complete.

    Raises:
        ProtocolError: There is none, or it is malformed.

    Example:
        >>> parse_proxy_header(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\\r\\nGET /").client
        ('192.0.2.7', 4711)
    """
    if data.startswith(_V1):
        return _parse_line(data)
    if data.startswith(SIGNATURE):
        return _parse_block(data)
    if _V1.startswith(data) or SIGNATURE.startswith(data):
        return None
    raise ProtocolError("expected a PROXY header")


def _parse_line(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, MAX_LINE)
    if end < 0:
        if len(data) >= MAX_LINE:
            raise ProtocolError(f"a PROXY line is longer than {MAX_LINE} bytes")
        return None
    line = data[:end]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader(None, end + 2)
    match = _LINE.fullmatch(line)
    if match is None or int(match[4]) > 65_535 or int(match[5]) > 65_535:
        raise ProtocolError("malformed PROXY line")
    try:
        addresses = [ipaddress.ip_address(match[at].decode("ascii")) for at in (2, 3)]
    except ValueError:
        raise ProtocolError("malformed address in a PROXY line") from None
    if any(address.version != int(match[1]) for address in addresses):
        raise ProtocolError("an address of another family in a PROXY line")
    return ProxyHeader((str(addresses[0]), int(match[4])), end + 2)


def _parse_block(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_HEAD.size:
        return None
    _, command, family, length = _V2_HEAD.unpack_from(data)
    size = _V2_HEAD.size + length
    if command not in {_LOCAL, _PROXY}:
        raise ProtocolError("unknown version or command of a PROXY header")
    if size > MAX_BLOCK:
        raise ProtocolError(f"a PROXY header is longer than {MAX_BLOCK} bytes")
    if len(data) < size:
        return None
    if command == _LOCAL or family >> 4 not in _ADDRESS_BYTES:
        return ProxyHeader(None, size)
    width = _ADDRESS_BYTES[family >> 4]
    if length < 2 * width + 4:
        raise ProtocolError("a PROXY header is too short for its addresses")
    start = _V2_HEAD.size
    address = ipaddress.ip_address(data[start : start + width])
    (port,) = struct.unpack_from("!H", data, start + 2 * width)
    return ProxyHeader((str(address), port), size)
