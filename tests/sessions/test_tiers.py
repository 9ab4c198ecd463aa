"""A battle at lower bit rates, for those who lose much."""

from __future__ import annotations

import pytest

from tests.dj.listening import decode, lag_and_likeness, settled
from tests.sessions.conftest import Ear, House
from wsactors.dj.render_protocol import Packet
from wsactors.dj.timeline import PACKET
from wsactors.media.reports import Heard
from wsactors.sessions.battle_tiers import KEEP, TiersInUse, coded
from wsactors.sessions.directory import Membership
from wsactors.sessions.listener_metrics import ListenerMetrics
from wsactors.sessions.options import BattleOptions
from wsactors.wire.native import decode_audio

RATES = (64_000, 32_000)
LOUD = 40
"""−dBov: the battle plays."""
SILENCE = 10
"""Bytes that a frame of silence has at most."""


def heard(member: Membership, loss: float, track: int | None = None) -> list[Heard]:
    lost = round(50 * loss)
    number = member.joined.track if track is None else track
    return [Heard(number, 1.0, 50, lost, lost, loss, loss, 0.0, 3.0, 50.0, None)]


def bytes_of(ear: Ear, sequences: range) -> float:
    found = [len(each.frame.payload) for each in ear.arrivals if each.frame.sequence in sequences]
    return sum(found) / len(found)


def latest(ear: Ear) -> int:
    return ear.arrivals[-1].frame.sequence


async def test_who_loses_much_gets_fewer_bits_and_misses_nothing(house: House) -> None:
    await house.open("one", tiers=RATES)
    good, _ = await house.listen("one")
    bad, member = await house.listen("one")
    await bad.until(lambda: bad.arrivals[-1].frame.level < LOUD if bad.arrivals else False)
    member.hear(heard(member, 0.3), 1.0)
    member.hear(heard(member, 0.3), 2.0)
    sizes = [each.frame.payload for each in bad.arrivals]

    def is_small() -> bool:
        latest_sizes = [len(each.frame.payload) for each in bad.arrivals[-25:]]
        return len(bad.arrivals) > len(sizes) + 25 and SILENCE < min(latest_sizes) <= max(latest_sizes) <= 120

    await bad.until(is_small)
    await good.until(lambda: latest(good) >= latest(bad))
    here = range(latest(bad) - 24, latest(bad) + 1)
    assert bytes_of(good, here) > 2 * bytes_of(bad, here)
    # Good reports for long enough, and it is as it was.
    for now in (100.0, 111.0, 122.0):
        member.hear(heard(member, 0.0), now)
    await bad.hear(30)
    await good.until(lambda: latest(good) >= latest(bad))
    assert [each.data for each in bad.arrivals[-5:]] == [
        each.data for each in good.arrivals if latest(bad) - 5 < each.frame.sequence <= latest(bad)
    ]
    common = range(max(each.arrivals[0].frame.sequence for each in (good, bad)), latest(bad) + 1)
    one_got, other_got = (
        [each.frame.sequence for each in ear.arrivals if each.frame.sequence in common] for ear in (good, bad)
    )
    assert one_got == other_got == sorted(set(one_got)), "nothing is lost to one of them and nothing comes twice"
    for ear in (good, bad):
        assert all(each.frame.timestamp == each.frame.sequence * PACKET for each in ear.arrivals)
    assert ListenerMetrics.of(house.node).tiers.read() == {"down": 2, "up": 2, "other": 0}
    if good.jumps() or bad.jumps():
        pytest.skip("this machine is too busy: the battle itself left something out")
    [one], [other] = (decode(ear.packets()) for ear in (good, bad))
    one, other = settled(one), settled(other)
    begin, end = max(one.frame, other.frame), min(one.end, other.end)
    sounds = [each.sound[begin - each.frame : end - each.frame] for each in (one, other)]
    lag, likeness = lag_and_likeness(*sounds)
    assert lag == 0
    assert likeness > 0.9, "it is the same sound all the time"


async def test_reports_of_other_tracks_and_of_silence_change_nothing(house: House) -> None:
    await house.open("one", tiers=RATES)
    _, member = await house.listen("one")
    for now in (1.0, 2.0, 3.0):
        member.hear(heard(member, 0.9, track=1), now)
        member.hear([Heard(member.joined.track, 1.0, 0, 0, 0, 0.9, 0.9, 0.0, 0.0, 0.0, None)], now)
    assert ListenerMetrics.of(house.node).tiers.read()["down"] == 0


async def test_without_tiers_everybody_gets_the_same(house: House) -> None:
    await house.open("one", tiers=())
    good, _ = await house.listen("one")
    bad, member = await house.listen("one")
    await bad.hear(5)
    for now in (1.0, 2.0, 3.0):
        member.hear(heard(member, 0.5), now)
    await bad.hear(30)
    await good.until(lambda: latest(good) >= latest(bad))
    by_sequence = {each.frame.sequence: each.data for each in good.arrivals}
    assert all(by_sequence[each.frame.sequence] == each.data for each in bad.arrivals[-20:])


def test_a_rate_is_coded_while_somebody_needs_it_and_a_while_longer() -> None:
    tiers = TiersInUse(RATES)
    assert tiers.look([0, 0], 10) == ()
    assert tiers.look([0, 2], 20) == (32_000,)
    assert tiers.look([1, 0], 30) == RATES
    assert tiers.look([1, 0], 20 + KEEP) == (64_000,)
    assert tiers.look([], 20 + 2 * KEEP) == ()


def test_a_rate_that_is_not_there_yet_is_the_next_better_one() -> None:
    packet = Packet("b", 5 * PACKET, -20.0, -10.0, b"best", ((32_000, b"low"),))
    frames = [decode_audio(data) for data in coded(7, packet, RATES, 0)]
    assert [frame.payload for frame in frames] == [b"best", b"best", b"low"]
    assert {(frame.track, frame.sequence, frame.timestamp, frame.level) for frame in frames} == {(7, 5, 5 * PACKET, 20)}


@pytest.mark.parametrize("tiers", [(32_000, 64_000), (64_000, 64_000), (8_000,), (1,) * 4, (True,)])
def test_tiers_are_few_and_go_down(tiers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="tiers"):
        BattleOptions("x", tiers=tiers)


def test_rates_that_are_not_lower_count_for_nothing() -> None:
    assert BattleOptions("x", bitrate=48_000).lower == (32_000,)
