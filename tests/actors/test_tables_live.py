"""Tables in a running node: real actors own them, inherit them, are refused, watch them and die."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from wsactors.actors import Actor, Down, Mailbox, MonitorRef, ProcessActor, call, cast, send
from wsactors.actors.patterns import ANY
from wsactors.actors.process_actor import Attached
from wsactors.actors.ratelimit import TokenBuckets
from wsactors.actors.semaphore import Semaphores
from wsactors.actors.tables import Table, TableChange, TableTransfer
from wsactors.errors import CallExit, MailboxFull, MutableMessage, TableAccess, TableGone
from wsactors.supervision.node import Node


class Worker(Actor):
    """Does to tables what it is told, and answers with the result or the name of the error."""

    def init(self) -> None:
        self.seen: list[Any] = []

    def handle_call(self, message: Any, caller: Any) -> Any:
        if message == "seen":
            return list(self.seen)
        try:
            return message(self)
        except (TableAccess, TableGone) as refused:
            return type(refused).__name__

    async def handle_cast(self, message: Any) -> None:
        await message(self)

    def handle_info(self, message: Any) -> None:
        self.seen.append(message)


async def ended(node: Node, me: Attached, pid: Any, reason: str = "kill") -> None:
    """Kill an actor and wait until it is dead."""
    ref = me.monitor(pid)
    node.exit(pid, reason)
    await down(me, ref)


async def down(me: Attached, ref: MonitorRef) -> None:
    """Wait for the Down of a monitor."""
    with trio.fail_after(30):
        await me.receive(match=lambda m: isinstance(m, Down) and m.ref is ref)


async def test_a_table_lives_and_dies_with_its_actor(node: Node) -> None:
    async with node.attach() as me:
        owner, other = await node.spawn(Worker), await node.spawn(Worker)
        table: Table = await call(owner, lambda self: self.node.tables.new("mine"))
        assert table.owner == owner
        await call(owner, lambda self: table.insert(("a", 1)))
        assert await call(other, lambda self: table.get("a")) == ("a", 1)
        assert await call(other, lambda self: table.insert(("a", 2))) == "TableAccess"
        assert table.get("a") == ("a", 1)  # read where the reader is, outside any actor too
        with pytest.raises(TableAccess):
            table.insert(("a", 3))
        await ended(node, me, owner)
        assert node.tables.whereis("mine") is None
        assert await call(other, lambda self: table.get("a")) == "TableGone"
        assert len(node.tables) == 0


async def test_a_private_table_is_its_owners_alone(node: Node) -> None:
    owner, other = await node.spawn(Worker), await node.spawn(Worker)
    table = await call(owner, lambda self: self.node.tables.new(access="private"))
    await call(owner, lambda self: table.insert(("a", 1)))
    assert await call(owner, lambda self: table.get("a")) == ("a", 1)
    assert await call(other, lambda self: table.get("a")) == "TableAccess"

    # In an inline call the callee is who acts, and after it the caller again.
    class Outer(Actor):
        def handle_call(self, message: Any, caller: Any) -> Any:
            return None

        async def handle_cast(self, message: Any) -> None:
            done, answers = message
            try:
                answers.append(await call(owner, lambda _: table.get("a")))
                table.get("a")
            except TableAccess:
                answers.append("refused")
            done.set()

    outer = await node.spawn(Outer)
    done, answers = trio.Event(), list[Any]()
    cast(outer, (done, answers))
    with trio.fail_after(30):
        await done.wait()
    assert answers == [("a", 1), "refused"]


async def test_tasks_of_an_actor_act_as_the_actor(node: Node) -> None:
    owner = await node.spawn(Worker)
    table = await call(owner, lambda self: self.node.tables.new(access="private"))
    done, task_done = trio.Event(), trio.Event()

    async def in_a_nursery() -> None:
        table.insert(("nursery", 1))

    async def work(self: Worker) -> None:
        await trio.lowlevel.checkpoint()
        table.insert(("after a wait", 1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_a_nursery)
        done.set()

    async def own_task() -> None:
        await trio.lowlevel.checkpoint()
        table.insert(("task", 1))
        task_done.set()

    cast(owner, work)
    await call(owner, lambda self: self.start_soon(own_task))
    with trio.fail_after(30):
        await done.wait()
        await task_done.wait()
    rows = await call(owner, lambda self: table.select(ANY))
    assert sorted(row[0] for row in rows) == ["after a wait", "nursery", "task"]


async def test_the_heir_is_told_before_anybody_hears_of_the_death(node: Node) -> None:
    async with node.attach() as me:
        owner = await node.spawn(Worker)
        table = await call(owner, lambda self: self.node.tables.new("legacy", heir=me.pid, heir_data=("look", "after")))
        ref = me.monitor(owner)
        node.exit(owner, "kill")
        with trio.fail_after(30):
            first, second = await me.receive(), await me.receive()
        assert first == TableTransfer(table, owner, ("look", "after"))
        assert second == Down(ref, owner, "killed")
        table.insert(("mine", 1))
        assert node.tables["legacy"] is table
        assert node.tables.owned_by(me.pid) == [table]
    assert table.gone  # left the block: the heir's own end


async def test_a_transfer_gets_past_a_full_mailbox(node: Node) -> None:
    class Small(Worker):
        mailbox = Mailbox(capacity=2)

    async with node.attach() as me:
        heir, owner = await node.spawn(Small), await node.spawn(Worker)
        table = await call(owner, lambda self: self.node.tables.new(heir=heir))
        release = trio.Event()

        async def block(self: Worker) -> None:
            await release.wait()

        cast(heir, block)
        while send(heir, "noise"):
            await trio.lowlevel.checkpoint()
        await ended(node, me, owner)
        with pytest.raises(MailboxFull):
            await call(heir, "seen")
        release.set()
        with trio.fail_after(30):
            while not send(heir, "there is room again"):
                await trio.lowlevel.checkpoint()
        assert TableTransfer(table, owner, None) in await call(heir, "seen")
        assert table.owner == heir


async def test_give_away(node: Node) -> None:
    giver, taker = await node.spawn(Worker), await node.spawn(Worker)
    table = await call(giver, lambda self: self.node.tables.new())
    await call(giver, lambda self: table.give_away(taker, "yours"))
    assert await call(taker, "seen") == [TableTransfer(table, giver, "yours")]
    assert await call(giver, lambda self: table.insert(("a", 1))) == "TableAccess"
    await call(taker, lambda self: table.insert(("a", 1)))
    async with node.attach() as me:
        await ended(node, me, giver)
        assert not table.gone
        await ended(node, me, taker)
        assert table.gone


async def test_a_crash_and_a_normal_end_take_the_table_too(node: Node) -> None:
    class Brief(ProcessActor):
        async def run(self) -> None:
            self.node.tables.new("brief")

    class Failing(Worker):
        def handle_info(self, message: Any) -> None:
            self.node.tables.new("failing")
            raise ValueError(message)

    async with node.attach() as me:
        for cls, name in ((Brief, "brief"), (Failing, "failing")):
            pid = await node.spawn(cls)
            ref = me.monitor(pid)
            send(pid, "go")
            await down(me, ref)
            assert node.tables.whereis(name) is None
        assert len(node.tables) == 0


async def test_an_init_that_fails_leaves_no_table(node: Node) -> None:
    class Unlucky(Actor):
        async def init(self) -> None:
            self.node.tables.new("half done")
            await trio.lowlevel.checkpoint()
            raise ValueError("no")

    with pytest.raises(Exception, match="no"):
        await node.spawn(Unlucky)
    assert len(node.tables) == 0


async def test_terminate_may_still_use_the_table(node: Node) -> None:
    kept = []

    class Careful(Worker):
        trap_exit = True

        async def terminate(self, reason: Any) -> None:
            await trio.lowlevel.checkpoint()
            kept.append(self.node.tables["careful"].get("a"))

    async with node.attach() as me:
        pid = await me.spawn(Careful)
        await call(pid, lambda self: self.node.tables.new("careful").insert(("a", 1)))
        await ended(node, me, pid, "shutdown")
    assert kept == [("a", 1)]
    assert node.tables.whereis("careful") is None


async def test_subscribers_hear_of_changes_and_vanish(node: Node) -> None:
    async with node.attach() as me:
        watcher = await node.spawn(Worker)
        table = node.tables.new(kind="ordered_set")
        await call(watcher, lambda self: table.subscribe(prefix=("room", 1)))
        table.insert([(("room", 1, "ann"), 0), (("room", 2, "bob"), 0)])
        table.delete(("room", 1, "ann"))
        seen = await call(watcher, "seen")
        assert [(type(change), change.kind, change.key) for change in seen] == [
            (TableChange, "insert", ("room", 1, "ann")),
            (TableChange, "delete", ("room", 1, "ann")),
        ]
        await ended(node, me, watcher)
        assert table.info().subscriptions == 0


async def test_a_slow_subscriber_misses_changes_and_learns_how_many(node: Node) -> None:
    class Small(Worker):
        mailbox = Mailbox(capacity=5)

    watcher = await node.spawn(Small)
    table = node.tables.new()
    table.subscribe(pid=watcher)
    for n in range(50):  # it gets no turn in between
        table.insert((n, n))
    missed = table.info().changes_missed
    assert missed == 45
    await wait_all_tasks_blocked()
    assert len(await call(watcher, "seen")) == 5
    table.insert(("one more", 1))
    assert (await call(watcher, "seen"))[-1].missed == 45


async def test_rows_expire_by_the_nodes_clock(autojump_clock: MockClock) -> None:
    async with Node("clock") as node, node.attach() as me:
        table = node.tables.new()
        table.subscribe(pid=me.pid)
        table.insert(("a", 1), ttl=10)
        with trio.fail_after(60):
            kinds = [(await me.receive()).kind, (await me.receive()).kind]
        assert kinds == ["insert", "expire"]
        assert 10 <= trio.current_time() <= 10.1 + autojump_clock.rate
        assert len(table) == 0


async def test_linked_places_of_a_semaphore_come_back(node: Node) -> None:
    semaphores = Semaphores(node.tables.new(access="public"))
    async with node.attach() as me:
        holders = [await node.spawn(Worker) for _ in range(3)]
        taken = [await call(pid, lambda self: semaphores.acquire("x", 2, linked=True)) for pid in holders]
        assert taken == [True, True, False]
        await ended(node, me, holders[0])
        assert semaphores.held("x") == 1
        assert await call(holders[2], lambda self: semaphores.acquire("x", 2, linked=True))


async def test_rate_limit_by_the_nodes_clock(autojump_clock: MockClock) -> None:
    async with Node("rate") as node:
        buckets = TokenBuckets(node.tables.new(access="public"), tokens=5, per=1.0, burst=5)
        allowed = 0
        for _ in range(100):
            allowed += buckets.take("k")
            await trio.sleep(0.1)
        assert allowed in (5 + 49, 5 + 50)
        await trio.sleep(2)
        assert len(node.tables.info()) == 1
        assert node.tables.info()[0].size == 0


async def test_debug_mode_refuses_mutable_rows_before_they_are_written() -> None:
    async with Node("debug", debug=True) as node, node.attach() as me:
        table = node.tables.new()
        table.subscribe(pid=me.pid)
        with pytest.raises(MutableMessage):
            table.insert([("good", 1), ("bad", [])])
        table.insert(("good", (1, 2)))
        with pytest.raises(MutableMessage):
            table.update_element("good", (1, []))
        assert table.select(ANY) == [("good", (1, 2))]
        with trio.fail_after(30):
            assert (await me.receive()).row == ("good", (1, 2))


async def test_nothing_outlives_its_pid(node: Node) -> None:
    """Random owners, heirs, gifts, names, groups and watchers; after each kill every trace of the dead is gone."""
    rng = random.Random(7)
    async with node.attach() as me:
        alive = [await node.spawn(Worker, name=f"w{n}") for n in range(12)]
        serial = 12
        for step in range(150):
            pid, mate = rng.choice(alive), rng.choice(alive)
            match rng.randrange(6):
                case 0 | 1:
                    heir = rng.choice([None, mate])
                    options = {"heir": heir, "access": "public", "kind": rng.choice(["set", "bag", "ordered_set"])}
                    await call(
                        pid,
                        lambda self, step=step, options=options: self.node.tables.new(f"t{step}", **options) and None,
                    )
                case 2:
                    node.groups.join("g", pid)
                case 3 if node.tables.owned_by(pid) and mate != pid:
                    table = rng.choice(node.tables.owned_by(pid))
                    await call(pid, lambda self, table=table, mate=mate: table.give_away(mate))
                case 4 if len(node.tables):
                    table = rng.choice(list(node.tables))
                    table.subscribe(pid=pid)
                    table.insert((step, step), ttl=rng.choice([None, 100]))
                case _:
                    before = node.tables.owned_by(pid)
                    heirs = {table: table.info().heir for table in before}
                    alive.remove(pid)
                    await ended(node, me, pid, rng.choice(["kill", "other reason"]))
                    for table in before:
                        lives = heirs[table] in alive
                        assert table.gone is not lives
                        assert not lives or table.owner == heirs[table]
                    alive.append(await node.spawn(Worker, name=f"w{serial}"))
                    serial += 1
            assert {table.owner for table in node.tables} <= set(alive)
            assert set(node.groups.pids("g")) <= set(alive)
            assert all(table.name and node.tables[table.name] is table for table in node.tables)
            tables = node.tables
            assert {*tables._owned, *tables._subscribed} <= set(alive)
            assert len(tables._names) == len(tables._tables)
        for n in range(serial):
            named = node.whereis(f"w{n}")
            assert (named is not None) == (named in alive)


async def test_dropping_a_big_table_does_not_hold_the_loop(node: Node) -> None:
    async with node.attach() as me:
        owner = await node.spawn(Worker)
        await call(
            owner, lambda self: self.node.tables.new("big").insert([(n, (n,)) for n in range(300_000)]), timeout=30
        )
        steps = 0
        await ended(node, me, owner)
        assert node.tables.whereis("big") is None
        with trio.fail_after(20):
            while node.tables._graveyard:
                await trio.lowlevel.checkpoint()
                steps += 1
        assert steps >= 500  # others got their turn in between, many times
    gc.collect()


async def test_the_owner_of_a_call_that_fails_is_not_the_caller(node: Node) -> None:
    owner = await node.spawn(Worker)
    with pytest.raises(CallExit):
        await call(owner, lambda self: self.node.tables.new(1 / 0))
    assert len(node.tables) == 0
