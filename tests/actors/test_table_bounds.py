from __future__ import annotations

from time import process_time

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors.table_host import FakeHost, make
from wsactors.actors.patterns import ANY
from wsactors.actors.tables import Table, TableInfo
from wsactors.errors import (
    TableFull,
)

KINDS = ["set", "ordered_set", "bag", "duplicate_bag"]
UNIQUE = ["set", "ordered_set"]
BAGS = ["bag", "duplicate_bag"]


# --- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_max_rows_refuses_all_or_nothing(host: FakeHost, kind: str) -> None:
    t = make(host, kind, max_rows=3)
    t.insert([("a", 1), ("b", 1)])
    with pytest.raises(TableFull):
        t.insert([("c", 1), ("d", 1)])
    assert len(t) == 2
    t.insert(("c", 1))
    if kind in UNIQUE:
        t.insert([("a", 2), ("b", 2), ("c", 2), ("a", 3)])
        assert t.lookup("a") == [("a", 3)]
        with pytest.raises(TableFull):
            t.update_counter("d", 1, default=("d", 0))
    elif kind == "bag":
        t.insert([("a", 1), ("c", 1)])  # there already
    else:
        with pytest.raises(TableFull):
            t.insert(("a", 1))
    assert len(t) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_expired_rows_make_room(host: FakeHost, kind: str) -> None:
    t = make(host, kind, max_rows=300)
    t.insert([(n, 0) for n in range(300)], ttl=10)
    host.time = 10
    t.insert([(n, 1) for n in range(1_000, 1_300)])
    assert len(t) == 300
    with pytest.raises(TableFull):
        t.insert((5, 5))


@pytest.mark.parametrize("kind", UNIQUE)
def test_drop_oldest(host: FakeHost, kind: str) -> None:
    t = make(host, kind, max_rows=3, overflow="drop_oldest")
    t.insert([(n, 0) for n in (9, 1, 5)])
    t.insert((9, "again"))  # keeps its age
    t.insert((7, 0))
    assert sorted(key for key in (9, 1, 5, 7) if key in t) == [1, 5, 7]
    t.insert([(n, 0) for n in range(100, 200)])
    assert [key for key in range(100, 200) if key in t] == [197, 198, 199]
    assert t.info().rows_evicted == 101


def test_drop_oldest_stays_fast_after_many_evictions(host: FakeHost) -> None:
    def seconds(t: Table, numbers: range) -> float:
        start = process_time()
        for n in numbers:
            t.insert((n, 0))
        return process_time() - start

    full, free = make(host, max_rows=100_000, overflow="drop_oldest"), make(host, max_rows=1_000_000)
    for t in (full, free):
        t.insert([(n, 0) for n in range(100_000)])
    # On a plain dict each eviction would walk over the gaps at its front: tens of thousands of them, not one.
    assert seconds(full, range(100_000, 170_000)) < 20 * seconds(free, range(100_000, 170_000))
    assert len(full) == 100_000
    assert 69_999 not in full
    assert 70_000 in full


# --- info ------------------------------------------------------------------------------------------------------------


def test_info_is_frozen_and_counts(host: FakeHost) -> None:
    owner, heir = host.actor(), host.actor()
    with host.as_actor(owner):
        t = host.tables.new("i", kind="ordered_set", heir=heir, ttl=9, max_rows=50)
        t.insert([(n, n) for n in range(10)])
        t.subscribe(pid=heir)
        t.select((5, ANY))
    info = t.info()
    assert isinstance(info, TableInfo)
    assert (info.name, info.kind, info.size, info.with_ttl, info.owner, info.heir) == (
        "i",
        "ordered_set",
        10,
        10,
        owner,
        heir,
    )
    assert (info.subscriptions, info.rows_scanned, info.max_rows) == (1, 1, 50)
    assert info.bytes > 0
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        info.size = 3  # type: ignore[misc]
    assert host.tables.info() == [info]
    assert "'i'" in repr(t)


# --- housekeeping ----------------------------------------------------------------------------------------------------


def test_dropping_a_big_table_is_immediate_and_freed_in_batches(host: FakeHost) -> None:
    class Witness:
        gone = 0

        def __del__(self) -> None:
            Witness.gone += 1

    for kind in KINDS:
        Witness.gone = 0
        t = make(host, kind)
        t.insert([(n % 500 if kind in BAGS else n, Witness()) for n in range(5_000)])
        t.drop()
        assert t.gone
        assert Witness.gone == 0
        steps = 1
        while host.tables.sweep(100):
            assert Witness.gone <= 200 * steps
            steps += 1
        assert Witness.gone == 5_000
        assert steps >= 50


async def test_housekeeping_expires_on_time_and_frees(autojump_clock: MockClock) -> None:
    host = FakeHost()
    host.now = trio.current_time  # type: ignore[method-assign]
    watcher = host.actor()
    t = host.tables.new()
    t.subscribe(pid=watcher)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.tables.housekeeping)
        await wait_all_tasks_blocked()
        t.insert(("late", 1), ttl=1_000)
        await trio.sleep(1)
        t.insert(("soon", 1), ttl=2)  # nearer than what the housekeeper sleeps for
        await trio.sleep(2.1)
        assert [(c.kind, c.key) for c in host.mail[watcher]] == [
            ("insert", "late"),
            ("insert", "soon"),
            ("expire", "soon"),
        ]
        big = host.tables.new()
        big.insert([(n, n) for n in range(10_000)])
        big.drop()
        await wait_all_tasks_blocked()
        assert not host.tables._graveyard
        await trio.sleep(1_000)
        assert t.info().rows_expired == 2
        nursery.cancel_scope.cancel()
