"""Patterns over table rows, as data: printed, compared, indexed and kept, where a lambda could only be called.

>>> from wsactors.actors.patterns import ANY, ROW, V
>>> table.match(("room:1", V.user, ANY))                                        # doctest: +SKIP
[{'user': 'ann'}, {'user': 'bob'}]
>>> table.select((V.user, V.age), where=(V.age >= 18) & V.user.ne("bob"), take=V.user)     # doctest: +SKIP
['ann']

A pattern is a value of the row's own shape. ``ANY`` stands for anything, ``V.name`` for anything under a name (twice
the same name: twice exactly the same value), everything else for itself, type included (``1`` does not match
``1.0``). Guards are built from variables with ``< <= > >=``, ``.eq()``, ``.ne()``, ``.same()``, ``.is_in()``,
``.is_a()``, arithmetic, and joined by ``&``, ``|`` and ``~``. (``==`` stays what it is, the comparison of two
patterns.) ``<`` and ``.eq`` compare in the term order of keys, ``.same`` exactly. A guard that cannot be worked out
(a string plus one) is false, as in Erlang.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NoReturn

import attrs

from wsactors.errors import BadPattern

Comparison = Literal["<", "<=", ">", ">=", "==", "!=", "=:="]
Operation = Literal["+", "-", "*", "//", "%"]
Kind = Literal["none", "bool", "int", "float", "number", "str", "bytes", "pid", "tuple"]
KINDS: Final = frozenset({"none", "bool", "int", "float", "number", "str", "bytes", "pid", "tuple"})


class Wildcard:
    """Type of ``ANY``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ANY"

    def __reduce__(self) -> str:
        return "ANY"  # a copy is the same object


ANY: Final = Wildcard()
"""Matches anything and remembers nothing."""


class WholeRow:
    """Type of ``ROW``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ROW"

    def __reduce__(self) -> str:
        return "ROW"  # a copy is the same object


ROW: Final = WholeRow()
"""In a result template: the matched row itself."""


class Guard:
    """A condition on the variables of a pattern. Join guards with ``&``, ``|`` and ``~``."""

    __slots__ = ()

    def __and__(self, other: Guard) -> Guard:
        return Both(self, _guard(other))

    def __or__(self, other: Guard) -> Guard:
        return Either(self, _guard(other))

    def __invert__(self) -> Guard:
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise BadPattern(
            "a guard is data and has no truth value: join guards with & | ~, and write 0 < x < 9 as (x > 0) & (x < 9)"
        )


class Expression:
    """What a guard compares: a variable, or arithmetic on one."""

    __slots__ = ()

    def __lt__(self, other: Any) -> Guard:
        return Compare("<", self, other)

    def __le__(self, other: Any) -> Guard:
        return Compare("<=", self, other)

    def __gt__(self, other: Any) -> Guard:
        return Compare(">", self, other)

    def __ge__(self, other: Any) -> Guard:
        return Compare(">=", self, other)

    def eq(self, other: Any) -> Guard:
        """Equal as keys of an ``ordered_set`` are: ``1`` equals ``1.0``."""
        return Compare("==", self, other)

    def ne(self, other: Any) -> Guard:
        """Not ``eq``."""
        return Compare("!=", self, other)

    def same(self, other: Any) -> Guard:
        """Equal in value and type: ``1`` is not the same as ``1.0``."""
        return Compare("=:=", self, other)

    def is_in(self, values: tuple[Any, ...]) -> Guard:
        """Exactly equal to one of ``values``."""
        return OneOf(self, tuple(values))

    def is_a(self, kind: Kind) -> Guard:
        """Of this type. ``number`` is int or float; a bool is neither."""
        if kind not in KINDS:
            raise BadPattern(f"is_a() knows {', '.join(sorted(KINDS))}, not {kind!r}")
        return IsA(self, kind)

    def __add__(self, other: Any) -> Expression:
        return Arithmetic("+", self, other)

    def __sub__(self, other: Any) -> Expression:
        return Arithmetic("-", self, other)

    def __mul__(self, other: Any) -> Expression:
        return Arithmetic("*", self, other)

    def __floordiv__(self, other: Any) -> Expression:
        return Arithmetic("//", self, other)

    def __mod__(self, other: Any) -> Expression:
        return Arithmetic("%", self, other)


@attrs.frozen(repr=False, order=False)
class Var(Expression):
    """Matches anything and remembers it under ``name``. Usually written ``V.name``."""

    name: str

    def __repr__(self) -> str:
        return f"V.{self.name}"


class _Variables:
    """Makes variables from attribute names."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Var:
        if name.startswith("__"):  # copy, inspect and friends ask for these
            raise AttributeError(name)
        return Var(name)

    def __repr__(self) -> str:
        return "V"


V: Final = _Variables()
"""``V.age`` is the variable named ``age``."""


@attrs.frozen(repr=False, order=False)
class Arithmetic(Expression):
    """A sum, difference, product, quotient rounded down or remainder of numbers; ``//`` and ``%`` as in Python."""

    op: Operation
    left: Any
    right: Any

    def __repr__(self) -> str:
        return f"({self.left!r} {self.op} {self.right!r})"


@attrs.frozen(repr=False, order=False)
class Compare(Guard):
    """A comparison; ``=:=`` is exact, the others follow the term order of keys."""

    op: Comparison
    left: Any
    right: Any

    def __repr__(self) -> str:
        method = {"==": "eq", "!=": "ne", "=:=": "same"}.get(self.op)
        return f"{self.left!r}.{method}({self.right!r})" if method else f"({self.left!r} {self.op} {self.right!r})"


@attrs.frozen(repr=False, order=False)
class OneOf(Guard):
    """Membership in a few values, exactly."""

    value: Expression
    values: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"{self.value!r}.is_in({self.values!r})"


@attrs.frozen(repr=False, order=False)
class IsA(Guard):
    """A type test."""

    value: Expression
    kind: Kind

    def __repr__(self) -> str:
        return f"{self.value!r}.is_a({self.kind!r})"


@attrs.frozen(repr=False, order=False)
class Both(Guard):
    """Both guards hold."""

    left: Guard
    right: Guard

    def __repr__(self) -> str:
        return f"({self.left!r} & {self.right!r})"


@attrs.frozen(repr=False, order=False)
class Either(Guard):
    """At least one guard holds. One that cannot be worked out does not spoil the other."""

    left: Guard
    right: Guard

    def __repr__(self) -> str:
        return f"({self.left!r} | {self.right!r})"


@attrs.frozen(repr=False, order=False)
class Not(Guard):
    """The guard does not hold. Of a guard that cannot be worked out, neither it nor its negation holds."""

    guard: Guard

    def __repr__(self) -> str:
        return f"~{self.guard!r}"


@attrs.frozen
class Query:
    """A whole question as one value: which rows (``pattern``, ``where``) and what of them (``take``).

    ``take`` is ``ROW``, a variable, or a tuple with these inside; other values stand for themselves.
    """

    pattern: Any
    where: Guard | None = None
    take: Any = ROW


def _guard(value: Any) -> Guard:
    if not isinstance(value, Guard):
        raise BadPattern(
            f"& and | join guards, not {value!r}; put parentheses around comparisons: (V.a > 1) & (V.b < 2)"
        )
    return value
