"""Makes tokens and key files as a stranger would: also those that no library agrees to make."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SECRET = "a secret of the tests alone, and more than 32 bytes"
NOW = 1_800_000_000.0


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "ada", "role": "member", "exp": NOW + 3600} | more


def signed(payload: Any, secret: bytes | str = SECRET, header: dict[str, Any] | None = None) -> str:
    """A token signed with HMAC-SHA256 whatever its header says. ``payload`` may be raw bytes."""
    head = {"alg": "HS256", "typ": "JWT"} | (header or {})
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    text = f"{b64(json.dumps(head).encode())}.{b64(body)}"
    key = secret.encode() if isinstance(secret, str) else secret
    return f"{text}.{b64(hmac.digest(key, text.encode(), hashlib.sha256))}"


@functools.cache
def private_key(kind: str) -> Any:
    match kind:
        case "RSA":
            return rsa.generate_private_key(65537, 2048)
        case "P-256":
            return ec.generate_private_key(ec.SECP256R1())
        case "P-384":
            return ec.generate_private_key(ec.SECP384R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


_ALGORITHMS: dict[str, Any] = {
    "RSA": jwt.algorithms.RSAAlgorithm,
    "P-256": jwt.algorithms.ECAlgorithm,
    "P-384": jwt.algorithms.ECAlgorithm,
    "Ed25519": jwt.algorithms.OKPAlgorithm,
}


def jwk(kind: str, key: Any = None, **more: Any) -> dict[str, Any]:
    """The public key as a JWK."""
    public = (key or private_key(kind)).public_key()
    return dict(_ALGORITHMS[kind].to_jwk(public, as_dict=True)) | more


def jwks(*entries: Any) -> bytes:
    return json.dumps({"keys": entries}).encode()


def issued(kind: str, algorithm: str, payload: dict[str, Any] | None = None, **header: Any) -> str:
    return jwt.encode(payload or claims(), private_key(kind), algorithm=algorithm, headers=header)
