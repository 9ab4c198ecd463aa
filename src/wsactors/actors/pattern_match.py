"""Patterns at work: a query becomes functions once and meets many rows; what it says about the key serves as an index."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Final

import attrs

from wsactors.actors.patterns import (
    ANY,
    ROW,
    Arithmetic,
    Both,
    Compare,
    Either,
    Expression,
    Guard,
    IsA,
    Not,
    OneOf,
    Query,
    Var,
    WholeRow,
    Wildcard,
)
from wsactors.actors.pid import Pid
from wsactors.actors.term_order import Token, compare, exact_key, exactly_equal, order_token, ordered_key, tuples_from
from wsactors.errors import BadKey, BadPattern

Row = tuple[Any, ...]
Bindings = dict[str, Any]
Step = Callable[[Any, Bindings], bool]
"""Whether a value fits; binds variables on the way. (Bindings of a misfit are thrown away.)"""

_MAX_DEPTH: Final = 32


@attrs.frozen
class Lookup:
    """The pattern holds the whole key: at most one key to look at."""

    key: Any
    """Encoded, as the table's dictionary wants it."""


@attrs.frozen
class Range:
    """All rows that can match lie between two tokens of an ordered table."""

    low: Token
    high: Token


@attrs.frozen
class Everything:
    """Nothing is known of the key: every row is looked at."""


Plan = Lookup | Range | Everything


class Matcher:
    """A compiled query. ``fits(row)`` gives the bindings of a matching row or None, ``result`` what to take of it."""

    __slots__ = ("_guard", "_step", "_take", "query")

    def __init__(self, query: Query) -> None:
        names: set[str] = set()
        self.query = query
        self._step = _compile(query.pattern, names, 0)
        self._guard = None if query.where is None else _compile_guard(query.where, names)
        self._take = _compile_take(query.take, names, 0)

    def fits(self, row: Row) -> Bindings | None:
        """The bindings, if pattern and guard accept the row."""
        bindings: Bindings = {}
        if self._step is not None and not self._step(row, bindings):
            return None
        if self._guard is not None and not _holds(self._guard, bindings):
            return None
        return bindings

    def result(self, row: Row, bindings: Bindings) -> Any:
        """What the query takes of a matching row."""
        return row if self._take is None else self._take(row, bindings)


def plan(pattern: Any, keypos: int, *, ordered: bool) -> Plan:
    """The cheapest way to all rows that ``pattern`` can match. Raises ``BadKey`` if its key could be no key."""
    if type(pattern) is not tuple or len(pattern) <= keypos:
        return Everything()
    key = pattern[keypos]
    if is_bound(key):
        return Lookup(ordered_key(key) if ordered else exact_key(key))
    if ordered and type(key) is tuple:
        return Range(*_tuple_range(key))
    return Everything()


def is_bound(pattern: Any) -> bool:
    """Whether the pattern is a plain value, without wildcard or variable."""
    if type(pattern) is tuple:
        return all(map(is_bound, pattern))
    return not isinstance(pattern, (Wildcard, WholeRow, Expression, Guard))


def _tuple_range(key: tuple[Any, ...]) -> tuple[Token, Token]:
    """Around all tuples that can fit a tuple pattern which is not fully bound."""
    tokens: list[Token] = []
    for element in key:
        if not is_bound(element):
            if type(element) is tuple:
                low, high = _tuple_range(element)
                return (*_start(key, tokens), low), (*_start(key, tokens), high)
            break
        tokens.append(order_token(ordered_key(element)))
    return tuples_from(len(key), tokens)


def _start(key: tuple[Any, ...], tokens: list[Token]) -> Token:
    return tuples_from(len(key), tokens)[0][:-1]


def _compile(pattern: Any, names: set[str], depth: int) -> Step | None:
    """The step of one pattern; None for one that accepts everything."""
    if depth > _MAX_DEPTH:
        raise BadPattern(f"a pattern may nest tuples at most {_MAX_DEPTH} deep")
    if isinstance(pattern, Wildcard):
        return None
    if isinstance(pattern, Var):
        return _variable(pattern.name, names)
    if isinstance(pattern, (Guard, Expression, WholeRow)):
        raise BadPattern(f"{pattern!r} cannot stand in a pattern: conditions go into where=, results into take=")
    if type(pattern) is tuple and not is_bound(pattern):
        return _elements(pattern, names, depth)
    return lambda value, _bindings: exactly_equal(value, pattern)


def _variable(name: str, names: set[str]) -> Step:
    if name not in names:
        names.add(name)

        def bind(value: Any, bindings: Bindings) -> bool:
            bindings[name] = value
            return True

        return bind
    return lambda value, bindings: exactly_equal(value, bindings[name])


def _elements(pattern: tuple[Any, ...], names: set[str], depth: int) -> Step:
    length = len(pattern)
    compiled = [(at, _compile(element, names, depth + 1)) for at, element in enumerate(pattern)]
    steps = [(at, step) for at, step in compiled if step is not None]

    def fits(value: Any, bindings: Bindings) -> bool:
        if type(value) is not tuple or len(value) != length:
            return False
        return all(step(value[at], bindings) for at, step in steps)

    return fits


Evaluate = Callable[[Mapping[str, Any]], Any]

_ORDER: Final[dict[str, Callable[[int, int], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}
_KIND: Final[dict[str, tuple[type, ...]]] = {
    "none": (NoneType,),
    "bool": (bool,),
    "int": (int,),
    "float": (float,),
    "number": (int, float),
    "str": (str,),
    "bytes": (bytes,),
    "pid": (Pid,),
    "tuple": (tuple,),
}


class _Undecided(Exception):
    """The guard cannot be worked out for this row."""


def _holds(guard: Evaluate, bindings: Mapping[str, Any]) -> bool:
    try:
        return bool(guard(bindings))
    except _Undecided:
        return False


def _compile_guard(guard: Any, names: set[str]) -> Evaluate:
    match guard:
        case Compare(op="=:=", left=left, right=right):
            first, second = _operand(left, names), _operand(right, names)
            return lambda bound: exactly_equal(first(bound), second(bound))
        case Compare(op=op, left=left, right=right):
            return _comparison(op, _operand(left, names), _operand(right, names))
        case OneOf(value=value, values=values):
            one = _operand(value, names)
            return lambda bound: any(exactly_equal(one(bound), other) for other in values)
        case IsA(value=value, kind=kind):
            tested, kinds = _operand(value, names), _KIND[kind]
            return lambda bound: type(tested(bound)) in kinds
        case Both(left=left, right=right):
            one, two = _compile_guard(left, names), _compile_guard(right, names)
            return lambda bound: one(bound) and two(bound)
        case Either(left=left, right=right):
            this, that = _compile_guard(left, names), _compile_guard(right, names)
            return lambda bound: _holds(this, bound) or that(bound)
        case Not(guard=inner):
            negated = _compile_guard(inner, names)
            return lambda bound: not negated(bound)
        case _:
            raise BadPattern(f"where= takes a guard such as (V.age > 18), not {guard!r}")


def _comparison(op: str, left: Evaluate, right: Evaluate) -> Evaluate:
    decide = _ORDER[op]

    def evaluate(bound: Mapping[str, Any]) -> bool:
        first, second = left(bound), right(bound)
        try:
            return decide(compare(first, second), 0)
        except BadKey:
            # Values outside the term order can still be told apart, but not put in order.
            if op in ("==", "!="):
                return exactly_equal(first, second) is (op == "==")
            raise _Undecided from None

    return evaluate


def _operand(value: Any, names: set[str]) -> Evaluate:
    match value:
        case Var(name=name):
            if name not in names:
                raise BadPattern(f"{value!r} is used in where= but does not occur in the pattern")
            return operator.itemgetter(name)
        case Arithmetic(op=op, left=left, right=right):
            return _arithmetic(_ARITHMETIC[op], _operand(left, names), _operand(right, names))
        case Guard() | Wildcard() | WholeRow():
            raise BadPattern(f"{value!r} cannot be compared: expected a variable, arithmetic or a plain value")
        case _:
            return lambda _bound: value


def _arithmetic(work: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(bound: Mapping[str, Any]) -> Any:
        first, second = left(bound), right(bound)
        if type(first) not in (int, float) or type(second) not in (int, float):
            raise _Undecided
        try:
            return work(first, second)
        except (ZeroDivisionError, OverflowError):
            raise _Undecided from None

    return evaluate


def _compile_take(take: Any, names: set[str], depth: int) -> Callable[[Row, Bindings], Any] | None:
    """The function that builds the result; None where the row itself is the result."""
    if depth > _MAX_DEPTH:
        raise BadPattern(f"take= may nest tuples at most {_MAX_DEPTH} deep")
    if take is ROW:
        return None if depth == 0 else lambda row, _bindings: row
    if isinstance(take, Var):
        name = take.name
        if name not in names:
            raise BadPattern(f"{take!r} is used in take= but does not occur in the pattern")
        return lambda _row, bindings: bindings[name]
    if take is ANY or isinstance(take, (Guard, Expression)):
        raise BadPattern(f"take= builds results from variables, ROW and plain values, not from {take!r}")
    if type(take) is tuple and take:
        parts = [part for element in take if (part := _compile_take(element, names, depth + 1)) is not None]
        return lambda row, bindings: tuple([part(row, bindings) for part in parts])
    return lambda _row, _bindings: take
