import logging

import pytest
from aioquic._crypto import AEAD
from aioquic.quic import recovery

from wsactors.media.quic import self_check
from wsactors.media.quic.aioquic_backend import AioquicBackend
from wsactors.media.quic.fast_path import FastBackend
from wsactors.media.quic.self_check import choose_backend, why_not_fast


@pytest.fixture(autouse=True)
def _forget():
    why_not_fast.cache_clear()
    yield
    why_not_fast.cache_clear()


def test_with_the_aioquic_that_is_installed_the_fast_path_is_chosen():
    assert why_not_fast() is None
    assert isinstance(choose_backend(), FastBackend)


def test_an_aioquic_that_protects_packets_otherwise_gets_its_own_path_and_a_warning(monkeypatch, caplog):
    # As if a later version drew its nonces differently, on both ends.
    plain = AEAD._nonce
    monkeypatch.setattr(AEAD, "_nonce", lambda self, number: plain(self, number + 1))

    with caplog.at_level(logging.WARNING):
        backend = choose_backend("fast")

    assert type(backend) is AioquicBackend
    assert "quic_fast_path_unusable" in caplog.text
    assert "is not what aioquic makes of it" in caplog.text


class _OtherWindow(set[int]):
    """Does what `QuicPacketNumberWindow` does, with nothing inside that has its names."""


def test_an_aioquic_without_an_attribute_that_is_needed_gets_its_own_path(monkeypatch):
    monkeypatch.setattr(recovery, "QuicPacketNumberWindow", _OtherWindow)

    assert type(choose_backend()) is AioquicBackend
    assert "'_OtherWindow' object has no attribute" in (why_not_fast() or "")


def test_aioquics_own_path_can_be_asked_for():
    assert type(choose_backend("aioquic")) is AioquicBackend


def test_a_backend_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ValueError, match="'quiche': auto, fast, aioquic or qh3"):
        choose_backend("quiche")


def test_the_comparison_is_made_once(monkeypatch):
    made = []
    monkeypatch.setattr(self_check, "_compare", lambda *arguments: made.append(arguments))
    choose_backend()
    choose_backend()

    assert len(made) == 3
