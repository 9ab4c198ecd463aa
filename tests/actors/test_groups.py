"""Process groups with metadata, against a plain model and in the corners where OTP's ``pg`` had bugs."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.actors.helpers import down_of
from wsactors.actors import Actor, GroupChange, Member, Pid, send_many
from wsactors.errors import NoProcess
from wsactors.supervision.node import Node


def assert_nothing_left(node: Node) -> None:
    """No index of the groups keeps a trace of anybody."""
    groups = node.groups
    assert not any((groups._members, groups._of, groups._monitors, groups._watching))


class Idle(Actor):
    pass


async def kill(node: Node, pid: Pid) -> None:
    async with node.attach() as me:
        ref = me.monitor(pid)
        node.exit(pid, "kill")
        await down_of(ref)


async def test_joining_twice_counts_twice(node: Node) -> None:
    pid = await node.spawn(Idle)
    node.groups.join("room", pid, "first")
    node.groups.join("room", pid, "second")

    assert node.groups.members("room") == (Member(pid, "first"), Member(pid, "second"))
    assert node.groups.leave("room", pid)
    assert node.groups.members("room") == (Member(pid, "second"),)
    assert node.groups.leave("room", pid)
    assert not node.groups.leave("room", pid)


async def test_an_empty_group_does_not_exist(node: Node) -> None:
    pid = await node.spawn(Idle)
    node.groups.join(("room", 1), pid)
    assert node.groups.names() == (("room", 1),)
    await kill(node, pid)
    assert node.groups.names() == ()
    assert node.groups.members(("room", 1)) == ()
    assert_nothing_left(node)


async def test_a_dead_pid_cannot_join_or_watch(node: Node) -> None:
    pid = await node.spawn(Idle)
    await kill(node, pid)
    with pytest.raises(NoProcess):
        node.groups.join("room", pid)
    with pytest.raises(NoProcess):
        node.groups.monitor(pid, "room")


async def test_a_monitor_misses_nothing_and_sees_nothing_twice(node: Node) -> None:
    first, second = await node.spawn(Idle), await node.spawn(Idle)
    node.groups.join("room", first, {"name": "ada"})
    async with node.attach() as me:
        ref, members = node.groups.monitor(me.pid, "room")
        assert members == (Member(first, {"name": "ada"}),)
        node.groups.join("room", second)
        node.groups.update("room", first, {"name": "bob"})
        node.groups.leave("room", second)
        await kill(node, first)
        changes = [await me.receive(timeout=5) for _ in range(5)]
        assert changes == [
            GroupChange(ref, "join", "room", (Member(second),)),
            GroupChange(ref, "leave", "room", (Member(first, {"name": "ada"}),)),
            GroupChange(ref, "join", "room", (Member(first, {"name": "bob"}),)),
            GroupChange(ref, "leave", "room", (Member(second),)),
            GroupChange(ref, "leave", "room", (Member(first, {"name": "bob"}),)),
        ]
        assert node.groups.demonitor(ref)
        assert not node.groups.demonitor(ref)
        node.groups.join("room", second)
        with pytest.raises(trio.TooSlowError):
            await me.receive(timeout=0)


async def test_the_death_of_one_who_is_member_and_monitor(node: Node) -> None:
    """It crashed OTP's pg (otp#7625)."""
    both, other = await node.spawn(Idle), await node.spawn(Idle)
    node.groups.join("room", both)
    node.groups.join("room", both)
    node.groups.join("room", other)
    node.groups.monitor(both, "room")
    async with node.attach() as me:
        ref, _ = node.groups.monitor(me.pid, "room")
        await kill(node, both)
        assert await me.receive(timeout=5) == GroupChange(ref, "leave", "room", (Member(both), Member(both)))
    assert node.groups.pids("room") == [other]


async def test_the_group_is_left_before_the_down_arrives(node: Node) -> None:
    """Who reacts to the Down by looking at the group must not find the dead."""
    pid = await node.spawn(Idle)
    node.groups.join("room", pid)
    async with node.attach() as me:
        ref = me.monitor(pid)
        node.exit(pid, "kill")
        await down_of(ref)
        assert node.groups.pids("room") == []


async def test_a_watcher_may_change_groups_in_any_order(node: Node) -> None:
    """Telling monitors must not break when the watched set is being emptied by the same death."""
    pids = [await node.spawn(Idle) for _ in range(20)]
    for pid in pids:
        node.groups.join("room", pid)
        node.groups.monitor(pid, "room")
    for pid in pids:
        await kill(node, pid)
    assert_nothing_left(node)


async def test_a_group_is_ready_for_send_many(node: Node) -> None:
    seen: list[Any] = []

    class Sink(Actor):
        def handle_info(self, message: Any) -> None:
            seen.append(message)

    for _ in range(3):
        node.groups.join("room", await node.spawn(Sink))
    assert send_many(node.groups.pids("room"), "hi") == 0
    await trio.testing.wait_all_tasks_blocked()
    assert seen == ["hi"] * 3


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 2), st.integers(0, 3), st.integers(0, 9)),
        st.tuples(st.just("leave"), st.integers(0, 2), st.integers(0, 3)),
        st.tuples(st.just("update"), st.integers(0, 2), st.integers(0, 3), st.integers(0, 9)),
        st.tuples(st.just("kill"), st.integers(0, 3)),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(ACTIONS)
def test_members_follow_a_plain_model_and_a_monitor_can_rebuild_them(actions: list[Any]) -> None:
    trio.run(_play, actions)


async def _play(actions: list[Any]) -> None:
    model: dict[int, list[tuple[Pid, int]]] = {group: [] for group in range(3)}
    async with Node("model") as node, node.attach() as me:
        pids = [await node.spawn(Idle) for _ in range(4)]
        mirror: dict[Any, list[Member]] = {}
        for group in range(3):
            ref, members = node.groups.monitor(me.pid, group)
            mirror[ref] = list(members)
        for action in actions:
            match action:
                case ("join", group, index, meta) if pids[index]._process is not None:
                    node.groups.join(group, pids[index], meta)
                    model[group].append((pids[index], meta))
                case ("leave", group, index):
                    left = node.groups.leave(group, pids[index])
                    found = next((entry for entry in model[group] if entry[0] is pids[index]), None)
                    assert left == (found is not None)
                    if found is not None:
                        model[group].remove(found)
                case ("update", group, index, meta):
                    for at, entry in enumerate(model[group]):
                        if entry[0] is pids[index]:
                            model[group][at] = (pids[index], meta)
                            break
                    node.groups.update(group, pids[index], meta)
                case ("kill", index):
                    node.exit(pids[index], "kill")
                    await trio.testing.wait_all_tasks_blocked()
                    for group, members_of in model.items():
                        model[group] = [entry for entry in members_of if entry[0] is not pids[index]]
        for group, entries in model.items():
            assert [(member.pid, member.meta) for member in node.groups.members(group)] == entries
        _rebuild(me, mirror)
        for ref, rebuilt in mirror.items():
            assert sorted(map(repr, rebuilt)) == sorted(map(repr, node.groups.members(ref.group)))


def _rebuild(me: Any, mirror: dict[Any, list[Member]]) -> None:
    from wsactors.actors.mailbox import take_all

    for change in take_all(me._process, lambda message: isinstance(message, GroupChange)):
        for member in change.members:
            if change.event == "join":
                mirror[change.ref].append(member)
            else:
                mirror[change.ref].remove(member)
