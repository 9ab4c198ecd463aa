from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsactors.media.quic.guard import MAX_ADDRESSES, WINDOW_SECONDS, Allowance, PacketGuard


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_no_more_is_taken_than_the_burst_and_what_has_come_back(pauses: list[float]) -> None:
    allowance, now, taken = Allowance(rate=2.0, burst=5.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += allowance.take(now)
        assert taken <= 5 + 2 * now + 1e-6


def test_what_is_owed_is_waited_for_but_not_for_ever() -> None:
    allowance = Allowance(rate=0.2, burst=0.1)
    allowance.owe(60.0, 0.0)
    assert not allowance.take(0.5, 0.01)
    assert allowance.take(1.1, 0.01)


def test_time_that_goes_back_gives_nothing() -> None:
    allowance = Allowance(rate=1.0, burst=1.0)
    assert allowance.take(10.0)
    assert not allowance.take(9.0)
    assert not allowance.take(9.5)


def flood(guard: PacketGuard, address: str, packets: int, now: float) -> int:
    return sum(guard.admit(address, now) for _ in range(packets))


def test_a_flood_from_one_address_is_turned_away_and_others_are_not() -> None:
    guard = PacketGuard(per_address=400, per_connection=100, connections={})
    assert flood(guard, "flooder", 10_000, 0.0) == 400 * WINDOW_SECONDS
    assert flood(guard, "other", 50, 0.0) == 50
    assert guard.dropped == 10_000 - 100
    assert flood(guard, "flooder", 10, WINDOW_SECONDS) == 10


def test_an_address_with_many_listeners_may_send_more() -> None:
    guard = PacketGuard(per_address=400, per_connection=100, connections={"hall": 1_000})
    assert flood(guard, "hall", 50_000, 0.0) == 100 + 25_000


def test_addresses_without_end_are_bounded_and_listeners_still_heard() -> None:
    guard = PacketGuard(per_address=400, per_connection=100, connections={"listener": 1})
    assert sum(guard.admit(f"spoofed {number}", 0.0) for number in range(MAX_ADDRESSES + 500)) == MAX_ADDRESSES
    assert guard.admit("listener", 0.0)
