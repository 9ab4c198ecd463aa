"""Arithmetic inside a row, with the rules of ``ets:update_counter`` and ``ets:update_element``. Pure.

Positions count from 0. An operation is ``increment`` (on the position after the key), ``(position, increment)`` or
``(position, increment, threshold, set_to)``: a result beyond the threshold, in the direction of the increment, becomes
``set_to``. Operations of a list run in order, each on what the one before left; if one is wrong, none has happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsactors.errors import BadRow

Row = tuple[Any, ...]
CounterOp = int | tuple[int, int] | tuple[int, int, int, int]
ElementChange = tuple[int, Any]


def count(row: Row, ops: CounterOp | Sequence[CounterOp], keypos: int) -> tuple[Row, int | list[int]]:
    """The new row, and the result of the operation; a list of results for a list of operations. Raises ``BadRow``.

    >>> count(("lock", 3), [(1, 0), (1, 1, 3, 3)], 0)         # how a semaphore for three asks: 3 held before, 3 after
    (('lock', 3), [3, 3])
    """
    changed = list(row)
    if not isinstance(ops, list):
        result = _apply(changed, ops, keypos)
        return tuple(changed), result
    results = [_apply(changed, op, keypos) for op in ops]
    return tuple(changed), results


def change(row: Row, changes: ElementChange | Sequence[ElementChange], keypos: int) -> Row:
    """The row with other values at some positions. Raises ``BadRow``."""
    changed = list(row)
    for one in changes if isinstance(changes, list) else [changes]:
        if type(one) is not tuple or len(one) != 2:
            raise BadRow(f"update_element takes (position, value), or a list of these, not {one!r}")
        changed[_position(one[0], row, keypos)] = one[1]
    return tuple(changed)


def _apply(row: list[Any], op: Any, keypos: int) -> int:
    if type(op) is int:
        op = (keypos + 1, op)
    # Not any(...): a counter is often the hottest thing in a node, and a generator would double its cost.
    well_formed = type(op) is tuple and len(op) in (2, 4) and type(op[0]) is int and type(op[1]) is int
    if not well_formed or (len(op) == 4 and not (type(op[2]) is int and type(op[3]) is int)):
        raise BadRow(
            f"a counter operation is an int, (position, increment) or (position, increment, threshold, set_to), not {op!r}"
        )
    position = _position(op[0], row, keypos)
    if type(row[position]) is not int:
        raise BadRow(f"position {position} holds {row[position]!r}; only ints are counted")
    value: int = row[position] + op[1]
    if len(op) == 4:
        _, increment, threshold, set_to = op
        if (increment >= 0 and value > threshold) or (increment < 0 and value < threshold):
            value = set_to
    row[position] = value
    return value


def _position(position: Any, row: Sequence[Any], keypos: int) -> int:
    if type(position) is not int or not 0 <= position < len(row):
        raise BadRow(f"the row has positions 0 to {len(row) - 1}, not {position!r}")
    if position == keypos:
        raise BadRow(f"position {keypos} is the key, which cannot change: take the row and insert another")
    return position
