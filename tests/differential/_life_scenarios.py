"""Starting, continuing, idling, exiting: the twins of the life of a gen_server in erlang/process_facts.erl."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from tests.differential._world import Obedient, Server, World, boom, note, note_reason, ok, raising, reason, trapping
from wsactors.actors import UNHANDLED, Actor, Continue, IdleAfter, Ignore, Pid, Reply, Stop, call, cast, send
from wsactors.errors import Ignored, NameTaken, StartError

# ---------------------------------------------------------------- starting


async def start_fact(w: World, link: bool = False, **script: Any) -> None:
    """Note how a start under the name ``server`` ends, and who has the name after it."""
    try:
        await w.me.spawn(Server, w, script, name="server", link=link)
    except NameTaken:
        outcome: Any = ("error", "already_started")
    except Ignored:
        outcome = "ignore"
    except StartError as error:
        outcome = ("error", reason(error.reason))
    else:
        outcome = "started"
    w.fact(("start", outcome))
    pid = w.node.whereis("server")
    w.fact(("whereis", None if pid is None else w.name(pid)))


def named(actor: Server) -> None:
    """An ``init`` that is called ``server`` in the facts."""
    actor.world.who(actor.pid, "server")


async def init_stops(w: World) -> None:
    await start_fact(w, init=lambda _: Stop("enough"))
    await w.quiet()


async def init_ignores(w: World) -> None:
    await start_fact(w, init=lambda _: Ignore())
    await w.quiet()


async def init_crashes(w: World) -> None:
    await start_fact(w, init=raising)
    await w.quiet()


async def init_times_out(w: World) -> None:
    async def init(_: Server) -> None:
        await trio.sleep(60)

    try:
        await w.me.spawn(Server, w, {"init": init}, timeout=0.03)
    except StartError as error:
        w.fact(("start", reason(error.reason)))
    await w.quiet()


async def init_stops_then_instant_restart(w: World) -> None:
    await start_fact(w, init=lambda _: Stop("enough"))
    await start_fact(w, init=named)


async def name_taken(w: World) -> None:
    w.node.register("server", await w.server())
    await start_fact(w)


async def name_known_inside_init(w: World) -> None:
    def init(actor: Server) -> None:
        named(actor)
        pid = w.node.whereis("server")
        w.fact(("inside", None if pid is None else w.name(pid)))

    await start_fact(w, init=init)


async def linked_init_stops(w: World) -> None:
    w.me.trap_exit = True
    await start_fact(w, link=True, init=lambda _: Stop("enough"))
    await w.quiet()


async def linked_init_stops_not_trapping(w: World) -> None:
    p = await w.start("p")
    w.watch(p)

    async def begin(actor: Obedient) -> None:
        await actor.spawn(Server, w, {"init": lambda _: Stop("enough")}, link=True)

    send(p, ("do", begin))
    await w.saw()


async def init_stop_skips_terminate(w: World) -> None:
    await start_fact(w, init=lambda _: Stop("enough"), terminate=note_reason)


# ---------------------------------------------------------------- continue and idle


async def continue_before_queued_messages(w: World) -> None:
    def init(actor: Server) -> Continue:
        send(actor.pid, "queued")
        return Continue("go")

    await w.server(init=init, **{"continue": note("continue"), "info": note("info"), "call": ok})
    await trio.testing.wait_all_tasks_blocked()


async def continue_chain_before_queued_messages(w: World) -> None:
    def go(actor: Server, _: Any) -> Continue:
        send(actor.pid, "queued")
        return Continue(1)

    def onward(_: Server, number: int) -> Continue | None:
        w.fact(("continue", number))
        return Continue(2) if number == 1 else None

    p = await w.server(cast=go, **{"continue": onward, "info": note("info"), "call": ok})
    cast(p, "go")
    await w.call(p, "sync")


async def reply_then_continue(w: World) -> None:
    def onward(_: Server, argument: Any) -> Stop:
        w.fact(("continue", argument))
        return Stop("enough")

    p = await w.server(call=lambda *_: Reply("answer", Continue("go")), **{"continue": onward})
    w.watch(p)
    await call(p, "hello")
    await w.saw()


async def idle_timeout_fires_once(w: World) -> None:
    await w.server(init=lambda _: IdleAfter(0.02), info=note("info"))
    await trio.sleep(0.1)


async def any_message_cancels_idle_timeout(w: World) -> None:
    p = await w.server(init=lambda _: IdleAfter(0.04), cast=note("cast"), info=note("info"))
    cast(p, "hello")
    await trio.sleep(0.12)


async def call_cancels_idle_timeout(w: World) -> None:
    p = await w.server(init=lambda _: IdleAfter(0.04), call=lambda _, message, __: message, info=note("info"))
    await w.call(p, "hello")
    await trio.sleep(0.12)


async def idle_timeout_rearmed_by_return(w: World) -> None:
    def hear(_: Server, message: Any) -> IdleAfter:
        w.fact(("cast", message))
        return IdleAfter(0.02)

    p = await w.server(cast=hear, info=note("info"))
    cast(p, "hello")
    await trio.sleep(0.1)


# ---------------------------------------------------------------- exits


async def down_and_exit_are_infos(w: World) -> None:
    p, q = await w.start("p"), await w.start("q")

    def init(actor: Server) -> None:
        actor.trap_exit = True
        actor.link(p)
        w.who(actor.monitor(q), "ref")

    server = await w.server(init=init, info=note("info"), call=ok)
    send(p, ("exit", "enough"))
    await w.gone(p)
    await w.call(server, "sync")
    send(q, ("exit", "too"))
    await w.gone(q)
    await w.call(server, "sync")


async def parent_with(w: World, **script: Any) -> tuple[Pid, Pid]:
    """An obedient parent and the server it started with a link."""
    parent = await w.start("parent")
    server = await w.ask(parent, lambda actor: actor.spawn(Server, w, script, link=True))
    return parent, w.who(server, "server")


async def parent_exit_ends_trapping_server(w: World) -> None:
    parent, server = await parent_with(w, init=trapping, info=note("info"), terminate=note_reason)
    w.watch(server)
    send(parent, ("exit", "enough"))
    await w.saw()


async def exit_from_parent_pid_ends_trapping_server(w: World) -> None:
    parent, server = await parent_with(w, init=trapping, info=note("info"), terminate=note_reason)
    w.watch(server)

    def end(actor: Obedient) -> None:
        actor.unlink(server)
        actor.exit(server, "shutdown")

    await w.ask(parent, end)
    await w.saw()
    w.alive(parent)


async def exit_from_stranger_is_info(w: World) -> None:
    p = await w.server(init=trapping, info=note("info"), call=ok)
    await w.ask(await w.start("q"), lambda actor: actor.exit(p, "shutdown"))
    await w.call(p, "sync")
    w.alive(p)


async def exit_from_unlinked_starter_is_info(w: World) -> None:
    p = await w.server(init=trapping, info=note("info"), call=ok)
    w.me.exit(p, "shutdown")
    await w.call(p, "sync")
    w.alive(p)


async def exit_signal_skips_terminate(w: World) -> None:
    p = await w.server(terminate=note_reason)
    w.watch(p)
    w.me.exit(p, "shutdown")
    await w.saw()


async def kill_skips_terminate(w: World) -> None:
    p = await w.server(init=trapping, terminate=note_reason)
    w.watch(p)
    w.me.exit(p, "kill")
    await w.saw()


async def crash_runs_terminate(w: World) -> None:
    p = await w.server(cast=raising, terminate=note_reason)
    w.watch(p)
    cast(p, "go")
    await w.saw()


async def crash_in_terminate(w: World) -> None:
    def end(*_: Any) -> None:
        w.fact("terminate")
        raise boom

    p = await w.server(cast=lambda *_: Stop("enough"), terminate=end)
    w.watch(p)
    cast(p, "go")
    await w.saw()


async def stop_in_cast(w: World) -> None:
    p = await w.server(cast=lambda *_: Stop(("shutdown", 7)), terminate=note_reason)
    w.watch(p)
    cast(p, "go")
    await w.saw()


async def messages_after_stop_are_dropped(w: World) -> None:
    def hear(_: Server, message: Any) -> Stop | None:
        if message == "stop":
            return Stop("normal")
        w.fact(("cast", message))
        return None

    p = await w.server(cast=hear)
    w.watch(p)
    for message in (1, "stop", 2):
        cast(p, message)
    await w.saw()


async def bad_return(w: World) -> None:
    p = await w.server(cast=lambda *_: "nonsense")
    w.watch(p)
    cast(p, "go")
    await w.saw()


async def unknown_call_crashes(w: World) -> None:
    p = await w.server(call=lambda *_: UNHANDLED)
    ref = w.watch(p)
    outcome, _ = await w.caught(lambda: call(p, "unknown"))
    assert outcome == "raised"
    w.fact("caller_told")
    assert await ref.wait(timeout=5) is not None
    w.fact("down")


async def unexpected_info_is_survived(w: World) -> None:
    p = w.who(await w.node.spawn(Actor), "server")
    send(p, "what")
    await trio.testing.wait_all_tasks_blocked()
    w.alive(p)


async def linked_server_stops_normally(w: World) -> None:
    parent, server = await parent_with(w, cast=lambda *_: Stop("normal"))
    w.watch(server)
    cast(server, "go")
    await w.saw()
    w.alive(parent)


async def linked_server_crash_takes_parent(w: World) -> None:
    parent, server = await parent_with(w, cast=raising)
    w.watch(parent)
    cast(server, "go")
    await w.saw()


# ---------------------------------------------------------------- suspended


async def suspended_server_keeps_messages(w: World) -> None:
    p = await w.server(cast=note("cast"), call=ok)
    await w.node.suspend(p)
    cast(p, 1)
    await trio.testing.wait_all_tasks_blocked()
    w.fact("resuming")
    w.node.resume(p)
    await w.call(p, "sync")


async def suspended_server_can_be_killed(w: World) -> None:
    p = await w.server()
    w.watch(p)
    await w.node.suspend(p)
    w.me.exit(p, "kill")
    await w.saw()
