"""The congestion control of live sound: a lossy way is not a full one, and a full one is."""

from __future__ import annotations

import random

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.tls import Epoch

from tests.media.quic.link import Link
from wsactors.media.quic.aioquic_backend import AioquicBackend
from wsactors.media.quic.congestion import HOPELESS, LEAST, LIVE, RATE, LiveCongestionControl
from wsactors.media.quic.guarded_connection import GuardedConnection

SIZE = 1_200


def packet(number: int, sent: float) -> QuicSentPacket:
    return QuicSentPacket(
        epoch=Epoch.ONE_RTT,
        in_flight=True,
        is_ack_eliciting=True,
        is_crypto_packet=False,
        packet_number=number,
        packet_type=QuicPacketType.ONE_RTT,
        sent_bytes=0,
        sent_time=sent,
    )


def control(rtt: float = 0.04) -> LiveCongestionControl:
    made = LiveCongestionControl(max_datagram_size=SIZE)
    made.on_rtt_measurement(now=0.0, rtt=rtt)
    return made


def lose(made: LiveCongestionControl, share: float, *, seconds: float, begin: float = 0.0) -> None:
    """Of fifty packets a second, at random."""
    chance = random.Random(1)
    for number in range(round(begin * 50), round((begin + seconds) * 50)):
        if chance.random() < share:
            made.on_packets_lost(now=number / 50 + 0.1, packets=[packet(number, number / 50)])


@pytest.mark.parametrize("rtt", [0.001, 0.04, 0.3])
def test_sound_goes_on_where_some_of_it_is_lost(rtt: float) -> None:
    made = control(rtt)
    lose(made, 0.1, seconds=120)
    assert made.congestion_window >= max(LEAST * SIZE, RATE * rtt)


def test_a_way_that_loses_very_much_gets_what_reno_gives_it_until_it_is_better() -> None:
    made = control()
    lose(made, 1.5 * HOPELESS, seconds=30)
    assert made.floor == 0
    assert made.congestion_window == 2 * SIZE
    lose(made, 0.03, begin=30, seconds=30)
    assert made.congestion_window >= LEAST * SIZE


def test_packets_that_wait_in_a_queue_do_not_raise_the_window() -> None:
    made = control(0.04)
    floor = made.floor
    for number in range(100):
        made.on_rtt_measurement(now=number / 10, rtt=0.04 + number / 100)
    assert made.floor == floor


def test_before_any_round_trip_it_is_reno() -> None:
    made = LiveCongestionControl(max_datagram_size=SIZE)
    lose(made, 0.5, seconds=10)
    assert made.congestion_window == 2 * SIZE


def acknowledgements(losses: set[int]) -> int:
    """How many packets a client sends while it hears 200 datagrams, of which some are lost."""
    made: list[GuardedConnection] = []

    def make_client(configuration: QuicConfiguration) -> GuardedConnection:
        made.append(GuardedConnection(configuration=configuration, max_ack_delay=0.1))
        return made[0]

    link = Link(AioquicBackend(), make_client=make_client)
    link.handshake()
    sent = 0
    upwards = 0

    def lose(_data: bytes, is_down: bool) -> bool:
        nonlocal sent, upwards
        sent += is_down
        upwards += not is_down
        return is_down and sent in losses

    link.lose = lose
    link.play(200, payload=lambda index: bytes([index]) * 200)
    return upwards


def test_a_client_that_loses_packets_acknowledges_each_at_once() -> None:
    assert acknowledgements(set()) < 90
    # One missing number may have been skipped.
    assert acknowledgements({10}) < 90
    assert acknowledgements(set(range(10, 200, 20))) > 140


def test_connections_are_made_with_it() -> None:
    quic = GuardedConnection(configuration=QuicConfiguration(is_client=True, congestion_control_algorithm=LIVE))
    assert isinstance(quic._loss._cc, LiveCongestionControl)
