from __future__ import annotations

import importlib.util
from functools import partial
from types import ModuleType

import pytest
from aioquic import tls
from aioquic._buffer import Buffer, BufferReadError
from aioquic.quic import connection, crypto
from aioquic.quic.packet import QuicProtocolVersion
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


@given(items=st.lists(st.binary(max_size=20), max_size=5), capacity=st.sampled_from([1, 2, 3]))
def test_blocks_are_written_and_read_as_aioquic_does(items: list[bytes], capacity: int) -> None:
    written = []
    for module in (tls, OWN_TLS):
        buf = Buffer(capacity=1024)
        module.push_list(buf, capacity, partial(module.push_opaque, buf, 1), items)
        with module.push_extension(buf, 7):
            module.push_opaque(buf, capacity, b"behind")
        written.append(buf.data)
    assert written[0] == written[1]
    for module in (tls, OWN_TLS):
        buf = Buffer(data=written[0])
        assert module.pull_list(buf, capacity, partial(module.pull_opaque, buf, 1)) == items


@given(data=st.binary(max_size=40), capacity=st.sampled_from([1, 2, 3]))
def test_what_is_no_block_is_refused_as_aioquic_does(data: bytes, capacity: int) -> None:
    found: list[object] = []
    for module in (tls, OWN_TLS):
        buf = Buffer(data=data)
        try:
            found.append((module.pull_list(buf, capacity, buf.pull_uint16), buf.tell()))
        except (BufferReadError, module.AlertDecodeError) as error:
            found.append((type(error).__name__, str(error), buf.tell()))
        buf = Buffer(data=data)
        try:
            found.append((module.pull_opaque(buf, capacity), buf.tell()))
        except BufferReadError as error:
            found.append((str(error), buf.tell()))
    assert found[:2] == found[2:]


def test_the_keys_of_first_packets_are_those_of_aioquic() -> None:
    for version in (QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2):
        later, own = aioquic_shortcuts.LaterPair(), crypto.CryptoPair()
        for pair in (later, own):
            pair.setup_initial(cid=b"12345678", is_client=False, version=version)
        assert later.encrypt_packet(b"\xc3head" + bytes(4), b"payload", 3) == own.encrypt_packet(
            b"\xc3head" + bytes(4), b"payload", 3
        )
        assert later.recv.secret == own.recv.secret


def test_keys_that_nobody_has_asked_for_are_not_made_to_be_thrown_away() -> None:
    pair = aioquic_shortcuts.LaterPair()
    pair.setup_initial(cid=b"12345678", is_client=True, version=QuicProtocolVersion.VERSION_1)
    pair.teardown()
    assert not pair.send.is_valid()
    pair.teardown()
    with pytest.raises(AttributeError):
        _ = pair.other


def test_what_aioquic_says_is_logged_where_somebody_reads_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "quic")
    connection.QuicConnectionAdapter(connection.logger, {"id": "ab"}).info("here %d", 1)
    caplog.set_level("WARNING", "quic")
    quiet = connection.QuicConnectionAdapter(connection.logger, {"id": "cd"})
    quiet.info("not here")
    quiet.debug("nor this")
    quiet.warning("but this")
    assert [record.getMessage() for record in caplog.records] == ["[ab] here 1", "[cd] but this"]


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
