"""Causal contexts against plain sets of dots."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.crdt.clocks import Context, RangeSet

ranges = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=12
)
dots = st.sets(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(1, 12)))


def numbers(pairs: list[tuple[int, int]]) -> set[int]:
    return {number for first, last in pairs for number in range(first, last + 1)}


@given(ranges)
def test_ranges_are_the_set_of_their_numbers_and_never_touch(pairs: list[tuple[int, int]]) -> None:
    found = RangeSet(pairs)

    assert {number for number in range(45) if number in found} == numbers(pairs)
    kept = list(found.ranges())
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(kept))
    assert found.last == max(numbers(pairs), default=0)
    assert found == RangeSet(reversed(kept))


@given(ranges, ranges)
def test_covering_is_being_a_superset(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    assert RangeSet(one).covers(RangeSet(two)) == (numbers(one) >= numbers(two))
    both = RangeSet(one)
    both.update(RangeSet(two))
    assert both.covers(RangeSet(two))
    assert both == RangeSet(one + two)


def test_a_range_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="first <= last"):
        RangeSet([(1, 3)]).add(4, 2)


def test_a_claim_of_a_million_million_events_costs_two_numbers() -> None:
    context = Context({"hostile": RangeSet([(5, 10**12)])})

    assert ("hostile", 10**11) in context
    assert context.clock("hostile") == 0
    assert len(list(context.of("hostile").ranges())) == 1


def of(known: set[tuple[str, int]]) -> Context:
    context = Context()
    for dot in known:
        context.add(dot)
    return context


@given(dots, dots, dots)
def test_joining_contexts_is_the_union_of_their_dots(
    one: set[tuple[str, int]], two: set[tuple[str, int]], three: set[tuple[str, int]]
) -> None:
    left = of(one)
    left.update(of(two))
    left.update(of(three))
    right = of(three)
    inner = of(two)
    inner.update(of(one))
    right.update(inner)
    right.update(inner)

    assert left == right == of(one | two | three)
    assert all((dot in left) == (dot in one | two | three) for dot in one | two | three | {("a", 13), ("d", 1)})


@given(dots)
def test_the_vector_is_what_is_known_without_a_gap(known: set[tuple[str, int]]) -> None:
    vector = of(known).vector()

    for replica in "abc":
        clock = vector.get(replica, 0)
        assert all((replica, number) in known for number in range(1, clock + 1))
        assert (replica, clock + 1) not in known


def test_a_copy_goes_its_own_way() -> None:
    context = of({("a", 1)})
    other = context.copy()
    other.add(("a", 2))

    assert context != other
    other.forget("a")
    assert other == Context()
