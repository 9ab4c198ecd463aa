from __future__ import annotations

import math
from typing import Any, NamedTuple

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors.table_host import FakeHost
from wsactors.actors.patterns import ANY
from wsactors.actors.tables import END, HIGHEST, LOWEST, Table, TableInfo, Tables, TableTransfer
from wsactors.errors import (
    BadKey,
    BadRow,
    NoSuchKey,
    NoSuchTable,
    TableAccess,
    TableFull,
    TableGone,
    TableKindError,
    TableNameTaken,
)

KINDS = ["set", "ordered_set", "bag", "duplicate_bag"]
UNIQUE = ["set", "ordered_set"]
BAGS = ["bag", "duplicate_bag"]


class Point(NamedTuple):
    x: Any
    y: Any


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


def make(host: FakeHost, kind: Any = "set", **options: Any) -> Table:
    return host.tables.new(kind=kind, **options)


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_insert_lookup_member_take_delete(host: FakeHost, kind: str) -> None:
    t = make(host, kind)
    t.insert([("a", 1), ("b", 2)])
    assert t.lookup("a") == [("a", 1)]
    assert t.lookup("z") == []
    assert "b" in t
    assert not t.member("z")
    assert t.take("a") == [("a", 1)]
    assert t.take("a") == []
    assert t.delete("b")
    assert not t.delete("b")
    assert len(t) == 0
    assert t  # an empty table is still a table


def test_numbers_and_bools_as_keys(host: FakeHost) -> None:
    rows = [(1, "int"), (1.0, "float"), (True, "bool"), ((1,), "t int"), ((1.0,), "t float"), ((True,), "t bool")]
    t = make(host, "set")
    t.insert(rows)
    for row in rows:
        assert t.lookup(row[0]) == [row]
        assert t.get(row[0]) == row
    o = make(host, "ordered_set")
    o.insert(rows)
    assert o.lookup(1) == o.lookup(1.0) == [(1.0, "float")]
    assert o.lookup(True) == [(True, "bool")]
    assert o.lookup((1,)) == [((1.0,), "t float")]
    assert len(o) == 4
    o.insert((1, "back"))
    assert o.lookup(1.0) == [(1, "back")]
    assert o.first() is o.lookup(1)[0][0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", [(math.nan, 1), ([], 1), ({}, 1), ((1, math.nan), 1)])
def test_bad_keys_write_nothing(host: FakeHost, kind: str, row: Any) -> None:
    t = make(host, kind)
    with pytest.raises(BadKey):
        t.insert([("good", 1), row])
    assert len(t) == 0


@pytest.mark.parametrize("row", ["row", ("k",), ["k", 1, 2], Point("k", 1), None])
def test_bad_rows_write_nothing(host: FakeHost, row: Any) -> None:
    t = make(host, keypos=1)
    with pytest.raises(BadRow):
        t.insert([(0, "good"), row])
    assert len(t) == 0


def test_keypos(host: FakeHost) -> None:
    t = make(host, "ordered_set", keypos=1)
    t.insert([("x", 2), ("y", 1), ("z", 2)])
    assert t.range() == [("y", 1), ("z", 2)]
    assert t.update_counter(3, (0, 5), default=(0, "ignored")) == 5
    assert t.lookup(3) == [(5, 3)]


def test_insert_new_is_all_or_nothing(host: FakeHost) -> None:
    t = make(host)
    t.insert(("b", 0))
    assert not t.insert_new([("a", 1), ("b", 1), ("c", 1)])
    assert t.select(ANY) == [("b", 0)]
    assert t.insert_new([("a", 1), ("a", 2)])
    assert t.get("a") == ("a", 2)
    bag = make(host, "bag")
    assert bag.insert_new([("a", 1), ("a", 2), ("a", 1)])
    assert bag.lookup("a") == [("a", 1), ("a", 2)]
    assert not bag.insert_new(("a", 3))


def test_bag_keeps_no_row_twice_and_duplicate_bag_does(host: FakeHost) -> None:
    bag, dup = make(host, "bag"), make(host, "duplicate_bag")
    for t in (bag, dup):
        t.insert([("a", 1), ("a", 2), ("a", 1), ("a", 1.0)])
    assert bag.lookup("a") == [("a", 1), ("a", 2), ("a", 1.0)]
    assert dup.lookup("a") == [("a", 1), ("a", 2), ("a", 1), ("a", 1.0)]
    assert bag.delete_object(("a", 1)) == 1
    assert dup.delete_object(("a", 1)) == 2
    assert repr(dup.lookup("a")) == "[('a', 2), ('a', 1.0)]"
    assert bag.lookup_element("a", 1) == [2, 1.0]
    assert len(dup) == 2


def test_delete_object_is_exact_even_where_keys_are_not(host: FakeHost) -> None:
    t = make(host, "ordered_set")
    t.insert((1, "c"))
    assert t.delete_object((1.0, "c")) == 0
    assert t.delete_object((1, "c")) == 1


def test_lookup_element(host: FakeHost) -> None:
    t = make(host)
    t.insert(("a", 1, 2))
    assert t.lookup_element("a", 2) == 2
    assert t.lookup_element("z", 2, default=9) == 9
    with pytest.raises(NoSuchKey):
        t.lookup_element("z", 1)
    for position in (3, -1, True, "x"):
        with pytest.raises(BadKey):
            t.lookup_element("a", position)  # type: ignore[arg-type]


def test_update_element(host: FakeHost) -> None:
    t = make(host)
    t.insert(("a", 1, 2))
    assert t.update_element("a", [(1, "x"), (2, "y"), (1, "z")])
    assert t.get("a") == ("a", "z", "y")
    assert not t.update_element("none", (1, 0))
    assert t.update_element("new", (1, 5), default=("?", 0))
    assert t.get("new") == ("new", 5)
    for bad in [(0, "key"), (3, 1), (-1, 1), (1,), "x", [(1, 1), (9, 1)]]:
        with pytest.raises(BadRow):
            t.update_element("a", bad)  # type: ignore[arg-type]
    assert t.get("a") == ("a", "z", "y")


@pytest.mark.parametrize("kind", BAGS)
def test_one_row_operations_are_refused_on_bags(host: FakeHost, kind: str) -> None:
    t = make(host, kind)
    for use in (lambda: t.get("a"), lambda: t.update_counter("a", 1), lambda: t.update_element("a", (1, 1))):
        with pytest.raises(TableKindError):
            use()


def test_clear_empties_and_the_table_goes_on(host: FakeHost) -> None:
    for kind in KINDS:
        t = make(host, kind)
        t.insert([(n, n) for n in range(1_000)])
        t.insert(("ttl", 1), ttl=5)
        t.clear()
        assert len(t) == 0
        assert t.lookup(5) == []
        t.insert((5, "again"))
        assert t.lookup(5) == [(5, "again")]
        assert t.first() == 5
    host.settle()


# --- counters --------------------------------------------------------------------------------------------------------


def test_discords_semaphore_vector(host: FakeHost) -> None:
    t = make(host, access="public")
    ops: Any = [(1, 0), (1, 1, 3, 3)]
    answers = [t.update_counter("s", ops, default=("s", 0)) for _ in range(5)]
    assert answers == [[0, 1], [1, 2], [2, 3], [3, 3], [3, 3]]


def test_counter_ops(host: FakeHost) -> None:
    t = make(host)
    t.insert(("a", 5, 0))
    assert t.update_counter("a", 2) == 7
    assert t.update_counter("a", (2, 1)) == 1
    assert t.update_counter("a", (1, -100, 0, 9)) == 9
    assert t.update_counter("a", (1, 0, 3, 1)) == 1
    assert t.update_counter("a", [(1, 1), (1, 1), (2, 5)]) == [2, 3, 6]
    assert t.update_counter("a", []) == []
    assert t.get("a") == ("a", 3, 6)


def test_counter_faults_change_nothing(host: FakeHost) -> None:
    t = make(host)
    t.insert([("a", 1, "text"), ("f", 1.0), ("b", True)])
    with pytest.raises(NoSuchKey):
        t.update_counter("none", 1)
    for key, ops in [
        ("a", [(1, 5), (2, 1)]), ("a", (0, 1)), ("a", (3, 1)), ("a", (1, 1, 1)), ("a", (1, 1.0)), ("a", "x"),
        ("a", True), ("f", 1), ("b", 1),
    ]:  # fmt: skip
        with pytest.raises(BadRow):
            t.update_counter(key, ops)  # type: ignore[arg-type]
    assert t.get("a") == ("a", 1, "text")
    with pytest.raises(BadRow):
        t.update_counter("new", (7, 1), default=("new", 0))
    assert "new" not in t


def test_default_row_of_a_counter(host: FakeHost) -> None:
    t = make(host, "ordered_set")
    assert t.update_counter("n", [], default=("zzz", 0)) == []
    assert t.get("n") == ("n", 0)
    t.insert((2.0, 0))
    assert t.update_counter(2, 1) == 1
    assert repr(t.get(2)) == "(2.0, 1)"


# --- order -----------------------------------------------------------------------------------------------------------


def test_neighbours_in_order_need_no_row_at_the_key(host: FakeHost) -> None:
    t = make(host, "ordered_set")
    assert (t.first(), t.last(), t.next(1)) == (END, END, END)
    t.insert([("k", 1), ("m", 1), (3, 1), ((0,), 1), (None, 1)])
    keys, key = [], t.first()
    while key is not END:
        keys.append(key)
        key = t.next(key)
    assert keys == [3, None, "k", "m", (0,)]
    assert t.next("l") == "m"
    assert t.prev("l") == "k"
    assert t.prev(3) is END
    assert t.last() == (0,)


@pytest.mark.parametrize("kind", ["set", "bag", "duplicate_bag"])
def test_walk_of_an_unordered_table_while_it_changes(host: FakeHost, kind: str) -> None:
    t = make(host, kind)
    t.insert([(n, 0) for n in range(200)])
    seen, key, step = [], t.first(), 0
    while key is not END:
        seen.append(key)
        t.delete((key * 7 + 3) % 200 if (key * 7 + 3) % 200 >= 100 else 1_000 + step)  # only the upper half goes
        t.insert((1_000 + step, 0))
        step += 1
        key = t.next(key)
    assert sorted(k for k in seen if k < 100) == list(range(100))
    assert len(seen) == len(set(seen))
    assert t.next(5) != 5
    with pytest.raises(NoSuchKey):
        t.next("never there")


def test_prev_is_next_backwards(host: FakeHost) -> None:
    t = make(host)
    t.insert([(n, 0) for n in range(10)])
    forward, key = [], t.first()
    while key is not END:
        forward.append(key)
        key = t.next(key)
    backward, key = [], t.last()
    while key is not END:
        backward.append(key)
        key = t.prev(key)
    assert backward == forward[::-1]


def test_ranges(host: FakeHost) -> None:
    t = make(host, "ordered_set")
    t.insert([(n, n) for n in range(10)])
    t.insert([("room", "x"), (("room", 1), "y"), (("room", 2), "z"), (("hall", 9), "h")])
    assert t.range(3, 6) == [(3, 3), (4, 4), (5, 5)]
    assert t.range(3.0, 6, include_low=False, include_high=True) == [(4, 4), (5, 5), (6, 6)]
    assert t.range(3, reverse=True, limit=2) == [(("room", 2), "z"), (("room", 1), "y")]
    assert t.range(high=2, limit=5) == [(0, 0), (1, 1)]
    assert t.range(("room", LOWEST), ("room", HIGHEST)) == [(("room", 1), "y"), (("room", 2), "z")]
    assert t.range(6, 3) == []
    limit: Any
    for limit in (0, -1, True, 1.5):
        with pytest.raises(BadKey):
            t.range(limit=limit)
    with pytest.raises(TableKindError, match="ordered_set"):
        make(host, "set").range()


def test_prefixes(host: FakeHost) -> None:
    t = make(host, "ordered_set")
    keys = ["a", "ab", "abc", "ac", "b", b"ab", ("a",), ("a", 1), ("a", 2, 3), ("ab", 1), ("a", "b", "c"), ()]
    t.insert([(key, 0) for key in keys])
    t.insert((True, 0))  # stored as a pair inside; no tuple to the outside
    found = [key for key, _ in t.prefix("ab")]
    assert found == ["ab", "abc"]
    assert [key for key, _ in t.prefix(b"")] == [b"ab"]
    assert [key for key, _ in t.prefix(("a",))] == [("a",), ("a", 1), ("a", 2, 3), ("a", "b", "c")]
    assert [key for key, _ in t.prefix(("a",), reverse=True, limit=2)] == [("a", "b", "c"), ("a", 2, 3)]
    assert [key for key, _ in t.prefix(())] == [(), ("a",), ("a", 1), ("ab", 1), ("a", 2, 3), ("a", "b", "c")]
    assert t.prefix(("a", 1.0)) == [(("a", 1), 0)]
    with pytest.raises(BadKey):
        t.prefix(5)


# --- access, names, owners -------------------------------------------------------------------------------------------


def test_access_levels(host: FakeHost) -> None:
    owner, other = host.actor(), host.actor()
    with host.as_actor(owner):
        tables = {access: make(host, access=access) for access in ("public", "protected", "private")}
        for t in tables.values():
            t.insert(("a", 1))
    reads = [
        lambda t: t.get("a"), lambda t: t.lookup("a"), lambda t: "a" in t, lambda t: t.lookup_element("a", 1),
        lambda t: t.first(), lambda t: t.next("a"), lambda t: t.match(("a", 1)), lambda t: t.select(("a", 1)),
        lambda t: t.select_count(("a", 1)), lambda t: t.select_page(("a", 1), limit=1), lambda t: t.subscribe(),
        lambda t: t.explain(("a", 1)),
    ]  # fmt: skip
    writes = [
        lambda t: t.insert(("b", 1)), lambda t: t.insert_new(("c", 1)), lambda t: t.update_counter("a", 1),
        lambda t: t.update_element("a", (1, 1)), lambda t: t.take("b"), lambda t: t.delete("c"),
        lambda t: t.delete_object(("x", 1)), lambda t: t.select_delete(("x", 1)), lambda t: t.renew("a", 5),
        lambda t: t.clear(), lambda t: t.drop(),
    ]  # fmt: skip
    for caller in (other, None):
        with host.as_actor(caller):
            for use in reads if caller else reads[:-2]:
                use(tables["public"])
                use(tables["protected"])
                with pytest.raises(TableAccess):
                    use(tables["private"])
            for use in writes:
                for access in ("protected", "private"):
                    with pytest.raises(TableAccess):
                        use(tables[access])
            for t in tables.values():
                assert t.info().size == 1  # OTP lets everyone ask
                with pytest.raises(TableAccess):
                    t.set_heir(other)
                with pytest.raises(TableAccess):
                    t.give_away(other)
    with host.as_actor(other):
        for use in writes:
            use(tables["public"])
    assert tables["public"].gone
    with host.as_actor(owner):
        for use in [*reads, *writes]:
            use(tables["private"])


def test_a_ttl_does_not_open_a_private_table(host: FakeHost) -> None:
    owner = host.actor()
    with host.as_actor(owner):
        t = make(host, access="private")
        t.insert(("a", 1), ttl=1)
        host.time = 2
        host.settle()
        t.insert(("b", 1))
    for read in (t.get, t.lookup, t.member):
        with pytest.raises(TableAccess):
            read("b")


def test_names(host: FakeHost) -> None:
    t = host.tables.new("users")
    assert host.tables["users"] is t
    with pytest.raises(TableNameTaken):
        host.tables.new("users")
    t.drop()
    assert host.tables.whereis("users") is None
    with pytest.raises(NoSuchTable):
        host.tables["users"]
    assert host.tables.new("users") is not t


def test_a_table_dies_with_its_owner(host: FakeHost) -> None:
    owner = host.actor()
    with host.as_actor(owner):
        t = host.tables.new("mine")
        t.insert(("a", 1))
        cached = t.lookup
    host.kill(owner)
    assert host.tables.whereis("mine") is None
    assert len(host.tables) == 0
    for use in (lambda: cached("a"), lambda: t.get("a"), lambda: "a" in t, lambda: t.insert(("b", 1)), t.info, t.drop):
        with pytest.raises(TableGone):
            use()
    assert host.tables.owned_by(owner) == []


def test_heir_gets_the_table_and_a_message(host: FakeHost) -> None:
    owner, heir, other = host.actor(), host.actor(), host.actor()
    with host.as_actor(owner):
        t = host.tables.new("legacy", heir=heir, heir_data="look after it")
        t.insert(("a", 1))
    host.kill(owner)
    assert host.mail[heir] == [TableTransfer(t, owner, "look after it")]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        host.mail[heir][0].data = "no"
    assert t.owner == heir
    assert host.tables["legacy"] is t
    with host.as_actor(heir):
        t.insert(("b", 2))
    with host.as_actor(other), pytest.raises(TableAccess):
        t.insert(("c", 2))
    host.kill(heir)  # the heir of a heir is itself, and dead
    assert t.gone


def test_a_dead_heir_inherits_nothing(host: FakeHost) -> None:
    owner, heir = host.actor(), host.actor()
    with host.as_actor(owner):
        t = make(host, heir=heir)
    host.kill(heir)
    host.kill(owner)
    assert t.gone


def test_owner_and_heir_may_be_taken_back(host: FakeHost) -> None:
    owner, heir = host.actor(), host.actor()
    with host.as_actor(owner):
        t = make(host, heir=heir)
        t.set_heir(None)
    host.kill(owner)
    assert t.gone
    assert host.mail[heir] == []


def test_give_away_and_the_heir_survives_it(host: FakeHost) -> None:
    giver, taker, heir = host.actor(), host.actor(), host.actor()
    with host.as_actor(giver):
        t = make(host, heir=heir, heir_data="hd")
        t.give_away(taker, "gd")
        with pytest.raises(TableAccess):
            t.insert(("a", 1))
    assert host.mail[taker] == [TableTransfer(t, giver, "gd")]
    host.kill(giver)
    assert not t.gone
    host.kill(taker)
    assert host.mail[heir] == [TableTransfer(t, taker, "hd")]


def test_give_away_refuses_the_dead_and_oneself(host: FakeHost) -> None:
    owner, dead = host.actor(), host.actor()
    host.kill(dead)
    with host.as_actor(owner):
        t = make(host)
        for pid in (dead, owner):
            with pytest.raises(TableAccess):
                t.give_away(pid)
    assert t.owner == owner


def test_a_table_made_outside_actors_lives_as_long_as_the_node(host: FakeHost) -> None:
    t = make(host)
    with host.as_actor(host.actor()), pytest.raises(TableAccess):
        t.insert(("a", 1))
    t.insert(("a", 1))
    host.tables.close()
    assert t.gone
    assert len(host.tables) == 0


def test_the_dying_cannot_make_tables(host: FakeHost) -> None:
    dead = host.actor()
    host.kill(dead)
    with host.as_actor(dead), pytest.raises(Exception, match="dying"):
        make(host)
    assert len(host.tables) == 0


def test_the_registry_forgets_everything_of_the_dead(host: FakeHost) -> None:
    for _ in range(50):
        pid = host.actor()
        with host.as_actor(pid):
            t = host.tables.new("t", access="public")
            t.insert([(n, n) for n in range(100)], ttl=3)
            t.subscribe()
        host.kill(pid)
    host.settle()
    tables = host.tables
    assert (tables._tables, tables._names, tables._owned, tables._subscribed) == ({}, {}, {}, {})
    assert not tables._graveyard
    assert len(tables._expiring) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "heap"}, {"access": "open"}, {"keypos": -1}, {"keypos": True}, {"ttl": 0}, {"max_rows": -1},
        {"overflow": "drop_oldest"}, {"overflow": "drop_oldest", "max_rows": 5, "kind": "bag"}, {"overflow": "?"},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(host: FakeHost, options: Any) -> None:
    with pytest.raises((TableKindError, BadRow)):
        host.tables.new(**options)
    assert len(host.tables) == 0


def test_tables_are_bounded_in_number(host: FakeHost) -> None:
    tables = Tables(host, max_tables=2)
    first = tables.new()
    tables.new()
    with pytest.raises(TableFull):
        tables.new()
    first.drop()
    tables.new()


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
    t = make(host, max_rows=20_000, overflow="drop_oldest")
    t.insert([(n, 0) for n in range(20_000)])
    # On a plain dict each of these would walk over the gaps at its front.
    for n in range(20_000, 60_000):
        t.insert((n, 0))
    assert len(t) == 20_000
    assert 39_999 not in t
    assert 40_000 in t


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
