from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.media.pacer import Pacer, PacerOptions


def test_members_are_spread_evenly_and_stay_where_they_are() -> None:
    pacer: Pacer[int] = Pacer()
    phases = [pacer.place(name) for name in range(10)]
    assert [phases.count(phase) for phase in range(4)] == [3, 3, 2, 2]
    assert pacer.place(3) == phases[3]
    pacer.leave(0)
    pacer.leave(0)
    assert pacer.place("new") == 0
    assert pacer.members(0) == (4, 8, "new")


def test_few_members_wait_for_nobody() -> None:
    pacer: Pacer[str] = Pacer(PacerOptions(phases=3, fill=2))
    assert [pacer.place(name) for name in range(9)] == [0, 0, 1, 1, 2, 2, 0, 1, 2]
    few: Pacer[str] = Pacer(PacerOptions(phases=3, fill=2))
    few.place("ann")
    few.put("a", 1.0, [0])
    assert list(few.due(1.0)) == [(0, "a")]
    assert few.deadline is None


def test_a_frame_goes_to_one_phase_after_the_other() -> None:
    pacer: Pacer[str] = Pacer()
    pacer.put("a", 1.0)
    assert list(pacer.due(1.0)) == [(0, "a")]
    assert pacer.deadline == pytest.approx(1.005)
    pacer.put("b", 1.007)
    assert list(pacer.due(1.012)) == [(1, "a"), (0, "b"), (2, "a"), (1, "b")]
    assert list(pacer.due(2.0)) == []
    assert pacer.deadline is None
    assert pacer.dropped == 3  # who comes so late sends nothing old


def test_what_waits_is_bounded() -> None:
    pacer: Pacer[int] = Pacer(PacerOptions(phases=2, capacity=3))
    for number in range(10):
        pacer.put(number, 1.0)
    assert [item for phase, item in pacer.due(1.01) if phase == 1] == [7, 8, 9]
    assert pacer.dropped == 14
    with pytest.raises(ValueError, match="phase"):
        Pacer(PacerOptions(phases=0))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 0.02)), max_size=100))
def test_every_phase_gets_everything_once_and_in_order(events: list[tuple[bool, float]]) -> None:
    pacer: Pacer[int] = Pacer(PacerOptions(oldest=1e9))
    now, put = 0.0, 0
    got: list[list[int]] = [[] for _ in range(4)]
    for puts, pause in [*events, (False, 1.0)]:
        now += pause
        if puts:
            pacer.put(put, now)
            put += 1
        for phase, item in pacer.due(now):
            got[phase].append(item)
        assert pacer.deadline is None or pacer.deadline > now
    assert got == [list(range(put))] * 4
