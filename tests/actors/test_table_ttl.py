from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actors.table_host import FakeHost
from wsactors.actors.patterns import ANY, V
from wsactors.actors.table_expiry import Deadlines
from wsactors.actors.tables import END, Table
from wsactors.errors import BadRow, NoSuchKey

KINDS = ["set", "ordered_set", "bag", "duplicate_bag"]


READS: list[Callable[[Table], Any]] = [
    lambda t: t.lookup("a"),
    lambda t: "a" in t,
    lambda t: t.lookup_element("a", 1, None),
    lambda t: t.match(("a", V.x)),
    lambda t: t.select(ANY),
    lambda t: t.select_count(ANY),
    lambda t: t.select_page(ANY, limit=5).rows,
    lambda t: t.take("a"),
    lambda t: t.delete("a"),
    lambda t: t.delete_object(("a", 1)),
    lambda t: t.select_delete(ANY),
    lambda t: t.renew("a", 9),
]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_read_returns_an_expired_row(host: FakeHost, kind: Any, read: Callable[[Table], Any]) -> None:
    for age, there in [(1.999, True), (2.0, False)]:  # at its very deadline a row is gone
        host.time = 0
        t = host.tables.new(kind=kind)
        t.insert(("a", 1), ttl=2)
        host.time = age
        assert bool(read(t)) is there


@pytest.mark.parametrize("kind", KINDS)
def test_walks_step_over_expired_rows(host: FakeHost, kind: Any) -> None:
    t = host.tables.new(kind=kind)
    t.insert([(n, 0) for n in (1, 3, 5)])
    t.insert([(n, 0) for n in (0, 2, 4, 6)], ttl=1)
    host.time = 1
    keys, key = [], t.first()
    while key is not END:
        keys.append(key)
        key = t.next(key)
    assert sorted(keys) == [1, 3, 5]
    assert t.last() in (1, 3, 5)
    if kind == "ordered_set":
        assert (t.last(), t.prev(5), t.next(1)) == (5, 3, 3)
        assert t.range() == [(1, 0), (3, 0), (5, 0)]
        assert t.range(reverse=True, limit=1) == [(5, 0)]
        assert t.get(2) is None


@pytest.mark.parametrize("kind", KINDS)
def test_writes_treat_an_expired_row_as_absent(host: FakeHost, kind: Any) -> None:
    t = host.tables.new(kind=kind)
    watcher = host.actor()
    t.subscribe(pid=watcher)
    t.insert(("a", 1), ttl=2)
    host.time = 2
    assert t.insert_new(("a", 1))
    assert t.lookup("a") == [("a", 1)]
    host.time = 1_000
    assert t.lookup("a") == [("a", 1)]  # and the new row has no deadline
    assert [change.kind for change in host.mail[watcher]] == ["insert", "expire", "insert"]


def test_counters_begin_anew_after_expiry(host: FakeHost) -> None:
    t = host.tables.new()
    assert t.update_counter("n", 5, default=("n", 0), ttl=2) == 5
    host.time = 1
    assert t.update_counter("n", 5) == 10  # keeps its deadline
    host.time = 2
    with pytest.raises(NoSuchKey):
        t.update_counter("n", 1)
    assert not t.update_element("n", (1, 1))
    assert t.update_counter("n", 1, default=("n", 0), ttl=2) == 1
    host.time = 3
    t.update_counter("n", 1, ttl=10)
    host.time = 12.9
    assert t.get("n") == ("n", 2)


def test_ttl_of_the_table_and_of_the_row(host: FakeHost) -> None:
    t = host.tables.new(ttl=10)
    t.insert(("default", 1))
    t.insert(("short", 1), ttl=1)
    host.time = 5
    assert [row[0] for row in t.select(ANY)] == ["default"]
    assert t.renew("default", None)
    assert not t.renew("short", 5)
    host.time = 99
    assert "default" in t
    for bad in (0, -1, "x", True, float("nan")):
        with pytest.raises(BadRow):
            t.insert(("x", 1), ttl=bad)  # type: ignore[arg-type]
    assert "x" not in t
    with pytest.raises(BadRow):
        t.update_counter("default", 1, ttl=-1)
    assert t.get("default") == ("default", 1)


def test_an_insert_without_ttl_makes_a_row_stay(host: FakeHost) -> None:
    t = host.tables.new()
    t.insert(("a", 1), ttl=1)
    t.insert(("a", 2))
    host.time = 5
    host.settle()
    assert t.get("a") == ("a", 2)


def test_reads_are_plain_again_when_nothing_expires_any_more(host: FakeHost) -> None:
    t = host.tables.new()
    t.insert(("a", 1))
    assert not t._slow
    t.insert(("b", 1), ttl=1)
    assert t._slow
    host.time = 1
    host.settle()
    assert not t._slow
    assert len(host.tables._expiring) == 0


def test_sweep_is_bounded_and_memory_does_not_grow_by_renewal(host: FakeHost) -> None:
    t = host.tables.new()
    t.insert([(n, 0) for n in range(1_000)], ttl=10)
    for step in range(50):
        host.time = step
        t.insert([(n, step) for n in range(1_000)], ttl=10)
    deadlines = t._store.deadlines
    assert deadlines is not None
    assert len(deadlines) == len(deadlines._entries) == 1_000
    host.time = 49 + 10
    before = t.info().rows_expired
    t.sweep(100)
    assert t.info().rows_expired - before <= 100 + 16
    host.settle()
    assert len(t) == 0
    assert t.info().rows_expired == 1_000


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["set", "drop", "take"]), st.integers(0, 6), st.integers(1, 20)), max_size=60)
)
def test_deadlines_against_a_dictionary(ops: list[tuple[str, int, int]]) -> None:
    deadlines, model, now = Deadlines(), dict[int, float](), 0.0
    for op, slot, amount in ops:
        if op == "set":
            deadlines.set(slot, now + amount)
            model[slot] = now + amount
        elif op == "drop":
            deadlines.drop(slot)
            model.pop(slot, None)
        else:
            now += amount / 2
            taken: list[Any] = []
            more = True
            while more:
                some, more = deadlines.take(now, 2)
                taken += some
            assert sorted(taken) == sorted(slot for slot, at in model.items() if at <= now)
            model = {slot: at for slot, at in model.items() if at > now}
        assert {slot: deadlines.get(slot) for slot in range(7)} == {slot: model.get(slot) for slot in range(7)}
        assert len(deadlines) == len(deadlines._entries) == len(model)
        nearest = deadlines.next()
        assert (nearest is None) == (not model)
        assert nearest is None or nearest <= min(model.values())


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(KINDS), st.randoms(use_true_random=False))
def test_rows_live_exactly_as_long_as_they_should(kind: Any, rng: random.Random) -> None:
    host = FakeHost()
    t = host.tables.new(kind=kind)
    model: list[tuple[tuple[int, int], float]] = []
    for number in range(60):
        host.time += rng.choice([0, 0.25, 1])
        model = [(row, until) for row, until in model if until > host.time]
        key, ttl = rng.randrange(5), rng.choice([None, 0.5, 2, 3])
        match rng.randrange(5):
            case 0 | 1:
                if kind in ("set", "ordered_set"):
                    model = [(row, until) for row, until in model if row[0] != key]
                model.append(((key, number), float("inf") if ttl is None else host.time + ttl))
                t.insert((key, number), ttl=ttl)
            case 2:
                assert t.renew(key, ttl) == any(row[0] == key for row, _ in model)
                until = float("inf") if ttl is None else host.time + ttl
                model = [(row, until if row[0] == key else before) for row, before in model]
            case 3:
                t.sweep(rng.choice([1, 100]))
            case 4:
                assert sorted(t.take(key)) == sorted(row for row, _ in model if row[0] == key)
                model = [(row, until) for row, until in model if row[0] != key]
        assert sorted(t.select(ANY)) == sorted(row for row, _ in model)
