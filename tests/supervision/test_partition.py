"""Partitions: one key, one actor, the same in every process."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.supervision._world import World, alive, children, gone, pid_of
from wsactors.actors import UNHANDLED, Actor, Pid, call, cast
from wsactors.errors import NoProcess, SpecError, StartError
from wsactors.supervision import ChildSpec, Partitions, PartitionSupervisor, Supervisor, stable_hash, terminate_child
from wsactors.supervision.node import Node

keys = st.recursive(
    st.text() | st.binary() | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)


class Counting(Actor):
    """Counts per key; knows its index if it is told."""

    async def init(self, start: int = 0, index: int = -1) -> None:
        self.counts: Counter[Any] = Counter()
        self.start, self.index = start, index

    def handle_call(self, message: Any, caller: Any) -> Any:
        match message:
            case ("add", key):
                self.counts[key] += 1
                return self.start + self.counts[key], self.index
            case _:
                return UNHANDLED

    def handle_cast(self, message: Any) -> Any:
        raise ValueError("told to fall")


BOOK = Partitions("counters", 4)


async def start(node: Node, **options: Any) -> Pid:
    spec = BOOK.child_spec(ChildSpec("c", Counting, (10,)), **options)
    pid = await node.spawn(spec.start, kwargs=spec.kwargs)
    assert isinstance(pid, Pid)
    return pid


# --- the hash ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("user:42", 915726655),
        (b"user:42", 911309280),
        (("room", 7), 4225460029),
        (None, 906537664),
        (1.5, 882431024),
    ],
)
def test_the_hash_never_changes(key: Any, expected: int) -> None:
    """Fixed values: a release that changed them would move every key of a running cluster."""
    assert stable_hash(key) == expected


def test_the_hash_is_the_same_in_another_process_where_pythons_own_is_salted() -> None:
    program = "from wsactors.supervision import stable_hash; print(stable_hash(('user', 42)), hash('user'))"
    said = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
        ).stdout.split()
        for _ in range(2)
    ]

    assert said[0][0] == said[1][0] == str(stable_hash(("user", 42)))
    assert said[0][1] != said[1][1]


@given(keys)
def test_equal_keys_have_equal_hashes_in_range(key: Any) -> None:
    assert stable_hash(key) == stable_hash(key)
    assert 0 <= stable_hash(key) < 2**32
    assert 0 <= BOOK.index(key) < BOOK.count


def test_keys_of_different_kinds_differ_and_tuples_do_not_run_together() -> None:
    alike: list[Any] = ["1", b"1", 1, ("1",), (("1",),), ("1", ""), "", (), None, ("ab", "c"), ("a", "bc")]
    alike += [("xsy", "z"), ("x", "ysz"), ((1, 2), 3), (1, (2, 3)), (12, 3)]

    assert len({stable_hash(key) for key in alike}) == len(alike)


@pytest.mark.parametrize("count", [2, 7, 8, 64])
@pytest.mark.parametrize("pattern", ["user:{}", "{:08d}", "room/{}/stage"])
def test_keys_that_look_alike_spread_evenly(count: int, pattern: str) -> None:
    book = Partitions("p", count)
    sizes = Counter(book.index(pattern.format(number)) for number in range(20_000))

    assert len(sizes) == count
    assert max(sizes.values()) < 1.25 * 20_000 / count
    assert min(sizes.values()) > 0.75 * 20_000 / count


def test_keys_that_are_equal_to_python_meet_the_same_partition() -> None:
    assert stable_hash((1, "a")) == stable_hash((1.0, "a"))
    assert stable_hash(0.0) == stable_hash(-0.0)


def test_numbers_are_taken_modulo() -> None:
    assert [BOOK.index(number) for number in (0, 1, 5, -1)] == [0, 1, 1, 3]


def test_what_has_no_stable_text_is_no_key() -> None:
    with pytest.raises(TypeError, match="a partition key is text"):
        stable_hash({"a": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        stable_hash(("a", ["b"]))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "count"), [("", 4), ("x", 0), ("x", 5000), ("x", True)])
def test_a_wrong_address_book_is_refused(name: str, count: int) -> None:
    with pytest.raises(SpecError):
        Partitions(name, count)


# --- live ----------------------------------------------------------------------------------------------------------------


async def test_a_key_always_meets_the_same_partition(node: Node) -> None:
    sup = await start(node)
    answers = [await call(BOOK.via("user:42"), ("add", "user:42")) for _ in range(3)]

    assert [count for count, _ in answers] == [11, 12, 13]
    assert list(await children(sup)) == [0, 1, 2, 3]
    assert BOOK.whereis("user:42") == await pid_of(sup, BOOK.index("user:42"))


async def test_each_partition_can_be_told_its_index(node: Node) -> None:
    await start(node, partition_argument="index")

    assert [(await call(BOOK.via(number), ("add", number)))[1] for number in range(4)] == [0, 1, 2, 3]


async def test_a_fallen_partition_is_replaced_alone_and_found_again(node: Node) -> None:
    await start(node)
    before = [BOOK.whereis(number) for number in range(4)]
    cast(BOOK.via(2), "fall")
    await gone(before[2])  # type: ignore[arg-type]
    await trio.testing.wait_all_tasks_blocked()
    after = [BOOK.whereis(number) for number in range(4)]

    assert alive(after[2])
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, False, True]


async def test_a_partition_that_is_gone_is_nobody_and_not_another(node: Node) -> None:
    sup = await start(node)
    await terminate_child(sup, 1)

    assert BOOK.whereis(1) is None
    assert cast(BOOK.via(1), "x") is False
    with pytest.raises(NoProcess):
        await call(BOOK.via(1), ("add", 1))


async def test_partitions_take_no_registrations_from_others(node: Node) -> None:
    sup = await start(node)
    with pytest.raises(TypeError, match="takes no registrations"):
        BOOK.register("x", sup)
    BOOK.unregister("x")

    assert BOOK.whereis("x") is not None


async def test_a_temporary_partition_is_refused(node: Node, world: World) -> None:
    with pytest.raises(StartError, match="a temporary partition would leave its keys to nobody"):
        await node.spawn(PartitionSupervisor, "p", world.spec("x", restart="temporary"), 2)

    assert world.take() == []


async def test_it_is_a_supervisor_child_like_any_other(node: Node) -> None:
    top = await node.spawn(Supervisor, "one_for_one", [BOOK.child_spec(ChildSpec("c", Counting))])
    info = (await children(top))["counters"]
    await terminate_child(top, "counters")

    assert (info.type, info.start) == ("supervisor", PartitionSupervisor)
    assert [BOOK.whereis(number) for number in range(4)] == [None] * 4
