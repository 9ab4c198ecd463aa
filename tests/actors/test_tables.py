from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest

from tests.actors.table_host import FakeHost, make
from wsactors.actors.patterns import ANY
from wsactors.actors.tables import END, HIGHEST, LOWEST
from wsactors.errors import (
    BadKey,
    BadRow,
    NoSuchKey,
    TableKindError,
)

KINDS = ["set", "ordered_set", "bag", "duplicate_bag"]
UNIQUE = ["set", "ordered_set"]
BAGS = ["bag", "duplicate_bag"]


class Point(NamedTuple):
    x: Any
    y: Any


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
