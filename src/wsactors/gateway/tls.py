"""TLS for the gateway: server contexts, a development certificate, a stream that seals at the moment of writing."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import socket
import ssl
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from wsactors.realtime.sinks import SocketSink

from .options import GatewayRefused, TlsOptions
from .stream import RECEIVE_BYTES, ConnectionStream

if TYPE_CHECKING:
    from cryptography import x509

DAYS = 90
"""How long a development certificate is valid."""


def server_context(options: TlsOptions, hosts: Iterable[str], directory: Path | None) -> ssl.SSLContext:
    """A context for the port: from the files of ``options``, or with a development certificate for ``hosts``.

    TLS 1.2 and later, no renegotiation, no compression. The development certificate is kept in ``directory`` and used
    again while it is valid, if that is given.

    Raises:
        GatewayRefused: A file cannot be read or is no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if options.cert is not None and options.key is not None:
        _load(context, options.cert, options.key, options.key_password)
        return context
    names = sorted(set(hosts))
    if directory is not None:
        path = directory / "development-certificate.pem"
        if not _is_usable(path, names):
            _write_private(path, make_certificate(names))
        _load(context, path, path, None)
        return context
    with tempfile.TemporaryDirectory(prefix="wsactors-") as private:  # ssl reads files only; this one is gone at once
        path = Path(private) / "certificate.pem"
        _write_private(path, make_certificate(names))
        _load(context, path, path, None)
    return context


def make_certificate(hosts: Sequence[str], lasts: dt.timedelta = dt.timedelta(days=DAYS)) -> bytes:
    """A self-signed certificate for ``hosts`` (names or addresses) with its key, as PEM. For development only.

    It is valid from an hour ago, for clocks that are late, until ``lasts`` from now.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wsactors development certificate")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def machine_addresses() -> tuple[str, ...]:
    """Addresses under which other machines may reach this one, best first. Sends nothing."""
    found = []
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))  # a datagram socket only looks up the route
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return tuple(found)


def _load(context: ssl.SSLContext, cert: Path, key: Path, password: str | None) -> None:
    try:
        context.load_cert_chain(cert, key, password or "")
    except (OSError, ssl.SSLError) as error:
        raise GatewayRefused(f"gateway.tls: cannot use {cert} with {key}: {error}") from error


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _is_usable(path: Path, hosts: Sequence[str]) -> bool:
    """Whether the kept certificate is for these hosts and valid for another day."""
    from cryptography import x509

    try:
        kept = x509.load_pem_x509_certificate(path.read_bytes())
        names = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    return list(names) == [_general_name(host) for host in hosts] and kept.not_valid_after_utc > soon


def _write_private(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


class TlsStream(ConnectionStream):
    """An encrypted connection.

    A message is sealed when it is written, not when it is offered, so audio can age out while it waits: a TLS record
    that was made must be sent. ``sink`` was made with ``seal=engine.seal``.
    """

    __slots__ = ("_engine",)

    def __init__(self, sock: socket.socket, sink: SocketSink, engine: TlsEngine) -> None:
        super().__init__(sock, sink)
        self._engine = engine

    async def is_tls(self) -> bool:
        """Whether the peer begins as TLS does, once it begins; who leaves without a word counts as that, too."""
        return await self._input.peek() in {b"", b"\x16"}

    async def answer_in_clear(self, data: bytes, seconds: float) -> None:
        """Tell a peer that does not speak TLS so, then wait up to ``seconds`` until it has read that."""
        with trio.move_on_after(seconds), contextlib.suppress(OSError, trio.BrokenResourceError):
            self._sock.send(data)
            self._sock.shutdown(socket.SHUT_WR)
            while await self._input.read(RECEIVE_BYTES):
                pass

    @property
    def protocol(self) -> str | None:
        """What was agreed on by ALPN, after the handshake."""
        return self._engine.tls.selected_alpn_protocol()

    async def handshake(self) -> None:
        """Do the TLS handshake.

        Raises:
            trio.BrokenResourceError: The peer does not speak TLS, or left.
        """
        while True:
            try:
                self._engine.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed(await self._input.read(RECEIVE_BYTES))
            except ssl.SSLError as error:
                self._flush()
                raise trio.BrokenResourceError(f"TLS handshake: {error.reason}") from error
            else:
                return self._flush()

    async def send_eof(self) -> None:
        """Say that nothing follows: TLS's own goodbye, then TCP's."""
        if self.sink.closed is None:
            with contextlib.suppress(ssl.SSLError):  # it wants to wait for the peer's goodbye; nobody needs that
                self._engine.tls.unwrap()
            self._flush()
        await super().send_eof()

    def _read(self, size: int) -> bytes | None:
        while True:
            try:
                data = self._engine.tls.read(size)
            except ssl.SSLWantReadError:
                sealed = self._input.read_now(RECEIVE_BYTES)
                if sealed is None:
                    self._flush()
                    return None
                self._feed(sealed)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(f"TLS: {error.reason}") from error
            else:
                self._flush()
                return data

    def _feed(self, sealed: bytes) -> None:
        if sealed:
            self._engine.incoming.write(sealed)
        else:
            self._engine.incoming.write_eof()

    def _flush(self) -> None:
        """Send what TLS itself has to say: handshake, key updates, alerts. Refused: the next read will tell why."""
        if self._engine.outgoing.pending:
            self.sink.offer(b"")


class TlsEngine:
    """The TLS state of one connection; `seal` never blocks."""

    __slots__ = ("incoming", "outgoing", "tls")

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def seal(self, data: bytes) -> bytes:
        """The records that carry ``data``, after whatever TLS had to say before."""
        if data:
            self.tls.write(data)
        return self.outgoing.read()
