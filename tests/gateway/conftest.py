"""Fixtures of the gateway's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsactors.gateway.tls import make_certificate


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate for 127.0.0.1 and its key."""
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    path.write_bytes(make_certificate(["127.0.0.1"]))
    return path
