"""Our terms as Erlang text and back, in an encoding that keeps their order.

Erlang's order of numbers and tuples is ours. Everything else becomes an atom whose first character is its rank: atoms are
ordered by text, so ``None < False < True < str < bytes`` holds there as here.
"""

from __future__ import annotations

import re
from typing import Any

from wsactors.actors.patterns import ANY, Var

_TOKEN = re.compile(r"\s*(?:('(?:[^'\\]|\\.)*')|([a-z]\w*)|(-?\d+\.\d+(?:e[+-]?\d+)?)|(-?\d+)|([{}\[\],]))")


class Atom(str):
    """An atom of Erlang's own (``true``, ``badarg``), which stands for no term of ours."""

    __slots__ = ()


def erlang(term: Any, variables: dict[str, str] | None = None) -> str:
    """A term, or a pattern, as Erlang text."""
    if term is ANY:
        return "'_'"
    if isinstance(term, Var):
        names = {} if variables is None else variables
        return f"'{names.setdefault(term.name, f'${len(names) + 1}')}'"
    if isinstance(term, Atom):
        return str(term)
    if term is None:
        return "'0none'"
    if isinstance(term, bool):
        return f"'1{term}'".lower()
    if isinstance(term, str):
        return f"'3{term}'"
    if isinstance(term, bytes):
        return f"'4{term.hex()}'"
    if isinstance(term, tuple):
        return "{" + ",".join(erlang(element, variables) for element in term) + "}"
    if isinstance(term, list):
        return "[" + ",".join(erlang(element, variables) for element in term) + "]"
    return repr(term)


def parse(text: str) -> Any:
    """The terms that Erlang printed."""
    tokens = list(_TOKEN.finditer(text))
    assert sum(len(match[0]) for match in tokens) == len(text.rstrip()), text
    term, rest = _term(tokens)
    assert not rest, text
    return term


def _term(tokens: list[re.Match[str]]) -> tuple[Any, list[re.Match[str]]]:
    quoted, word, real, integer, mark = tokens[0].groups()
    rest = tokens[1:]
    if quoted:
        return _ours(quoted[1:-1]), rest
    if word:
        return Atom(word), rest
    if real or integer:
        return (float(real) if real else int(integer)), rest
    elements = []
    close = "}" if mark == "{" else "]"
    while rest[0][5] != close:
        element, rest = _term(rest[1:] if rest[0][5] == "," else rest)
        elements.append(element)
    return (tuple(elements) if mark == "{" else elements), rest[1:]


def _ours(atom: str) -> Any:
    match atom[:1]:
        case "0":
            return None
        case "1":
            return atom == "1true"
        case "3":
            return atom[1:]
        case "4":
            return bytes.fromhex(atom[1:])
        case _:
            return Atom(atom)
