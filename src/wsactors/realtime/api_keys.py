"""API keys: secrets for programs, known here by their hashes alone."""

from __future__ import annotations

import hashlib
import re
import secrets
import tomllib
from collections.abc import Mapping
from typing import Any, Final

import attrs

__all__ = ["ApiKey", "find_key", "hash_of", "new_key", "read_api_keys"]

SHORTEST: Final = 20
"""Characters of a key. A fast hash is right for a random key, and would be wrong for a password."""
LONGEST: Final = 512
MOST_KEYS: Final = 10_000
_HEX: Final = re.compile(r"[0-9a-f]{64}")


@attrs.frozen
class ApiKey:
    """One key that is known."""

    name: str
    digest: str = attrs.field(repr=False)
    """SHA-256 of the key, in hexadecimal."""
    role: str = "service"
    claims: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


def new_key() -> tuple[str, str]:
    """A new random key of 256 bits, and its hash for the file."""
    key = f"wsa_{secrets.token_urlsafe(32)}"
    return key, hash_of(key)


def hash_of(key: str) -> str:
    """SHA-256 of ``key`` in hexadecimal, as ``printf %s "$KEY" | sha256sum`` prints it."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read_api_keys(data: bytes) -> dict[str, ApiKey]:
    """The keys of a file by their hashes: one table per key, with ``sha256`` and, if it is not to be "service", ``role``.

    Raises:
        ValueError: says what is wrong; never repeats a value, which may be a key that was pasted there by mistake.

    >>> read_api_keys(b'[ingest]\\nsha256 = "' + b"0" * 64 + b'"\\n').popitem()[1]
    ApiKey(name='ingest', role='service')
    """
    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ValueError("not valid TOML") from None
    if len(document) > MOST_KEYS:
        raise ValueError(f"at most {MOST_KEYS} keys")
    keys = [_entry(name, entry) for name, entry in document.items()]
    return {key.digest: key for key in keys}


def _entry(name: str, entry: object) -> ApiKey:
    if not isinstance(entry, dict) or not entry.keys() <= {"sha256", "role", "claims"}:
        raise ValueError(f"{name}: expected a table with sha256, role and claims")
    digest, role, claims = entry.get("sha256"), entry.get("role", "service"), entry.get("claims", {})
    if not isinstance(digest, str) or not _HEX.fullmatch(digest):
        raise ValueError(f"{name}: sha256 is the key's hash, 64 hexadecimal digits in lower case")
    if not isinstance(role, str) or not role or not isinstance(claims, dict):
        raise ValueError(f"{name}: role is text, claims a table")
    return ApiKey(name, digest, role, claims)


def find_key(keys: Mapping[str, ApiKey], presented: str) -> ApiKey | None:
    """The key that ``presented`` is.

    What is compared are hashes: whoever measures how long that takes learns of a hash that he can neither choose nor use.
    """
    if not SHORTEST <= len(presented) <= LONGEST:
        return None
    return keys.get(hash_of(presented))
