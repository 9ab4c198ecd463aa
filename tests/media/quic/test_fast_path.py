"""What only the fast path can get wrong; what every backend must do is in test_conformance.py."""

from __future__ import annotations

import pytest
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.logger import QuicLogger
from aioquic.tls import Epoch

from tests.media.quic.link import Link, server_configuration
from wsactors.media.quic import fast_path
from wsactors.media.quic.fast_path import FastBackend, FastTransport


def _sound(index: int) -> bytes:
    return index.to_bytes(4, "big") + bytes(116)


def _numbers(link: Link) -> list[int]:
    return [int.from_bytes(data[:4], "big") for _, data in link.heard]


def _established(**changes) -> tuple[Link, FastTransport]:
    link = Link(FastBackend(), server=server_configuration(**changes))
    link.handshake()
    assert isinstance(link.server, FastTransport)
    return link, link.server


def test_packet_numbers_go_on_where_their_two_bytes_begin_anew():
    link, server = _established()
    played = 0
    for _ in range(34):
        link.play(3, payload=_sound, first=played)
        played += 3
        link.run(0.1)
        # As if so many packets had been lost on the way: just below what the fast path sends on beyond.
        server._leave()
        server.quic._packet_number += 4_000
        server._enter()

    assert server._next > 2 * 65_536
    link.play(40, payload=_sound, first=played)
    link.run(0.1)
    assert _numbers(link) == list(range(played + 40))
    assert server.statistics().fast_sent == played + 40
    assert not any(isinstance(event, ConnectionTerminated) for event in link.events)


def test_keys_are_changed_long_before_they_are_worn_out(monkeypatch):
    monkeypatch.setattr(fast_path, "_KEY_PACKETS", 300)
    link, server = _established()
    first = server.quic._cryptos[Epoch.ONE_RTT].send.secret

    link.play(1100, payload=_sound)
    link.run(0.1)

    assert server.quic._cryptos[Epoch.ONE_RTT].send.secret != first
    assert _numbers(link) == list(range(1100))


@pytest.mark.parametrize("changes", [{"quic_logger": QuicLogger()}, {"connection_id_length": 12}])
def test_where_a_precondition_fails_aioquics_path_is_taken(changes):
    link, server = _established(**changes)

    link.play(50, payload=_sound)
    link.run(0.1)

    assert _numbers(link) == list(range(50))
    assert server.statistics().fast_sent == 0
    assert server.statistics().fast_share == 0.0


def test_acknowledgements_go_along_with_sound():
    link, server = _established()
    before = link.packets_down
    for index in range(200):
        link.client.send_datagram_frame(_sound(index))
        link.flush()
        link.offer(_sound(index))
        link.run(0.02)
    link.run(0.2)

    assert link.client._loss.bytes_in_flight == 0
    # One packet down for each one up, and a few at the end.
    assert link.packets_down - before < 220
    assert server.statistics().fast_received >= 200


def test_what_was_received_is_not_told_for_ever():
    link, server = _established()
    link.lose = lambda data, downwards: not downwards and link.random.random() < 0.1
    for index in range(600):
        link.client.send_datagram_frame(_sound(index))
        link.flush()
        link.offer(_sound(index))
        link.run(0.02)

    server._leave()
    # Each loss makes a gap; those that the client knows of are forgotten.
    assert len(server.quic._spaces[Epoch.ONE_RTT].ack_queue) < 20


def test_streams_do_not_wait_for_datagrams_that_will_never_be_acknowledged():
    link, server = _established()
    link.lose = lambda data, downwards: True
    link.play(200, payload=_sound)
    assert server.statistics().probes

    link.lose = lambda data, downwards: False
    stream = server.next_stream_id()
    server.send_stream_data(stream, bytes(5_000))
    link.flush()
    link.run(2.0)

    assert link.streams[stream] == bytes(5_000)


def test_a_windowful_of_datagrams_counts_against_streams():
    link, server = _established()
    link.delay = 0.5
    link.play(60, payload=_sound, interval=0.001)
    flying = server.statistics().bytes_in_flight
    assert flying > 6_000

    stream = server.next_stream_id()
    server.send_stream_data(stream, bytes(100_000))
    before = link.packets_down
    link.flush()

    assert (link.packets_down - before) * 1_200 <= server.statistics().congestion_window - flying + 1_200
    link.run(10.0)
    assert len(link.streams[stream]) == 100_000


def test_a_server_that_is_busy_for_a_second_loses_nothing_of_what_it_has_sent():
    link, server = _established()
    link.play(40, payload=_sound)
    before = link.delay
    link.delay = 0.8
    link.play(30, payload=_sound, first=40)
    link.delay = before
    link.run(1.0)
    link.play(40, payload=_sound, first=70)
    link.run(0.1)

    assert sorted(_numbers(link)) == list(range(110))
    assert sum(server.statistics().drops.values()) == 0


@pytest.mark.parametrize("step", ["_sample", "_held_back", "_acknowledgement", "_tell_received"])
def test_a_fault_of_ours_ends_one_connection_and_is_logged(monkeypatch, caplog, step):
    link, server = _established()
    link.play(20, payload=_sound)

    def broken(*arguments):
        raise RuntimeError("a fault")

    monkeypatch.setattr(FastTransport, step, broken)
    for index in range(40):
        link.client.send_ping(index)
        link.play(1, payload=_sound)
    monkeypatch.undo()
    link.run(40.0)

    assert "a fault" in caplog.text
    assert [event.error_code for event in link.events if isinstance(event, ConnectionTerminated)] == [1]
    assert server.datagram(b"\x31\x01x", link.now) is None
