"""Mailbox limits and policies, conflation, byte limits, high-water marks: what is refused, what is kept, what is exempt."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.actors.helpers import down_of, inside
from wsactors.actors import Actor, Down, Exit, Mailbox, NoReply, Pid, call, cast, reply, send, send_many
from wsactors.actors.mailbox import OVERHEAD, weight
from wsactors.errors import CallExit, MailboxFull, MutableMessage
from wsactors.supervision.node import Node


class Keeper(Actor):
    """Waits at "hold" until its gate opens; remembers what it gets."""

    trap_exit = True

    def init(self) -> None:
        self.seen: list[Any] = []
        self.gate = trio.Event()

    async def handle_info(self, message: Any) -> None:
        if message == "hold":
            await self.gate.wait()
        else:
            self.seen.append(message)

    def handle_cast(self, message: Any) -> None:
        self.seen.append(("cast", message))

    def handle_call(self, message: Any, caller: Any) -> Any:
        self.seen.append(("call", message))
        return "ok"


async def holding(node: Node, settings: Mailbox) -> tuple[Pid, Keeper]:
    """An actor blocked in a handler, with an empty mailbox."""

    class Bounded(Keeper):
        mailbox = settings

    pid: Pid = await node.spawn(Bounded)
    send(pid, "hold")
    await trio.testing.wait_all_tasks_blocked()
    actor = inside(pid).actor
    assert len(inside(pid)) == 0
    return pid, actor


async def seen_after(actor: Keeper) -> list[Any]:
    actor.gate.set()
    await trio.testing.wait_all_tasks_blocked()
    return actor.seen


class TestReject:
    async def test_the_sender_is_told_and_nothing_is_lost(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox(capacity=3))

        assert [send(pid, n) for n in range(5)] == [True, True, True, False, False]
        assert not cast(pid, "late")
        with pytest.raises(MailboxFull):
            await call(pid, "late")
        assert send_many([pid, pid], "late") == 2
        assert node.info().dropped_full == 6
        assert await seen_after(actor) == [0, 1, 2]
        assert send(pid, "now")

    async def test_the_detached_batch_counts(self, node: Node) -> None:
        """Messages already taken from the box for this turn, but not handled, are still in the mailbox."""

        class Slow(Keeper):
            mailbox = Mailbox(capacity=4)

        pid = await node.spawn(Slow)
        actor = inside(pid).actor
        for message in ("hold", 1, 2, 3):
            assert send(pid, message)
        await trio.testing.wait_all_tasks_blocked()
        assert len(inside(pid)) == 3
        assert send(pid, 4)
        assert not send(pid, 5)
        assert await seen_after(actor) == [1, 2, 3, 4]

    async def test_ten_thousand_by_default(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox())
        assert sum(send(pid, n) for n in range(10_100)) == 10_000
        actor.gate.set()


class TestDropping:
    async def test_drop_newest_keeps_the_old_and_tells_nobody(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox(capacity=2, overflow="drop_newest"))
        assert [send(pid, n) for n in range(4)] == [True] * 4
        assert await seen_after(actor) == [0, 1]
        assert node.info().dropped_full == 2

    async def test_drop_oldest_keeps_the_new(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox(capacity=2, overflow="drop_oldest"))
        assert [cast(pid, n) for n in range(4)] == [True] * 4
        assert await seen_after(actor) == [("cast", 2), ("cast", 3)]

    async def test_drop_oldest_never_drops_a_call(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox(capacity=2, overflow="drop_oldest"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, pid, "asked")
            await trio.testing.wait_all_tasks_blocked()
            for n in range(3):
                assert send(pid, n)
            with pytest.raises(MailboxFull):
                await call(pid, "one too many")
            actor.gate.set()
        assert actor.seen == [("call", "asked"), 2]

    async def test_drop_oldest_refuses_when_only_calls_are_queued(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox(capacity=1, overflow="drop_oldest"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, pid, "asked")
            await trio.testing.wait_all_tasks_blocked()
            assert not send(pid, "no room")
            actor.gate.set()

    async def test_kill(self, node: Node) -> None:
        pid, _ = await holding(node, Mailbox(capacity=2, overflow="kill"))
        async with node.attach() as me:
            ref = me.monitor(pid)
            send(pid, 1)
            send(pid, 2)
            assert not send(pid, 3)
            assert (await down_of(ref)).reason == "mailbox_overflow"


class TestExempt:
    """Down, trapped Exit and timer messages pass every limit, are dropped by no policy, and weigh nothing."""

    @pytest.mark.parametrize(
        "settings",
        [
            Mailbox(capacity=1),
            Mailbox(capacity=1, overflow="drop_newest"),
            Mailbox(capacity=1, overflow="drop_oldest"),
            Mailbox(capacity=1, overflow="conflate", key=lambda message: "same"),
            Mailbox(capacity=1, overflow="kill"),
            Mailbox(max_bytes=OVERHEAD),
        ],
        ids=lambda settings: settings.overflow,
    )
    async def test_they_always_arrive_in_order(self, node: Node, settings: Mailbox, autojump_clock: Any) -> None:
        pid, actor = await holding(node, settings)
        assert send(pid, "")
        async with node.attach() as me:
            ref = actor.monitor(me.pid)
            group_ref, _ = node.groups.monitor(pid, "room")
            actor.send_after(1, pid, ("timer", "x" * 1_000))
            await trio.sleep(2)
            me.exit(pid, "please")
            node.groups.join("room", me.pid)
        await trio.testing.wait_all_tasks_blocked()
        if settings.overflow in ("drop_oldest", "drop_newest"):
            for n in range(5):
                assert send(pid, n)
        seen = await seen_after(actor)
        exempt = [message for message in seen if message != "" and not isinstance(message, int)]
        assert exempt[0] == ("timer", "x" * 1_000)
        assert exempt[1] == Exit(me.pid, "please")
        assert [change.event for change in exempt if hasattr(change, "event")] == ["join", "leave"]
        assert Down(ref, me.pid, "normal") in exempt
        assert len(exempt) == 5
        assert inside(pid).more().bytes == 0
        assert group_ref.group == "room"


class TestConflate:
    async def test_the_newer_takes_the_place_of_the_older(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox(capacity=3, overflow="conflate", key=lambda message: message[0]))
        for message in [("a", 1), ("b", 1), ("a", 2), ("c", 1), ("b", 2), ("a", 3)]:
            assert send(pid, message)
        assert not send(pid, ("d", 1))
        assert await seen_after(actor) == [("a", 3), ("b", 2), ("c", 1)]

    async def test_a_key_is_free_again_once_its_message_is_handled(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox(overflow="conflate", key=lambda message: message[0]))
        send(pid, ("a", 1))
        assert await seen_after(actor) == [("a", 1)]
        send(pid, ("a", 2))
        await trio.testing.wait_all_tasks_blocked()
        assert actor.seen == [("a", 1), ("a", 2)]

    async def test_messages_without_a_key_queue_up(self, node: Node) -> None:
        """No key, a key function that raises and a key that cannot be hashed are one thing; no sender fails."""

        def key(message: Any) -> Any:
            return {"none": None, "list": [1]}[message[0]]

        pid, actor = await holding(node, Mailbox(overflow="conflate", key=key))
        for message in [("none", 1), ("none", 2), ("list", 1), ("list", 2), ("raises", 1), ("raises", 2)]:
            assert send(pid, message)
        assert len(await seen_after(actor)) == 6

    async def test_casts_and_sends_share_keys_and_calls_have_none(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox(overflow="conflate", key=lambda message: message[0]))
        send(pid, ("a", 1))
        cast(pid, ("a", 2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, pid, ("a", 3))
            await trio.testing.wait_all_tasks_blocked()
            cast(pid, ("a", 4))
            actor.gate.set()
        assert actor.seen == [("cast", ("a", 4)), ("call", ("a", 3))]

    async def test_a_replacement_must_fit_too(self, node: Node) -> None:
        settings = Mailbox(overflow="conflate", key=lambda message: 1, max_bytes=200)
        pid, actor = await holding(node, settings)
        assert send(pid, "small")
        assert not send(pid, "x" * 200)
        assert send(pid, "also small")
        assert await seen_after(actor) == ["also small"]
        assert inside(pid).more().bytes == 0

    @pytest.mark.parametrize("wrong", [{"overflow": "conflate"}, {"key": len}])
    def test_conflate_and_key_belong_together(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="conflate"):
            Mailbox(**wrong)


class TestBytes:
    async def test_payload_and_overhead_count(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox(max_bytes=3 * (OVERHEAD + 100)))
        assert [send(pid, b"x" * 100) for _ in range(4)] == [True, True, True, False]
        assert len(await seen_after(actor)) == 3
        assert send(pid, b"x" * 100)

    async def test_drop_oldest_drops_as_many_as_needed(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox(max_bytes=1_000, overflow="drop_oldest"))
        for n in range(8):
            assert send(pid, str(n) * 50)
        assert send(pid, "z" * 900)
        assert [message[0] for message in await seen_after(actor)] == ["z"]
        assert inside(pid).more().bytes == 0

    async def test_what_could_never_fit_drops_nothing(self, node: Node) -> None:
        pid, actor = await holding(node, Mailbox(max_bytes=1_000, overflow="drop_oldest"))
        assert send(pid, "kept")
        assert not send(pid, "z" * 1_000)
        assert await seen_after(actor) == ["kept"]

    async def test_messages_that_come_during_init_are_counted_like_others(self, node: Node) -> None:
        class Starting(Keeper):
            mailbox = Mailbox(max_bytes=1_000)

            async def init(self) -> None:  # type: ignore[override]
                super().init()
                assert send(self.pid, "x" * 500)
                assert not send(self.pid, "x" * 500)

        pid = await node.spawn(Starting)
        await trio.testing.wait_all_tasks_blocked()
        assert inside(pid).more().bytes == 0
        assert inside(pid).actor.seen == ["x" * 500]

    @given(st.recursive(st.binary() | st.text() | st.integers(), lambda inner: st.tuples(inner, inner)))
    def test_the_estimate_is_strings_and_bytes_to_depth_two(self, message: Any) -> None:
        def payload(value: Any, depth: int) -> int:
            if isinstance(value, str | bytes):
                return len(value)
            if isinstance(value, tuple) and depth:
                return sum(payload(item, depth - 1) for item in value)
            return 0

        assert weight(message) == OVERHEAD + payload(message, 2)


class TestHighWater:
    async def test_told_once_until_half_drained(self, node: Node) -> None:
        told: list[int] = []
        node.sched.on_high_water = lambda process, length: told.append(length)
        pid, actor = await holding(node, Mailbox(high_water=4))
        for n in range(10):
            send(pid, n)
        assert told == [4]
        await seen_after(actor)
        actor.gate = trio.Event()
        send(pid, "hold")
        await trio.testing.wait_all_tasks_blocked()
        for n in range(10):
            send(pid, n)
        assert told == [4, 4]
        actor.gate.set()


class TestDebugMode:
    async def test_a_message_its_sender_could_change_is_refused(self) -> None:
        @attrs.frozen
        class Frozen:
            inner: Any

        @attrs.define
        class Mutable:
            inner: int

        async with Node("debug", debug=True) as node:
            pid = await node.spawn(Keeper)
            for fine in [1, "a", b"b", None, 1.5, (1, ("a",)), frozenset({1}), Frozen((1, pid)), pid, int, len]:
                assert send(pid, fine)
            for wrong in [[1], {"a": 1}, {1}, bytearray(b"x"), (1, [2]), Frozen([1]), Mutable(1)]:
                with pytest.raises(MutableMessage):
                    send(pid, wrong)
                with pytest.raises(MutableMessage):
                    cast(pid, wrong)
                with pytest.raises(MutableMessage):
                    await call(pid, wrong)

    async def test_by_default_messages_pass_by_reference(self, node: Node) -> None:
        pid = await node.spawn(Keeper)
        message = [1]
        send(pid, message)
        await trio.testing.wait_all_tasks_blocked()
        assert inside(pid).actor.seen[0] is message


@pytest.mark.parametrize("wrong", [{"capacity": 0}, {"max_bytes": -1}, {"overflow": "explode"}, {"high_water": 0}])
def test_wrong_settings_are_refused_when_the_class_is_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Mailbox(**wrong)


async def test_calls_of_a_full_mailbox_that_dies_all_fail(node: Node) -> None:
    class Later(Keeper):
        def handle_call(self, message: Any, caller: Any) -> Any:
            self.seen.append(caller)
            return NoReply()

    pid = await node.spawn(Later)
    reasons: list[Any] = []
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(CallExit) as failure:
                await call(pid, "x")
            reasons.append(failure.value.reason)

        for _ in range(50):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        callers = inside(pid).actor.seen
        node.exit(pid, "kill")
    assert reasons == ["killed"] * 50
    assert not any(reply(caller, "too late") for caller in callers)
