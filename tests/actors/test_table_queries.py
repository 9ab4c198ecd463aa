from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actors.table_host import FakeHost
from wsactors.actors.patterns import ANY, ROW, Query, V
from wsactors.actors.tables import Table
from wsactors.errors import BadKey, BadPattern, TableError

KINDS = ["set", "ordered_set", "bag", "duplicate_bag"]


def people(host: FakeHost, kind: Any) -> Table:
    t = host.tables.new(kind=kind)
    t.insert([("ann", 31, "berlin"), ("bob", 17, "rome"), ("cyd", 45, "rome"), ("dan", 17.0, "rome")])
    return t


@pytest.mark.parametrize("kind", KINDS)
def test_match_select_count_delete(host: FakeHost, kind: Any) -> None:
    t = people(host, kind)
    assert t.match((V.who, ANY, "berlin")) == [{"who": "ann"}]
    assert sorted(t.select((V.who, V.age, "rome"), V.age > 17, V.who)) == ["cyd"]
    assert sorted(t.select((V.who, 17, ANY), take=V.who)) == ["bob"]
    assert t.select(Query(("ann", ANY, ANY))) == [("ann", 31, "berlin")]
    assert t.select_count(ANY) == 4
    assert t.select_count((ANY, ANY)) == 0
    assert t.select_delete((ANY, V.age, "rome"), V.age.eq(17)) == 2
    assert sorted(row[0] for row in t.select(ANY)) == ["ann", "cyd"]
    with pytest.raises(BadPattern):
        t.select(Query(ANY), take=ROW, where=V.a > 1)


@pytest.mark.parametrize("kind", ["bag", "duplicate_bag"])
def test_select_delete_in_a_bag_takes_single_rows(host: FakeHost, kind: Any) -> None:
    t = host.tables.new(kind=kind)
    t.insert([("a", n) for n in range(6)])
    assert t.select_delete(("a", V.n), (V.n % 2).eq(0)) == 3
    assert t.lookup("a") == [("a", 1), ("a", 3), ("a", 5)]


def test_ordered_set_answers_in_order(host: FakeHost) -> None:
    t = host.tables.new(kind="ordered_set")
    keys = list(range(100))
    random.Random(1).shuffle(keys)
    t.insert([(key, 0) for key in keys])
    assert t.select((V.k, ANY), take=V.k) == list(range(100))


def test_a_bound_key_costs_one_lookup_and_a_bound_prefix_a_range(host: FakeHost) -> None:
    def looked_at(t: Table, pattern: Any) -> int:
        before = t.info().rows_scanned
        t.select(pattern)
        return t.info().rows_scanned - before

    rows = [((room, user), room + user) for room in range(100) for user in range(100)]
    ordered, plain = host.tables.new(kind="ordered_set"), host.tables.new()
    for t in (ordered, plain):
        t.insert(rows)
        assert t.explain(((5, 6), ANY)) == "lookup"
        assert looked_at(t, ((5, 6), ANY)) == 1
    assert ordered.explain(((5, V.u), ANY)) == "range"
    assert looked_at(ordered, ((5, V.u), ANY)) == 100
    assert looked_at(ordered, ((5.0, V.u), ANY)) == 100
    assert ordered.select(((5.0, V.u), ANY)) == []  # the range is by value, the match exact: as in ETS
    assert plain.explain(((5, V.u), ANY)) == "scan"
    assert looked_at(plain, ((5, V.u), ANY)) == 10_000
    assert looked_at(ordered, ((ANY, ANY, ANY), ANY)) == 0
    assert sorted(plain.select(((5, V.u), ANY))) == ordered.select(((5, V.u), ANY))


def test_a_prefix_inside_a_nested_key_narrows_the_range(host: FakeHost) -> None:
    t = host.tables.new(kind="ordered_set")
    t.insert([((a, (b, c), d), 0) for a, b, c, d in itertools.product(range(5), repeat=4)])
    before = t.info().rows_scanned
    assert len(t.select(((2, (3, V.c), V.d), ANY))) == 25
    assert t.info().rows_scanned - before == 25


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_cover_everything_once(host: FakeHost, kind: Any, limit: int) -> None:
    t = host.tables.new(kind=kind)
    rows = [(n // 5 if "bag" in kind else n, n) for n in range(42)]
    t.insert(rows)
    pages = list(t.pages(ANY, limit=limit))
    assert sorted(row for page in pages for row in page) == rows
    assert all(len(page) == limit for page in pages[:-1])
    assert t.select_page(("none", ANY), limit=1).rows == ()
    assert t.select_page(("none", ANY), limit=1).more is None
    exact = t.select_page(ANY, limit=42)
    assert len(exact.rows) == 42
    assert exact.more is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_continuation_is_a_value_that_may_be_used_again(host: FakeHost, kind: Any) -> None:
    t = host.tables.new(kind=kind)
    t.insert([(n, n) for n in range(20)])
    first = t.select_page((V.k, ANY), take=V.k, limit=8)
    assert first.more is not None
    assert t.select_next(first.more).rows == t.select_next(first.more).rows
    assert "V.k" in repr(first.more)
    with pytest.raises(TableError, match="belongs"):
        host.tables.new().select_next(first.more)


def test_examine_bounds_the_work_of_a_page(host: FakeHost) -> None:
    kind: Any
    for kind in KINDS:
        t = host.tables.new(kind=kind)
        t.insert([(n, n % 100) for n in range(1_000)])
        page = t.select_page((V.k, 99), limit=10, examine=50)
        assert page.rows == ()
        assert page.more is not None
        assert t.info().rows_scanned == 50
        found = [row for rows in t.pages((V.k, 99), limit=4, examine=50) for row in rows]
        assert sorted(found) == [(n, 99) for n in range(99, 1_000, 100)]
    bad: Any
    for bad in ({"limit": 0}, {"limit": 1, "examine": 0}):
        t = host.tables.new()
        with pytest.raises(BadKey):
            t.select_page(ANY, **bad)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 7), st.randoms(use_true_random=False))
def test_rows_present_the_whole_time_are_seen_exactly_once(kind: Any, limit: int, rng: random.Random) -> None:
    host = FakeHost()
    t = host.tables.new(kind=kind)
    many = 4 if "bag" in kind else 1
    stay = {(f"s{n:03}" if rng.random() < 0.5 else n, m) for n in range(20) for m in range(many)}
    churn = [(f"s{n:03}x" if rng.random() < 0.5 else n + 0.5, m) for n in range(20) for m in range(many)]
    t.insert(rng.sample(sorted(stay, key=repr), len(stay)))
    t.insert(churn[::2])
    seen: list[Any] = []
    for page in t.pages(ANY, limit=limit):
        seen += page
        for _ in range(8):
            row = rng.choice(churn)
            if rng.random() < 0.5:
                t.delete_object(row)
            else:
                t.insert(row)
        if many == 1:  # rewriting a row is not leaving
            kept = rng.choice(sorted(stay, key=repr))
            t.insert(kept)
    counted = [row for row in seen if row in stay]
    assert sorted(counted, key=repr) == sorted(stay, key=repr)
    if many == 1:
        assert len({row[0] for row in seen}) == len(seen)


def test_pages_survive_the_sweep_and_a_clear(host: FakeHost) -> None:
    kind: Any
    for kind in KINDS:
        t = host.tables.new(kind=kind)
        t.insert([(n, 0) for n in range(10)])
        t.insert([(n, 0) for n in range(10, 20)], ttl=1)
        pages = t.pages(ANY, limit=3)
        got = list(next(pages))
        host.time += 5
        host.settle()
        got += [row for page in pages for row in page]
        assert {row[0] for row in got} >= set(range(10)) - {row[0] for row in got[:3]}
        pages = t.pages(ANY, limit=3)
        next(pages)
        t.clear()
        assert list(pages) == []
