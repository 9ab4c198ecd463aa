"""JSON Web Tokens: which keys there are, and whether a token was signed by one of them and holds now.

PyJWT does the cryptography; what RFC 8725 asks for beyond that is decided here. An algorithm belongs to a key, never to a token:
a key verifies in its one algorithm, so a public key is never taken for an HMAC secret and ``none`` is nothing. A token that
points to keys of its own (``jku``, ``x5u``, ``jwk``, ``x5c``) or asks for what we do not know (``crit``) is refused. Header
and claims are read as strictly as any other JSON from outside: a key that appears twice is not a matter of taste.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import loads

from .identity import AuthRefused

__all__ = ["DEMO_SECRETS", "Claims", "Key", "hmac_key", "read_jwks", "verify"]

Claims = dict[str, Any]

LONGEST: Final = 16 * 1024
"""Characters of a token: what fits a request's head."""
MOST_KEYS: Final = 100
TRIES: Final = 8
"""Signatures that one token may cost."""
HMAC_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Least bytes of a secret: as long as the hash (RFC 7518, 3.2)."""
RSA_BITS: Final = 2048
_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
"""``typ`` of tokens that grant access; other kinds of JWT (logout, security events) do not, however well signed."""
_FOREIGN_KEYS: Final = ("jku", "x5u", "jwk", "x5c", "crit", "b64")
DEMO_SECRETS: Final = frozenset(
    {
        "your-super-secret-jwt-token-with-at-least-32-characters-long",  # Supabase's .env.example
        "super-secret-jwt-token-with-at-least-32-characters-long",  # Supabase's command line
        "a-string-secret-at-least-256-bits-long",  # jwt.io
        "your-256-bit-secret-your-256-bit-secret",
        "wsactors-demo-secret-for-this-machine-only",
    }
)
"""Secrets that stand in documentation: good for a machine of one's own, never for others'."""


@attrs.frozen
class Key:
    """One key, and the one algorithm it verifies."""

    algorithm: str
    material: Any = attrs.field(repr=False)
    """As PyJWT takes it: bytes for HMAC, a public key otherwise."""
    id: str = ""
    """The ``kid`` that tokens name it by; empty: none."""


def hmac_key(secret: str | bytes, algorithm: str = "HS256", key_id: str = "") -> Key:
    """The key of a shared secret.

    Raises:
        ValueError: not an HMAC algorithm, a secret that is too short, or one that is in truth a public key.
    """
    data = secret.encode() if isinstance(secret, str) else secret
    least = HMAC_BYTES.get(algorithm)
    if least is None:
        raise ValueError(f"a shared secret verifies one of {', '.join(HMAC_BYTES)}, not {algorithm!r}")
    if len(data) < least:
        raise ValueError(f"a secret for {algorithm} has at least {least} bytes, not {len(data)}")
    if b"-----BEGIN " in data or data.startswith((b"ssh-", b"ecdsa-")):
        raise ValueError("this is a public or private key, not a shared secret: name it in a JWKS file")
    return Key(algorithm, data, key_id)


# --- JWKS ---------------------------------------------------------------------------------------------------------


def read_jwks(data: bytes) -> tuple[Key, ...]:
    """The keys of a JSON Web Key Set (RFC 7517).

    Raises:
        ValueError: it is none, or a key in it is unfit; says which. Keys for encryption and of unknown kinds are skipped, as
            the standard asks.
    """
    try:
        document = loads(data)
    except ProtocolError as error:
        raise ValueError(str(error)) from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MOST_KEYS:
        raise ValueError(f'expected {{"keys": [...]}} with at most {MOST_KEYS} keys')
    keys = []
    for number, entry in enumerate(entries):
        try:
            key = _jwk(entry)
        except ValueError as error:
            raise ValueError(f"key {number}: {error}") from None
        if key is not None:
            keys.append(key)
    return tuple(keys)


def _jwk(entry: object) -> Key | None:
    if not isinstance(entry, dict):
        raise ValueError("expected an object")
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    key_id = entry.get("kid", "")
    if not isinstance(key_id, str):
        raise ValueError('"kid" is text')
    if entry.get("kty") != "oct" and "d" in entry:
        raise ValueError("this is a private key: whoever signs keeps it, and gives away its public part")
    match entry.get("kty"), entry.get("crv"):
        case "oct", _:
            return hmac_key(_decoded(entry.get("k")), _algorithm(entry, tuple(HMAC_BYTES)), key_id)
        case "RSA", _:
            key = Key(_algorithm(entry, _RSA), _material(entry), key_id)
            if key.material.key_size < RSA_BITS:
                raise ValueError(f"an RSA key has at least {RSA_BITS} bits")
            return key
        case "EC", str(curve) if curve in _CURVES:
            return Key(_algorithm(entry, (_CURVES[curve],)), _material(entry), key_id)
        case "OKP", "Ed25519":
            _algorithm(entry, ("EdDSA", "Ed25519"))
            return Key("EdDSA", _material(entry), key_id)
        case _:
            return None


def _algorithm(entry: Mapping[str, Any], possible: Sequence[str]) -> str:
    """The one algorithm of a key: the one it names, else the first of its kind."""
    named = entry.get("alg", possible[0])
    if named not in possible:
        raise ValueError(f'"alg" of such a key is one of {", ".join(possible)}')
    return str(named)


def _material(entry: dict[str, Any]) -> Any:
    import jwt

    try:
        return jwt.PyJWK.from_dict({name: value for name, value in entry.items() if name != "alg"}).key
    except Exception as error:  # PyJWT and cryptography raise many kinds for what is no key
        raise ValueError(f"not a usable key ({type(error).__name__})") from None


def _decoded(text: object) -> bytes:
    if not isinstance(text, str) or not text.isascii():
        raise ValueError("expected base64url text")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("expected base64url text") from None


# --- tokens -------------------------------------------------------------------------------------------------------


def verify(
    token: str,
    keys: Sequence[Key],
    *,
    now: float,
    audiences: Sequence[str] = (),
    issuers: Sequence[str] = (),
    leeway: float = 10.0,
    needs_expiry: bool = True,
) -> Claims:
    """The claims of ``token``, if one of ``keys`` has signed it and it holds at ``now`` (Unix time in seconds).

    ``audiences`` and ``issuers`` are those that are accepted; empty: not looked at.

    Raises:
        AuthRefused: with code malformed, signature, expired or claims. The text never says which key or value was wrong.
    """
    algorithm, key_id = _header(token)
    claims = _signed(token, _candidates(keys, algorithm, key_id))
    _check_times(claims, now, leeway, needs_expiry=needs_expiry)
    if audiences:
        named = claims.get("aud")
        if not set(audiences) & {item for item in (named if isinstance(named, list) else [named]) if type(item) is str}:
            raise AuthRefused("claims", "This token is for somebody else (aud).")
    if issuers and claims.get("iss") not in issuers:
        raise AuthRefused("claims", "This token is from somebody else (iss).")
    return claims


def _header(token: str) -> tuple[str, str]:
    """The algorithm and key id that a token names."""
    if len(token) > LONGEST or not token.isascii() or token.count(".") != 2:
        raise AuthRefused("malformed", "This is not a JSON Web Token.")
    try:
        header = loads(_decoded(token.partition(".")[0]))
    except ValueError:  # ProtocolError is one
        raise AuthRefused("malformed", "This is not a JSON Web Token.") from None
    if not isinstance(header, dict):
        raise AuthRefused("malformed", "This is not a JSON Web Token.")
    if any(name in header for name in _FOREIGN_KEYS):
        raise AuthRefused("malformed", "Tokens that bring their own keys or critical extensions are not taken.")
    algorithm, key_id, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "JWT")
    if not (isinstance(algorithm, str) and isinstance(key_id, str) and isinstance(kind, str)):
        raise AuthRefused("malformed", "This is not a JSON Web Token.")
    if kind.lower() not in _TYPES:
        raise AuthRefused("claims", "This kind of token (typ) grants no access.")
    return algorithm, key_id


def _candidates(keys: Sequence[Key], algorithm: str, key_id: str) -> list[Key]:
    """The keys that may have signed: of this algorithm, and of this id if there is one."""
    same = [key for key in keys if key.algorithm == algorithm]
    if key_id:
        # A key without an id is a shared secret from the settings, which has no say in what the issuer's kid is.
        same = [key for key in same if key.id == key_id] or [key for key in same if not key.id]
    return same[:TRIES]


def _signed(token: str, keys: Sequence[Key]) -> Claims:
    import jwt

    for key in keys:
        try:
            payload = jwt.PyJWS().decode(token, key.material, algorithms=[key.algorithm])
        except jwt.InvalidSignatureError:
            continue
        except jwt.PyJWTError:
            raise AuthRefused("malformed", "This is not a JSON Web Token.") from None
        try:
            claims = loads(payload)
        except ProtocolError:
            raise AuthRefused("malformed", "The token's claims are not JSON that is accepted here.") from None
        if not isinstance(claims, dict):
            raise AuthRefused("malformed", "The token's claims are not an object.")
        return claims
    raise AuthRefused("signature", "The token is not signed by a key that is trusted here.")


def _check_times(claims: Claims, now: float, leeway: float, *, needs_expiry: bool) -> None:
    for name in ("exp", "nbf", "iat"):
        if name in claims and type(claims[name]) not in {int, float}:
            raise AuthRefused("claims", f"The token's {name} is not a number of seconds.")
    if "exp" not in claims:
        if needs_expiry:
            raise AuthRefused("claims", "The token never expires (exp): ask for one that does.")
    elif now >= claims["exp"] + leeway:
        raise AuthRefused("expired", "The token has expired: ask for a new one.")
    if max(claims.get("nbf", now), claims.get("iat", now)) > now + leeway:
        raise AuthRefused("claims", "The token is not valid yet: is a clock wrong?")
