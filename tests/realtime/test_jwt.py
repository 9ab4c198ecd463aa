"""Tokens and their keys, attacked: RFC 8725's list, and what parsers disagree about."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from tests.realtime.tokens import NOW, SECRET, b64, claims, issued, jwk, jwks, private_key, signed
from wsactors.realtime.identity import AuthRefused
from wsactors.realtime.jwt import Key, hmac_key, read_jwks, verify

KEYS = (hmac_key(SECRET),)


def refused(token: str, code: str, keys: tuple[Key, ...] = KEYS, **options: Any) -> None:
    with pytest.raises(AuthRefused) as caught:
        verify(token, keys, now=NOW, **options)
    assert caught.value.code == code
    # What is refused is not repeated: texts end up in logs.
    assert all(part not in str(caught.value) for part in token.split(".") if len(part) > 8)


def test_a_good_token_says_who_it_is() -> None:
    assert verify(signed(claims()), KEYS, now=NOW) == claims()


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        ("RSA", "RS256"),
        ("RSA", "RS512"),
        ("RSA", "PS256"),
        ("P-256", "ES256"),
        ("P-384", "ES384"),
        ("Ed25519", "EdDSA"),
    ],
)
def test_every_kind_of_key_verifies_in_its_own_algorithm(kind: str, algorithm: str) -> None:
    keys = read_jwks(jwks(jwk(kind, kid="k1", alg=algorithm), jwk("RSA" if kind == "Ed25519" else "Ed25519", kid="k2")))

    assert verify(issued(kind, algorithm, kid="k1"), keys, now=NOW)["sub"] == "ada"
    refused(issued(kind, algorithm, kid="k2"), "signature", keys)


def test_a_key_without_alg_has_the_first_of_its_kind_and_no_other() -> None:
    keys = read_jwks(jwks(jwk("RSA")))

    assert [key.algorithm for key in keys] == ["RS256"]
    assert verify(issued("RSA", "RS256"), keys, now=NOW)
    refused(issued("RSA", "RS384"), "signature", keys)
    refused(issued("RSA", "PS256"), "signature", keys)


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "HS384", "RS256", "ES256"])
def test_the_token_does_not_choose_its_algorithm(name: str) -> None:
    refused(signed(claims(), header={"alg": name}), "signature")
    unsigned = f"{b64(json.dumps({'alg': name}).encode())}.{b64(json.dumps(claims()).encode())}."
    refused(unsigned, "signature")
    refused(unsigned, "signature", read_jwks(jwks(jwk("RSA"))))


def test_a_public_key_is_never_a_shared_secret() -> None:
    """Algorithm confusion: the public key, which everybody has, used as the secret of an HMAC."""
    public = private_key("RSA").public_key()
    keys = (*read_jwks(jwks(jwk("RSA", kid="k"))), hmac_key(SECRET))
    for encoding, form in (
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.PEM, serialization.PublicFormat.PKCS1),
        (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
    ):
        data = public.public_bytes(encoding, form)
        for secret in (data, data.strip(), json.dumps(jwk("RSA")).encode()):
            for header in ({}, {"kid": "k"}, {"alg": "RS256", "kid": "k"}):
                refused(signed(claims(), secret, header), "signature", keys)
        if encoding is serialization.Encoding.PEM:
            with pytest.raises(ValueError, match="not a shared secret"):
                hmac_key(data)


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"jwk": jwk("RSA")},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"jku": None},
    ],
    ids=lambda header: next(iter(header)),
)
def test_tokens_that_bring_keys_or_critical_extensions_are_refused_before_they_are_verified(header: Any) -> None:
    refused(signed(claims(), header=header), "malformed")


def test_another_s_key_a_changed_claim_and_a_cut_signature_are_refused() -> None:
    head, body, signature = signed(claims()).split(".")

    refused(signed(claims(), "another secret that is also long enough"), "signature")
    refused(f"{head}.{b64(json.dumps(claims(sub='root')).encode())}.{signature}", "signature")
    refused(f"{head}.{body}.{signature[:-3]}", "signature")
    refused(f"{head}.{body}.", "signature")
    refused(f"{head}.{body}.{signature}xx", "malformed")


@pytest.mark.parametrize("kid", ["../../dev/null", "' OR 1=1 --", "k1\x00", "x" * 5_000])
def test_a_key_id_is_compared_and_nothing_else(kid: str) -> None:
    keys = read_jwks(jwks({"kty": "oct", "k": b64(SECRET.encode()), "kid": "k1"}))

    refused(signed(claims(), header={"kid": kid}), "signature", keys)
    assert verify(signed(claims(), header={"kid": "k1"}), keys, now=NOW)


def test_a_secret_from_the_settings_has_no_id_and_takes_tokens_with_any() -> None:
    assert verify(signed(claims(), header={"kid": "whatever"}), KEYS, now=NOW)


def test_many_keys_of_one_kind_cost_a_bounded_number_of_signatures() -> None:
    many = tuple(hmac_key(f"{number:040}") for number in range(50))

    refused(signed(claims(), f"{49:040}"), "signature", many)
    assert verify(signed(claims(), f"{7:040}"), many, now=NOW)


# --- claims -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"exp": NOW - 11}, "expired"),
        ({"exp": NOW - 9}, None),
        ({"exp": 0}, "expired"),
        ({"nbf": NOW + 11}, "claims"),
        ({"nbf": NOW + 9}, None),
        ({"iat": NOW + 11}, "claims"),
        ({"exp": str(int(NOW + 99))}, "claims"),
        ({"exp": True}, "claims"),
        ({"exp": None}, "claims"),
        ({"exp": [NOW + 99]}, "claims"),
        ({"nbf": "0"}, "claims"),
    ],
)
def test_times_are_numbers_and_are_kept_with_leeway(change: dict[str, Any], code: str | None) -> None:
    token = signed(claims(**change))

    if code is None:
        assert verify(token, KEYS, now=NOW, leeway=10.0)
    else:
        refused(token, code, leeway=10.0)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400])
def test_a_time_that_no_comparison_understands_is_not_forever(number: bytes) -> None:
    refused(signed(b'{"sub":"ada","exp":' + number + b"}"), "malformed")


def test_a_claim_that_stands_twice_is_no_matter_of_taste() -> None:
    refused(signed(b'{"sub":"ada","exp":%d,"sub":"root"}' % (NOW + 99)), "malformed")


def test_a_token_without_expiry_is_refused_unless_allowed() -> None:
    token = signed({"sub": "ada"})

    refused(token, "claims")
    assert verify(token, KEYS, now=NOW, needs_expiry=False) == {"sub": "ada"}


@pytest.mark.parametrize(
    ("audience", "fine"),
    [("api", True), (["other", "api"], True), ("other", False), (None, False), ([], False), ([["api"]], False), ("apis", False),
     ({"api": 1}, False)],
)  # fmt: skip
def test_the_audience_is_checked_when_configured(audience: Any, fine: bool) -> None:
    token = signed(claims(aud=audience))

    if fine:
        assert verify(token, KEYS, now=NOW, audiences=["api"])
    else:
        refused(token, "claims", audiences=["api"])
    assert verify(token, KEYS, now=NOW)


def test_the_issuer_is_checked_when_configured() -> None:
    assert verify(signed(claims(iss="https://id.example")), KEYS, now=NOW, issuers=["https://id.example"])
    for other in ("https://id.example.evil", "", None, ["https://id.example"]):
        refused(signed(claims(iss=other)), "claims", issuers=["https://id.example"])
    refused(signed(claims()), "claims", issuers=["https://id.example"])


@pytest.mark.parametrize("kind", ["logout+jwt", "secevent+jwt", "dpop+jwt", "JOSE"])
def test_a_token_of_another_kind_grants_nothing(kind: str) -> None:
    refused(signed(claims(), header={"typ": kind}), "claims")


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b.c", "a.b", "a.b.c.d", "é.b.c", "e30.e30.", "bnVsbA.e30.x", "W10.e30.x",
     f"{b64(b'{' * 200)}.e30.x", "x" * 20_000,
     f"{b64(b'[' * 9_000)}.e30.x", f"{b64(b'{}')}.{b64(b'{}')}.{b64(b'x')}", "=.=.="],
)  # fmt: skip
def test_what_is_no_token_is_refused(token: str) -> None:
    refused(token, "malformed")


@pytest.mark.parametrize("body", [b"null", b"[]", b'"sub"', b"1", b"", b"\xff", b"[" * 5_000])
def test_claims_are_an_object(body: bytes) -> None:
    refused(signed(body), "malformed")


@given(st.text(max_size=200), st.binary(max_size=100), st.binary(max_size=40))
def test_arbitrary_tokens_are_refused_and_nothing_else(text: str, header: bytes, rest: bytes) -> None:
    for token in (text, f"{b64(header)}.{b64(rest)}.{b64(rest)}", f"{signed(claims()).rpartition('.')[0]}.{b64(rest)}"):
        with pytest.raises(AuthRefused):
            verify(token, KEYS, now=NOW)


@given(
    st.sampled_from(["alg", "typ", "kid"]),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists),
)
def test_arbitrary_headers_are_refused_or_harmless(name: str, value: Any) -> None:
    token = signed(claims(), header={name: value})
    with suppress(AuthRefused):
        assert verify(token, KEYS, now=NOW)["sub"] == "ada"


# --- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_secrets_are_as_long_as_their_hash(algorithm: str, least: int) -> None:
    assert hmac_key("x" * least, algorithm).algorithm == algorithm
    with pytest.raises(ValueError, match=f"at least {least} bytes"):
        hmac_key("x" * (least - 1), algorithm)
    with pytest.raises(ValueError, match="at least"):
        read_jwks(jwks({"kty": "oct", "alg": algorithm, "k": b64(b"x" * (least - 1))}))


def test_a_key_shows_no_material() -> None:
    assert SECRET not in repr(KEYS) + str(KEYS)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (jwk("RSA", rsa.generate_private_key(65537, 1024)), "2048 bits"),
        (dict(pyjwt.algorithms.ECAlgorithm.to_jwk(private_key("P-256"), as_dict=True)), "private key"),
        (jwk("P-256", alg="ES384"), "ES256"),
        (jwk("RSA", alg="HS256"), "RS256"),
        (jwk("RSA", alg="none"), "RS256"),
        ({"kty": "oct", "k": b64(SECRET.encode()), "alg": "none"}, "HS256"),
        ({"kty": "oct"}, "base64url"),
        ({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, "not a usable key"),
        ({"kty": "RSA", "n": "!", "e": "AQAB"}, "not a usable key"),
        ("text", "an object"),
        (jwk("RSA", kid=7), "kid"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unfit_key_is_named(entry: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"key 1: .*{message}"):
        read_jwks(jwks(jwk("Ed25519"), entry))


def test_keys_for_encryption_and_of_unknown_kinds_are_skipped() -> None:
    found = read_jwks(
        jwks(
            jwk("RSA", use="enc"),
            jwk("RSA", key_ops=["encrypt"]),
            {"kty": "lattice"},
            {"kty": "EC", "crv": "secp256k1"},
        )
    )

    assert found == ()


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"keys":{}}', b"\xff", b'{"keys":[],"keys":[]}', jwks(*[{}] * 101)]
)
def test_what_is_no_key_set_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_jwks(data)
