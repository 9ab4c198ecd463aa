"""The opening handshake of a WebSocket (RFC 6455 §4.2), server side: what is accepted, and the answers. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

from wsactors.wire.http_head import RequestHead

from .app import SECURITY_HEADERS
from .guard import Refusal

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def check_handshake(head: RequestHead) -> Refusal | None:
    """Why ``head`` is no WebSocket handshake (RFC 6455 §4.2.1); None when it is one."""
    if head.method != "GET" or head.minor_version < 1 or b"upgrade" not in head.tokens(b"connection"):
        return Refusal(400, "a WebSocket handshake is a GET of HTTP/1.1 with Connection: Upgrade")
    if head.get(b"transfer-encoding") is not None or head.get(b"content-length") not in {None, b"0"}:
        return Refusal(400, "a WebSocket handshake has no body")
    if head.get(b"sec-websocket-version") != b"13":
        return Refusal(426, "only WebSocket version 13 is spoken here")
    try:
        key = base64.b64decode(head.get(b"sec-websocket-key") or b"", validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 16:
        return Refusal(400, "Sec-WebSocket-Key must be 16 bytes in base64")
    return None


def subprotocols(head: RequestHead) -> tuple[str, ...]:
    """What the client offers to speak, best first, as sent."""
    values = (value for name, value in head.headers if name == b"sec-websocket-protocol")
    return tuple(token.strip().decode("latin-1") for value in values for token in value.split(b",") if token.strip())


def switching_protocols(
    head: RequestHead,
    *,
    subprotocol: str | None = None,
    extensions: str = "",
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """The answer that opens the WebSocket which ``head`` asks for.

    Raises:
        ValueError: A header has a line break in it.
    """
    key = head.get(b"sec-websocket-key") or b""
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines.append(f"Sec-WebSocket-Accept: {accept}")
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    if extensions:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    lines += [f"{name}: {value}" for name, value in headers]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header must not contain a line break")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"


def http_answer(
    status: int, body: bytes, content_type: str = "text/plain; charset=utf-8", headers: Mapping[str, str] | None = None
) -> bytes:
    """A whole HTTP response that ends the connection: to a request that is refused before anybody serves it.

    Raises:
        ValueError: A header has a line break in it, or there is no such status.
    """
    fields = {
        **SECURITY_HEADERS,
        "content-type": content_type,
        "content-length": str(len(body)),
        "connection": "close",
        **(headers or {}),
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header must not contain a line break")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body
