"""What aioquic works out anew for each connection though it is always the same, or in a roundabout way: a shorter one.

A handshake is some 600,000 instructions of the interpreter's, so what is called dozens of times in each counts. None of this
changes what is computed: ``tests/media/quic/test_aioquic_shortcuts.py`` compares each with aioquic's own.
"""

from __future__ import annotations

import functools
import hmac
import logging
from typing import TYPE_CHECKING, Any, Final

from aioquic import tls
from aioquic.quic import connection, crypto

if TYPE_CHECKING:
    from aioquic._buffer import Buffer
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

_LABELS: Final = 256
"""That are remembered; there are some twenty, where the hash of a handshake is not part of them."""


def expand_label(algorithm: HashAlgorithm, secret: bytes, label: bytes, hash_value: bytes, length: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 §7.1). Nobody wants more bytes than the hash has, so its first block does (RFC 5869 §2.3)."""
    if length > algorithm.digest_size:
        return _expand_label(algorithm, secret, label, hash_value, length)
    info = tls.hkdf_label(label, hash_value, length) if hash_value else _label(label, length)
    return hmac.digest(secret, info + b"\x01", algorithm.name)[:length]


@functools.lru_cache(_LABELS)
def _label(label: bytes, length: int) -> bytes:
    return tls.hkdf_label(label, b"", length)


_expand_label: Final = tls.hkdf_expand_label


class PullBlock:
    """A block of TLS that is read: its length first. Nothing may be left of it. As a generator it costs three times as much."""

    __slots__ = ("_buf", "_capacity", "_end")

    def __init__(self, buf: Buffer, capacity: int) -> None:
        self._buf = buf
        self._capacity = capacity
        self._end = 0

    def __enter__(self) -> int:
        length = int.from_bytes(self._buf.pull_bytes(self._capacity), "big")
        self._end = self._buf.tell() + length
        return length

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._buf.tell() != self._end:
            raise tls.AlertDecodeError("extra bytes at the end of a block")


class PushBlock:
    """A block of TLS that is written: its length is put before it when it is there."""

    __slots__ = ("_buf", "_capacity", "_start")

    def __init__(self, buf: Buffer, capacity: int) -> None:
        self._buf = buf
        self._capacity = capacity
        self._start = 0

    def __enter__(self) -> None:
        self._start = self._buf.tell() + self._capacity
        self._buf.seek(self._start)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            buf, start, capacity = self._buf, self._start, self._capacity
            end = buf.tell()
            buf.seek(start - capacity)
            buf.push_bytes((end - start).to_bytes(capacity, "big"))
            buf.seek(end)


def pull_opaque(buf: Buffer, capacity: int) -> bytes:
    """Bytes behind their length."""
    return buf.pull_bytes(int.from_bytes(buf.pull_bytes(capacity), "big"))


def push_opaque(buf: Buffer, capacity: int, value: bytes) -> None:
    """The same, written."""
    buf.push_bytes(len(value).to_bytes(capacity, "big"))
    buf.push_bytes(value)


class LaterPair(crypto.CryptoPair):
    """The keys of one version of QUIC for first packets: derived when somebody asks for them. Of two versions, one is spoken."""

    _later: tuple[Any, ...] | None = None

    def setup_initial(self, cid: bytes, is_client: bool, version: int) -> None:
        """Remember from what they are derived."""
        self._later = self.recv, self.send, cid, is_client, version
        del self.recv, self.send

    def teardown(self) -> None:
        """Forget the keys, or that there could be some."""
        if self._later is not None:
            (self.recv, self.send, *_), self._later = self._later, None
        super().teardown()

    def __getattr__(self, name: str) -> Any:
        later = self._later
        if later is None or name not in {"recv", "send"}:
            raise AttributeError(name)
        self.recv, self.send, cid, is_client, version = later
        self._later = None
        super().setup_initial(cid=cid, is_client=is_client, version=version)
        return self.__dict__[name]


class QuietAdapter(connection.QuicConnectionAdapter):
    """A connection's logger that finds out once whether anybody reads what aioquic says at every step; warnings pass anyway."""

    def __init__(self, logger: logging.Logger, extra: dict[str, Any]) -> None:
        super().__init__(logger, extra)
        if not logger.isEnabledFor(logging.INFO):
            self.debug = self.info = _say_nothing  # type: ignore[method-assign]


def _say_nothing(*_: Any, **__: Any) -> None:
    """To nobody."""


def install() -> None:
    """Let aioquic use them, in this process."""
    tls.hkdf_expand_label = expand_label
    tls.pull_block, tls.push_block = PullBlock, PushBlock  # type: ignore[assignment]
    tls.pull_opaque, tls.push_opaque = pull_opaque, push_opaque
    crypto.hkdf_expand_label = expand_label  # type: ignore[attr-defined]  # where it was imported by name
    connection.QuicConnectionAdapter = QuietAdapter  # type: ignore[misc, assignment]
    connection.CryptoPair = LaterPair  # type: ignore[attr-defined]
    # Four sets, asked for 33 times.
    if not hasattr(connection.EPOCHS, "cache_info"):
        connection.EPOCHS = functools.cache(connection.EPOCHS)
    # An Enum's members are found by the hash of their names, which Python works out; there is one of each, so this is as good.
    tls.Epoch.__hash__ = object.__hash__  # type: ignore[method-assign]
