"""The authenticator: who comes in as whom, for how long, and what takes that away."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.realtime.tokens import NOW, SECRET, b64, claims, issued, jwk, jwks, signed
from wsactors.actors.redact import safe_repr
from wsactors.realtime.api_keys import hash_of, new_key, read_api_keys
from wsactors.realtime.auth import AuthOptions, FileUnusable, KeyedAuthenticator
from wsactors.realtime.identity import ANONYMOUS, AuthRefused, Credentials, User
from wsactors.realtime.jwt import DEMO_SECRETS
from wsactors.realtime.revocations import MOST, Revocations, read_revocations

STRICT = AuthOptions(anonymous=False, secret=SECRET)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def made(options: AuthOptions = STRICT, clock: Any = None, **more: Any) -> KeyedAuthenticator:
    return KeyedAuthenticator(attrs.evolve(options, **more), clock=clock or Clock())


async def refused(code: str, authenticator: KeyedAuthenticator, **shown: Any) -> None:
    with pytest.raises(AuthRefused) as caught:
        await authenticator.authenticate(Credentials(**shown))
    assert caught.value.code == code


async def test_a_token_says_who_it_is() -> None:
    user = await made().authenticate(Credentials(token=signed(claims(jti="t1", iat=NOW - 5))))

    assert user == User(
        "ada", "member", claims(jti="t1", iat=NOW - 5), NOW + 3600, "t1", NOW - 5, user.stamp
    )  # fmt: skip
    assert not user.anonymous
    assert hash(user)


async def test_a_token_may_come_where_the_api_key_goes() -> None:
    """Supabase's clients send their project's key, which is a token, as `apikey`; a login goes before it."""
    project = signed({"role": "anon", "exp": NOW + 9})
    user = await made().authenticate(Credentials(api_key=project))

    assert (user.role, user.anonymous) == ("anon", True)
    both = await made().authenticate(Credentials(api_key=project, token=signed(claims())))
    assert both.subject == "ada"


async def test_whoever_shows_nothing_is_nobody_where_that_is_allowed() -> None:
    await refused("missing", made())
    assert await made(anonymous=True).authenticate(Credentials()) == ANONYMOUS


async def test_whoever_shows_something_wrong_is_not_let_in_as_nobody() -> None:
    authenticator = made(anonymous=True)

    await refused("expired", authenticator, token=signed(claims(exp=NOW - 99)))
    await refused("malformed", authenticator, token="wrong")
    await refused("malformed", authenticator, api_key="wrong")
    await refused("malformed", authenticator, token="wrong", api_key=signed(claims()))


async def test_without_keys_nothing_can_be_checked_and_nobody_is_somebody() -> None:
    assert await made(AuthOptions()).authenticate(Credentials(token=signed(claims()))) == ANONYMOUS
    await refused("missing", made(AuthOptions(anonymous=False)), token=signed(claims()))


@pytest.mark.parametrize("secret", sorted(DEMO_SECRETS))
def test_a_secret_out_of_documentation_is_for_this_machine_only(secret: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="public documentation"):
        KeyedAuthenticator(AuthOptions(secret=secret), loopback=False)
    KeyedAuthenticator(AuthOptions(secret=secret), loopback=True)
    file = tmp_path / "jwks.json"
    file.write_bytes(jwks({"kty": "oct", "k": b64(secret.encode())}))
    with pytest.raises(FileUnusable, match="public documentation"):
        KeyedAuthenticator(AuthOptions(jwks=file), loopback=False)
    KeyedAuthenticator(AuthOptions(jwks=file), loopback=True)


@pytest.mark.parametrize(
    "change",
    [
        {"sub": 7},
        {"sub": ["ada"]},
        {"sub": None},
        {"sub": "x" * 256},
        {"role": ["admin"]},
        {"jti": 1},
        {"sub": "key:ingest"},
    ],
    ids=str,
)
async def test_who_it_is_stands_there_in_text(change: dict[str, Any]) -> None:
    await refused("claims", made(), token=signed(claims(**change)))


async def test_claims_have_the_names_that_are_configured() -> None:
    authenticator = made(subject_claim="user_id", role_claim="https://ws.example/role", default_role="guest")

    user = await authenticator.authenticate(Credentials(token=signed(claims(user_id="u1"))))
    assert (user.subject, user.role) == ("u1", "guest")


# --- while a connection lives -------------------------------------------------------------------------------------


async def test_a_live_connection_ends_with_its_token_and_goes_on_with_a_new_one() -> None:
    clock = Clock()
    authenticator = made(clock=clock)
    user = await authenticator.authenticate(Credentials(token=signed(claims(exp=NOW + 100))))

    assert authenticator.seconds_left(user) == 110.0  # with the leeway that a new connection would have
    assert authenticator.recheck_seconds(user) == 60.0
    clock.now += 60
    await authenticator.check(user)
    assert authenticator.recheck_seconds(user) == 50.0
    renewed = await authenticator.refresh(user, signed(claims(exp=NOW + 500)))
    clock.now += 50
    assert authenticator.recheck_seconds(user) == 0.0
    with pytest.raises(AuthRefused) as caught:
        await authenticator.check(user)
    assert caught.value.code == "expired"
    await authenticator.check(renewed)


async def test_a_new_token_makes_nobody_another() -> None:
    authenticator = made(anonymous=True)
    ada = await authenticator.authenticate(Credentials(token=signed(claims())))

    for token in (signed(claims(sub="bob")), signed({"role": "anon", "exp": NOW + 9}), ""):
        with pytest.raises(AuthRefused) as caught:
            await authenticator.refresh(ada, token)
        assert caught.value.code == "forbidden"
    assert (await authenticator.refresh(ada, signed(claims(role="admin")))).role == "admin"
    assert (await authenticator.refresh(ANONYMOUS, signed(claims()))).subject == "ada"  # it logs in


async def test_nobody_in_particular_is_never_looked_at_again() -> None:
    authenticator = made(anonymous=True)

    assert authenticator.recheck_seconds(ANONYMOUS) is None
    await authenticator.check(ANONYMOUS)


# --- revocation ---------------------------------------------------------------------------------------------------


async def test_a_revoked_token_is_refused_at_the_door_and_on_live_connections() -> None:
    authenticator = made()
    lost, kept = signed(claims(jti="phone")), signed(claims(jti="desk"))
    user = await authenticator.authenticate(Credentials(token=lost))
    other = await authenticator.authenticate(Credentials(token=kept))
    authenticator.revoke_token(user)

    await refused("revoked", authenticator, token=lost)
    with pytest.raises(AuthRefused) as caught:
        await authenticator.check(user)
    assert caught.value.code == "revoked"
    await authenticator.check(other)


async def test_a_revoked_person_comes_back_only_with_a_newer_token() -> None:
    clock = Clock()
    authenticator = made(clock=clock)
    authenticator.revoke_subject("ada")

    await refused("revoked", authenticator, token=signed(claims(iat=NOW - 1)))
    await refused("revoked", authenticator, token=signed(claims(iat=NOW)))
    await refused("revoked", authenticator, token=signed(claims()))  # says not when it was made
    await refused("revoked", authenticator, api_key=signed(claims()))
    clock.now += 2
    assert await authenticator.authenticate(Credentials(token=signed(claims(iat=NOW + 1))))
    assert await authenticator.authenticate(Credentials(token=signed(claims(sub="bob"))))
    with pytest.raises(ValueError, match="nobody"):
        authenticator.revoke_subject("")
    with pytest.raises(ValueError, match="nobody"):
        authenticator.revoke_token(ANONYMOUS)


def test_a_full_list_lets_nobody_back_in() -> None:
    revoked = Revocations()
    for number in range(MOST):
        revoked.add_token(f"t{number}", now=0.0, until=10.0 if number < 2 else 99.0)
    with pytest.raises(ValueError, match="revoked already"):
        revoked.add_token("more", now=9.0)
    assert revoked.cover("", "t0", None)
    revoked.add_token("more", now=10.0)  # two have expired by themselves
    revoked.add_token("t5", now=10.0)

    assert revoked.cover("", "more", None)
    assert len(revoked.tokens) == MOST - 1


def test_a_revocation_file_is_closed() -> None:
    found = read_revocations(b"# a remark\n\ntoken a#b\nsubject ada\nsubject bob 17\nsubject bob 16\n")

    assert found.cover("ada", "", 1e12)
    assert found.cover("x", "a#b", None)
    assert [found.cover("bob", "", issued) for issued in (17, 18)] == [True, False]
    for line in (b"tokens x", b"token", b"token a b", b"subject bob -1", "subject bob ١٧".encode(), b"\xff"):
        with pytest.raises(ValueError):
            read_revocations(line)


# --- files --------------------------------------------------------------------------------------------------------


def write(path: Path, data: bytes) -> Path:
    """As an editor does: another file in its place."""
    other = path.with_suffix(".new")
    other.write_bytes(data)
    other.chmod(0o600)
    other.rename(path)
    return path


async def test_a_key_set_is_read_again_when_it_changes(tmp_path: Path, autojump_clock: MockClock) -> None:
    file = write(tmp_path / "jwks.json", jwks(jwk("RSA", kid="old")))
    authenticator = made(AuthOptions(anonymous=False, jwks=file))
    assert await authenticator.authenticate(Credentials(token=issued("RSA", "RS256", kid="old")))
    await refused("signature", authenticator, token=issued("P-256", "ES256", kid="new"))

    write(file, jwks(jwk("P-256", kid="new")))
    await trio.sleep(1.1)

    assert await authenticator.authenticate(Credentials(token=issued("P-256", "ES256", kid="new")))
    await refused("signature", authenticator, token=issued("RSA", "RS256", kid="old"))


async def test_a_file_that_breaks_changes_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    keys = write(tmp_path / "jwks.json", jwks(jwk("RSA")))
    revoked = write(tmp_path / "revoked", b"subject bob\n")
    authenticator = made(AuthOptions(anonymous=False, jwks=keys, revoked=revoked))

    for broken in (b"", b"\xff\xff", b"{}"):
        write(keys, broken)
        write(revoked, b"rubbish\n")
        await trio.sleep(1.1)
        assert await authenticator.authenticate(Credentials(token=issued("RSA", "RS256")))
        await refused("revoked", authenticator, token=issued("RSA", "RS256", claims(sub="bob")))
    keys.unlink()
    revoked.unlink()
    await trio.sleep(1.1)
    await refused("revoked", authenticator, token=issued("RSA", "RS256", claims(sub="bob")))
    write(revoked, b"")
    write(keys, jwks(jwk("RSA")))
    await trio.sleep(1.1)
    assert await authenticator.authenticate(Credentials(token=issued("RSA", "RS256", claims(sub="bob"))))


async def test_the_revocation_file_reaches_live_connections(tmp_path: Path, autojump_clock: MockClock) -> None:
    file = write(tmp_path / "revoked", b"")
    authenticator = made(revoked=file)
    user = await authenticator.authenticate(Credentials(token=signed(claims())))
    write(file, b"subject ada\n")
    await trio.sleep(1.1)

    with pytest.raises(AuthRefused):
        await authenticator.check(user)


def test_a_file_that_everybody_may_write_or_that_is_none_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "jwks.json", jwks(jwk("RSA")))
    file.chmod(0o666)
    with pytest.raises(FileUnusable, match="chmod o-w"):
        made(AuthOptions(jwks=file))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for wrong in (tmp_path, pipe, tmp_path / "absent", Path("/dev/zero")):
        with pytest.raises(FileUnusable):
            made(AuthOptions(jwks=wrong))


# --- API keys -----------------------------------------------------------------------------------------------------


async def test_an_api_key_is_known_by_its_hash_and_goes_with_its_line(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    key, digest = new_key()
    file = write(
        tmp_path / "keys.toml", f'[ingest]\nsha256 = "{digest}"\nrole = "writer"\n[ingest.claims]\nroom = "a"'.encode()
    )
    authenticator = made(AuthOptions(anonymous=False, api_keys=file))

    user = await authenticator.authenticate(Credentials(api_key=key))
    assert user == User("key:ingest", "writer", {"room": "a"}, stamp=digest)
    assert await authenticator.authenticate(Credentials(token=key)) == user
    assert authenticator.recheck_seconds(user) == 60.0
    for wrong in (key[:-1], f"{key} ", digest, "", "x" * 600, "\udcff" * 30):
        with pytest.raises(AuthRefused):
            await authenticator.authenticate(Credentials(api_key=wrong))
    write(file, b"")
    await trio.sleep(1.1)
    with pytest.raises(AuthRefused) as caught:
        await authenticator.check(user)
    assert caught.value.code == "revoked"


def test_a_key_s_hash_is_what_the_shell_prints() -> None:
    assert hash_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert len(new_key()[0]) >= 43


@pytest.mark.parametrize(
    "text",
    ["x", "[a]", '[a]\nsha256 = "SECRETSECRETSECRET"', f'[a]\nsha256 = "{"A" * 64}"', f'[a]\nsha256 = "{"a" * 64}"\nrole = ""',
     f'[a]\nsha256 = "{"a" * 64}"\nkey = "SECRET"', "a = 1", "\x00"],
)  # fmt: skip
def test_an_unfit_key_file_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_api_keys(text.encode())
    assert "SECRET" not in str(caught.value)


# --- what is shown ------------------------------------------------------------------------------------------------


async def test_no_credential_is_in_any_text(tmp_path: Path, autojump_clock: MockClock) -> None:
    key, digest = new_key()
    token = signed(claims(jti="t", email="ada@example.com", api_token="inner-secret"))
    file = write(tmp_path / "keys.toml", f'[a]\nsha256 = "{digest}"'.encode())
    options = attrs.evolve(STRICT, api_keys=file)
    authenticator = made(options)
    credentials = Credentials(token=token, api_key=key, params={"token": token, "apikey": key})
    user = await authenticator.authenticate(credentials)
    write(file, f'[b]\nsha256 = "{key}"'.encode())  # pasted the key, not its hash
    await trio.sleep(1.1)
    with pytest.raises(AuthRefused) as caught:
        await authenticator.authenticate(Credentials(token=token[:-3]))
    values = [options, credentials, user, caught.value, authenticator.__dict__, caught.value.details]

    shown = " ".join([*map(repr, values), *map(str, values), *map(safe_repr, values), json.dumps(str(caught.value))])
    for secret in (SECRET, token, key, digest, "inner-secret", user.stamp, *token.split(".")):
        assert secret not in shown
