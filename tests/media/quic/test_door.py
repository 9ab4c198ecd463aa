"""The door alone, in memory: what it answers, and what it lets in."""

from __future__ import annotations

import os

import pytest
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from hypothesis import given
from hypothesis import strategies as st

from tests.media.quic.pair import SERVER, client_configuration
from wsactors.media.quic.bounded import reset_token
from wsactors.media.quic.door import Door, DoorOptions, Enter, Turned

KEY = bytes(32)
ADDRESS = ("192.0.2.1", 4_000)
V6 = ("2001:db8::1", 4_000, 0, 0)


def client(now: float = 0.0) -> QuicConnection:
    quic = QuicConnection(configuration=client_configuration())
    quic.connect(SERVER, now)
    return quic


def first(quic: QuicConnection, now: float = 0.0) -> bytes:
    return quic.datagrams_to_send(now)[0][0]


def test_a_client_comes_in_at_once_while_few_come() -> None:
    quic = client()
    found = Door(DoorOptions(), KEY).knock(first(quic), ADDRESS, 0.0, 0)
    assert found == Enter(quic.original_destination_connection_id, None)


@pytest.mark.parametrize("address", [ADDRESS, V6])
def test_a_retry_brings_a_client_in_and_nobody_else(address: tuple[str, int]) -> None:
    door = Door(DoorOptions(retry_above=0), KEY)
    quic = client()
    original = quic.original_destination_connection_id
    retry = door.knock(first(quic), address, 0.0, 0)
    assert isinstance(retry, bytes)
    quic.receive_datagram(retry, SERVER, 0.1)
    again = first(quic, 0.1)
    found = door.knock(again, address, 0.1, 0)
    assert isinstance(found, Enter)
    assert found.original_destination_cid == original
    assert found.retry_source_cid
    # Elsewhere, or later, it is worth nothing, and says so.
    other = ("192.0.2.2", 4_000)
    for where, when in ((other, 0.1), (address, 60.0)):
        refused = door.knock(again, where, when, 0)
        assert isinstance(refused, bytes)
        assert pull_quic_header(Buffer(data=refused)).packet_type == QuicPacketType.INITIAL


def test_many_half_open_handshakes_need_a_retry() -> None:
    door = Door(DoorOptions(half_open=10), KEY)
    assert isinstance(door.knock(first(client()), ADDRESS, 0.0, 9), Enter)
    assert isinstance(door.knock(first(client()), ADDRESS, 0.0, 10), bytes)


def test_handshakes_that_have_had_their_share_wait() -> None:
    door = Door(DoorOptions(handshake_share=0.2), KEY)
    door.spent(0.11, 0.0)
    assert door.knock(first(client()), ADDRESS, 0.0, 0) is Turned.BUSY
    assert isinstance(door.knock(first(client()), ADDRESS, 0.1, 0), Enter)


def test_a_reset_proves_whose_it_is() -> None:
    door = Door(DoorOptions(), KEY)
    cid = os.urandom(8)
    answer = door.knock(b"\x40" + cid + bytes(60), ADDRESS, 0.0, 0)
    assert isinstance(answer, bytes)
    assert answer.endswith(reset_token(KEY, cid))
    assert len(answer) < 69
    # What is answered by less, and so on: two of us soon have nothing to say to each other.
    while isinstance(answer, bytes):
        shorter = door.knock(answer, ADDRESS, 0.0, 0)
        assert not isinstance(shorter, bytes) or len(shorter) < len(answer)
        answer = shorter


def test_a_first_packet_that_is_too_small_is_not_answered() -> None:
    door = Door(DoorOptions(), KEY)
    assert isinstance(door.knock(first(client())[:1_199], ADDRESS, 0.0, 0), Turned)
    short_id = bytearray(first(client()))
    short_id[5] = 4
    assert isinstance(door.knock(bytes(short_id), ADDRESS, 0.0, 0), Turned)


@given(st.binary(min_size=9, max_size=60), st.integers(0, 1_200))
def test_arbitrary_bytes_are_answered_by_less_or_by_nothing(head: bytes, size: int) -> None:
    data = head.ljust(size, b"\0")
    found = Door(DoorOptions(), KEY).knock(data, ADDRESS, 0.0, 0)
    assert isinstance(found, Turned | Enter) or len(found) < len(data)
