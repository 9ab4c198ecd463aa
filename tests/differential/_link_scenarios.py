"""Monitors and links: their twins are in erlang/process_facts.erl."""

from __future__ import annotations

from tests.differential._world import World
from wsactors.actors import send

# ---------------------------------------------------------------- monitors


async def monitor_dead_pid(w: World) -> None:
    w.watch(await w.dead("p"))
    await w.saw()
    await w.quiet()


async def monitor_unregistered_name(w: World) -> None:
    w.watch("nobody")
    await w.saw()
    await w.quiet()


async def monitor_twice(w: World) -> None:
    p = await w.start("p")
    w.watch(p, "ref1")
    w.watch(p, "ref2")
    send(p, "return")
    await w.saw()
    await w.saw()
    w.facts.sort()
    await w.quiet()


async def demonitor_flush_removes_queued_down(w: World) -> None:
    p = await w.start("p")
    ref = w.watch(p)
    send(p, "return")
    await w.gone(p)
    w.me.demonitor(ref, flush=True)
    await w.quiet()


async def demonitor_keeps_queued_down(w: World) -> None:
    p = await w.start("p")
    ref = w.watch(p)
    send(p, "return")
    await w.gone(p)
    w.me.demonitor(ref)
    await w.saw()
    await w.quiet()


async def demonitor_before_death(w: World) -> None:
    p = await w.start("p")
    w.me.demonitor(w.watch(p))
    send(p, "return")
    await w.gone(p)
    await w.quiet()


async def demonitor_one_of_two(w: World) -> None:
    p = await w.start("p")
    w.watch(p, "ref1")
    w.me.demonitor(w.watch(p, "ref2"))
    send(p, "return")
    await w.saw()
    await w.quiet()


async def demonitor_twice(w: World) -> None:
    p = await w.start("p")
    ref = w.watch(p)
    w.me.demonitor(ref)
    w.me.demonitor(ref)
    w.fact("done")
    send(p, "return")
    await w.gone(p)
    await w.quiet()


async def monitor_by_name_reports_name_already_free(w: World) -> None:
    p = await w.start("p")
    w.node.register("server", p)
    w.watch("server")
    send(p, ("exit", "enough"))
    await w.saw()
    w.fact(("whereis", w.node.whereis("server")))


async def monitor_by_name_follows_the_process(w: World) -> None:
    p = await w.start("p")
    w.node.register("server", p)
    w.watch("server")
    w.node.unregister("server")
    send(p, "return")
    await w.saw()


async def messages_then_exit_then_down(w: World) -> None:
    w.me.trap_exit = True
    p = await w.start("p")
    w.me.link(p)
    w.watch(p)

    async def talk(_: object) -> None:
        send(w.me.pid, "first")
        send(w.me.pid, "last_msg")

    send(p, ("do", talk))
    send(p, ("exit", "enough"))
    for _ in range(4):
        await w.saw()
    await w.quiet()


async def monitor_normal_end(w: World) -> None:
    p = await w.start("p")
    w.watch(p)
    send(p, "return")
    await w.saw()


async def monitor_crash(w: World) -> None:
    p = await w.start("p")
    w.watch(p)
    send(p, "crash")
    await w.saw()


async def monitor_self(w: World) -> None:
    w.watch(w.me.pid)
    await w.quiet()


# ---------------------------------------------------------------- links


async def link_dead_trapping(w: World) -> None:
    p = await w.dead("p")
    w.me.trap_exit = True
    w.me.link(p)
    await w.saw()
    await w.quiet()


async def link_dead_not_trapping(w: World) -> None:
    p = await w.dead("p")
    w.fact(await w.caught(lambda: w.me.link(p)))


async def link_is_a_set(w: World) -> None:
    w.me.trap_exit = True
    p = await w.start("p")
    w.me.link(p)
    w.me.link(p)
    send(p, ("exit", "enough"))
    await w.saw()
    await w.quiet()


async def unlink_once_after_linking_twice(w: World) -> None:
    w.me.trap_exit = True
    p = await w.start("p")
    w.me.link(p)
    w.me.link(p)
    w.me.unlink(p)
    send(p, ("exit", "enough"))
    await w.gone(p)
    await w.quiet()


async def unlink_keeps_queued_exit(w: World) -> None:
    w.me.trap_exit = True
    p = await w.start("p")
    w.me.link(p)
    send(p, ("exit", "enough"))
    await w.gone(p)
    w.me.unlink(p)
    await w.saw()
    await w.quiet()


async def unlink_before_death(w: World) -> None:
    p = await w.start("p")
    w.me.link(p)
    w.me.unlink(p)
    send(p, ("exit", "enough"))
    await w.gone(p)
    w.fact("survived")


async def normal_end_spares_links(w: World) -> None:
    p, q = await w.start("p"), await w.start("q")
    await w.ask(q, lambda actor: actor.link(p))
    send(p, "return")
    await w.gone(p)
    w.alive(q)


async def normal_end_reaches_trapper(w: World) -> None:
    w.me.trap_exit = True
    p = await w.start("p")
    w.me.link(p)
    send(p, "return")
    await w.saw()


async def crash_takes_links_along(w: World) -> None:
    p, q = await w.start("p"), await w.start("q")
    await w.ask(q, lambda actor: actor.link(p))
    w.watch(q)
    send(p, ("exit", "enough"))
    await w.saw()


async def link_works_both_ways(w: World) -> None:
    p, q = await w.start("p"), await w.start("q")
    await w.ask(q, lambda actor: actor.link(p))
    w.watch(p)
    send(q, ("exit", "enough"))
    await w.saw()


async def chain_of_links(w: World) -> None:
    a, b, c, d = [await w.start(name) for name in "abcd"]
    await w.ask(b, lambda actor: actor.link(a))
    await w.ask(c, lambda actor: actor.link(b))
    await w.ask(d, lambda actor: actor.link(c))
    w.watch(d)
    send(a, ("exit", "enough"))
    await w.saw()
    for pid in (a, b, c):
        w.alive(pid)


async def trapper_stops_the_chain(w: World) -> None:
    a, b, c = await w.start("a"), await w.start("b", trap=True), await w.start("c")
    await w.ask(b, lambda actor: actor.link(a))
    await w.ask(c, lambda actor: actor.link(b))
    send(a, ("exit", "enough"))
    await w.gone(a)
    await w.ask(b)
    w.alive(b)
    w.alive(c)


async def ring_of_links(w: World) -> None:
    ring = [await w.start(name) for name in "abc"]
    for pid, following in zip(ring, [*ring[1:], ring[0]], strict=True):
        await w.ask(pid, lambda actor, other=following: actor.link(other))  # type: ignore[misc]
    send(ring[1], ("exit", "enough"))
    for pid in ring:
        why = await w.gone(pid)
        w.fact(("down", w.name(pid), "enough" if why == "noproc" else why))


async def link_self(w: World) -> None:
    w.me.link(w.me.pid)
    w.fact("survived")
