"""The head of an HTTP/1.x request, read strictly: what one reader takes for a header, every reader must.

Only enough to decide where a connection goes; the bytes are then replayed to whoever serves it. This parser is stricter
than any behind it (RFC 9112 with none of its leniencies: no bare LF, no folded lines, no space before a colon, no
repeated Host, never both Content-Length and Transfer-Encoding), so that nobody behind it can understand a request
differently: the ground of request smuggling.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import attrs

from .errors import HeadError

MAX_HEAD_BYTES: Final = 16 * 1024
"""Largest request head: IIS allows 16 KiB, Apache 8 KiB per line, node 16 KiB in all."""
MAX_HEADERS: Final = 64
MAX_TARGET_BYTES: Final = 4 * 1024

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]+) HTTP/([0-9])\.([0-9])")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_ONCE: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"origin", b"sec-websocket-key"})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"expect", b"trailer", b"te"})
_END: Final = b"\r\n\r\n"
_MOST_DIGITS: Final = 15
"""Of a Content-Length: far more than anybody is allowed, and no work to read."""


@attrs.frozen
class RequestHead:
    """One request head."""

    method: str
    target: str
    """As sent: path and query, percent-encoded."""
    minor_version: int
    """0 or 1, of HTTP/1.x."""
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case, values without surrounding blanks, in the order sent."""
    size: int
    """How many bytes the head took, its blank line included."""

    def get(self, name: bytes) -> bytes | None:
        """The first value of header ``name`` (lower case)."""
        return next((value for each, value in self.headers if each == name), None)

    def joined(self, name: bytes) -> bytes | None:
        """All values of header ``name``, which is a list that may be spread over several lines."""
        return b",".join(value for each, value in self.headers if each == name) or None

    def tokens(self, name: bytes) -> frozenset[bytes]:
        """The comma-separated tokens of all headers ``name``, in lower case."""
        values = (value for each, value in self.headers if each == name)
        return frozenset(token.strip().lower() for value in values for token in value.split(b","))

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def body_length(self) -> int | None:
        """Bytes of the body that follows; None when it comes in chunks."""
        if self.get(b"transfer-encoding") is not None:
            return None
        return int(self.get(b"content-length") or b"0")

    def encode_with_length(self, length: int) -> bytes:
        """This head for a body of ``length`` bytes that is already here: nothing in it frames or announces another."""
        lines = [f"{self.method} {self.target} HTTP/1.{self.minor_version}".encode("ascii")]
        lines += [name + b": " + value for name, value in self.headers if name not in _FRAMING]
        lines.append(b"content-length: %d" % length)
        return b"\r\n".join(lines) + _END

    @property
    def wants_websocket(self) -> bool:
        """Whether this asks for a WebSocket, well-formed or not: whoever says so is never served as plain HTTP."""
        return b"websocket" in self.tokens(b"upgrade")


def parse_head(
    data: bytes | bytearray, *, max_bytes: int = MAX_HEAD_BYTES, max_headers: int = MAX_HEADERS
) -> RequestHead | None:
    """The request head that ``data`` begins with; None while it is not complete.

    Raises:
        HeadError: It is malformed or larger than allowed; its ``status`` is the answer.

    Example:
        >>> parse_head(b"GET /a?b HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nrest").path
        '/a'
        >>> parse_head(b"GET / HT") is None
        True
    """
    end = data.find(_END, 0, max_bytes)
    if end < 0:
        if len(data) >= max_bytes:
            raise HeadError(431, f"the request head is larger than {max_bytes} bytes")
        _check_beginning(data)
        return None
    lines = bytes(data[:end]).split(b"\r\n")
    method, target, minor = _request_line(lines[0])
    if len(lines) - 1 > max_headers:
        raise HeadError(431, f"more than {max_headers} headers")
    headers = tuple(_header(line) for line in lines[1:])
    _check_framing(headers, minor)
    return RequestHead(method, target, minor, headers, end + len(_END))


def head_of_fields(fields: Iterable[tuple[bytes, bytes]], *, max_headers: int = MAX_HEADERS) -> RequestHead:
    """The head that the fields of an HTTP/2 request amount to, held to the same rules as one of HTTP/1.1.

    Raises:
        HeadError: As `parse_head`.
    """
    pseudo: dict[bytes, bytes] = {}
    plain: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        if name.startswith(b":"):
            pseudo[name] = value
        elif name != b"host" or b":authority" not in pseudo:
            plain.append(_header(name + b": " + value))
    if b":protocol" in pseudo:
        raise HeadError(501, "extended CONNECT is not spoken here")
    if b":authority" in pseudo:
        plain.insert(0, (b"host", pseudo[b":authority"]))
    line = b"%s %s HTTP/1.1" % (pseudo.get(b":method", b""), pseudo.get(b":path", b""))
    method, target, minor = _request_line(line)
    if len(plain) > max_headers:
        raise HeadError(431, f"more than {max_headers} headers")
    headers = tuple(plain)
    _check_framing(headers, minor)
    return RequestHead(method, target, minor, headers, 0)


def _check_beginning(data: bytes | bytearray) -> None:
    """Refuse at once what can no longer become a request line, such as a TLS hello on a plain port."""
    first = bytes(data[:1])
    if first and not b"A" <= first <= b"Z":
        raise HeadError(400, "this does not begin like an HTTP request")


def _request_line(line: bytes) -> tuple[str, str, int]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise HeadError(400, "malformed request line")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise HeadError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if len(target) > MAX_TARGET_BYTES:
        raise HeadError(414, f"the request target is longer than {MAX_TARGET_BYTES} bytes")
    if not target.startswith(b"/"):
        raise HeadError(400, "the request target must be a path")
    return method.decode("ascii"), target.decode("ascii"), min(int(minor), 1)


def _header(line: bytes) -> tuple[bytes, bytes]:
    match = _HEADER.fullmatch(line)
    if match is None:
        raise HeadError(400, "malformed header line")
    return match[1].lower(), match[2]


def _check_framing(headers: tuple[tuple[bytes, bytes], ...], minor: int) -> None:
    names = [name for name, _ in headers]
    if any(names.count(name) > 1 for name in _ONCE):
        raise HeadError(400, "a header that may appear once appears twice")
    if b"host" not in names and minor >= 1:
        raise HeadError(400, "the Host header is missing")
    if b"content-length" in names and b"transfer-encoding" in names:
        raise HeadError(400, "both Content-Length and Transfer-Encoding")
    for name, value in headers:
        if name == b"content-length" and not (value.isdigit() and len(value) <= _MOST_DIGITS):
            raise HeadError(400, "malformed Content-Length")
        if name == b"transfer-encoding" and (value.lower() != b"chunked" or minor < 1):
            raise HeadError(400, "only chunked Transfer-Encoding is understood, and not in HTTP/1.0")
