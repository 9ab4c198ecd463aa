"""What aioquic works out anew for each connection though it is always the same, or in a roundabout way: a shorter one.

A handshake is some 600,000 instructions of the interpreter's, so what is called dozens of times in each counts. None of this
changes what is computed: ``tests/media/quic/test_aioquic_shortcuts.py`` compares each with aioquic's own.
"""

from __future__ import annotations

import functools
import hmac
from typing import TYPE_CHECKING, Final

from aioquic import tls
from aioquic.quic import connection, crypto

if TYPE_CHECKING:
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


def install() -> None:
    """Let aioquic use them, in this process."""
    tls.hkdf_expand_label = expand_label
    crypto.hkdf_expand_label = expand_label  # type: ignore[attr-defined]  # where it was imported by name
    # Four sets, asked for 33 times.
    if not hasattr(connection.EPOCHS, "cache_info"):
        connection.EPOCHS = functools.cache(connection.EPOCHS)
    # An Enum's members are found by the hash of their names, which Python works out; there is one of each, so this is as good.
    tls.Epoch.__hash__ = object.__hash__  # type: ignore[method-assign]
