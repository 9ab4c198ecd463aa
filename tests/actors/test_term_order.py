from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.actors.pid import Home, new_pid
from wsactors.actors.term_order import (
    HIGHEST,
    LOWEST,
    bound_token,
    compare,
    exact_key,
    exactly_equal,
    order_token,
    ordered_key,
    text_range,
)
from wsactors.errors import BadKey

P1, P2 = new_pid(Home("a", 1), 1), new_pid(Home("a", 1), 2)
LATER = new_pid(Home("a", 2), 1)

IN_ORDER = [
    -math.inf, -5, -0.5, 0, 0.5, 1, 2**53, 2**53 + 1, 10**400, math.inf,
    None, False, True,
    "", "B", "a", "aa", "b", "é", "\U0010ffff",
    b"", b"\x00", b"a", b"\xff",
    P1, P2, LATER,
    (), (9,), ("z",), (0, 0), (0, "a"), (True, 0), ("a", 0), ("a", (1,)), ((), 0), (0, 0, 0),
]  # fmt: skip


def test_the_whole_order() -> None:
    for (i, a), (j, b) in itertools.product(enumerate(IN_ORDER), repeat=2):
        assert compare(a, b) == (i > j) - (i < j), (a, b)


def test_sorting_tokens_sorts_keys() -> None:
    shuffled = IN_ORDER[:]
    random.Random(4).shuffle(shuffled)
    assert sorted(shuffled, key=lambda key: order_token(ordered_key(key))) == IN_ORDER


def test_numbers_are_one_key_in_order_and_two_exactly() -> None:
    for a, b in [(1, 1.0), (("x", (1,)), ("x", (1.0,))), (0.0, -0.0)]:
        assert compare(a, b) == 0
        assert ordered_key(a) == ordered_key(b)
    assert exact_key(1) != exact_key(1.0)
    assert exact_key(("x", (1,))) != exact_key(("x", (1.0,)))
    assert exact_key(0.0) == exact_key(-0.0)


@pytest.mark.parametrize("encode", [exact_key, ordered_key])
def test_a_bool_is_never_a_number(encode: object) -> None:
    assert callable(encode)
    keys = [1, True, 0, False, (1,), (True,), (0, (True,)), (0, (1,))]
    assert len({encode(key) for key in keys}) == len(keys)


@pytest.mark.parametrize(
    "bad", [math.nan, (1, math.nan), [], {}, object(), (1, [2]), LOWEST, ("a", HIGHEST), int, (float, 1.0)]
)
def test_what_cannot_be_a_key_is_refused(bad: object) -> None:
    with pytest.raises(BadKey):
        exact_key(bad)
    with pytest.raises(BadKey):
        ordered_key(bad)


def test_a_subclass_is_refused_with_advice() -> None:
    class Name(str):
        __slots__ = ()

    with pytest.raises(BadKey, match="value"):
        exact_key(Name("x"))


def test_deep_nesting_is_refused_not_a_recursion_error() -> None:
    key: object = 1.5
    for _ in range(5_000):
        key = (key,)
    for encode in (exact_key, ordered_key, bound_token):
        with pytest.raises(BadKey, match="deep"):
            encode(key)
    sentinel: object = LOWEST
    for _ in range(5_000):
        sentinel = (sentinel,)
    with pytest.raises(BadKey, match="deep"):
        bound_token(sentinel)


def test_sentinels_bound_everything_and_every_tuple_of_their_length() -> None:
    for key in IN_ORDER:
        assert bound_token(LOWEST) < order_token(ordered_key(key)) < bound_token(HIGHEST)
    low, high = bound_token(("a", LOWEST)), bound_token(("a", HIGHEST))
    inside = [key for key in IN_ORDER if low < order_token(ordered_key(key)) < high]
    assert inside == [("a", 0), ("a", (1,))]


def test_exact_equality_looks_into_tuples() -> None:
    assert exactly_equal(("a", (1, 2)), ("a", (1, 2)))
    assert not exactly_equal(("a", (1, 2)), ("a", (1, 2.0)))
    assert not exactly_equal(1, True)
    assert not exactly_equal((1,), (1, 1))


@given(st.text(max_size=3), st.text(max_size=5))
def test_text_range_holds_exactly_what_starts_with_the_prefix(prefix: str, text: str) -> None:
    low, high = text_range(prefix)
    for candidate in (text, prefix + text, prefix):
        assert (low <= order_token(candidate) < high) == candidate.startswith(prefix)


@given(st.binary(max_size=2), st.binary(max_size=4))
def test_bytes_range_holds_exactly_what_starts_with_the_prefix(prefix: bytes, data: bytes) -> None:
    low, high = text_range(prefix)
    for candidate in (data, prefix + data, prefix):
        assert (low <= order_token(candidate) < high) == candidate.startswith(prefix)


keys = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([-1.0, 0.5, 1.0, 2.0]) | st.text("ab", max_size=2)
    | st.binary(max_size=1),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)  # fmt: skip


@given(keys, keys, keys)
def test_the_order_is_total_and_agrees_with_equality(a: object, b: object, c: object) -> None:
    assert compare(a, b) == -compare(b, a)
    assert (compare(a, b) == 0) == (ordered_key(a) == ordered_key(b))
    if compare(a, b) <= 0 and compare(b, c) <= 0:
        assert compare(a, c) <= 0
    assert (exact_key(a) == exact_key(b)) == exactly_equal(a, b)
