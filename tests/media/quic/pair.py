"""A client and a server's end of a connection, in memory; and a client that sends whatever frames a test wants."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch, load_pem_private_key, load_pem_x509_certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wsactors.media.quic.bounded import BoundedConfiguration, BoundedConnection

CLIENT, SERVER = ("127.0.0.1", 4000), ("127.0.0.1", 4433)


@cache
def identity() -> tuple[bytes, bytes]:
    """A certificate and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), pem


def server_configuration(alpn: tuple[str, ...] = ("wsactors", "h3"), **options: Any) -> BoundedConfiguration:
    certificate, key = identity()
    configuration = BoundedConfiguration(
        is_client=False, alpn_protocols=list(alpn), max_datagram_frame_size=65_536, **options
    )
    configuration.certificate = load_pem_x509_certificates(certificate)[0]
    configuration.private_key = load_pem_private_key(key)
    return configuration


def client_configuration(alpn: str = "wsactors", **options: Any) -> QuicConfiguration:
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=[alpn], max_datagram_frame_size=65_536, server_name="localhost", **options
    )
    configuration.load_verify_locations(cadata=identity()[0])
    return configuration


class Pair:
    """Both ends, with a clock that the test moves."""

    def __init__(self, **server: Any) -> None:
        self.now = 1000.0
        self.client = QuicConnection(configuration=client_configuration())
        self.client.connect(SERVER, self.now)
        self.server = BoundedConnection(
            configuration=server_configuration(**server),
            original_destination_connection_id=self.client.original_destination_connection_id,
        )
        self.exchange()

    def exchange(self) -> None:
        """Carry everything to and fro until nobody has anything to say."""
        while True:
            self.now += 0.001
            there = self.client.datagrams_to_send(self.now)
            for data, _ in there:
                self.server.receive_datagram(data, CLIENT, self.now)
            back = self.server.datagrams_to_send(self.now) if there or self.server._network_paths else []
            for data, _ in back:
                self.client.receive_datagram(data, SERVER, self.now)
            if not there and not back:
                return

    def send(self, frames: bytes) -> None:
        """Have the server receive a packet of the client's with these frames."""
        self.server.receive_datagram(forged(self.client, frames), CLIENT, self.now)


def forged(client: QuicConnection, frames: bytes) -> bytes:
    """A packet of ``client`` with ``frames``, whatever they say."""
    builder = QuicPacketBuilder(
        host_cid=client.host_cid,
        is_client=True,
        max_datagram_size=65_000,
        packet_number=client._packet_number,
        peer_cid=client._peer_cid.cid,
        version=client._version or 1,
    )
    crypto: CryptoPair = client._cryptos[Epoch.ONE_RTT]
    builder.start_packet(QuicPacketType.ONE_RTT, crypto)
    buffer = builder.start_frame(frames[0], capacity=len(frames))
    buffer.push_bytes(frames[1:])
    datagrams, _ = builder.flush()
    client._packet_number = builder.packet_number
    [data] = datagrams
    return data
