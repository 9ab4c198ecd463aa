from __future__ import annotations

import pytest

pytest.importorskip("aioquic")

from wsactors.gateway.dev_certificate import DevelopmentCertificates, Identity
from wsactors.gateway.quic_server import Configurations


class Renewed(DevelopmentCertificates):
    """One that is renewed when a test says so."""

    made: Identity | None = None

    def identity(self) -> Identity:
        return self.made or super().identity()


def test_all_connections_are_made_alike_until_the_certificate_is_another() -> None:
    certificates = Renewed(["localhost"])
    configurations = Configurations(certificates, 30.0)
    first = configurations.present(b"k" * 32)
    assert configurations.present(b"k" * 32) is first
    certificates.made = DevelopmentCertificates(["localhost"]).identity()
    second = configurations.present(b"k" * 32)
    assert second is not first
    assert (second.certificate, second.private_key) == (certificates.made.chain[0], certificates.made.key)
    assert configurations.present(b"l" * 32).reset_key == b"l" * 32  # type: ignore[attr-defined]
