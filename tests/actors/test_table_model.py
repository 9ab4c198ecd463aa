"""Tables against the most naive model there is: a list of rows, searched from end to end."""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tests.actors.table_host import FakeHost
from wsactors.actors.patterns import ANY, V
from wsactors.actors.tables import END, Table
from wsactors.actors.term_order import compare, exactly_equal

Row = tuple[Any, ...]

KEYS: list[Any] = [
    1,
    1.0,
    2,
    True,
    None,
    "a",
    "ab",
    "b",
    b"a",
    (),
    (1,),
    (1.0,),
    ("a",),
    ("a", 1),
    ("a", 2),
    ("a", 1, 1),
    ("b", True),
]
keys = st.sampled_from(KEYS)
values = st.integers(0, 2)


class Model:
    """What a table should do, at any price."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.rows: list[Row] = []

    def same_key(self, a: Any, b: Any) -> bool:
        return compare(a, b) == 0 if self.kind == "ordered_set" else exactly_equal(a, b)

    def of(self, key: Any) -> list[Row]:
        return [row for row in self.rows if self.same_key(row[0], key)]

    def insert(self, row: Row) -> None:
        if self.kind in ("set", "ordered_set"):
            self.delete(row[0])
        if self.kind != "bag" or not any(exactly_equal(row, other) for other in self.rows):
            self.rows.append(row)

    def delete(self, key: Any) -> list[Row]:
        gone = self.of(key)
        self.rows = [row for row in self.rows if not self.same_key(row[0], key)]
        return gone

    def in_order(self) -> list[Row]:
        return sorted(self.rows, key=cmp_to_key(_by_key))


def _by_key(a: Any, b: Any) -> int:
    return compare(a[0], b[0])


class TableMachine(RuleBasedStateMachine):
    """Random operations on a table and on the model."""

    kind: Any = "set"
    used: Any = Bundle("used")

    def __init__(self) -> None:
        super().__init__()
        self.table: Table = FakeHost().tables.new(kind=self.kind)
        self.model = Model(self.kind)

    @initialize(target=used)
    def begin(self) -> Any:
        return "a"

    @rule(target=used, key=keys, value=values)
    def insert(self, key: Any, value: int) -> Any:
        self.table.insert((key, value))
        self.model.insert((key, value))
        return key

    @rule(rows=st.lists(st.tuples(keys, values), min_size=1, max_size=4))
    def insert_new(self, rows: list[Row]) -> None:
        free = not any(self.model.of(row[0]) for row in rows)
        assert self.table.insert_new(rows) is free
        for row in rows if free else ():
            self.model.insert(row)

    @rule(key=used)
    def take(self, key: Any) -> None:
        assert repr(self.table.take(key)) == repr(self.model.delete(key))

    @rule(key=used, value=values)
    def delete_object(self, key: Any, value: int) -> None:
        hits = [row for row in self.model.rows if exactly_equal(row, (key, value))]
        assert self.table.delete_object((key, value)) == len(hits)
        self.model.rows = [row for row in self.model.rows if not exactly_equal(row, (key, value))]

    @rule(value=values)
    def select_delete(self, value: int) -> None:
        hits = [row for row in self.model.rows if row[1] == value]
        assert self.table.select_delete((ANY, value)) == len(hits)
        self.model.rows = [row for row in self.model.rows if row[1] != value]

    @rule(key=keys, step=st.integers(-2, 2))
    def count(self, key: Any, step: int) -> None:
        if self.kind in ("set", "ordered_set"):
            old = self.model.of(key) or [(key, 0)]
            assert self.table.update_counter(key, step, default=("?", 0)) == old[0][1] + step
            self.model.insert((old[0][0], old[0][1] + step))

    @rule(key=keys)
    def read(self, key: Any) -> None:
        rows = self.model.of(key)
        assert repr(self.table.lookup(key)) == repr(rows)
        assert (key in self.table) is bool(rows)
        exact = [row for row in rows if exactly_equal(row[0], key)]
        assert repr(self.table.select((key, ANY))) == repr(exact)
        assert repr(self.table.match((key, V.v))) == repr([{"v": row[1]} for row in exact])

    @rule(
        low=keys,
        high=keys,
        include_low=st.booleans(),
        include_high=st.booleans(),
        reverse=st.booleans(),
        limit=st.none() | values,
    )
    def read_range(
        self, low: Any, high: Any, include_low: bool, include_high: bool, reverse: bool, limit: int | None
    ) -> None:
        if self.kind != "ordered_set" or limit == 0:
            return
        inside = [
            row
            for row in self.model.in_order()
            if compare(low, row[0]) <= -(not include_low) and compare(row[0], high) <= -(not include_high)
        ]
        wanted = inside[::-1] if reverse else inside
        found = self.table.range(
            low, high, include_low=include_low, include_high=include_high, reverse=reverse, limit=limit
        )
        assert repr(found) == repr(wanted if limit is None else wanted[:limit])

    @rule(prefix=st.sampled_from(["", "a", "ab", b"", (), ("a",), ("a", 1), (1,), ("b",)]))
    def read_prefix(self, prefix: Any) -> None:
        if self.kind != "ordered_set":
            return

        def starts(key: Any) -> bool:
            if type(key) is not type(prefix):
                return False
            return compare(key[: len(prefix)], prefix) == 0 if isinstance(key, tuple) else bool(key.startswith(prefix))

        assert repr(self.table.prefix(prefix)) == repr([row for row in self.model.in_order() if starts(row[0])])

    @rule(key=keys)
    def neighbours(self, key: Any) -> None:
        if self.kind == "ordered_set":
            order = [row[0] for row in self.model.in_order()]
            after = [other for other in order if compare(other, key) > 0]
            before = [other for other in order if compare(other, key) < 0]
            assert repr(self.table.next(key)) == repr(after[0] if after else END)
            assert repr(self.table.prev(key)) == repr(before[-1] if before else END)

    @invariant()
    def same_content(self) -> None:
        assert len(self.table) == len(self.model.rows)
        mine = self.table.select(ANY)
        if self.kind == "ordered_set":
            assert repr(mine) == repr(self.model.in_order())
        else:
            assert sorted(map(repr, mine)) == sorted(map(repr, self.model.rows))


@pytest.mark.parametrize("kind", ["set", "ordered_set", "bag", "duplicate_bag"])
def test_a_table_does_what_a_list_would(kind: str) -> None:
    machine = type(f"{kind}_machine", (TableMachine,), {"kind": kind})
    case = machine.TestCase  # type: ignore[attr-defined]
    case.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
    case("runTest").runTest()
