"""Tables beside OTP's ets: the same operations, generated, on both; the same results."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.actors.table_host import FakeHost
from tests.differential._terms import Atom, erlang, parse
from wsactors.actors.patterns import ANY, ROW, Compare, IsA, V, Var
from wsactors.actors.tables import END, Table
from wsactors.errors import TableError

SOURCE = Path(__file__).parent / "erlang" / "table_server.erl"
BADARG, TRUE, FALSE, END_OF_TABLE = Atom("badarg"), Atom("true"), Atom("false"), Atom("$end_of_table")
KINDS = ["set", "ordered_set", "bag", "duplicate_bag"]
pytestmark = pytest.mark.erlang


class Ets:
    """A running Erlang that answers one example per line."""

    def __init__(self, directory: str) -> None:
        subprocess.run(["erlc", "-o", directory, str(SOURCE)], check=True, timeout=120)
        self._process = subprocess.Popen(
            ["erl", "-noshell", "-pa", directory, "-s", "table_server", "main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(self, kind: str, keypos: int, operations: list[str]) -> list[Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{{{kind},{keypos + 1},[{','.join(operations)}]}}.\n")
        self._process.stdin.flush()
        results = parse(self._process.stdout.readline())
        assert isinstance(results, list)
        return results

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def ets() -> Iterator[Ets]:
    if shutil.which("erlc") is None or shutil.which("erl") is None:
        pytest.skip("Erlang/OTP is not installed (Debian: apt install erlang-base): nothing to compare with")
    with tempfile.TemporaryDirectory(prefix="wsactors-ets-") as directory:
        server = Ets(directory)
        yield server
        server.close()


# --- what is generated -----------------------------------------------------------------------------------------------

scalars = (
    st.integers(-2, 3)
    | st.sampled_from([1.0, 2.0, -0.5, None, True, False, "a", "ab", "b", "é", b"", b"a"])
    | st.sampled_from([2**53 + 1, float(2**53)])
)
any_keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
# Few keys, so that operations meet each other's rows, and those that a naive table confuses.
few_keys = st.sampled_from(
    [1, 1.0, True, None, "a", (), (1,), (1.0,), ("a", 1), ("a", 1.0), ("a", 2), ("a", (1, 2)), (2, "b")]
)
keys = few_keys | few_keys | any_keys
rows = st.tuples(keys, scalars) | st.tuples(keys, scalars, keys)
few_rows = st.lists(rows, min_size=1, max_size=3)
counter_ops = st.tuples(st.integers(0, 3), st.integers(-3, 3)) | (
    st.tuples(st.integers(0, 3), st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3))
)
element_changes = st.tuples(st.integers(0, 3), scalars)
variables = st.sampled_from([V.a, V.b, V.c])
key_patterns = (
    keys | st.just(ANY) | variables | st.tuples(keys, variables) | st.tuples(keys, st.tuples(scalars, variables))
)
patterns = (
    st.just(ANY) | st.tuples(key_patterns, scalars | st.just(ANY) | variables)
    | st.tuples(key_patterns, st.just(ANY) | variables, key_patterns)
)  # fmt: skip
expressions = st.sampled_from(
    [V.a, V.b, V.a + 1, V.b * 2, V.a - V.b]
)  # // and % are Python's, not Erlang's div and rem
guards = (
    st.builds(Compare, st.sampled_from(["<", "<=", ">", ">=", "==", "!=", "=:="]), expressions, expressions | keys)
    | st.builds(IsA, variables, st.sampled_from(["int", "float", "number", "tuple"]))
)  # fmt: skip


@st.composite
def queries(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    pattern = draw(patterns)
    names = _variables(pattern)
    guard = draw(st.none() | guards.filter(lambda guard: _variables(guard) <= names))
    take = draw(st.sampled_from([ROW, "const", *(Var(name) for name in sorted(names))]))
    return pattern, guard, take


def _variables(part: Any) -> set[str]:
    if isinstance(part, Var):
        return {part.name}
    parts = part if isinstance(part, tuple) else (getattr(part, name, None) for name in ("left", "right", "value"))
    return {name for inner in parts if inner is not None and inner is not part for name in _variables(inner)}


operations = st.one_of(
    st.tuples(st.just("insert"), few_rows),
    st.tuples(st.just("insert"), rows),
    st.tuples(st.just("insert"), rows),
    st.tuples(st.just("insert_new"), few_rows),
    st.tuples(st.sampled_from(["lookup", "member", "take", "delete", "next", "prev"]), keys),
    st.tuples(st.just("lookup_element"), keys, st.integers(0, 2)),
    st.tuples(st.just("delete_object"), rows),
    st.tuples(st.just("update_counter"), keys, st.integers(-3, 3) | counter_ops | st.lists(counter_ops, max_size=3)),
    st.tuples(
        st.just("update_counter"), keys, st.integers(-3, 3) | counter_ops | st.lists(counter_ops, max_size=3), rows
    ),
    st.tuples(st.just("update_element"), keys, element_changes | st.lists(element_changes, max_size=2)),
    st.tuples(st.sampled_from(["first", "last", "size", "walk", "walk_back"])),
    st.tuples(st.sampled_from(["select", "select_count", "select_delete"]), queries()),
    st.tuples(st.just("pages"), queries(), st.integers(1, 4)),
    st.tuples(st.just("match"), patterns),
)


# --- the same operation on both sides --------------------------------------------------------------------------------


def to_erlang(operation: tuple[Any, ...]) -> str:
    match operation:
        case ("lookup_element", key, position):
            return f"{{lookup_element,{erlang(key)},{position + 1}}}"
        case ("update_counter", key, ops, *default):
            shifted = [_shift(op) for op in ops] if isinstance(ops, list) else _shift(ops)
            return erlang((Atom("update_counter"), key, shifted, *default))
        case ("update_element", key, changes):
            shifted = [_shift(op) for op in changes] if isinstance(changes, list) else _shift(changes)
            return erlang((Atom("update_element"), key, shifted))
        case ("select" | "select_count" | "select_delete" as name, query):
            return f"{{{name},{_spec(query, 'true' if name != 'select' else None)}}}"
        case ("pages", query, limit):
            return f"{{pages,{_spec(query)},{limit}}}"
        case (name, *arguments):
            return erlang((Atom(name), *arguments), {})
    raise AssertionError(operation)


def _shift(op: Any) -> Any:
    return op if isinstance(op, int) else (op[0] + 1, *op[1:])


def _spec(query: tuple[Any, Any, Any], result: str | None = None) -> str:
    pattern, guard, take = query
    names: dict[str, str] = {}
    head = erlang(pattern, names)
    condition = "" if guard is None else _guard(guard, names)
    body = result or ("'$_'" if take is ROW else erlang(take, names))
    return f"[{{{head},[{condition}],[{body}]}}]"


def _guard(part: Any, names: dict[str, str]) -> str:
    match part:
        case IsA(value=value, kind=kind):
            word = {"int": "is_integer", "float": "is_float", "number": "is_number", "tuple": "is_tuple"}[kind]
            return f"{{{word},{_guard(value, names)}}}"
        case Var():
            return erlang(part, names)
        case _ if hasattr(part, "op"):
            op = {"<=": "=<", "!=": "/=", "//": "div", "%": "rem"}.get(part.op, part.op)
            return f"{{'{op}',{_guard(part.left, names)},{_guard(part.right, names)}}}"
        case _:
            return f"{{const,{erlang(part)}}}"


def on_ours(t: Table, operation: tuple[Any, ...]) -> Any:
    """The result in Erlang's terms."""
    try:
        return _ours(t, operation)
    except TableError:
        return BADARG


def _ours(t: Table, operation: tuple[Any, ...]) -> Any:
    match operation:
        case ("insert", new):
            t.insert(new)
            return TRUE
        case ("insert_new" | "member" | "update_element" as name, *arguments):
            return TRUE if getattr(t, name)(*arguments) else FALSE
        case ("delete" | "delete_object" as name, argument):
            getattr(t, name)(argument)
            return TRUE
        case ("size",):
            return len(t)
        case ("walk",):
            return _walk(t, t.first(), t.next)
        case ("walk_back",):
            return _walk(t, t.last(), t.prev)
        case ("match", pattern):
            names: dict[str, str] = {}
            erlang(pattern, names)
            return [[bindings[name] for name in names] for bindings in t.match(pattern)]
        case ("select_count" | "select_delete" as name, (pattern, guard, _)):
            return getattr(t, name)(pattern, guard)
        case ("select", (pattern, guard, take)):
            return t.select(pattern, guard, take)
        case ("pages", (pattern, guard, take), limit):
            return [row for page in t.pages(pattern, guard, take, limit=limit) for row in page]
        case (name, *arguments):
            result = getattr(t, name)(*arguments)
            return END_OF_TABLE if result is END else result
    raise AssertionError(operation)


def _walk(t: Table, key: Any, step: Any) -> list[Any]:
    keys = []
    while key is not END:
        keys.append(key)
        key = step(key)
    return keys


def comparable(kind: str, operation: tuple[Any, ...], result: Any) -> str:
    """Results as text (which tells 1 from 1.0); where no order is promised, sorted."""
    if (
        isinstance(result, list)
        and operation[0] in ("select", "pages", "match", "walk", "walk_back")
        and kind != "ordered_set"
    ):
        return repr(sorted(result, key=repr))
    if isinstance(result, list) and "bag" in kind:  # a list inserted at once has no order among itself in ets
        return repr(sorted(result, key=repr))
    return repr(result)


def may_differ(kind: str, operation: tuple[Any, ...]) -> bool:
    """Where ets promises nothing to compare with: the neighbours in a table without order."""
    return kind != "ordered_set" and operation[0] in ("first", "last", "next", "prev")


@pytest.mark.parametrize("kind", KINDS)
def test_generated_operations_have_the_results_of_ets(ets: Ets, kind: Any) -> None:
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(0, 1), st.lists(operations, min_size=5, max_size=25))
    def compare(keypos: int, todo: list[tuple[Any, ...]]) -> None:
        todo = [operation for operation in todo if not may_differ(kind, operation)]
        t = FakeHost().tables.new(kind=kind, keypos=keypos)
        ours = [comparable(kind, operation, on_ours(t, operation)) for operation in todo]
        asked = [to_erlang(operation) for operation in todo]
        theirs = [comparable(kind, *pair) for pair in zip(todo, ets.run(kind, keypos, asked), strict=True)]
        for operation, mine, other in zip(todo, ours, theirs, strict=True):
            assert mine == other, operation

    compare()


def test_bags_keep_the_order_of_single_inserts(ets: Ets) -> None:
    kind: Any
    for kind in ("bag", "duplicate_bag"):
        rows = [("k", n % 7, n % 3) for n in range(20)]
        t = FakeHost().tables.new(kind=kind)
        for row in rows:
            t.insert(row)
        t.delete_object(("k", 3, 0))
        theirs = ets.run(
            kind, 0, [*[erlang((Atom("insert"), row)) for row in rows], "{delete_object,{'3k',3,0}}", "{lookup,'3k'}"]
        )
        assert t.lookup("k") == theirs[-1]


def test_terms_survive_the_way_there_and_back(ets: Ets) -> None:
    terms = [1, -2, 0.5, 1.0, None, True, False, "", "aé", b"", b"\x00\xff", (), ("a", (1,)), 2**70]
    asked = [erlang((Atom("insert"), ("k", term))) + ",{lookup,'3k'}" for term in terms]
    results = [result for one in asked for result in ets.run("set", 0, [one])[1:]]
    assert repr(results) == repr([[("k", term)] for term in terms])
