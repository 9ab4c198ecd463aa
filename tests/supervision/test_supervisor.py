"""The static supervisor: order, strategies, what happens to specs, intensity, escalation."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.supervision._world import (
    Loud,
    Worker,
    World,
    alive,
    children,
    crash,
    events_of,
    gone,
    logged,
    pid_of,
    restarting,
    settled,
    text,
)
from wsactors.actors import Actor, Crash, Down, Pid, call, cast, send
from wsactors.actors.process_actor import Attached
from wsactors.errors import CallExit, ChildError, NameTaken, SpecError, StartError
from wsactors.supervision import (
    Backoff,
    ChildSpec,
    Supervisor,
    count_children,
    delete_child,
    get_child_spec,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from wsactors.supervision.node import Node


async def start(node: Node, *args: object, **options: object) -> Pid:
    pid = await node.spawn(Supervisor, *args, kwargs=options)
    assert isinstance(pid, Pid)
    return pid


# --- order -------------------------------------------------------------------------------------------------------------


async def test_children_start_first_to_last_and_stop_last_to_first(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", world.specs("abc"))
    assert world.take() == ["start a", "start b", "start c"]

    node.exit(sup, "shutdown")
    await gone(sup)

    assert world.take() == ["stop c shutdown", "stop b shutdown", "stop a shutdown"]


async def test_its_parents_exit_stops_it_and_its_children_in_reverse(node: Node, me: Attached, world: World) -> None:
    sup = await me.spawn(Supervisor, "one_for_one", world.specs("abc"))
    world.take()
    ref = me.monitor(sup)
    me.exit(sup, "shutdown")
    down = await ref.wait()

    assert down is not None
    assert down.reason == "shutdown"
    assert world.take() == ["stop c shutdown", "stop b shutdown", "stop a shutdown"]


async def test_a_start_that_fails_stops_those_before_it_in_reverse(node: Node, world: World) -> None:
    world.plans["c"].append("fail")
    with pytest.raises(StartError) as caught:
        await start(node, "one_for_one", world.specs("abcd"))

    assert caught.value.reason == ("shutdown", ("failed_to_start_child", "c", "broken"))
    assert world.take() == ["start a", "start b", "fail c", "stop b shutdown", "stop a shutdown"]


async def test_a_taken_name_is_a_failed_start(node: Node, world: World) -> None:
    holder = await node.spawn(Worker, world, "x", name="taken")
    with pytest.raises(StartError) as caught:
        await start(node, "one_for_one", [world.spec("a"), world.spec("b", name="taken")])

    assert caught.value.reason == ("shutdown", ("failed_to_start_child", "b", ("already_started", holder)))
    assert node.whereis("taken") == holder


async def test_wrong_arguments_are_the_childs_failure_and_not_the_supervisors_crash(node: Node, world: World) -> None:
    class NoInit(Actor):
        pass

    for spec in (ChildSpec("b", NoInit, (1,)), ChildSpec("b", Worker), ChildSpec("b", Worker, (world, "b"), {"x": 1})):
        with pytest.raises(StartError) as caught:
            await start(node, "one_for_one", [world.spec("a"), spec])
        assert isinstance(caught.value.reason, tuple)
        _, (what, child_id, why) = caught.value.reason

        assert (what, child_id, why.type) == ("failed_to_start_child", "b", "TypeError")
        assert world.take()[-1] == "stop a shutdown"


async def test_wrong_options_say_what_is_right(node: Node, world: World) -> None:
    with pytest.raises(StartError) as caught:
        await start(node, "one-for-one", world.specs("a"))
    reason = caught.value.reason

    assert isinstance(reason, Crash)
    assert reason.type == "SpecError"
    assert 'Did you mean "one_for_one"' in reason.message
    assert world.take() == []


async def test_a_child_that_is_registered_can_be_found_again_after_its_restart(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", [world.spec("a", name="alpha")])
    first = node.whereis("alpha")
    await crash(sup, "a")

    assert alive(node.whereis("alpha"))
    assert node.whereis("alpha") != first


# --- strategies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", ["stop b boom", "start b"]),
        ("rest_for_one", ["stop b boom", "stop c shutdown", "start b", "start c"]),
        ("one_for_all", ["stop b boom", "stop c shutdown", "stop a shutdown", "start a", "start b", "start c"]),
    ],
)
async def test_who_is_restarted_with_whom_and_in_which_order(
    node: Node, world: World, strategy: str, expected: list[str]
) -> None:
    sup = await start(node, strategy, world.specs("abc"))
    world.take()
    await crash(sup, "b")

    assert world.take() == expected


async def test_a_group_restart_drops_temporary_and_restarts_transient_siblings(node: Node, world: World) -> None:
    specs = [world.spec("a"), world.spec("t", restart="temporary"), world.spec("n", restart="transient")]
    sup = await start(node, "one_for_all", specs)
    world.take()
    await crash(sup, "a")

    assert world.take() == ["stop a boom", "stop n shutdown", "stop t shutdown", "start a", "start n"]
    assert list(await children(sup)) == ["a", "n"]


async def test_a_group_restart_also_starts_a_sibling_that_had_been_stopped(node: Node, world: World) -> None:
    """OTP starts every remaining spec of the group."""
    sup = await start(node, "one_for_all", world.specs("ab"))
    await terminate_child(sup, "a")
    world.take()
    await crash(sup, "b")

    assert world.take() == ["stop b boom", "start a", "start b"]


# --- intensity ---------------------------------------------------------------------------------------------------------


async def test_three_restarts_are_granted_and_the_fourth_ends_the_supervisor(
    node: Node, me: Attached, world: World
) -> None:
    sup = await start(node, "one_for_one", world.specs("ab"), intensity=3, period=5.0)
    ref = me.monitor(sup)
    for _ in range(3):
        await crash(sup, "a")
    assert alive(sup)
    world.take()
    with logged() as entries:
        await crash(sup, "a")
    down = await ref.wait()

    assert down is not None
    assert down.reason == "shutdown"
    assert world.take() == ["stop a boom", "stop b shutdown"]  # not restarted a fourth time
    assert [(e["child"], e["intensity"], e["period"]) for e in events_of(entries, "gave_up")] == [("a", 3, 5.0)]


async def test_all_children_share_one_window(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", world.specs("abcd"), intensity=3)
    for name in "abc":
        await crash(sup, name)
    assert alive(sup)
    await crash(sup, "d")

    assert not alive(sup)


async def test_a_group_restart_counts_once_not_once_per_child(node: Node, world: World) -> None:
    sup = await start(node, "one_for_all", world.specs("abcdef"), intensity=3)
    for _ in range(3):
        await crash(sup, "c")
    assert alive(sup)
    await crash(sup, "c")

    assert not alive(sup)


async def test_restarts_older_than_the_period_are_forgotten(
    node: Node, world: World, autojump_clock: MockClock
) -> None:
    sup = await start(node, "one_for_one", world.specs("a"), intensity=1, period=5.0)
    for _ in range(10):
        await crash(sup, "a")
        await trio.sleep(5.01)
    assert alive(sup)
    await crash(sup, "a")
    await trio.sleep(5.0)  # the window includes its end
    await crash(sup, "a")

    assert not alive(sup)


async def test_asked_restarts_are_free(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", world.specs("a"), intensity=0)
    for _ in range(5):
        await terminate_child(sup, "a")
        await restart_child(sup, "a")

    assert alive(sup)


# --- what becomes of specs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["normal", "shutdown", ("shutdown", "moved")])
async def test_a_transient_child_that_ends_well_keeps_its_spec(node: Node, world: World, reason: object) -> None:
    sup = await start(node, "one_for_one", [world.spec("a", restart="transient")], intensity=0)
    await crash(sup, "a", reason)
    info = (await children(sup))["a"]
    assert (info.pid, info.status) == (None, "stopped")
    with pytest.raises(ChildError) as caught:
        await start_child(sup, world.spec("a"))
    assert caught.value.reason == "already_present"

    assert alive(await restart_child(sup, "a"))


async def test_a_permanent_child_is_restarted_even_after_a_normal_end(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", world.specs("a"))
    await crash(sup, "a", "normal")

    assert (await children(sup))["a"].status == "running"


async def test_a_temporary_child_is_never_restarted_and_forgotten(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", [world.spec("a", restart="temporary")], intensity=0)
    await crash(sup, "a")

    assert await which_children(sup) == ()


async def test_the_arguments_of_a_temporary_child_are_not_kept(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", [world.spec("a", restart="temporary"), world.spec("b")])
    await start_child(sup, world.spec("c", restart="temporary"))

    assert [(await get_child_spec(sup, name)).args for name in "abc"] == [(), (world, "b"), ()]


async def test_a_child_that_declines_keeps_its_spec_unless_it_is_temporary(node: Node, world: World) -> None:
    for name in "abc":
        world.plans[name].append("ignore")
    sup = await start(node, "one_for_one", [world.spec("a"), world.spec("b", restart="temporary")])
    declined = await start_child(sup, world.spec("c", restart="temporary"))

    assert declined is None
    assert [(i.id, i.status) for i in await which_children(sup)] == [("a", "stopped")]
    assert alive(await restart_child(sup, "a"))


async def test_a_child_that_declines_its_restart_is_stopped_and_counts(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", world.specs("a"))
    world.plans["a"].append("ignore")
    await crash(sup, "a")

    assert (await children(sup))["a"].status == "stopped"


# --- what one may ask --------------------------------------------------------------------------------------------------


async def test_a_started_child_is_the_last_and_stops_first(node: Node, me: Attached, world: World) -> None:
    sup = await me.spawn(Supervisor, "rest_for_one", world.specs("ab"))
    await start_child(sup, world.spec("c"))
    world.take()
    await crash(sup, "b")
    assert world.take() == ["stop b boom", "stop c shutdown", "start b", "start c"]
    me.exit(sup, "shutdown")
    await gone(sup)

    assert world.take() == ["stop c shutdown", "stop b shutdown", "stop a shutdown"]


async def test_what_otp_declines_is_declined_with_its_word(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", world.specs("a"))
    running = await pid_of(sup, "a")
    for ask, word in [
        (start_child(sup, world.spec("a")), ("already_started", running)),
        (restart_child(sup, "a"), "running"),
        (delete_child(sup, "a"), "running"),
        (restart_child(sup, "x"), "not_found"),
        (delete_child(sup, "x"), "not_found"),
        (terminate_child(sup, "x"), "not_found"),
        (get_child_spec(sup, "x"), "not_found"),
    ]:
        with pytest.raises(ChildError) as caught:
            await ask
        assert caught.value.reason == word
        assert len(str(caught.value)) > 20


async def test_delete_forgets_a_stopped_child(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", world.specs("ab"))
    await terminate_child(sup, "a")
    await terminate_child(sup, "a")  # twice is fine
    await delete_child(sup, "a")

    assert list(await children(sup)) == ["b"]
    assert alive(await start_child(sup, world.spec("a")))
    assert list(await children(sup)) == ["b", "a"]


async def test_a_child_whose_start_fails_is_not_added(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one")
    world.plans["a"].append("fail")
    with pytest.raises(StartError) as caught:
        await start_child(sup, world.spec("a"))
    assert caught.value.reason == "broken"

    assert await which_children(sup) == ()
    assert alive(await start_child(sup, world.spec("a")))


async def test_restart_child_that_fails_keeps_the_spec(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", world.specs("a"))
    await terminate_child(sup, "a")
    world.plans["a"].append("fail")
    with pytest.raises(StartError):
        await restart_child(sup, "a")

    assert (await children(sup))["a"].status == "stopped"


async def test_children_are_counted_by_kind(node: Node, world: World) -> None:
    nested = ChildSpec("s", Supervisor, ("one_for_one",))
    sup = await start(node, "one_for_one", [*world.specs("ab"), nested])
    await terminate_child(sup, "b")
    count = await count_children(sup)

    assert (count.specs, count.active, count.supervisors, count.workers) == (3, 2, 1, 2)
    assert [(i.id, i.type, i.start) for i in await which_children(sup)] == [
        ("a", "worker", Worker),
        ("b", "worker", Worker),
        ("s", "supervisor", Supervisor),
    ]


async def test_an_unknown_call_crashes_loudly_and_an_unknown_message_does_not(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one", world.specs("a"))
    with logged() as entries:
        send(sup, ("hello", "secret"))
        await which_children(sup)
    assert alive(sup)
    assert [e["message"] for e in events_of(entries, "unexpected_message")] == ["tuple"]
    with pytest.raises(CallExit):
        await call(sup, "which_childern")

    assert not alive(sup)


# --- significance ------------------------------------------------------------------------------------------------------


async def significant(node: Node, world: World, mode: str, restart: str = "transient") -> Pid:
    specs = [
        world.spec("a", restart=restart, significant=True),
        world.spec("b", restart=restart, significant=True),
        world.spec("c", restart="transient"),
    ]
    return await start(node, "one_for_one", specs, auto_shutdown=mode)


async def test_the_first_significant_child_that_ends_well_ends_an_any_significant_supervisor(
    node: Node, me: Attached, world: World
) -> None:
    sup = await significant(node, world, "any_significant")
    ref = me.monitor(sup)
    world.take()
    await crash(sup, "c", "normal")
    assert alive(sup)
    await crash(sup, "a", "normal")
    down = await ref.wait()

    assert down is not None
    assert down.reason == "shutdown"
    assert world.take() == ["stop c normal", "stop a normal", "stop b shutdown"]


async def test_a_significant_child_that_is_restarted_ends_nothing(node: Node, world: World) -> None:
    sup = await significant(node, world, "any_significant")
    await crash(sup, "a", "boom")

    assert alive(sup)


async def test_a_temporary_significant_child_ends_it_even_by_a_crash(node: Node, world: World) -> None:
    sup = await significant(node, world, "any_significant", restart="temporary")
    await crash(sup, "a", "boom")

    assert not alive(sup)


async def test_all_significant_waits_for_the_last(node: Node, world: World) -> None:
    sup = await significant(node, world, "all_significant")
    await crash(sup, "a", "normal")
    assert alive(sup)
    await crash(sup, "b", "normal")

    assert not alive(sup)


async def test_a_significant_child_that_is_being_restarted_is_still_one_to_wait_for(
    node: Node, world: World, autojump_clock: MockClock
) -> None:
    specs = [world.spec(name, restart="transient", significant=True) for name in "ab"]
    backoff = Backoff(initial=1.0, jitter=0)
    sup = await start(node, "one_for_one", specs, auto_shutdown="all_significant", backoff=backoff)
    cast(await pid_of(sup, "a"), ("exit", "boom"))
    await restarting(sup, "a")
    cast(await pid_of(sup, "b"), ("exit", "normal"))
    await trio.sleep(2)
    assert alive(sup)
    await crash(sup, "a", "normal")

    assert not alive(sup)


async def test_stopping_a_significant_child_on_request_ends_nothing(node: Node, world: World) -> None:
    sup = await significant(node, world, "any_significant")
    await terminate_child(sup, "a")

    assert alive(sup)


async def test_a_significant_child_needs_a_supervisor_with_auto_shutdown(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one")
    with pytest.raises(SpecError, match="auto_shutdown"):
        await start_child(sup, world.spec("a", restart="transient", significant=True))

    assert world.take() == []


# --- trees -------------------------------------------------------------------------------------------------------------


async def test_a_supervisor_that_gives_up_is_restarted_by_its_own(node: Node, world: World) -> None:
    inner = ChildSpec("inner", Loud, (world, "inner", "one_for_one", world.specs("ab")), {"intensity": 1})
    top = await start(node, "one_for_one", [inner, world.spec("z")], intensity=2)
    sub = await pid_of(top, "inner")
    await crash(sub, "a")
    world.take()
    with logged() as entries:
        await crash(sub, "a")
        await settled(top, sub)
    renewed = await pid_of(top, "inner")

    assert renewed != sub
    assert world.take() == [
        "stop a boom",
        "stop b shutdown",
        "stop inner shutdown",
        "start inner",
        "start a",
        "start b",
    ]
    # A permanent child that ends with "shutdown" has failed all the same.
    told = [(e["child"], e["reason"]) for e in events_of(entries, "child_terminated")]
    assert told == [("a", "boom"), ("inner", "shutdown")]


async def test_escalation_reaches_the_top_and_everything_stops_in_order(node: Node, me: Attached, world: World) -> None:
    inner = ChildSpec("inner", Loud, (world, "inner", "one_for_one", world.specs("ab")), {"intensity": 0})
    top = await start(node, "one_for_one", [world.spec("y"), inner, world.spec("z")], intensity=0)
    ref = me.monitor(top)
    sub = await pid_of(top, "inner")
    world.take()
    cast(await pid_of(sub, "a"), ("exit", "boom"))
    down = await ref.wait()

    assert down is not None
    assert down.reason == "shutdown"
    assert world.take() == [
        "stop a boom",
        "stop b shutdown",
        "stop inner shutdown",
        "stop z shutdown",
        "stop y shutdown",
    ]


async def test_a_transient_supervisor_that_gives_up_is_not_restarted(node: Node, world: World) -> None:
    """Its reason is "shutdown", which is an orderly end to OTP."""
    inner = ChildSpec("inner", Supervisor, ("one_for_one", world.specs("a")), {"intensity": 0}, "transient")
    top = await start(node, "one_for_one", [inner])
    sub = await pid_of(top, "inner")
    await crash(sub, "a")
    await settled(top, sub)

    assert (await children(top))["inner"].status == "stopped"


async def test_a_killed_supervisor_takes_its_whole_tree_with_it(node: Node, world: World) -> None:
    inner = ChildSpec("inner", Supervisor, ("one_for_one", world.specs("ab")))
    top = await start(node, "one_for_one", [inner, world.spec("z")])
    sub = await pid_of(top, "inner")
    pids = [await pid_of(sub, "a"), await pid_of(sub, "b"), await pid_of(top, "z"), sub, top]
    node.exit(top, "kill")
    await gone(*pids)

    # The inner one traps exits: its parent's end makes it stop its own children in order.
    told = world.take()[3:]
    assert sorted(told) == ["stop a shutdown", "stop b shutdown", "stop z killed"]
    assert told.index("stop b shutdown") < told.index("stop a shutdown")


async def test_a_subclass_may_compute_its_children(node: Node, world: World) -> None:
    class Web(Supervisor):
        async def init(self, size: int) -> object:
            return await super().init("one_for_one", [world.spec(f"w{i}") for i in range(size)])

    sup = await node.spawn(Web, 3)

    assert list(await children(sup)) == ["w0", "w1", "w2"]
    assert ChildSpec("web", Web).type == "supervisor"


async def test_two_of_one_id_cannot_be_asked_for_at_the_same_time(node: Node, world: World) -> None:
    sup = await start(node, "one_for_one")
    outcomes: list[object] = []

    async def ask() -> None:
        try:
            outcomes.append(await start_child(sup, world.spec("a")))
        except ChildError as error:
            outcomes.append(error.reason)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    winner = next(outcome for outcome in outcomes if isinstance(outcome, Pid))

    assert outcomes.count(("already_started", winner)) == 2


async def test_names_in_use_are_reported_by_their_holder(node: Node, world: World) -> None:
    with pytest.raises(NameTaken):
        await node.spawn(Supervisor, "one_for_one", name="sup")
        await node.spawn(Supervisor, "one_for_one", name="sup")


async def test_the_monitor_of_a_caller_is_none_of_the_supervisors_business(
    node: Node, me: Attached, world: World
) -> None:
    sup = await start(node, "one_for_one", world.specs("a"))
    ref = me.monitor(await pid_of(sup, "a"))
    await crash(sup, "a", ("shutdown", "x"))
    down = await ref.wait()

    assert isinstance(down, Down)
    assert text(down.reason) == "shutdown:x"
