"""What every backend must do, against aioquic's own client, in virtual time."""

from __future__ import annotations

import os
from typing import Any

import pytest
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, DatagramFrameReceived, StreamDataReceived
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import CipherSuite, Epoch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.media.quic.link import Link, client_configuration, server_configuration
from wsactors.media.quic.aioquic_backend import AioquicBackend
from wsactors.media.quic.fast_path import FastBackend
from wsactors.media.quic.transport import Backend, Drop, datagram_frame


@pytest.fixture(params=["aioquic", "fast", "qh3"])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "qh3":
        pytest.importorskip("qh3")
        from wsactors.media.quic.qh3_backend import Qh3Backend

        return Qh3Backend()
    return FastBackend() if request.param == "fast" else AioquicBackend()


def _sound(index: int) -> bytes:
    """A frame like those of Opus at 48 kbit/s: its number, then what compresses to nothing else."""
    return index.to_bytes(4, "big") + bytes(116)


def _numbers(link: Link) -> list[int]:
    return [int.from_bytes(data[:4], "big") for _, data in link.heard]


def _established(backend: Backend, **arguments: Any) -> Link:
    link = Link(backend, **arguments)
    link.handshake()
    return link


def _is_fast(backend: Backend) -> bool:
    return backend.name == "fast"


def test_on_a_clean_link_every_datagram_arrives_once_and_in_order(backend):
    link = _established(backend)

    assert link.play(500, payload=_sound) == 500
    link.run(0.1)

    assert _numbers(link) == list(range(500))
    statistics = link.server.statistics()
    assert statistics.datagrams_sent == 500
    assert statistics.datagrams_lost == 0
    assert sum(statistics.drops.values()) == 0
    assert statistics.rtt == pytest.approx(2 * link.delay, abs=0.005)
    if _is_fast(backend):
        assert statistics.fast_sent == 500


class _OneId(QuicConnection):
    """A client that issues no further connection ids, as one whose id is empty must not (RFC 9000 §19.15); aioquic's does.

    And it makes up an id of 8 bytes for the server, however long its own is (§7.2).
    """

    def connect(self, *arguments: Any, **named: Any) -> None:
        self._peer_cid.cid = self._original_destination_connection_id = os.urandom(8)
        super().connect(*arguments, **named)

    def _replenish_connection_ids(self) -> None:
        pass


@pytest.mark.parametrize("cid_bytes", [0, 1, 20])
def test_a_client_has_a_connection_id_of_any_length(backend, cid_bytes):
    # Chromium's has none at all.
    client = client_configuration(connection_id_length=cid_bytes)
    link = _established(backend, client=client, make_client=lambda made: _OneId(configuration=made))

    link.play(100, payload=_sound)
    link.run(0.1)

    assert _numbers(link) == list(range(100))


@pytest.mark.parametrize("suite", list(CipherSuite)[:3])
def test_every_cipher_is_spoken_also_chacha20_of_peers_without_hardware_for_aes(backend, suite):
    link = _established(backend, client=client_configuration(cipher_suites=[suite]))

    link.play(100, payload=_sound)
    link.run(0.1)

    assert _numbers(link) == list(range(100))
    if _is_fast(backend):
        assert link.server.statistics().fast_sent == 100


def test_lost_and_reordered_datagrams_are_neither_repeated_nor_held_back(backend):
    link = _established(backend)
    link.jitter = 0.03
    link.lose = lambda data, downwards: link.random.random() < 0.05

    sent = link.play(1500, payload=_sound)
    link.run(0.5)

    numbers = _numbers(link)
    assert len(set(numbers)) == len(numbers)
    assert sent > 1450
    assert 0.90 < len(numbers) / sent < 0.99
    # What is late by more than three packets counts as lost, and qh3 counts packets of other kinds, too.
    assert 0.5 < link.server.statistics().datagrams_lost / (sent - len(numbers)) < 2.5
    assert not any(isinstance(event, ConnectionTerminated) for event in link.events)


def test_streams_are_whole_beside_datagrams_on_a_lossy_link(backend):
    link = _established(backend)
    link.jitter = 0.02
    link.lose = lambda data, downwards: link.random.random() < 0.1
    ours = link.server.next_stream_id()
    data = bytes(index * 7 & 0xFF for index in range(40_000))
    link.server.send_stream_data(ours, data, end_stream=True)
    theirs = link.client.get_next_available_stream_id()
    link.client.send_stream_data(theirs, data, end_stream=True)
    link.flush()

    link.play(600, payload=_sound)
    link.lose = lambda data, downwards: False
    link.run(5.0)

    assert link.streams[ours] == data
    received = b"".join(
        event.data for event in link.events if isinstance(event, StreamDataReceived) and event.stream_id == theirs
    )
    assert received == data
    assert len(link.heard) > 400
    assert link.server.unsent(ours) == 0


@pytest.mark.parametrize("side", ["server", "client", "both"])
def test_keys_change_while_sound_goes_on(backend, side):
    link = _established(backend)
    link.play(50, payload=_sound)
    for turn in range(1, 4):
        if side != "client":
            link.server.request_key_update()
        if side == "client" or (side == "both" and turn == 2):
            link.client.request_key_update()
            link.client.send_ping(turn)
            link.flush()
        link.play(50, payload=_sound, first=50 * turn)
        link.run(0.1)

    # aioquic's client forgets its old keys at once, and so what is under way when it asks for new ones.
    missing = set(range(200)) - set(_numbers(link))
    assert missing <= (set() if side == "server" else {50, 100, 150})
    if _is_fast(backend):
        assert link.server.statistics().fast_sent >= 190


@pytest.mark.parametrize("changes_id", [False, True])
def test_sound_follows_a_listener_to_its_new_address(backend, changes_id):
    link = _established(backend)
    link.play(50, payload=_sound)
    for turn, port in enumerate((6666, 7777), start=1):
        if changes_id:
            link.client.change_connection_id()
        link.client_address = ("127.0.0.1", port)
        # What was on its way to the old address is lost; a listener's pings tell the new one.
        link.client.send_ping(turn)
        link.flush()
        link.play(50, payload=_sound, first=50 * turn)

    link.run(0.1)
    assert link.server.address == ("127.0.0.1", 7777)
    assert len(link.heard) >= 140
    assert _numbers(link)[-1] == 149
    if _is_fast(backend):
        assert link.server.statistics().fast_sent >= 130


def test_an_address_that_was_only_claimed_gets_no_flood(backend):
    link = _established(backend)
    link.play(50, payload=_sound)
    # The attacker repeats a packet of the victim's from elsewhere, before the victim's own arrives.
    link.client.send_ping(1)
    (data, _) = link.client.datagrams_to_send(link.now)[0]
    link.server.receive(data, ("127.0.0.1", 9999), link.now)
    there = 0

    def lose(packet, downwards):
        nonlocal there
        if downwards and link.server.address == ("127.0.0.1", 9999):
            there += len(packet)
        return downwards and link.server.address == ("127.0.0.1", 9999)

    link.lose = lose
    link.play(20, payload=_sound)
    assert there <= 3 * len(data)

    # The true listener is heard of again, and has its sound back.
    link.lose = lambda packet, downwards: False
    link.client.send_ping(2)
    link.flush()
    link.heard.clear()
    link.play(50, payload=_sound)
    assert len(link.heard) >= 40


def test_after_a_hole_of_ten_seconds_sound_is_back_within_one(backend):
    link = _established(backend)
    link.play(100, payload=_sound)
    link.lose = lambda data, downwards: True
    before = link.packets_down
    window = link.server.statistics().congestion_window

    link.play(500, payload=_sound, first=1000)

    # The window fills once; then it is a probe now and then, not the stream of a server that does not look.
    assert link.packets_down - before < window / 150 + 60
    drops = link.server.statistics().drops
    assert drops[Drop.SILENT] + drops[Drop.CONGESTED] > 440 - window / 150
    link.lose = lambda data, downwards: False
    link.heard.clear()
    ended = link.now
    link.play(100, payload=_sound, first=2000)

    # The client does nothing by itself, and nothing stale is played.
    assert link.heard[0][0] - ended < 1.0
    assert min(_numbers(link)) >= 2000
    steady = [number for number in _numbers(link) if number >= 2060]
    assert steady == list(range(2060, 2100))


def test_who_acknowledges_nothing_gets_a_windowful_and_then_probes(backend):
    link = _established(backend)
    link.lose = lambda data, downwards: not downwards

    link.play(1000, payload=_sound)

    assert len(link.heard) < 150
    # qh3 writes nothing off, so that its probes add up.
    assert link.server.statistics().bytes_in_flight <= link.server.statistics().congestion_window + 8_000


def test_a_connection_that_hears_nothing_ends_at_its_idle_timeout(backend):
    link = _established(backend, server=server_configuration(idle_timeout=5.0))
    link.play(50, payload=_sound)
    link.lose = lambda data, downwards: True

    link.play(200, payload=_sound)
    assert not any(isinstance(event, ConnectionTerminated) for event in link.events)
    link.play(150, payload=_sound)

    (ended,) = (event for event in link.events if isinstance(event, ConnectionTerminated))
    assert ended.reason_phrase == "Idle timeout"
    assert link.server.datagram(datagram_frame(b"late"), link.now) is None
    assert link.server.statistics().drops[Drop.CLOSED] > 0
    assert link.server.timer() is None


def test_a_listener_that_only_listens_is_not_idle(backend):
    link = _established(backend, server=server_configuration(idle_timeout=5.0))

    link.play(1000, payload=_sound)

    assert not any(isinstance(event, ConnectionTerminated) for event in link.events)
    assert len(link.heard) == 1000


def _violation(link: Link) -> bool:
    ended = [event for event in link.client_events if isinstance(event, ConnectionTerminated)]
    return bool(ended) and ended[0].error_code == QuicErrorCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize("with_ping", [False, True])
def test_acknowledging_what_is_yet_to_come_closes_the_connection(backend, with_ping):
    link = _established(backend)
    link.play(50, payload=_sound)
    space = link.client._spaces[Epoch.ONE_RTT]
    space.ack_queue.add(space.largest_received_packet + 40, space.largest_received_packet + 41)
    if with_ping:
        link.client.send_ping(1)

    link.play(10, payload=_sound)
    link.run(1.0)

    assert _violation(link)
    assert link.server.datagram(datagram_frame(b"late"), link.now) is None


def test_acknowledging_a_number_that_was_left_out_closes_the_connection(backend):
    if backend.name == "qh3":
        pytest.skip("qh3's core can leave numbers out, and does not mind who acknowledges them")
    link = _established(backend)
    space = link.client._spaces[Epoch.ONE_RTT]

    for index in range(1300):
        # All that was ever sent, as far as an optimist can tell.
        if len(space.ack_queue):
            space.ack_queue.add(space.ack_queue[0].start, space.largest_received_packet + 1)
        link.offer(_sound(index))
        link.run(0.02)
        if _violation(link):
            break

    assert _violation(link)


def test_who_acknowledges_honestly_is_never_accused(backend):
    link = _established(backend)
    link.lose = lambda data, downwards: link.random.random() < 0.02

    link.play(1500, payload=_sound)

    assert not any(isinstance(event, ConnectionTerminated) for event in link.events + link.client_events)


def test_a_datagram_too_large_for_the_peer_is_dropped_and_others_go_on(backend):
    link = _established(backend, client=client_configuration(max_datagram_frame_size=200))

    assert not link.offer(bytes(400))
    assert link.offer(bytes(150))
    link.run(0.1)

    assert [len(data) for _, data in link.heard] == [150]
    assert link.server.statistics().drops[Drop.UNSUPPORTED] == 1


def test_a_peer_that_takes_no_datagrams_gets_none(backend):
    link = _established(backend, client=client_configuration(max_datagram_frame_size=None))

    assert not link.offer(b"sound")
    assert link.server.statistics().drops[Drop.UNSUPPORTED] == 1


def test_before_the_handshake_nothing_is_sent_and_nothing_waits(backend):
    link = Link(backend)

    assert not link.offer(b"early")
    link.handshake()
    link.run(1.0)

    assert link.heard == []
    assert link.server.statistics().drops[Drop.HANDSHAKE] == 1


@pytest.mark.parametrize("size", [0, 1, 17, 63, 64, 500, 1158])
def test_datagrams_of_all_sizes_go_out_mixed(backend, size):
    link = _established(backend)

    link.play(30, payload=lambda index: bytes(size if index % 2 else 100))
    link.run(0.1)

    assert [len(data) for _, data in link.heard] == [size if index % 2 else 100 for index in range(30)]


def test_what_a_speaker_sends_is_received_once_and_acknowledged(backend):
    link = _established(backend)
    for index in range(200):
        link.client.send_datagram_frame(_sound(index))
        link.flush()
        link.offer(_sound(index))
        link.run(0.02)
    link.run(0.5)

    received = [event.data for event in link.events if isinstance(event, DatagramFrameReceived)]
    assert received == [_sound(index) for index in range(200)]
    assert link.client._loss.bytes_in_flight == 0
    # Nobody had to ask twice.
    assert link.client._loss._pto_count == 0


def test_a_speaker_that_hears_nothing_is_acknowledged_too(backend):
    link = _established(backend)
    for index in range(200):
        link.client.send_datagram_frame(_sound(index))
        link.flush()
        link.run(0.02)

    assert link.client._loss.bytes_in_flight <= 2 * 200
    assert sum(isinstance(event, DatagramFrameReceived) for event in link.events) == 200


def test_time_that_is_told_a_little_late_harms_nothing(backend):
    link = _established(backend)
    for index in range(100):
        link.client.send_datagram_frame(_sound(index))
        for data, _ in link.client.datagrams_to_send(link.now):
            link.server.receive(data, link.client_address, link.now + 0.003)
        # Whoever looks after all connections has read the clock before.
        link.server.handle_timer(link.now)
        link.flush()
        link.offer(_sound(index))
        link.run(0.02)
        link.server.handle_timer(link.now + 0.03)
        link.server.handle_timer(link.now - 0.01)
        link.flush()
    link.run(0.5)

    assert _numbers(link) == list(range(100))
    assert link.client._loss.bytes_in_flight == 0


def test_what_is_sent_with_an_older_time_than_what_came_last_harms_nothing(backend):
    link = _established(backend)
    for index in range(20):
        for late in (0.0, 0.04):
            link.client.send_datagram_frame(_sound(index))
            for data, _ in link.client.datagrams_to_send(link.now):
                link.server.receive(data, link.client_address, link.now + late)
        link.server.send_stream_data(1, b"%d" % index)
        link.server.transmit(link.now + 0.03)
        link.run(0.05)

    assert not [event for event in link.events if isinstance(event, ConnectionTerminated)]
    link.offer(_sound(1))
    link.run(0.1)
    assert _numbers(link) == [1]


def test_a_repeated_packet_is_taken_once(backend):
    link = _established(backend)
    link.client.send_datagram_frame(b"once")
    packets = link.client.datagrams_to_send(link.now)
    for _ in range(3):
        for data, _address in packets:
            link.server.receive(data, link.client_address, link.now)
    link.flush()

    assert sum(isinstance(event, DatagramFrameReceived) for event in link.events) == 1


def test_a_client_whose_ids_are_acknowledged_late_may_say_them_again(backend):
    link = _established(backend)
    pair = link.client._cryptos[Epoch.ONE_RTT]
    known = link.client._host_cids[1]
    again = b"\x18\x01\x00\x08" + known.cid + known.stateless_reset_token.ljust(16, b"\0")
    for _ in range(200):
        number = link.client._packet_number
        header = bytes((0x41 | pair.key_phase << 2,)) + link.client._peer_cid.cid + number.to_bytes(2, "big")
        link.server.receive(pair.encrypt_packet(header, again, number), link.client_address, link.now)
        link.client._packet_number += 1
    link.flush()

    link.play(10, payload=_sound)
    link.run(0.1)

    assert _numbers(link) == list(range(10))


@pytest.mark.parametrize("by_server", [True, False])
def test_either_side_closes_with_a_code_and_a_reason(backend, by_server):
    link = _established(backend)
    link.play(20, payload=_sound)
    if by_server:
        link.server.close(0x1234, "kicked: bye")
    else:
        link.client.close(error_code=0x1234, reason_phrase="kicked: bye")
    link.flush()
    link.play(10, payload=_sound)
    link.run(1.0)

    for events in (link.events, link.client_events):
        (ended,) = (event for event in events if isinstance(event, ConnectionTerminated))
        assert (ended.error_code, ended.reason_phrase) == (0x1234, "kicked: bye")
    assert link.server.statistics().drops[Drop.CLOSED] > 0


def test_a_datagram_queued_with_the_rest_goes_out_with_it(backend):
    link = _established(backend)

    assert link.server.send_datagram_ordinary(b"hello")
    link.flush()
    link.run(0.1)

    assert [data for _, data in link.heard] == [b"hello"]
    with pytest.raises(ValueError, match="at most"):
        link.server.send_datagram_ordinary(bytes(1159))


def test_few_datagrams_wait_for_a_silent_peer(backend):
    link = _established(backend)
    link.lose = lambda data, downwards: True

    taken = [link.server.send_datagram_ordinary(_sound(index)) for index in range(1000)]

    assert sum(taken) <= 64
    link.run(20.0)
    link.lose = lambda data, downwards: False
    link.run(5.0)
    assert len(link.heard) <= 16


_GARBAGE = st.binary(max_size=1400)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(datagrams=st.lists(st.tuples(_GARBAGE, st.booleans()), max_size=8))
def test_arbitrary_datagrams_never_raise_and_never_disturb(backend, datagrams):
    link = _established(backend)
    for data, short in datagrams:
        # As it is, and behind a header that leads to this connection's keys.
        packet = b"\x41" + link.server.host_cid + data if short else data
        link.server.receive(packet, link.client_address, link.now)
        link.server.receive(packet, ("127.0.0.1", 1), link.now)
        link.flush()

    link.play(10, payload=_sound)
    link.run(0.1)
    assert _numbers(link) == list(range(10))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), min_size=1, max_size=6), cut=st.integers(0, 60)
)
def test_packets_changed_on_the_way_never_raise_and_never_disturb(backend, changes, cut):
    link = _established(backend)
    for turn in range(3):
        link.client.send_ping(turn)
        for data, _ in link.client.datagrams_to_send(link.now):
            changed = bytearray(data)
            for at, value in changes:
                if at < len(changed):
                    changed[at] ^= value
            link.server.receive(bytes(changed), link.client_address, link.now)
            link.server.receive(data[:cut], link.client_address, link.now)
        link.flush()

    link.run(1.0)
    link.play(10, payload=_sound)
    link.run(0.1)
    assert _numbers(link) == list(range(10))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.binary(min_size=1, max_size=80))
def test_whatever_an_authentic_peer_sends_is_taken_or_closes_its_connection(backend, payload):
    link = _established(backend)
    link.play(3, payload=_sound)
    client = link.client
    pair = client._cryptos[Epoch.ONE_RTT]
    payload = payload.ljust(4, b"\0")
    header = bytes((0x41 | pair.key_phase << 2,)) + client._peer_cid.cid + client._packet_number.to_bytes(2, "big")
    packet = pair.encrypt_packet(header, payload, client._packet_number)
    client._packet_number += 1

    link.server.receive(packet, link.client_address, link.now)
    link.flush()
    link.play(5, payload=_sound)
    link.run(1.0)

    ended = [event for event in link.client_events + link.events if isinstance(event, ConnectionTerminated)]
    assert ended or len(link.heard) == 8
    assert all(event.error_code != QuicErrorCode.INTERNAL_ERROR for event in ended)
