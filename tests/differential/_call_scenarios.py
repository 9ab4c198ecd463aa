"""Calls: the twins of the gen_server calls in erlang/process_facts.erl."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from tests.differential._world import Obedient, Server, World, echo, note, note_reason, raising
from wsactors.actors import NoReply, Stop, call, cast, reply, send, send_request


def answer_kept(actor: Server, value: Any) -> None:
    """A handler that answers the call kept earlier with its message."""
    reply(actor.kept, value)


# ---------------------------------------------------------------- calls


async def call_dead_pid(w: World) -> None:
    await w.call(await w.dead("p"), "hello")


async def call_unregistered_name(w: World) -> None:
    await w.call("nobody", "hello")


async def call_self(w: World) -> None:
    await w.call(w.me.pid, "hello")


async def call_by_name(w: World) -> None:
    w.node.register("server", await w.server(call=echo))
    await w.call("server", 1)


async def call_times_out_and_late_reply_vanishes(w: World) -> None:
    def keep(actor: Server, _: Any, caller: Any) -> NoReply:
        actor.kept = caller
        return NoReply()

    p = await w.server(call=keep, cast=answer_kept)
    await w.call(p, "hello", timeout=0.03)
    cast(p, "late")
    await w.quiet()
    w.alive(p)


async def call_then_crash(w: World) -> None:
    await w.call(await w.server(call=raising), "hello")


async def call_then_killed(w: World) -> None:
    def enter(*_: Any) -> NoReply:
        send(w.me.pid, "entered")
        return NoReply()

    p = await w.server(call=enter)
    killer = await w.start("killer")

    async def kill(actor: Obedient) -> None:
        actor.exit(p, "kill")

    w.me.send_after(0.02, killer, ("do", kill))
    await w.call(p, "hello")
    await w.saw()


async def call_queued_at_death(w: World) -> None:
    p = await w.server(cast=lambda *_: Stop("enough"))
    await w.node.suspend(p)
    cast(p, "die")
    q = await w.start("q")

    async def ask(_: Obedient) -> None:
        send(w.me.pid, ("called", await w.caught(lambda: call(p, "hello"))))

    send(q, ("do", ask))
    await trio.testing.wait_all_tasks_blocked()
    w.node.resume(p)
    await w.saw()


async def stop_with_reply(w: World) -> None:
    p = await w.server(call=lambda *_: Stop("enough", reply="answer"), terminate=note_reason)
    w.watch(p)
    await w.call(p, "hello")
    await w.saw()


async def stop_without_reply(w: World) -> None:
    p = await w.server(call=lambda *_: Stop("enough"), terminate=note_reason)
    w.watch(p)
    await w.call(p, "hello")
    await w.saw()


async def stop_normal_without_reply(w: World) -> None:
    await w.call(await w.server(call=lambda *_: Stop("normal")), "hello")


async def deferred_reply(w: World) -> None:
    def later(actor: Server, _: Any, caller: Any) -> NoReply:
        actor.kept = caller
        send(actor.pid, "answer")
        return NoReply()

    await w.call(await w.server(call=later, info=answer_kept), "hello")


async def reply_by_another_process(w: World) -> None:
    q = await w.start("q")

    def pass_on(_: Server, __: Any, caller: Any) -> NoReply:
        async def answer(_: Obedient) -> None:
            reply(caller, "answer")

        send(q, ("do", answer))
        return NoReply()

    await w.call(await w.server(call=pass_on), "hello")


async def second_reply_is_ignored(w: World) -> None:
    def first(actor: Server, _: Any, caller: Any) -> NoReply:
        actor.kept = caller
        reply(caller, "first")
        return NoReply()

    p = await w.server(call=first, cast=answer_kept)
    await w.call(p, "hello")
    cast(p, "second")
    await w.quiet()
    w.alive(p)


async def calls_casts_infos_keep_order(w: World) -> None:
    def answer(actor: Server, message: Any, _: Any) -> str:
        w.fact(("call", message))
        return "ok"

    p = await w.server(call=answer, cast=note("cast"), info=note("info"))
    cast(p, 1)
    send(p, 2)
    cast(p, 3)
    await w.call(p, 4)
    send(p, 5)
    await w.call(p, 6)


async def request_to_dead(w: World) -> None:
    request = send_request(await w.dead("p"), "hello")
    w.fact(await w.caught(lambda: request.wait(timeout=1)))


async def request_answered(w: World) -> None:
    request = send_request(await w.server(call=echo), 1)
    w.fact(await w.caught(lambda: request.wait(timeout=1)))


async def call_during_init_waits(w: World) -> None:
    go = trio.Event()

    async def init(_: Server) -> None:
        send(w.me.pid, "in_init")
        await go.wait()
        w.fact("init_done")

    q, opener = await w.start("q"), await w.start("opener")

    async def begin(_: Obedient) -> None:
        await w.node.spawn(Server, w, {"init": init, "call": echo}, name="server")

    async def let_go(_: Obedient) -> None:
        go.set()

    send(q, ("do", begin))
    await w.me.receive()
    w.me.send_after(0.03, opener, ("do", let_go))
    await w.call("server", 1)
