"""Histories and what they may keep together: the oldest of all gives way, and nothing is ever half there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.realtime.history import History, HistoryBudget, estimate
from wsactors.realtime.publication import Position, Publication


def publication(offset: int, payload: Any = None) -> Publication:
    return Publication(topic="t", event="e", payload=payload, offset=offset)


def add(history: History, count: int = 1, *, now: float = 0.0, size: int = 64) -> None:
    for _ in range(count):
        history.add(publication(history.offset + 1), now, size)


def test_who_comes_back_gets_all_or_nothing() -> None:
    history = History("e", size=3, seconds=10)
    add(history, 5)

    assert [each.offset for each in history.since(Position("e", 2), 0.0).missed] == [3, 4, 5]
    assert history.since(Position("e", 5), 0.0) == history.since(Position("e", 5), 0.0)
    for position in (Position("e", 1), Position("other", 4), Position("e", 6), Position("e", -1), Position("", 0)):
        gap = history.since(position, 0.0)
        assert (gap.missed, gap.recovered) == ((), False)
    assert not history.since(Position("e", 2), 0.0, limit=2).recovered
    assert not history.since(Position("e", 4), 10.0).recovered
    assert history.since(Position("e", 5), 10.0).recovered  # it has expired, but there was nothing more


def test_who_keeps_nothing_does_not_know_that_nothing_came() -> None:
    assert not History("e", size=0).since(Position("e", 0), 0.0).recovered


@pytest.mark.parametrize("offset", [1.5, float("nan"), "1", None, True, 10**30, -(10**30), [1]])
def test_a_position_that_makes_no_sense_recovers_nothing_and_breaks_nothing(offset: Any) -> None:
    history = History("e", size=3)
    add(history, 2)

    assert history.since(Position("e", offset), 0.0).missed == ()
    assert not history.since(Position("e", offset), 0.0).recovered
    assert history.latest(-5) == ()


def test_a_gap_in_what_is_added_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected offset 1"):
        History("e", size=3).add(publication(2), 0.0)


def test_bytes_are_bounded_too() -> None:
    history = History("e", size=1_000, bytes_limit=1_000)
    for _ in range(50):
        history.add(publication(history.offset + 1, "x" * 200), 0.0)

    assert 1 <= len(history) <= 4
    history.add(publication(51, "x" * 5_000), 0.0)
    assert len(history) == 0
    assert not history.since(Position("e", 50), 0.0).recovered


def test_an_estimate_walks_the_whole_payload_without_recursion() -> None:
    deep: Any = "x" * 100
    for _ in range(5_000):
        deep = [deep]

    assert estimate(deep) > 5_000 * 64
    assert estimate({"k" * 100: b"\x00" * 100}) >= 200


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 4), st.integers(1, 400)),
        st.tuples(st.just("add"), st.integers(0, 4), st.integers(1, 400)),
        st.tuples(st.just("expire"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("clear"), st.integers(0, 4), st.just(0)),
    ),
    max_size=120,
)


@given(steps)
def test_many_histories_keep_no_more_than_their_budget_and_the_newest_of_all(script: list[Any]) -> None:
    budget, now = HistoryBudget(1_000), 0.0
    histories = [History(f"e{number}", size=10, seconds=30, budget=budget) for number in range(5)]
    kept: list[tuple[float, int, int, int]] = []  # (time, history, offset, size), oldest first
    for verb, which, size in script:
        now += 1.0
        history = histories[which]
        match verb:
            case "add":
                history.add(publication(history.offset + 1), now, size)
                kept.append((now, which, history.offset, size))
                while sum(each[3] for each in kept) > 1_000:
                    del kept[0]
                own = [each for each in kept if each[1] == which]
                for each in own:
                    if each in own[:-10] or each[0] <= now - 30:
                        kept.remove(each)
            case "expire":
                history.expire(now)
                kept = [each for each in kept if each[1] != which or each[0] > now - 30]
            case _:
                history.clear()
                kept = [each for each in kept if each[1] != which]
        assert budget.used == sum(each[3] for each in kept) <= 1_000
        for number, one_history in enumerate(histories):
            offsets = [offset for _, owner, offset, _ in kept if owner == number]
            assert [one.offset for one in one_history.latest(100)] == offsets


def test_many_short_lived_histories_leave_nothing_behind() -> None:
    budget = HistoryBudget(10_000)
    for number in range(20_000):
        history = History(str(number), size=10, budget=budget)
        add(history, 3)
        history.clear()

    assert budget.used == 0
    assert len(budget._order) <= 1_100
