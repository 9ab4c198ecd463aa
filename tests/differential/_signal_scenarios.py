"""Exit signals, sends, names and timers: their twins are in erlang/process_facts.erl."""

from __future__ import annotations

from tests.differential._world import World
from wsactors.actors import cast, send

# ---------------------------------------------------------------- exit signals


async def exit_normal_ignored(w: World) -> None:
    p = await w.start("p")
    w.me.exit(p, "normal")
    await w.ask(p)
    w.alive(p)


async def exit_normal_reaches_trapper(w: World) -> None:
    p = await w.start("p", trap=True)
    w.me.exit(p, "normal")
    await w.ask(p)
    w.alive(p)


async def exit_self_normal(w: World) -> None:
    p = await w.start("p")
    w.watch(p)

    async def leave(actor: object) -> None:
        actor.exit(p, "normal")  # type: ignore[attr-defined]

    send(p, ("do", leave))
    await w.saw()


async def exit_shutdown(w: World) -> None:
    p = await w.start("p")
    w.watch(p)
    w.me.exit(p, "shutdown")
    await w.saw()


async def exit_shutdown_reaches_trapper(w: World) -> None:
    p = await w.start("p", trap=True)
    w.me.exit(p, "shutdown")
    await w.ask(p)
    w.alive(p)


async def exit_tuple_reason(w: World) -> None:
    p = await w.start("p")
    w.watch(p)
    w.me.exit(p, ("shutdown", 7))
    await w.saw()


async def kill_beats_trapping(w: World) -> None:
    p = await w.start("p", trap=True)
    w.watch(p)
    w.me.exit(p, "kill")
    await w.saw()


async def kill_reaches_links_as_killed(w: World) -> None:
    w.me.trap_exit = True
    p = await w.start("p")
    w.me.link(p)
    w.me.exit(p, "kill")
    await w.saw()
    await w.quiet()


async def kill_of_linked_kills_as_killed(w: World) -> None:
    p, q = await w.start("p"), await w.start("q")
    await w.ask(q, lambda actor: actor.link(p))
    w.watch(q)
    w.me.exit(p, "kill")
    await w.saw()


async def own_exit_kill_is_trappable(w: World) -> None:
    w.me.trap_exit = True
    p = await w.start("p")
    w.me.link(p)
    send(p, ("exit", "kill"))
    await w.saw()
    await w.quiet()


async def own_exit_kill_at_links(w: World) -> None:
    p, q = await w.start("p"), await w.start("q", trap=True)
    await w.ask(q, lambda actor: actor.link(p))
    w.watch(p)
    send(p, ("exit", "kill"))
    await w.saw()
    await w.ask(q)
    w.alive(q)


async def exit_dead_pid(w: World) -> None:
    w.me.exit(await w.dead("p"), "kill")
    w.fact("done")
    await w.quiet()


async def message_then_exit_in_order(w: World) -> None:
    p = await w.start("p", trap=True)

    async def first(_: object) -> None:
        w.fact("first")

    async def second(_: object) -> None:
        w.fact("second")

    send(p, ("do", first))
    w.me.exit(p, "enough")
    send(p, ("do", second))
    await w.ask(p)


async def exit_after_trapping_ends(w: World) -> None:
    p = await w.start("p", trap=True)
    await w.ask(p, lambda actor: setattr(actor, "trap_exit", False))
    w.watch(p)
    w.me.exit(p, "enough")
    await w.saw()


async def second_reason_loses(w: World) -> None:
    p = await w.start("p")
    w.watch(p)
    w.me.exit(p, "first")
    w.me.exit(p, "second")
    await w.saw()
    await w.quiet()


# ---------------------------------------------------------------- sends and names


async def send_dead_pid(w: World) -> None:
    p = await w.dead("p")
    w.fact(("sent", await w.caught(lambda: send(p, "hello"))))


async def send_unregistered_name(w: World) -> None:
    w.fact(("sent", await w.caught(lambda: send("nobody", "hello"))))


async def cast_unregistered_name(w: World) -> None:
    w.fact(("cast", await w.caught(lambda: cast("nobody", "hello"))))


async def fifo_per_pair(w: World) -> None:
    p = await w.start("p")
    for number in (1, 2, 3):

        async def tell(_: object, number: int = number) -> None:
            send(w.me.pid, number)

        send(p, ("do", tell))
    for _ in range(3):
        await w.saw()


async def register_taken(w: World) -> None:
    p, q = await w.start("p"), await w.start("q")
    w.node.register("server", p)
    outcome, _ = await w.caught(lambda: w.node.register("server", q))
    assert outcome == "raised"
    w.fact("refused")
    w.fact(("whereis", w.name(w.node.whereis("server"))))


async def register_dead(w: World) -> None:
    p = await w.dead("p")
    outcome, _ = await w.caught(lambda: w.node.register("server", p))
    assert outcome == "raised"
    w.fact("refused")


async def unregister_unknown(w: World) -> None:
    outcome, _ = await w.caught(lambda: w.node.unregister("nobody"))
    w.fact(outcome)


async def name_free_after_death(w: World) -> None:
    p = await w.start("p")
    w.node.register("server", p)
    send(p, "return")
    await w.gone(p)
    w.node.register("server", await w.start("q"))
    w.fact(("whereis", w.name(w.node.whereis("server"))))


async def selective_receive_keeps_order(w: World) -> None:
    for message in (1, 2, "wanted", 3):
        send(w.me.pid, message)
    w.fact(await w.me.receive(match=lambda message: message == "wanted"))
    for _ in range(3):
        await w.saw()


# ---------------------------------------------------------------- timers


async def timers_in_order_of_time(w: World) -> None:
    w.me.send_after(0.04, w.me.pid, "second")
    w.me.send_after(0.02, w.me.pid, "first")
    await w.saw()
    await w.saw()


async def cancelled_timer_is_quiet(w: World) -> None:
    w.me.cancel_timer(w.me.send_after(0.02, w.me.pid, "tick"))
    await w.quiet()


async def timer_to_dead_process(w: World) -> None:
    w.me.send_after(0.005, await w.dead("p"), "tick")
    w.fact("done")
    await w.quiet()
