"""From a file to running actors: boot, order, stop, failure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.supervision._world import World, alive, crash, pid_of, settled
from wsactors.actors import Actor
from wsactors.actors.process_actor import Attached
from wsactors.errors import NodeFailed, StartError
from wsactors.supervision import ChildSpec, SupervisorOptions, TreeSpec, load_tree, start_tree, which_children
from wsactors.supervision.node import Node

WORLD: World | None = None


class Booted(Actor):
    """Tells of its start and end to the world of the test."""

    trap_exit = True

    async def init(self, label: str, fail: bool = False) -> None:
        assert WORLD is not None
        self.label = label
        WORLD.say(f"start {label}")
        if fail:
            raise RuntimeError("no luck")

    def handle_cast(self, message: Any) -> Any:
        raise ValueError("told to fall")

    def terminate(self, reason: Any) -> None:
        assert WORLD is not None
        WORLD.say(f"stop {self.label}")


@pytest.fixture(autouse=True)
def _the_world(world: World) -> Iterator[None]:
    global WORLD
    WORLD = world
    yield
    WORLD = None


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A tree of two files: a, (b, c), d."""

    def child(label: str, extra: str = "") -> str:
        return f'[[child]]\nid = "{label}"\nstart = "{__name__}:Booted"\nargs = {{ label = "{label}"{extra} }}\n'

    inner = '[supervisor]\nstrategy = "one_for_all"\nintensity = 1\n' + child("b") + child("c")
    nested = '[[child]]\nid = "inner"\ntree = "inner.toml"\nname = "inner sup"\n'
    (tmp_path / "top.toml").write_text('[supervisor]\nstrategy = "rest_for_one"\n' + child("a") + nested + child("d"))
    (tmp_path / "inner.toml").write_text(inner)
    (tmp_path / "bad.toml").write_text(
        '[supervisor]\nstrategy = "one_for_one"\n' + child("a") + child("x", ", fail = true")
    )
    return tmp_path


def load(path: Path) -> TreeSpec:
    return load_tree(path, [__name__])


async def test_a_tree_boots_in_the_order_of_its_files_and_stops_in_reverse(files: Path, world: World) -> None:
    async with Node("tree") as node:
        await node.start_tree(load(files / "top.toml"))
        assert world.take() == ["start a", "start b", "start c", "start d"]
        assert alive(node.whereis("inner sup"))

    assert world.take() == ["stop d", "stop c", "stop b", "stop a"]


async def test_a_nested_tree_restarts_by_its_own_rules(files: Path, world: World, me: Attached) -> None:
    top = await start_tree(me, load(files / "top.toml"), name="top", link=True)
    inner = await pid_of(top, "inner")
    world.take()
    await crash(inner, "c")

    assert world.take() == ["stop c", "stop b", "start b", "start c"]
    assert [info.type for info in await which_children(top)] == ["worker", "supervisor", "worker"]
    assert me.node.whereis("top") == top


async def test_a_nested_tree_that_gives_up_takes_those_after_it_along(files: Path, world: World, me: Attached) -> None:
    top = await start_tree(me, load(files / "top.toml"))
    inner = await pid_of(top, "inner")
    await crash(inner, "b")
    world.take()
    await crash(inner, "b")
    await settled(top, inner)

    assert world.take() == ["stop b", "stop c", "stop d", "start b", "start c", "start d"]


async def test_a_tree_that_does_not_start_leaves_nothing(files: Path, world: World) -> None:
    async with Node("tree") as node:
        with pytest.raises(StartError) as caught:
            await node.start_tree(load(files / "bad.toml"))
        assert isinstance(caught.value.reason, tuple)
        _, (what, child_id, why) = caught.value.reason

        assert (what, child_id, why.type, why.message) == ("failed_to_start_child", "x", "RuntimeError", "no luck")
        assert world.take() == ["start a", "start x", "stop a"]
        assert not node.trees


async def test_a_root_that_gives_up_fails_the_node(files: Path, world: World) -> None:
    with pytest.raises(NodeFailed, match="shutdown"):
        async with Node("tree") as node:
            top = await node.start_tree(load(files / "top.toml"))
            await crash(top, "a")
            await crash(top, "a")
            with trio.fail_after(10):
                await trio.sleep_forever()  # the node cancels its body

    assert world.take()[-4:] == ["stop a", "stop d", "stop c", "stop b"]


def test_the_longest_stop_is_the_sum_along_a_supervisor_capped_from_above() -> None:
    def worker(label: str, shutdown: Any) -> ChildSpec:
        return ChildSpec(label, Booted, (label,), shutdown=shutdown)

    def tree(*specs: ChildSpec, **subtrees: TreeSpec) -> TreeSpec:
        return TreeSpec("t", "t.toml", SupervisorOptions(), specs, subtrees)

    inner = tree(worker("x", 4.0), worker("y", "brutal_kill"), worker("z", 0.5))
    endless = tree(worker("w", "infinity"))

    assert inner.longest_stop() == 4.5
    assert tree(worker("a", 1.0), inner.child_spec("i"), i=inner).longest_stop() == 5.5
    assert tree(inner.child_spec("i", shutdown=2.0), i=inner).longest_stop() == 2.0
    assert endless.longest_stop() == math.inf
    assert tree(endless.child_spec("e", shutdown=3.0), e=endless).longest_stop() == 3.0
