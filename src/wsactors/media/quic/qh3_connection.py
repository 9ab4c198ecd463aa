"""qh3's connection with what a server needs that qh3 2.1.0 lacks.

A client without a connection id of its own, such as Chromium, is one that qh3's server never answers rightly: it takes an
empty source id for none at all, so that it goes on addressing packets to the id that the client had made up for the server,
and refuses the client's transport parameters. qh3's core cannot be told otherwise, but it can be set up otherwise: our own
id is then the one that the client made up, the core is created with an empty destination id, and the Initial keys, which it
would have derived from that (RFC 9001 §5.2), are given to it.

And where the anti-amplification limit leaves no room for what is to be sent, qh3 raises instead of waiting for the client.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final

from qh3._hazmat import pull_quic_header
from qh3.quic.connection import QuicConnection

_INITIAL_SALT: Final = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
"""RFC 9001 §5.2; only version 1 is offered."""
_INITIAL_CIPHERS: Final = ("aes-128-gcm", "aes-128-ecb")
_INITIAL: Final = 0
_NO_ROOM: Final = "capacity exhausted"


class Qh3Connection(QuicConnection):
    """qh3's connection, also for clients without a connection id, and patient with addresses that are not validated."""

    _peer_has_no_id = False

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        """Take what came; the first packet shows whether the client has an id."""
        if self._core is None and not self._is_client:
            try:
                header = pull_quic_header(data, 0, self._configuration.connection_id_length)
            except ValueError:
                return
            destination, source = header[3], header[4]
            if source == b"" and len(destination) == self._configuration.connection_id_length:
                self._peer_has_no_id = True
                self.host_cid = destination
        super().receive_datagram(data, addr, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        """What is to be sent, as far as it may be sent."""
        packets: list[tuple[bytes, Any]] = []
        core = self._core
        while core is not None:
            try:
                packet = core.poll_transmit(now)
            except RuntimeError as error:
                if _NO_ROOM in str(error):
                    break
                raise
            if packet is None:
                break
            packets.append((packet[0], packet[1]))
        return packets

    def _create_core(self, remote_addr: Any, initial_dcid: bytes, now: float) -> None:
        if not self._peer_has_no_id:
            super()._create_core(remote_addr, initial_dcid, now)
            return
        super()._create_core(remote_addr, b"", now)
        secret = hmac.digest(_INITIAL_SALT, initial_dcid, hashlib.sha256)
        for direction, label in (("receive", b"client in"), ("send", b"server in")):
            own = _expand(secret, label, 32)
            keys = (_expand(own, b"quic key", 16), _expand(own, b"quic iv", 12), _expand(own, b"quic hp", 16))
            self._require_core().install_packet_key(direction, _INITIAL, _INITIAL_CIPHERS, *keys, 0, None, None)

    def _create_tls(self, remote_source_cid: bytes | None) -> Any:
        return super()._create_tls(b"" if self._peer_has_no_id else remote_source_cid)


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446 §7.1), for as much as one block of SHA-256 gives."""
    full = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes((len(full),)) + full + b"\0\x01"
    return hmac.digest(secret, info, hashlib.sha256)[:length]
