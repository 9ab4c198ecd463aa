"""WebTransport on HTTP/3 (RFC 9114, 9220, 9297; draft-ietf-webtrans-http3), the server's side of one connection.

A connection carries one session, begun by a CONNECT request; other requests are answered with an error. Measured with
Chromium 156 and aioquic 1.7.2: browsers still negotiate draft 02, so that its SETTING is needed; Safari wants the one of
draft 13, which aioquic does not send; the one of draft 7 made Chrome choose that draft in 2023 and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import attrs
import pylsqpack
from aioquic.h3.connection import H3Connection, Setting
from aioquic.h3.events import DatagramReceived, DataReceived, H3Event, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.events import QuicEvent, StopSendingReceived, StreamDataReceived, StreamReset

from wsactors.wire.capsules import (
    CapsuleParser,
    Close,
    Drain,
    code_of,
    encode_close,
    encode_drain,
    encode_varint,
    http_error_of,
)
from wsactors.wire.errors import ProtocolError

from .connection import Connection
from .guard import Allowance

H3_NO_ERROR: Final = 0x100
H3_EXCESSIVE_LOAD: Final = 0x107
H3_MESSAGE_ERROR: Final = 0x10E
WT_BUFFERED_STREAM_REJECTED: Final = 0x3994BD84
"""A stream came whose session is not open."""
WT_SESSION_GONE: Final = 0x170D7B68
WT_MAX_SESSIONS: Final = 0x14E9CD29
WT_ENABLED: Final = 0x2C7CF000
MAX_HEADER_BYTES: Final = 16 * 1024
"""Of one request's headers, and of whatever else a peer leaves unfinished on a stream of HTTP/3's own."""
MAX_HEADERS: Final = 100
STREAM_BURST: Final = 64.0
STREAM_RATE: Final = 16.0
"""Streams that a peer may open each second, whatever becomes of them."""
LAST_WORDS_SECONDS: Final = 1.0
"""In which a peer should have acknowledged the session's end; then the connection is closed anyway."""
_PROTOCOLS: Final = frozenset({b"webtransport", b"webtransport-h3"})
_TOKEN: Final = re.compile(rb'"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,64})"')
_BUSY: Final = ((b":status", b"429"),)


@attrs.frozen
class ConnectRequest:
    """What opens a session."""

    authority: bytes
    path: bytes
    """With the query."""
    origin: bytes | None
    """Of the page that asks; None: no browser does."""
    protocols: tuple[str, ...]
    """The sub-protocols that are offered, best first."""


@attrs.frozen
class Accepted:
    """The session may begin."""

    open: Callable[[Session], Handler]
    protocol: str | None = None
    """One of those offered."""


@attrs.frozen
class Rejected:
    """It may not."""

    status: int


class Handler(Protocol):
    """What is spoken in a session. Nothing here may wait."""

    def datagram(self, data: bytes, /) -> None:
        """The peer has sent one."""
        ...

    def stream_data(self, stream_id: int, data: bytes, /, *, end: bool) -> None:
        """More of a stream; of one that the peer has opened, if it is not known yet."""
        ...

    def stream_ended(self, stream_id: int, code: int | None, /) -> None:
        """The peer gives a stream up, or wants no more of it. ``code`` is its application's; None: it gave none."""
        ...

    def draining(self) -> None:
        """The peer asks for an end of the session, soon."""
        ...

    def ended(self, code: int, reason: str, /) -> None:
        """The session has ended, by the peer or with the connection. Called once."""
        ...


class _Strict(H3Connection):
    """aioquic's HTTP/3 with a browser's settings, and without QPACK's dynamic table.

    A session is one request: the table would save nothing, and lets a few bytes stand for megabytes of headers.
    """

    def _init_connection(self) -> None:
        self._max_table_capacity = self._blocked_streams = 0
        self._decoder = pylsqpack.Decoder(0, 0)
        super()._init_connection()

    def _get_local_settings(self) -> dict[int, int]:
        return {
            **super()._get_local_settings(),
            Setting.MAX_FIELD_SECTION_SIZE: MAX_HEADER_BYTES,
            WT_MAX_SESSIONS: 1,
            WT_ENABLED: 1,
        }

    def _validate_settings(self, settings: dict[int, int]) -> None:
        super()._validate_settings(settings)
        # What the peer would keep for us is not used, so that nothing is kept here for it either.
        settings[Setting.QPACK_MAX_TABLE_CAPACITY] = settings[Setting.QPACK_BLOCKED_STREAMS] = 0


class Session:
    """An open WebTransport session."""

    def __init__(self, http: Http3, stream_id: int) -> None:
        self._http = http
        self.id = stream_id
        self.prefix = encode_varint(stream_id // 4)
        """With what each of its datagrams begins (RFC 9297 §2.1): for the first request of a connection one zero byte."""

    @property
    def connection(self) -> Connection:
        """What carries it."""
        return self._http.connection

    def refuse_stream(self, stream_id: int, code: int) -> None:
        """Neither read nor write a stream that the peer has opened."""
        self._http.give_up(stream_id, http_error_of(code))

    def drain(self) -> None:
        """Ask the peer to end the session soon."""
        self._http.send_capsule(encode_drain(), end=False)

    def close(self, code: int, reason: str = "") -> None:
        """End the session, and the connection once the peer knows."""
        self._http.send_capsule(encode_close(code, reason), end=True)


class Http3:
    """HTTP/3 on one connection.

    Args:
        connection: The connection; its handshake is done.
        admit: Decides about a CONNECT request.
    """

    def __init__(self, connection: Connection, admit: Callable[[ConnectRequest], Accepted | Rejected]) -> None:
        self.connection = connection
        self._admit = admit
        self._http = _Strict(connection.transport.quic, enable_webtransport=True)
        self._session: Session | None = None
        self._handler: Handler | None = None
        self._streams: set[int] = set()
        """Of the session, and open as far as the peer is concerned."""
        self._capsules = CapsuleParser()
        self._opened = Allowance(rate=STREAM_RATE, burst=STREAM_BURST)
        self._highest = {0: -1, 2: -1}
        self._ending = False
        self._gives_up_at = 0.0

    def progress(self) -> bool:
        """Close the connection once the peer knows of the session's end, or does not listen; whether to ask again."""
        if not self._ending or self._session is None:
            return False
        known = not self.connection.transport.unsent(self._session.id)
        if known or self.connection.hub.clock() > self._gives_up_at:
            self.connection.close(H3_NO_ERROR)
            return False
        return True

    def event(self, event: QuicEvent) -> None:
        """See `Application.event`."""
        if isinstance(event, StreamDataReceived) and not self._count(event.stream_id):
            return self.connection.close(H3_EXCESSIVE_LOAD, "too many streams")
        for each in self._http.handle_event(event):
            self._http_event(each)
        match event:
            case StreamDataReceived(stream_id=stream_id):
                left = self._http._stream.get(stream_id)
                if left is not None and len(left.buffer) > MAX_HEADER_BYTES:
                    return self.connection.close(H3_EXCESSIVE_LOAD, "too long a frame")
            case StreamReset(stream_id=stream_id, error_code=code):
                self._gone(stream_id, code)
            case StopSendingReceived(stream_id=stream_id, error_code=code) if stream_id in self._streams:
                self._tell_gone(stream_id, code)
        self.connection.flush()
        return None

    def _count(self, stream_id: int) -> bool:
        """Whether the stream may be open; it counts when it is seen first."""
        kind = stream_id & 3
        if stream_id <= self._highest.get(kind, stream_id):
            return True
        self._highest[kind] = stream_id
        return self._opened.take(self.connection.hub.clock())

    def _http_event(self, event: H3Event) -> None:
        match event:
            case HeadersReceived(stream_id=stream_id, headers=headers) if self._session is None:
                self._request(stream_id, headers, ended=event.stream_ended)
            case HeadersReceived(stream_id=stream_id) if self._session is not None and stream_id != self._session.id:
                self._http.send_headers(stream_id, list(_BUSY), end_stream=True)
                self.connection.transport.stop_stream(stream_id, H3_NO_ERROR)
            case DataReceived(stream_id=stream_id, data=data) if self._is_session(stream_id):
                self._session_data(data or b"", ended=event.stream_ended)
            case DatagramReceived(stream_id=stream_id, data=data) if self._is_session(stream_id):
                if self._handler is not None:
                    self._handler.datagram(data)
            case WebTransportStreamDataReceived(stream_id=stream_id, session_id=session_id):
                self._stream(stream_id, session_id, event.data, end=event.stream_ended)

    def _is_session(self, stream_id: int) -> bool:
        return self._session is not None and self._session.id == stream_id

    # --- requests ------------------------------------------------------------------------------------------------------

    def _request(self, stream_id: int, headers: list[tuple[bytes, bytes]], *, ended: bool) -> None:
        size = sum(len(name) + len(value) + 32 for name, value in headers)  # as RFC 9114 §4.2.2 counts
        if size > MAX_HEADER_BYTES or len(headers) > MAX_HEADERS:
            return self._answer(stream_id, 431)
        found = dict(headers)
        if found.get(b":method") != b"CONNECT":
            return self._answer(stream_id, 404)
        if found.get(b":protocol") not in _PROTOCOLS or ended:
            return self._answer(stream_id, 501)
        if found.get(b":scheme") != b"https" or not found.get(b":path", b"").startswith(b"/"):
            return self._answer(stream_id, 400)
        decided = self._admit(
            ConnectRequest(
                authority=found.get(b":authority", b""),
                path=found[b":path"],
                origin=found.get(b"origin"),
                protocols=_offered(found),
            )
        )
        if isinstance(decided, Rejected):
            return self._answer(stream_id, decided.status)
        self._open(stream_id, decided, found)
        return None

    def _open(self, stream_id: int, accepted: Accepted, request: Mapping[bytes, bytes]) -> None:
        headers = [(b":status", b"200")]
        if b"sec-webtransport-http3-draft02" in request:
            headers.append((b"sec-webtransport-http3-draft", b"draft02"))
        if accepted.protocol is not None:
            headers.append((b"wt-protocol", f'"{accepted.protocol}"'.encode()))
        self._http.send_headers(stream_id, headers)
        self._session = Session(self, stream_id)
        self._handler = accepted.open(self._session)

    def _answer(self, stream_id: int, status: int) -> None:
        self._http.send_headers(stream_id, [(b":status", str(status).encode())], end_stream=True)
        self.connection.transport.stop_stream(stream_id, H3_NO_ERROR)

    # --- the session ---------------------------------------------------------------------------------------------------

    def _session_data(self, data: bytes, *, ended: bool) -> None:
        try:
            capsules = self._capsules.feed(data)
        except ProtocolError as error:
            return self.connection.close(H3_MESSAGE_ERROR, str(error))
        for capsule in capsules:
            match capsule:
                case Close(code=code, reason=reason):
                    return self._end(code, reason)
                case Drain() if self._handler is not None:
                    self._handler.draining()
        if ended:
            self._end(0, "")
        return None

    def _stream(self, stream_id: int, session_id: int, data: bytes, *, end: bool) -> None:
        if self._handler is None or not self._is_session(session_id):
            code = WT_SESSION_GONE if self._is_session(session_id) else WT_BUFFERED_STREAM_REJECTED
            return self.give_up(stream_id, code)
        self._streams.add(stream_id)
        if end:
            self._streams.discard(stream_id)
        self._handler.stream_data(stream_id, data, end=end)
        return None

    def give_up(self, stream_id: int, http_error: int) -> None:
        """Stop and reset a stream that the peer has opened."""
        transport = self.connection.transport
        self._streams.discard(stream_id)
        if not stream_id & 2:
            transport.reset_stream(stream_id, http_error)
        transport.stop_stream(stream_id, http_error)

    def _gone(self, stream_id: int, error: int) -> None:
        if self._is_session(stream_id):
            self._end(0, "")
        elif stream_id in self._streams:
            self._streams.discard(stream_id)
            self._tell_gone(stream_id, error)

    def _tell_gone(self, stream_id: int, error: int) -> None:
        if self._handler is not None:
            self._handler.stream_ended(stream_id, code_of(error))

    def send_capsule(self, capsule: bytes, *, end: bool) -> None:
        """Send a capsule of the session; with ``end``, the last, after which the connection is closed."""
        if self._session is None or self._ending:
            return
        self._http.send_data(self._session.id, capsule, end_stream=end)
        if end:
            self._finish()
        self.connection.flush()

    def _end(self, code: int, reason: str) -> None:
        """The peer has ended the session. A connection has but one."""
        self._tell_ended(code, reason)
        if not self._ending and self._session is not None:
            self._http.send_data(self._session.id, b"", end_stream=True)
            self._finish()

    def _finish(self) -> None:
        self._ending = True
        self._gives_up_at = self.connection.hub.clock() + LAST_WORDS_SECONDS
        self.connection.await_progress()

    def over(self, reason: str) -> None:
        """The connection is over, and with it the session, if there is one."""
        self._tell_ended(0, reason)
        self._session = None  # which refers to this: a cycle would stay until the garbage collector comes

    def _tell_ended(self, code: int, reason: str) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.ended(code, reason)


def _offered(request: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """The sub-protocols in a request: a list of strings (RFC 8941 §3.1). What is none is no offer."""
    return tuple(name.decode() for name in _TOKEN.findall(request.get(b"wt-available-protocols", b""))[:16])
