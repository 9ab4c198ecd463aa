from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wsactors.gateway.dev_certificate import CertificateFiles, DevelopmentCertificates
from wsactors.gateway.options import GatewayRefused
from wsactors.gateway.tls import make_certificate


class Calendar:
    def __init__(self) -> None:
        self.today = dt.datetime.now(dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.today

    def days(self, number: float) -> None:
        self.today += dt.timedelta(days=number)


def test_a_development_certificate_is_one_that_browsers_take_by_its_hash() -> None:
    made = DevelopmentCertificates(["127.0.0.1", "localhost"])
    certificate = made.identity().chain[0]
    assert isinstance(certificate, x509.Certificate)
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= dt.timedelta(days=14)
    assert certificate.public_key() == made.identity().key.public_key()
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert made.hashes() == (hashlib.sha256(der).digest(),)


def test_the_next_one_s_hash_is_told_before_it_is_used_and_it_is_used_before_the_first_expires() -> None:
    calendar = Calendar()
    made = DevelopmentCertificates(["localhost"], calendar)
    first, [first_hash] = made.identity(), made.hashes()
    calendar.days(9.9)
    assert made.hashes() == (first_hash,)
    calendar.days(0.2)
    assert made.hashes()[0] == first_hash
    [_, second_hash] = made.hashes()
    assert made.identity() is first
    calendar.days(1)
    assert made.identity() is not first
    assert made.hashes() == (second_hash,)
    assert calendar.today < first.chain[0].not_valid_after_utc - dt.timedelta(days=1)


def test_who_was_asked_nothing_for_weeks_has_a_good_one() -> None:
    calendar = Calendar()
    made = DevelopmentCertificates(["localhost"], calendar)
    [before] = made.hashes()
    calendar.days(40)
    assert before not in made.hashes()


async def test_files_are_read_again_when_they_change_and_not_while_they_do_not_fit(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def write(pem: bytes, *, half: bool = False) -> None:
        begin = pem.index(b"-----BEGIN PRIVATE")
        cert.write_bytes(pem[:begin])
        if not half:
            key.write_bytes(pem[begin:])

    write(make_certificate(["localhost"]))
    files = CertificateFiles(cert, key, reload_seconds=0.05)
    first = files.identity()
    assert files.hashes() == ()
    write(second := make_certificate(["localhost"]), half=True)
    assert not files.reload()
    assert files.identity() is first
    async with trio.open_nursery() as nursery:
        nursery.start_soon(files.watch)
        write(second)
        with trio.fail_after(20):
            while files.identity() is first:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_files_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "both.pem"
    path.write_bytes(content)
    with pytest.raises(GatewayRefused, match=r"quic\.cert"):
        CertificateFiles(path, path)


def test_one_file_may_hold_both(pem: Path) -> None:
    assert CertificateFiles(pem, pem).identity().chain
