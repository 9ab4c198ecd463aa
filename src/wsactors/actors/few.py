"""What an actor has one of, or none, nearly always, and many at times: links, monitors, timers, tasks.

A dict for one or two entries takes 230 bytes, and an idle actor would have five of them. So nothing is None, one is itself, a
few are a tuple, and only more are a dict, always in the order in which they came. The members are things of this package, never
None, tuples or dicts, and all of them are true: so is what holds any.

>>> few = added(added(None, "a"), "b")
>>> few, removed(few, "a"), removed(removed(few, "a"), "b")
(('a', 'b'), 'b', None)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Final, TypeAlias, TypeVar

T = TypeVar("T", bound=Hashable)
Few: TypeAlias = T | tuple[T, ...] | dict[T, None] | None
MOST: Final = 4
"""Members of a tuple."""


def added(few: Few[T], member: T) -> Few[T]:
    """``few`` with ``member``, which it may have already; a dict is changed in place.

    >>> added("a", "a")
    'a'
    """
    if few is None:
        return member
    if few.__class__ is dict:
        few[member] = None
        return few
    members = each(few)
    if member in members:
        return few
    return (*members, member) if len(members) < MOST else dict.fromkeys((*members, member))


def removed(few: Few[T], member: T) -> Few[T]:
    """``few`` without ``member``, which need not be in it; a dict is changed in place."""
    if few.__class__ is dict:
        few.pop(member, None)
        return few or None
    if few.__class__ is tuple:
        rest = tuple([other for other in few if other != member])
        return rest if len(rest) > 1 else rest[0]
    return None if few == member else few


def holds(few: Few[T], member: T) -> bool:
    """Whether ``member`` is in it."""
    return member in few if few.__class__ in (dict, tuple) else few == member


def count(few: Few[Any]) -> int:
    """How many there are."""
    return len(few) if few.__class__ in (dict, tuple) else few is not None


def each(few: Few[T]) -> tuple[T, ...]:
    """All of them, in the order in which they came."""
    if few.__class__ is tuple:
        return few
    return tuple(few) if few.__class__ is dict else () if few is None else (few,)  # type: ignore[return-value]


def taken_out(few: Few[T]) -> Iterator[T]:
    """All of them, the newest first; each is let go before the next: to free 100,000 in one step would hold the loop."""
    if few.__class__ is dict:
        while few:
            yield few.popitem()[0]
    else:
        yield from reversed(each(few))
