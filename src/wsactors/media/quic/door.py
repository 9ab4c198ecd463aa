"""What becomes of a datagram that belongs to no connection: an answer that costs little, a new connection, or nothing.

Nothing is kept here of whoever has not shown that its address is its own, but for a bounded number of handshakes that are
let in at once while few come (RFC 9000 §8.1). When more come, each must first bring back what a Retry told it; and all
together get `DoorOptions.handshake_share` of the processor, so that those who are in go on hearing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from enum import StrEnum
from typing import Final, TypeAlias

import attrs
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.retry import QuicRetryTokenHandler

from .bounded import RESET_TOKEN_BYTES, reset_token
from .guard import Allowance
from .transport import Address

CID_BYTES: Final = 8
"""Of our own connection ids."""
INITIAL_BYTES: Final = 1_200
"""A client's first datagram has at least so many (RFC 9000 §14.1), so that no answer of ours is larger than it."""
ANSWERS: Final = 200.0
"""Version negotiations a second, and as many stateless resets: whoever is in earnest needs one."""
_VERSIONS: Final = (int(QuicProtocolVersion.VERSION_1), int(QuicProtocolVersion.VERSION_2))
_RESET_LEAST: Final = 5 + RESET_TOKEN_BYTES
_RESET_MOST: Final = 42
_TIMING_BURST: Final = 0.5
"""Seconds' worth of handshakes that may be done at once."""


class Turned(StrEnum):
    """Why a datagram was turned away. A closed set: it labels a metric."""

    RATE = "rate"
    """Its address sends too much."""
    CONNECTION_RATE = "connection_rate"
    """Its connection sends too much."""
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    """It belongs to no connection; if it could, it was answered by a stateless reset."""
    VERSION = "version"
    """Of a version of QUIC that is not spoken here; answered, within bounds."""
    TOKEN = "token"  # noqa: S105 - a label
    """Its Retry token is not good."""
    FULL = "full"
    """There are as many connections as there may be, in all or of its address."""
    BUSY = "busy"
    """Handshakes have had their share of the processor, and as many wait as may."""


@attrs.frozen
class DoorOptions:
    """Bounds on those who are not in yet."""

    retry_above: float = 50.0
    """Handshakes a second; when more come, their addresses are validated by a Retry first. 0: always."""
    half_open: int = 256
    """Handshakes under way at a time without a validated address."""
    handshake_share: float = 0.2
    """The part of one processor that handshakes may take."""


@attrs.frozen
class HubOptions:
    """Bounds of one socket."""

    connections: int = 2_000
    connections_per_address: int = 1_000
    packets_per_address: float = 500.0
    """Packets a second of an address that has no connection; each connection adds ``packets_per_connection``."""
    packets_per_connection: float = 400.0
    """Packets a second of one connection: whoever hears and speaks in frames of 10 ms sends 200."""
    door: DoorOptions = attrs.field(factory=DoorOptions)
    block: Callable[[str], str] = str
    """Whom an address is counted as."""


@attrs.frozen
class Enter:
    """A new connection may begin."""

    original_destination_cid: bytes
    retry_source_cid: bytes | None
    """Set when the address has been validated."""


Knock: TypeAlias = bytes | Enter | Turned
"""An answer, a new connection, or why neither."""


class Door:
    """Decides about datagrams that belong to no connection.

    Args:
        options: The bounds.
        reset_key: From which the tokens of stateless resets are made.
    """

    def __init__(self, options: DoorOptions, reset_key: bytes) -> None:
        self._options = options
        self._reset_key = reset_key
        self._tokens = QuicRetryTokenHandler()
        self._unvalidated = Allowance(rate=options.retry_above, burst=options.retry_above)
        self._budget = Allowance(rate=options.handshake_share, burst=options.handshake_share * _TIMING_BURST)
        self._negotiations = Allowance(rate=ANSWERS, burst=ANSWERS)
        self._resets = Allowance(rate=ANSWERS, burst=ANSWERS)
        self.retries = 0
        """Addresses asked to show that they are real."""
        self.resets = 0
        """Stateless resets sent."""

    def has_time(self, now: float) -> bool:
        """Whether another handshake may begin."""
        return self._budget.left(now) > 0

    def spent(self, seconds: float, now: float) -> None:
        """A handshake's datagram has taken ``seconds`` of the processor."""
        self._budget.owe(seconds, now)

    def knock(self, data: bytes, address: Address, now: float, half_open: int) -> Knock:
        """Decide about ``data``; ``half_open`` are the handshakes under way without a validated address."""
        if not data[0] & 0x80:
            return self._unknown(data, now)
        if len(data) < INITIAL_BYTES:
            return Turned.MALFORMED if data[0] & 0x40 and len(data) < 7 else Turned.UNKNOWN
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CID_BYTES)
        except ValueError:
            version = int.from_bytes(data[1:5], "big")
            if version in {0, *_VERSIONS}:
                return Turned.MALFORMED
            return self._negotiate(data, now)
        if header.packet_type == QuicPacketType.VERSION_NEGOTIATION:
            return Turned.MALFORMED  # never answered: two servers could keep each other busy
        if header.version not in _VERSIONS:
            return self._negotiate(data, now)
        if header.packet_type != QuicPacketType.INITIAL:
            return Turned.UNKNOWN
        if len(header.destination_cid) < CID_BYTES:
            return Turned.MALFORMED
        return self._initial(header, address, now, half_open)

    def _initial(self, header: QuicHeader, address: Address, now: float, half_open: int) -> Knock:
        original, validated = header.destination_cid, bool(header.token)
        if validated:
            try:
                original = self._tokens.validate_token(
                    address=address, destination_cid=header.destination_cid, token=header.token, now=now
                )
            except ValueError:
                return _invalid_token(header) if self._negotiations.take(now) else Turned.TOKEN
        if not self.has_time(now):
            return Turned.BUSY
        if not validated and (half_open >= self._options.half_open or not self._unvalidated.take(now)):
            return self._retry(header, address, now)
        return Enter(original, header.destination_cid if validated else None)

    def _retry(self, header: QuicHeader, address: Address, now: float) -> bytes:
        self.retries += 1
        source = secrets.token_bytes(CID_BYTES)
        return encode_quic_retry(
            version=header.version or _VERSIONS[0],
            source_cid=source,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=self._tokens.create_token(
                address=address,
                original_destination_connection_id=header.destination_cid,
                retry_source_connection_id=source,
                now=now,
            ),
        )

    def _negotiate(self, data: bytes, now: float) -> Knock:
        """By the invariants of all versions (RFC 8999): what else is in there, nobody here can know."""
        there = data[5]
        if 6 + there >= len(data):
            return Turned.MALFORMED
        here = data[6 + there]
        source = data[7 + there : 7 + there + here]
        if len(source) < here or not self._negotiations.take(now):
            return Turned.VERSION
        return encode_quic_version_negotiation(
            source_cid=data[6 : 6 + there], destination_cid=source, supported_versions=list(_VERSIONS)
        )

    def _unknown(self, data: bytes, now: float) -> Knock:
        """A short header whose connection is not known, any more: tell its peer, in less than it has sent (RFC 9000 §10.3)."""
        size = min(len(data) - 1, _RESET_MOST)
        if size < _RESET_LEAST or not self._reset_key or not self._resets.take(now):
            return Turned.UNKNOWN
        self.resets += 1
        token = reset_token(self._reset_key, data[1 : 1 + CID_BYTES])
        noise = bytearray(secrets.token_bytes(size - RESET_TOKEN_BYTES))
        noise[0] = noise[0] & 0x3F | 0x40
        return bytes(noise) + token


def _invalid_token(header: QuicHeader) -> bytes:
    """Closes the connection that ``header`` would begin, with INVALID_TOKEN (RFC 9000 §8.1.3)."""
    crypto = CryptoPair()
    crypto.setup_initial(cid=header.destination_cid, is_client=False, version=header.version or _VERSIONS[0])
    builder = QuicPacketBuilder(
        host_cid=header.destination_cid,
        is_client=False,
        max_datagram_size=INITIAL_BYTES,
        peer_cid=header.source_cid,
        version=header.version or _VERSIONS[0],
    )
    builder.start_packet(QuicPacketType.INITIAL, crypto)
    buffer = builder.start_frame(QuicFrameType.TRANSPORT_CLOSE, capacity=25)
    buffer.push_uint_var(QuicErrorCode.INVALID_TOKEN)
    buffer.push_uint_var(QuicFrameType.PADDING)
    buffer.push_uint_var(0)
    return builder.flush()[0][0]
