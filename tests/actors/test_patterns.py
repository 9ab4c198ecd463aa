from __future__ import annotations

import copy
import math
from typing import Any

import attrs
import pytest

from wsactors.actors.pattern_match import Everything, Lookup, Matcher, Range, plan
from wsactors.actors.patterns import ANY, ROW, Query, V, Var
from wsactors.errors import BadKey, BadPattern


def fits(pattern: Any, row: tuple[Any, ...], where: Any = None) -> Any:
    return Matcher(Query(pattern, where)).fits(row)


@pytest.mark.parametrize(
    ("pattern", "row", "bindings"),
    [
        (ANY, ("a", 1), {}),
        (V.row, ("a", 1), {"row": ("a", 1)}),
        (("a", V.n), ("a", 1), {"n": 1}),
        (("a", V.n), ("a", 1, 2), None),
        (("a", V.n), ("b", 1), None),
        ((ANY, ANY), (1, 2), {}),
        ((V.x, V.x), (1, 1), {"x": 1}),
        ((V.x, V.x), (1, 1.0), None),
        ((V.x, V.x), (True, 1), None),
        ((1,), (1.0,), None),
        ((1,), (True,), None),
        ((None,), (None,), {}),
        ((("room", V.id), V.who), (("room", 7), "ann"), {"id": 7, "who": "ann"}),
        ((("room", V.id), V.id), (("room", 7), 8), None),
        ((("room", V.id),), ("room",), None),
        (((),), ((),), {}),
    ],
)
def test_matching(pattern: Any, row: tuple[Any, ...], bindings: Any) -> None:
    assert fits(pattern, row) == bindings


@pytest.mark.parametrize(
    ("guard", "holds"),
    [
        (V.n > 4, True), (V.n >= 5, True), (V.n < 5, False), (V.n <= 5.0, True), (V.n.eq(5.0), True), (V.n.ne(5.0), False),
        (V.n.same(5.0), False), (V.n.same(5), True), (V.s > V.n, True), (V.s.is_in(("x", "s")), True),
        (V.n.is_in((5.0,)), False), (V.n.is_a("int"), True), (V.n.is_a("number"), True), (V.b.is_a("number"), False),
        (V.b.is_a("bool"), True), (V.none.is_a("none"), True), (V.t.is_a("tuple"), True),
        ((V.n + 1) * 2 - 2 > 9, True), ((V.n // 2).eq(2), True), ((V.n % 2).eq(1), True),
        ((V.n > 1) & (V.s.eq("s")), True), ((V.n > 9) | (V.s.eq("s")), True), (~(V.n > 9), True),
        # what cannot be worked out is false, and so is its negation
        (V.s + 1 > 0, False), (~(V.s + 1 > 0), False), (V.n // 0 > 0, False), (~(V.n % 0 > 0), False),
        ((V.s + 1 > 0) | (V.n > 1), True), ((V.n > 1) | (V.s + 1 > 0), True), ((V.n > 1) & (V.s + 1 > 0), False),
        (V.b + 1 > 0, False), (V.n * 1.0 * 10**400 > 0, False), (V.nan > 0, False), (V.list > 0, False),
        (V.list.eq([1]), True), (V.list.ne(V.nan), True), (V.t > V.s, True),
    ],
)  # fmt: skip
def test_guards(guard: Any, holds: bool) -> None:
    row = (5, "s", True, None, (1,), math.nan, [1])
    pattern = (V.n, V.s, V.b, V.none, V.t, V.nan, V.list)
    assert (fits(pattern, row, guard) is not None) is holds


def test_results() -> None:
    row = ("ann", 31)
    for take, result in [
        (ROW, row), (V.name, "ann"), ((V.age, ("const", V.name)), (31, ("const", "ann"))), ((ROW, 1), (row, 1)), (7, 7),
        ((), ()),
    ]:  # fmt: skip
        matcher = Matcher(Query((V.name, V.age), None, take))
        bindings = matcher.fits(row)
        assert bindings is not None
        assert matcher.result(row, bindings) == result


@pytest.mark.parametrize(
    "query",
    [
        Query((V.a,), V.b > 1), Query((V.a,), None, V.b), Query((V.a,), None, V.a + 1), Query((V.a,), None, (ANY,)),
        Query((V.a > 1,)), Query((V.a + 1,)), Query((ROW,)), Query((V.a,), "guard"),  # type: ignore[arg-type]
        Query((V.a,), V.a > ANY), Query((V.a,), V.a.eq(V.a > 1)),
    ],
)  # fmt: skip
def test_ill_formed_queries_are_refused(query: Query) -> None:
    with pytest.raises(BadPattern):
        Matcher(query)


def test_traps_of_python_are_refused() -> None:
    with pytest.raises(BadPattern, match="&"):
        bool(V.a > 1 and V.b > 2)
    with pytest.raises(BadPattern):
        bool(0 < V.a < 9)
    with pytest.raises(BadPattern):
        (V.a > 1) & 5  # type: ignore[operator]
    with pytest.raises(BadPattern):
        V.a.is_a("integer")  # type: ignore[arg-type]


def test_patterns_are_data() -> None:
    def build() -> Query:
        return Query((("room", V.id), V.age), ((V.age >= 18) & ~V.id.is_in((1, 2))) | (V.age + 1).ne(3), (V.id, ROW))

    query = build()
    assert query == build()
    assert hash(query) == hash(build())
    assert query != Query((("room", V.other), V.age))
    assert copy.deepcopy(query) == query
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        V.age.name = "x"  # type: ignore[misc]
    assert eval(repr(query), {"Query": Query, "V": V, "ROW": ROW}) == query
    assert repr(query.where) == "(((V.age >= 18) & ~V.id.is_in((1, 2))) | (V.age + 1).ne(3))"
    assert V.x == Var("x") != V.y


@pytest.mark.parametrize(
    ("pattern", "exact", "ordered"),
    [
        (ANY, Everything, Everything),
        ((V.k, 1), Everything, Everything),
        ((), Everything, Everything),
        (("k", ANY), Lookup, Lookup),
        ((("a", ("b", 1)), ANY), Lookup, Lookup),
        ((("a", V.n), ANY), Everything, Range),
        (((V.n, "a"), ANY), Everything, Range),
        ((("a", ("b", V.n)), ANY), Everything, Range),
    ],
)
def test_plans(pattern: Any, exact: type, ordered: type) -> None:
    assert type(plan(pattern, 0, ordered=False)) is exact
    assert type(plan(pattern, 0, ordered=True)) is ordered


def test_plan_looks_at_the_key_position() -> None:
    assert type(plan((ANY, "k"), 1, ordered=False)) is Lookup
    with pytest.raises(BadKey):
        plan(([1], ANY), 0, ordered=False)
