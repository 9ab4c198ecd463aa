from __future__ import annotations

import random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actors.table_host import FakeHost
from wsactors.actors.patterns import ANY
from wsactors.actors.tables import HIGHEST, Table, TableChange
from wsactors.errors import BadKey, NotInActor, TableAccess, TableFull

KINDS = ["set", "ordered_set", "bag", "duplicate_bag"]


def told(host: FakeHost, pid: Any) -> list[tuple[str, Any]]:
    changes, host.mail[pid][:] = list(host.mail[pid]), []
    return [(change.kind, change.key) for change in changes]


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_a_row_changes_is_told(host: FakeHost, kind: Any) -> None:
    me = host.actor()
    t = host.tables.new(kind=kind)
    subscription = t.subscribe(pid=me)
    t.insert(("a", 1))
    first = host.mail[me][0]
    assert first == TableChange(t, subscription.id, "insert", "a", None, ("a", 1), 0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        first.key = "b"
    t.insert(("a", 2))
    change = host.mail[me][1]
    if kind in ("set", "ordered_set"):
        assert (change.kind, change.old, change.row) == ("update", ("a", 1), ("a", 2))
        t.update_counter("a", 1)
        t.update_element("a", (1, 0))
        assert [c.kind for c in host.mail[me][2:]] == ["update", "update"]
    else:
        assert (change.kind, change.old, change.row) == ("insert", None, ("a", 2))
    told(host, me)
    t.insert([("b", 1), ("c", 1), ("d", 1)])
    t.delete("b")
    t.take("c")
    t.delete_object(("d", 1))
    t.insert(("e", 1), ttl=1)
    host.time = 1
    host.settle()
    assert told(host, me) == [
        ("insert", "b"), ("insert", "c"), ("insert", "d"), ("delete", "b"), ("delete", "c"), ("delete", "d"),
        ("insert", "e"), ("expire", "e"),
    ]  # fmt: skip
    t.clear()
    t.drop()
    host.settle()
    assert told(host, me) == [("clear", None), ("drop", None)]


def test_reinserting_the_same_row_into_a_bag_is_no_change(host: FakeHost) -> None:
    me = host.actor()
    t = host.tables.new(kind="bag")
    t.subscribe(pid=me)
    t.insert([("a", 1), ("a", 1)])
    assert told(host, me) == [("insert", "a")]


@pytest.mark.parametrize("kind", ["set", "ordered_set"])
def test_what_a_subscription_covers(host: FakeHost, kind: Any) -> None:
    t = host.tables.new(kind=kind)
    ways: list[tuple[dict[str, Any], list[Any]]] = [
        ({}, [1, 2.0, True, "room:1", "room:2", "zoo", ("room",), ("room", 1), ("room", 1, 2), ("hall", 1)]),
        ({"key": 1}, [1]),
        ({"key": True}, [True]),
        ({"key": 2}, [2.0] if kind == "ordered_set" else []),
        ({"low": 1, "high": 2}, [1]),
        ({"low": 1, "high": "room:2"}, [1, 2.0, True, "room:1"]),
        ({"low": "room:2"}, ["room:2", "zoo", ("room",), ("room", 1), ("room", 1, 2), ("hall", 1)]),
        ({"prefix": "room:"}, ["room:1", "room:2"]),
        ({"prefix": ("room",)}, [("room",), ("room", 1), ("room", 1, 2)]),
        ({"prefix": ("room", 1)}, [("room", 1), ("room", 1, 2)]),
        ({"low": ("room", 0), "high": ("room", HIGHEST)}, [("room", 1)]),
    ]
    pids = [host.actor() for _ in ways]
    for pid, (what, _) in zip(pids, ways, strict=True):
        t.subscribe(**what, pid=pid)
    t.insert([(key, 0) for key in ways[0][1]])
    for pid, (what, keys) in zip(pids, ways, strict=True):
        assert repr([change.key for change in host.mail[pid]]) == repr(keys), what


def test_a_subscription_ends_when_asked(host: FakeHost) -> None:
    me = host.actor()
    t = host.tables.new()
    with host.as_actor(me):
        one, other = t.subscribe(key="a"), t.subscribe(prefix="a")
    assert one.pid == me
    t_inserts(t, 1)
    assert len(told(host, me)) == 2
    assert t.unsubscribe(one)
    assert not t.unsubscribe(one)
    t_inserts(t, 2)
    assert len(told(host, me)) == 1
    t.unsubscribe(other)
    assert host.tables._subscribed == {}
    assert t.info().subscriptions == 0


def t_inserts(t: Table, value: int) -> None:
    t.insert(("a", value))


def test_a_full_mailbox_misses_changes_and_is_told_how_many(host: FakeHost) -> None:
    me = host.actor()
    t = host.tables.new()
    t.subscribe(pid=me)
    t.insert(("a", 1))
    host.full.add(me)
    t.insert([("a", 2), ("a", 3), ("a", 4)])
    assert t.info().changes_missed == 3
    host.full.clear()
    t.insert([("a", 5), ("a", 6)])
    assert [change.missed for change in host.mail[me]] == [0, 3, 0]
    assert t.info().subscriptions == 1


def test_dead_subscribers_vanish(host: FakeHost) -> None:
    t, pids = host.tables.new(), [host.actor() for _ in range(20)]
    for pid in pids:
        t.subscribe(pid=pid)
        t.subscribe(key=1, pid=pid)
    for pid in pids[:10]:
        host.kill(pid)
    assert t.info().subscriptions == 20
    assert len(host.tables._subscribed) == 10
    for pid in pids[10:]:  # one whose death step was never heard of is found out at the next change
        del host.mail[pid]
    t.insert((1, 1))
    assert t.info().subscriptions == 0
    changes = t._changes
    assert changes is not None
    assert (changes._by_id, changes._by_key, changes._ranges) == ({}, {}, {})


def test_subscriptions_are_bounded_and_checked(host: FakeHost) -> None:
    me, dead = host.actor(), host.actor()
    host.kill(dead)
    t = host.tables.new(max_subscriptions=2)
    with pytest.raises(NotInActor):
        t.subscribe()
    with pytest.raises(TableAccess):
        t.subscribe(pid=dead)
    bad: Any
    for bad in ({"key": 1, "prefix": "a"}, {"key": 1, "low": 1}, {"prefix": 5}, {"key": []}, {"low": []}):
        with pytest.raises(BadKey):
            t.subscribe(pid=me, **bad)
    t.subscribe(pid=me)
    t.subscribe(pid=me)
    with pytest.raises(TableFull):
        t.subscribe(pid=me)
    assert t.info().subscriptions == 2


def test_thousands_of_subscribers_are_told_of_a_drop_in_batches(host: FakeHost) -> None:
    pids = [host.actor() for _ in range(3_000)]
    t = host.tables.new()
    for pid in pids:
        t.subscribe(pid=pid)
    t.drop()
    assert sum(len(mail) for mail in host.mail.values()) == 0
    host.tables.sweep(100)
    assert sum(len(mail) for mail in host.mail.values()) == 100
    host.kill(pids[-1])
    host.settle()
    assert all(host.mail[pid][0].kind == "drop" for pid in pids[:-1])
    assert host.tables._subscribed == {}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.randoms(use_true_random=False))
def test_a_subscriber_can_rebuild_the_table(kind: Any, rng: random.Random) -> None:
    host = FakeHost()
    me = host.actor()
    t = host.tables.new(kind=kind, ttl=5)
    t.subscribe(pid=me)
    for _ in range(80):
        key, value = rng.randrange(6), rng.randrange(3)
        match rng.randrange(7):
            case 0 | 1 | 2:
                t.insert((key, value), ttl=rng.choice([None, 1, 2]))
            case 3:
                t.delete(key)
            case 4:
                t.delete_object((key, value))
            case 5:
                host.time += 0.5
            case 6 if kind in ("set", "ordered_set"):
                t.update_counter(key, 1, default=(0, 0))
            case _:
                t.select_delete((key, value))
    host.settle()
    copy: list[tuple[int, int]] = []
    for change in host.mail[me]:
        if change.old is not None:
            copy.remove(change.old)
        if change.row is not None:
            copy.append(change.row)
    assert sorted(copy) == sorted(t.select(ANY))
