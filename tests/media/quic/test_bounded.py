from __future__ import annotations

import random

import pytest
from aioquic.quic import events
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode

from tests.media.quic.pair import Pair
from wsactors.media.quic.bounded import CONNECTION_IDS, CRYPTO_BYTES, reset_token
from wsactors.wire.capsules import encode_varint

STREAM = b"\x0e"  # with offset and length
CRYPTO = b"\x06"
RETIRE = b"\x19"
NEW_ID = b"\x18"
PATH_CHALLENGE = b"\x1a"


def stream_frame(stream_id: int, offset: int, data: bytes) -> bytes:
    return STREAM + b"".join(map(encode_varint, (stream_id, offset, len(data)))) + data


def received(connection: QuicConnection) -> int:
    count = 0
    while (event := connection.next_event()) is not None:
        count += len(event.data) if isinstance(event, events.StreamDataReceived) else 0
    return count


def closed_with(pair: Pair) -> int | None:
    pair.exchange()
    event = pair.server._close_event
    return None if event is None else event.error_code


def kept(pair: Pair) -> int:
    return sum(len(stream.receiver._buffer) for stream in pair.server._streams.values())


def test_as_much_as_anybody_wants_goes_through_a_window() -> None:
    pair = Pair(max_data=64 * 1024, max_stream_data=32 * 1024)
    total = 0
    for _ in range(10):
        pair.client.send_stream_data(0, bytes(100_000))
        pair.exchange()
        total += received(pair.server)
    assert total == 1_000_000
    assert pair.server._local_max_data.value <= 1_000_000 + 64 * 1024
    assert pair.server._streams[0].max_stream_data_local <= 1_000_000 + 32 * 1024


def test_bytes_behind_holes_open_no_window() -> None:
    pair = Pair(max_data=64 * 1024, max_stream_data=32 * 1024)
    code = None
    for _ in range(64):
        stream = pair.server._streams.get(0)
        limit = stream.max_stream_data_local if stream is not None else 32 * 1024
        pair.send(stream_frame(0, limit - 1, b"x"))
        code = code or closed_with(pair)
        assert kept(pair) <= 32 * 1024
    for stream_id in range(4, 64, 4):
        pair.send(stream_frame(stream_id, 32 * 1024 - 1, b"x"))
        code = code or closed_with(pair)
        assert kept(pair) <= 64 * 1024
    assert code == QuicErrorCode.FLOW_CONTROL_ERROR


def test_so_many_streams_are_open_at_a_time_and_their_end_makes_room() -> None:
    pair = Pair(max_streams_bidi=4, max_streams_uni=2)
    for _ in range(20):
        stream_id = pair.client.get_next_available_stream_id()
        pair.client.send_stream_data(stream_id, b"a", end_stream=True)
        pair.exchange()
        pair.server.send_stream_data(stream_id, b"b", end_stream=True)
        pair.exchange()
    assert received(pair.server) == 20
    pair.send(stream_frame(4 * 30, 0, b"x"))
    assert closed_with(pair) == QuicErrorCode.STREAM_LIMIT_ERROR


@pytest.mark.parametrize("offset", [CRYPTO_BYTES, 500_000])
def test_handshake_bytes_are_bounded(offset: int) -> None:
    pair = Pair()
    pair.send(CRYPTO + encode_varint(offset) + encode_varint(1) + b"x")
    assert closed_with(pair) == QuicErrorCode.CRYPTO_BUFFER_EXCEEDED


def test_a_flood_of_retired_connection_ids_ends_its_connection() -> None:
    pair = Pair()
    first = pair.server._host_cid_seq
    pair.send(b"".join(RETIRE + encode_varint(number) for number in range(1, 600)))
    assert pair.server._host_cid_seq - first <= 64
    assert closed_with(pair) == QuicErrorCode.PROTOCOL_VIOLATION


def test_a_flood_of_new_connection_ids_ends_its_connection() -> None:
    pair = Pair()
    frames = b"".join(
        NEW_ID + encode_varint(number) + encode_varint(number) + b"\x08" + number.to_bytes(8, "big") + bytes(16)
        for number in range(20, 400)
    )
    pair.send(frames)
    assert len(pair.server._retire_connection_ids) <= 64
    assert closed_with(pair) in {QuicErrorCode.PROTOCOL_VIOLATION, QuicErrorCode.CONNECTION_ID_LIMIT_ERROR}


def test_a_flood_of_path_challenges_ends_its_connection() -> None:
    pair = Pair()
    pair.send(b"".join(PATH_CHALLENGE + number.to_bytes(8, "big") for number in range(200)))
    assert len(pair.server._network_paths[0].remote_challenges) <= 64
    assert closed_with(pair) == QuicErrorCode.PROTOCOL_VIOLATION


def test_who_moves_now_and_then_may_do_so_for_days() -> None:
    pair = Pair()
    for _ in range(200):
        pair.now += 60.0
        pair.server._close_at = pair.client._close_at = pair.now + 60
        pair.client.change_connection_id()
        pair.exchange()
    pair.client.send_stream_data(0, b"still here")
    pair.exchange()
    assert received(pair.server) == len(b"still here")


def test_the_tokens_of_stateless_resets_come_from_the_key() -> None:
    key = bytes(range(32))
    pair = Pair(reset_key=key)
    assert len(pair.server._host_cids) > 1
    for each in pair.server._host_cids:
        assert each.stateless_reset_token == reset_token(key, each.cid)
    known = {each.cid: each.stateless_reset_token for each in pair.client._peer_cid_available}
    assert known
    assert all(token == reset_token(key, cid) for cid, token in known.items())


def test_neither_end_tells_the_other_more_ids_than_it_may_need() -> None:
    pair = Pair()
    assert len(pair.server._host_cids) == len(pair.client._host_cids) == CONNECTION_IDS
    pair.client.change_connection_id()
    pair.exchange()
    assert len(pair.server._host_cids) == CONNECTION_IDS


def random_frame(chance: random.Random) -> bytes:
    """Something that begins like a frame: a type, and some numbers that may or may not fit it."""
    kind = chance.choice(
        [2, 3, 4, 5, 6, 8, 0x0E, 0x0F, 0x10, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x30, 0x31, chance.randrange(64)]
    )
    numbers = [encode_varint(chance.getrandbits(chance.choice([6, 6, 14, 30, 62]))) for _ in range(chance.randrange(6))]
    return bytes([kind]) + b"".join(numbers) + chance.randbytes(chance.choice([0, 1, 8, 30]))


def test_arbitrary_frames_never_raise_out_of_a_connection() -> None:
    chance, pair, ended = random.Random(7), Pair(), 0
    for _ in range(300):
        pair.send(b"".join(random_frame(chance) for _ in range(chance.randrange(1, 4)))[:1_100])
        pair.server.datagrams_to_send(pair.now)
        assert kept(pair) <= 1_200_000
        if pair.server._close_event is not None:
            pair, ended = Pair(), ended + 1
    assert ended > 50
