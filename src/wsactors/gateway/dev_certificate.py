"""What QUIC is encrypted with: the operator's files, or a development certificate that browsers take by its hash.

A page may open a WebTransport session to a server whose certificate nobody vouches for, if it names the certificate's hash
(W3C WebTransport, ``serverCertificateHashes``): of an ECDSA key, valid for 14 days at most. So a development certificate
gives way to the next before it expires, while the node runs, and the next one's hash is told a day before it is used.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import trio
from aioquic.tls import load_pem_private_key, load_pem_x509_certificates

from wsactors.actors.log import log

from .certificates import stamp_of
from .options import GatewayRefused
from .tls import make_certificate

LASTS: Final = dt.timedelta(days=13)
"""With the hour before that a certificate is valid already, well within the 14 days."""
TOLD_AFTER: Final = dt.timedelta(days=10)
"""When the next one is made, and its hash told beside the present one's."""
USED_AFTER: Final = dt.timedelta(days=11)
"""When the next one takes over."""
_KEY: Final = b"-----BEGIN PRIVATE KEY-----"


@attrs.frozen
class Identity:
    """A certificate chain and its key, as aioquic takes them."""

    chain: Sequence[Any]
    key: Any = attrs.field(repr=False)


class QuicCertificates(Protocol):
    """What a QUIC endpoint is encrypted with."""

    def identity(self) -> Identity:
        """For the next connection."""
        ...

    def hashes(self) -> tuple[bytes, ...]:
        """SHA-256 of the certificates that a page must name, the present one's first; none if browsers trust it anyway."""
        ...

    def reload(self) -> object:
        """Read again what may have changed."""
        ...

    async def watch(self) -> None:
        """Reload by itself, until cancelled; returns when there is nothing to watch."""
        ...


@attrs.frozen
class _Made:
    identity: Identity
    hash: bytes
    at: dt.datetime


class DevelopmentCertificates:
    """Certificates made here, one after the other.

    Args:
        hosts: Names and addresses that they are for.
        now: The time.
    """

    def __init__(self, hosts: Sequence[str], now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)) -> None:
        self._hosts = sorted(set(hosts))
        self._now = now
        self._present = self._make()
        self._next: _Made | None = None

    def identity(self) -> Identity:
        """See `QuicCertificates.identity`."""
        self._refresh()
        return self._present.identity

    def hashes(self) -> tuple[bytes, ...]:
        """See `QuicCertificates.hashes`."""
        self._refresh()
        return (self._present.hash,) if self._next is None else (self._present.hash, self._next.hash)

    def reload(self) -> None:
        """Nothing is read, so nothing is read again."""

    async def watch(self) -> None:
        """Whoever asks finds the one of the time."""
        await trio.lowlevel.checkpoint()

    def _refresh(self) -> None:
        age = self._now() - self._present.at
        if age >= TOLD_AFTER and self._next is None:
            self._next = self._make()
        if age >= USED_AFTER and self._next is not None:
            self._present, self._next = self._next, None
            log(__name__, "info", "development_certificate_renewed")

    def _make(self) -> _Made:
        pem = make_certificate(self._hosts, LASTS)
        certificate, _, key = pem.partition(_KEY)
        identity = Identity(load_pem_x509_certificates(certificate), load_pem_private_key(_KEY + key))
        return _Made(identity, hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.decode())).digest(), self._now())


class CertificateFiles:
    """The operator's certificate, read again when its files change.

    Files that do not fit each other, as while they are being replaced, change nothing.

    Raises:
        GatewayRefused: The files cannot be used.
    """

    def __init__(self, cert: Path, key: Path, password: str | None = None, *, reload_seconds: float = 10.0) -> None:
        self._cert, self._key, self._password = cert, key, password
        self._reload_seconds = reload_seconds
        self._stamp = self._look()
        self._identity = self._load()

    def identity(self) -> Identity:
        """See `QuicCertificates.identity`."""
        return self._identity

    def hashes(self) -> tuple[bytes, ...]:
        """Browsers trust it, or whom it was made by."""
        return ()

    def reload(self) -> bool:
        """Read the files again; False, and all as before, when they cannot be used."""
        self._stamp = self._look()
        try:
            self._identity = self._load()
        except GatewayRefused as refused:
            log(__name__, "error", "quic_certificate_not_reloaded", reason=str(refused))
            return False
        log(__name__, "info", "quic_certificate_reloaded", cert=str(self._cert))
        return True

    async def watch(self) -> None:
        """See `QuicCertificates.watch`."""
        if not self._reload_seconds:
            return
        while True:
            await trio.sleep(self._reload_seconds)
            if self._look() != self._stamp:
                self.reload()

    def _load(self) -> Identity:
        try:
            # A certificate's file may hold its key, too.
            chain = load_pem_x509_certificates(
                self._cert.read_bytes().partition(b"-----BEGIN PRIVATE")[0].strip() + b"\n"
            )
            pem = self._key.read_bytes()
            key = load_pem_private_key(pem[_start_of_key(pem) :], self._password.encode() if self._password else None)
            if not chain or chain[0].public_key() != key.public_key():
                raise ValueError("the key is not the certificate's")
        except (OSError, ValueError, TypeError) as error:
            raise GatewayRefused(f"quic.cert: cannot use {self._cert} with {self._key}: {error}") from error
        return Identity(chain, key)

    def _look(self) -> tuple[object, ...]:
        return stamp_of(self._cert), stamp_of(self._key)


def _start_of_key(pem: bytes) -> int:
    """Where the private key begins in a file that may hold certificates before it."""
    return max(0, pem.rfind(b"-----BEGIN", 0, max(0, pem.find(b"PRIVATE KEY-----"))))
