"""What an actor has none or one of nearly always: it behaves as a dict's keys do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsactors.actors.few import Few, added, count, each, holds, removed, taken_out

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 7).map(str)))


def after(steps: list[tuple[bool, str]]) -> tuple[Few[str], dict[str, None]]:
    few: Few[str] = None
    wanted: dict[str, None] = {}
    for adds, member in steps:
        if adds:
            few = added(few, member)
            wanted.setdefault(member)
        else:
            few = removed(few, member)
            wanted.pop(member, None)
    return few, wanted


@given(STEPS)
def test_it_holds_what_a_dict_would_hold_in_the_same_order(steps: list[tuple[bool, str]]) -> None:
    few, wanted = after(steps)
    assert each(few) == tuple(wanted)
    assert count(few) == len(wanted)
    assert bool(few) == bool(wanted)
    assert [member for member in "01234567" if holds(few, member)] == sorted(wanted)


@given(STEPS)
def test_what_is_taken_out_comes_newest_first(steps: list[tuple[bool, str]]) -> None:
    few, wanted = after(steps)
    assert list(taken_out(few)) == list(wanted)[::-1]


def test_only_many_are_a_dict() -> None:
    assert added(None, "a") == "a"
    assert added("a", "b") == ("a", "b")
    assert removed(("a", "b"), "a") == "b"
    assert added(("a", "b", "c", "d"), "e") == dict.fromkeys("abcde")
    assert removed({"b": None}, "b") is None
