"""Fixtures of the gateway's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wsactors.gateway.tls import make_certificate


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate for 127.0.0.1 and its key."""
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    path.write_bytes(make_certificate(["127.0.0.1"]))
    return path


@pytest.fixture(autouse=True)
def _time_to_say_hello(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of these tests run beside the node, one after the other: on a busy machine the last one's turn comes late."""
    if (module := sys.modules.get("wsactors.gateway.quic_conversation")) is not None:
        monkeypatch.setattr(module, "HELLO_SECONDS", 30.0)
