"""aioquic's connection with bounds on what a peer can make it keep and do.

aioquic 1.7 doubles its windows whenever half of one is *named*, also by bytes that lie behind a hole: one byte at a time, a
peer makes it keep gigabytes of zeros. Here a window moves with what was delivered, and no further. What costs much more
than the bytes that ask for it (connection ids, path challenges, handshake bytes) has a bound, too.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionError, QuicConnectionId, QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from . import aioquic_shortcuts
from .guard import Allowance

CRYPTO_BYTES: Final = 32 * 1024
"""Handshake bytes of one client, at each level of encryption: a hello with post-quantum keys has 2 KiB."""
COSTLY_BURST: Final = 64.0
COSTLY_RATE: Final = 4.0
"""Frames a second that make us do much: whoever moves from network to network sends a few each time."""
RESET_TOKEN_BYTES: Final = 16
CONNECTION_IDS: Final = 3
"""Of ours that a peer knows at a time, and of its own that it may tell us: one in use, and two for as many moves before we have
heard of each other again. aioquic has eight, and makes, sends and reads fourteen for each who comes."""

aioquic_shortcuts.install()


@dataclass
class BoundedConfiguration(QuicConfiguration):
    """What `BoundedConnection` is made with. ``max_data`` and ``max_stream_data`` are windows here, in bytes."""

    max_streams_bidi: int = 16
    """Streams that the peer may have open at a time, for both directions."""
    max_streams_uni: int = 16
    """The same for those it alone sends on."""
    reset_key: bytes = b""
    """From which the tokens of stateless resets are made, so that whoever has the key can reset what it knows nothing of."""


def reset_token(key: bytes, connection_id: bytes) -> bytes:
    """The token that proves that a stateless reset comes from whom the connection id leads to (RFC 9000 §10.3.2)."""
    return hmac.new(key, connection_id, hashlib.sha256).digest()[:RESET_TOKEN_BYTES]


class BoundedConnection(QuicConnection):
    """The server's end of a connection, with a `BoundedConfiguration` or any other."""

    def __init__(self, *, configuration: QuicConfiguration, **rest: Any) -> None:
        super().__init__(configuration=configuration, **rest)
        self._local_active_connection_id_limit = CONNECTION_IDS
        self._costly = Allowance(rate=COSTLY_RATE, burst=COSTLY_BURST)
        self._reset_key = b""
        if isinstance(configuration, BoundedConfiguration):
            for limit, most in (
                (self._local_max_streams_bidi, configuration.max_streams_bidi),
                (self._local_max_streams_uni, configuration.max_streams_uni),
            ):
                limit.value = limit.sent = most
            self._reset_key = configuration.reset_key
        self._set_reset_tokens(self._host_cids)

    def dispose(self) -> None:
        """It has ended, and nobody will use it again: let go of all it has, now.

        It refers to itself in dozens of places; without this its 80 KiB would wait for a full collection of the garbage, which a
        node hardly ever does.
        """
        self.__dict__.clear()

    def _set_reset_tokens(self, ids: Iterable[QuicConnectionId]) -> None:
        if self._reset_key:
            for each in ids:
                each.stateless_reset_token = reset_token(self._reset_key, each.cid)

    def _replenish_connection_ids(self) -> None:
        self._remote_active_connection_id_limit = min(self._remote_active_connection_id_limit, CONNECTION_IDS)
        known = len(self._host_cids)
        super()._replenish_connection_ids()
        self._set_reset_tokens(self._host_cids[known:])

    # --- windows -------------------------------------------------------------------------------------------------------

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        limit, window = self._local_max_data, self._configuration.max_data
        if limit.value - limit.used <= window // 2:
            wanted = limit.used - self._held() + window
            if wanted - limit.value >= window // 2:
                limit.value = wanted
        # aioquic doubles the limit when half of it is used: for that moment, nothing is.
        used, limit.used = limit.used, 0
        try:
            super()._write_connection_limits(builder=builder, space=space)
        finally:
            limit.used = used

    def _held(self) -> int:
        """Bytes of streams that have been named and not delivered."""
        receivers = (stream.receiver for stream in self._streams.values())
        return sum(each.highest_offset - each.starting_offset() for each in receivers if not each.is_finished)

    def _write_stream_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream) -> None:
        receiver, limit, window = stream.receiver, stream.max_stream_data_local, self._configuration.max_stream_data
        if limit and not receiver.is_finished and receiver.starting_offset() + window - limit >= window // 2:
            stream.max_stream_data_local = receiver.starting_offset() + window
        highest, receiver.highest_offset = receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder=builder, space=space, stream=stream)
        finally:
            receiver.highest_offset = highest

    # --- frames --------------------------------------------------------------------------------------------------------

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        end = buf.pull_uint_var() + buf.pull_uint_var()
        buf.seek(start)
        if end > CRYPTO_BYTES:
            raise QuicConnectionError(QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, frame_type, "too long a handshake")
        super()._handle_crypto_frame(context, frame_type, buf)

    def _handle_retire_connection_id_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        self._pay(context, frame_type)
        super()._handle_retire_connection_id_frame(context, frame_type, buf)

    def _handle_new_connection_id_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        number, retired = buf.pull_uint_var(), buf.pull_uint_var()
        buf.seek(start)
        # What a peer repeats, because our acknowledgement is late, costs nothing.
        if number not in self._peer_cid_sequence_numbers or retired > self._peer_retire_prior_to:
            self._pay(context, frame_type)
        super()._handle_new_connection_id_frame(context, frame_type, buf)

    def _handle_path_challenge_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        self._pay(context, frame_type)
        super()._handle_path_challenge_frame(context, frame_type, buf)

    def _pay(self, context: QuicReceiveContext, frame_type: int) -> None:
        if not self._costly.take(context.time):
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, frame_type, "too many connection ids or path challenges"
            )
