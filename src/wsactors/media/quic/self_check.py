"""Before the fast path is trusted: does it still make, and understand, exactly aioquic's packets?

The fast path reads and writes private attributes of aioquic, which another version may name or use otherwise. So once per
process two real connections are set up in memory, one per cipher, and packets of both paths compared byte by byte. If
anything differs or is missing, connections take aioquic's ordinary path: slower, and as right as before.
"""

from __future__ import annotations

import datetime as dt
import functools
from importlib.metadata import version
from typing import Any, Final

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import DatagramFrameReceived
from aioquic.tls import CipherSuite, Epoch
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wsactors.actors.log import log

from .aioquic_backend import AioquicBackend
from .fast_path import FastBackend, FastTransport
from .guarded_connection import GuardedConnection
from .transport import Address, Backend, datagram_frame

_SUITES: Final = (
    CipherSuite.AES_128_GCM_SHA256,
    CipherSuite.AES_256_GCM_SHA384,
    CipherSuite.CHACHA20_POLY1305_SHA256,
)
_SERVER: Final[Address] = ("192.0.2.1", 4433)
_CLIENT: Final[Address] = ("192.0.2.2", 5555)
_ROUNDS: Final = 12
_STEP: Final = 0.02
_BEGIN: Final = 1000.0


class _Differs(Exception):
    """The fast path and aioquic do not agree."""


@functools.cache
def why_not_fast() -> str | None:
    """What keeps the fast path from being used with the aioquic that is installed; None when nothing does.

    Costs some 20 ms, once per process.
    """
    try:
        certificate, key = _certificate()
        for suite in _SUITES:
            _compare(suite, certificate, key)
    except Exception as error:  # whatever it is: a missing attribute, a wrong type, a packet that differs
        return f"{type(error).__name__}: {error}"
    return None


def choose_backend(name: str = "auto") -> Backend:
    """The backend called ``name``: ``aioquic``, ``qh3``, or ``fast``, which is what ``auto`` is, too.

    Where the fast path does not prove right, aioquic's ordinary path takes its place, and a warning says why.

    Raises `ValueError` for another name, `ImportError` when qh3 is not installed (it is the extra ``[qh3]``).
    """
    if name == "qh3":
        from .qh3_backend import Qh3Backend

        return Qh3Backend()
    if name == "aioquic":
        return AioquicBackend()
    if name not in {"auto", "fast"}:
        raise ValueError(f"no QUIC backend is called {name!r}: auto, fast, aioquic or qh3")
    reason = why_not_fast()
    if reason is None:
        return FastBackend()
    log(__name__, "warning", "quic_fast_path_unusable", aioquic=version("aioquic"), reason=reason)
    return AioquicBackend()


def _compare(suite: CipherSuite, certificate: Any, key: Any) -> None:
    """Let sound, acknowledgements and a stream pass between two connections, and look at each packet."""
    client, server = _connections(suite, certificate, key)
    now = _exchange(client, server, _BEGIN)
    quic = server.quic
    for turn in range(_ROUNDS):
        frame = datagram_frame(bytes((turn,)) * (20 + 10 * turn))
        if turn == _ROUNDS // 2:
            server.request_key_update()
            now = _exchange(client, server, now)
        number = server._next
        packet = server.datagram(frame, now)
        pair = quic._cryptos[Epoch.ONE_RTT]
        header = bytes((0x41 | quic._spin_bit << 5 | pair.key_phase << 2,)) + quic._peer_cid.cid
        if packet is None:
            raise _Differs("a datagram was not sent")
        ordinary = [
            pair.encrypt_packet(_spun(header, spin) + number.to_bytes(2, "big"), frame, number) for spin in (0, 1)
        ]
        if packet[0] not in ordinary:
            raise _Differs(f"packet {number} is not what aioquic makes of it with {suite.name}")
        client.receive_datagram(packet[0], _SERVER, now)
        _expect(client, frame)
        client.send_ping(turn)
        now = _exchange(client, server, now)
    _check_end(server)


def _spun(header: bytes, spin: int) -> bytes:
    return bytes((header[0] & ~0x20 | spin << 5,)) + header[1:]


def _expect(client: QuicConnection, frame: bytes) -> None:
    while (event := client.next_event()) is not None:
        if isinstance(event, DatagramFrameReceived) and frame.endswith(event.data):
            return
    raise _Differs("a datagram did not arrive")


def _check_end(server: FastTransport) -> None:
    """Both paths must have been taken, and aioquic must know what the fast one did."""
    found = server.statistics()
    if found.fast_sent < _ROUNDS - 1 or found.fast_received < _ROUNDS or found.datagrams_lost:
        raise _Differs(f"the fast path was hardly taken: {found.fast_sent} sent, {found.fast_received} received")
    server._leave()
    space = server.quic._spaces[Epoch.ONE_RTT]
    if server.quic._packet_number != server._next or space.largest_acked_packet != server._acked:
        raise _Differs("the two paths do not agree on packet numbers")
    if space.ack_queue.bounds().stop != space.largest_received_packet + 1:
        raise _Differs("the two paths do not agree on what was received")


def _exchange(client: QuicConnection, server: FastTransport, now: float) -> float:
    """Carry everything to and fro until nobody has anything to say."""
    for _ in range(_ROUNDS):
        now += _STEP
        if (due := client.get_timer()) is not None and due <= now:
            client.handle_timer(now)
        if (due := server.timer()) is not None and due <= now:
            server.handle_timer(now)
        packets = client.datagrams_to_send(now)
        for data, _ in packets:
            server.receive(data, _CLIENT, now)
        answers = server.transmit(now)
        for data, _ in answers:
            client.receive_datagram(data, _SERVER, now)
        if not packets and not answers:
            break
    while server.next_event() is not None:
        pass
    return now


def _connections(suite: CipherSuite, certificate: Any, key: Any) -> tuple[QuicConnection, FastTransport]:
    common: dict[str, Any] = {"alpn_protocols": ["check"], "max_datagram_frame_size": 65536, "cipher_suites": [suite]}
    client = QuicConnection(configuration=QuicConfiguration(is_client=True, verify_mode=0, **common))
    client.connect(_SERVER, _BEGIN)
    server = GuardedConnection(
        configuration=QuicConfiguration(is_client=False, certificate=certificate, private_key=key, **common),
        original_destination_connection_id=client.original_destination_connection_id,
    )
    return client, FastTransport(server)


def _certificate() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "check")])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    )
    certificate = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1)).sign(key, hashes.SHA256())
    return certificate, key
