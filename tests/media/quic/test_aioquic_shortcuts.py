from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
from aioquic import tls
from aioquic.quic import connection, crypto
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from wsactors.media.quic import aioquic_shortcuts


def untouched(name: str) -> ModuleType:
    """The module as aioquic has it: loaded once more, beside the one that is used."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OWN_TLS = untouched("aioquic.tls")
LABELS = [b"quic key", b"quic iv", b"quic hp", b"quicv2 ku", b"c hs traffic", b"finished", b"derived", b""]


@given(
    algorithm=st.sampled_from([hashes.SHA256(), hashes.SHA384()]),
    secret=st.binary(min_size=1, max_size=64),
    label=st.sampled_from(LABELS) | st.binary(max_size=40),
    context=st.sampled_from([b"", bytes(32)]) | st.binary(max_size=64),
    length=st.integers(1, 100),
)
def test_labels_are_expanded_as_aioquic_does(
    algorithm: hashes.HashAlgorithm, secret: bytes, label: bytes, context: bytes, length: int
) -> None:
    found = aioquic_shortcuts.expand_label(algorithm, secret, label, context, length)
    assert found == OWN_TLS.hkdf_expand_label(algorithm, secret, label, context, length)


def test_aioquic_uses_them_however_often_they_are_installed() -> None:
    aioquic_shortcuts.install()
    aioquic_shortcuts.install()
    assert tls.hkdf_expand_label is aioquic_shortcuts.expand_label
    assert vars(crypto)["hkdf_expand_label"] is aioquic_shortcuts.expand_label


@pytest.mark.parametrize("shortcut", ["01", "1", "IH01", "IH1"])
def test_sets_of_epochs_hold_what_aioquic_puts_there(shortcut: str) -> None:
    assert connection.EPOCHS(shortcut) == {connection.EPOCH_SHORTCUTS[each] for each in shortcut}


def test_an_epoch_is_found_where_it_was_put() -> None:
    kept = {epoch: epoch.name for epoch in tls.Epoch}
    assert [kept[tls.Epoch[name]] for name in kept.values()] == [epoch.name for epoch in tls.Epoch]
    assert tls.Epoch(3) in kept
