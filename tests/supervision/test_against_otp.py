"""The same random scenario on OTP's own supervisor and on ours: what happens, and in which order, must be equal."""

from __future__ import annotations

import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.supervision._world import Worker, World, alive, children, settled, text
from wsactors.actors import Pid, cast
from wsactors.errors import ChildError, SpecError, StartError
from wsactors.supervision import (
    ChildSpec,
    Supervisor,
    count_children,
    delete_child,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from wsactors.supervision.node import Node

pytestmark = [
    pytest.mark.erlang,
    pytest.mark.skipif(
        shutil.which("escript") is None, reason="needs Erlang/OTP (Debian: erlang-base) for the comparison"
    ),
]

ORACLE: Final = Path(__file__).with_name("otp_supervisor.escript")
ANSWER_SECONDS: Final = 20.0


@attrs.frozen
class Scenario:
    """A supervisor, its children (id, restart, shutdown, significant), and what is done to it."""

    strategy: str
    intensity: int
    auto_shutdown: str
    children: tuple[tuple[str, str, float | str, bool], ...]
    steps: tuple[Any, ...]

    def term(self) -> str:
        """The scenario as one line of Erlang."""
        head = f"{self.strategy},{self.intensity},{self.auto_shutdown}"
        return f"{{{head},{_term(list(self.children))},{_term(list(self.steps))}}}.\n"


def _term(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return str(int(value * 1000))
        case list():  # before the sequence pattern below, which a list fits too
            return "[" + ",".join(map(_term, value)) + "]"
        case (word,):
            return str(word)
        case tuple():
            return "{" + ",".join(map(_term, value)) + "}"
        case _:
            return str(value)


# --- the two sides -----------------------------------------------------------------------------------------------------


class Oracle:
    """OTP, running ``otp_supervisor.escript``."""

    def __init__(self) -> None:
        command = [shutil.which("escript") or "escript", str(ORACLE)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def play(self, scenario: Scenario) -> list[str]:
        """What happened there."""
        self.stdin.write(scenario.term().encode())
        said = b""
        while not said.endswith(b"--\n"):
            ready, _, _ = select.select([self.stdout], [], [], ANSWER_SECONDS)
            assert ready, f"OTP said no more within {ANSWER_SECONDS} s about {scenario.term()}: {said!r}"
            more = self.stdout.read(65_536)
            assert more, f"OTP ended at {scenario.term()}"
            said += more
        return said.decode().splitlines()[:-1]

    def close(self) -> None:
        """End it."""
        self.stdin.close()
        self.process.wait(10)
        self.stdout.close()


@pytest.fixture(scope="module")
def otp() -> Iterator[Oracle]:
    oracle = Oracle()
    yield oracle
    oracle.close()


async def play(scenario: Scenario) -> list[str]:
    """What happens with ours."""
    world = World()
    steps = list(scenario.steps)
    while steps and steps[0][0] == "plan":
        _, child_id, outcomes = steps.pop(0)
        world.plans[child_id].extend(outcomes)
    async with Node("ours") as node, node.attach() as me:
        options = {"intensity": scenario.intensity, "period": 3600.0, "auto_shutdown": scenario.auto_shutdown}
        try:
            sup = await me.spawn(Supervisor, scenario.strategy, _specs(world, scenario.children), kwargs=options)
        except StartError as error:
            refused = getattr(error.reason, "type", None) == "SpecError"
            world.say(f"boot failed {'refused' if refused else text(error.reason)}")
            return world.take()
        ref = me.monitor(sup)
        for step in steps:
            if not alive(sup):
                break
            await _step(world, sup, step)
        if alive(sup):
            world.say("end")
            me.exit(sup, "shutdown")
        down = await ref.wait(10)
        assert down is not None
        world.say(f"down {text(down.reason)}")
    return world.events


async def within(scenario: Scenario) -> list[str]:
    """``play`` under a limit of real time: nothing here has to wait for anything but the machine."""
    with trio.fail_after(30):
        return await play(scenario)


def _specs(world: World, children: Any) -> list[ChildSpec]:
    return [_spec(world, *child) for child in children]


def _spec(world: World, child_id: str, restart: Any, shutdown: Any, significant: bool) -> ChildSpec:
    return ChildSpec(child_id, Worker, (world, child_id), {}, restart, shutdown=shutdown, significant=significant)


async def _step(world: World, sup: Pid, step: Any) -> None:
    match step:
        case ("plan", child_id, outcomes):
            world.plans[child_id].clear()
            world.plans[child_id].extend(outcomes)
        case ("exit", child_id, reason):
            info = (await children(sup)).get(child_id)
            if info is None or info.pid is None:
                world.say("nobody")
                return
            cast(info.pid, ("exit", reason))
            await settled(sup, info.pid)
        case ("terminate", child_id):
            world.say(f"terminate {child_id} {await _answer(terminate_child(sup, child_id))}")
        case ("restart", child_id):
            world.say(f"restart {child_id} {await _answer(restart_child(sup, child_id), starts=True)}")
        case ("delete", child_id):
            world.say(f"delete {child_id} {await _answer(delete_child(sup, child_id))}")
        case ("start", child):
            answer = "refused" if child[3] and child[1] == "permanent" else None
            world.say(
                f"start_child {child[0]} {answer or await _answer(start_child(sup, _spec(world, *child)), starts=True)}"
            )
        case ("which",):
            lines = [f" {info.id}:{info.status}" for info in await which_children(sup)]
            world.say(f"which{''.join(lines)}")
        case ("count",):
            count = await count_children(sup)
            world.say(f"count {count.specs} {count.active} {count.supervisors} {count.workers}")


async def _answer(asked: Any, *, starts: bool = False) -> str:
    try:
        result = await asked
    except ChildError as error:
        return "already_started" if isinstance(error.reason, tuple) else str(error.reason)
    except StartError as error:
        return f"failed {text(error.reason)}"
    except SpecError:
        return "refused"
    if not starts:
        return "ok"
    return "ok undefined" if result is None else "ok pid"


# --- scenarios ---------------------------------------------------------------------------------------------------------

IDS = "abcdef"
ids = st.sampled_from(IDS)
restarts = st.sampled_from(["permanent", "transient", "temporary"])
shutdowns: st.SearchStrategy[float | str] = st.sampled_from([5.0, "brutal_kill", "infinity"])
reasons = st.sampled_from(["boom", "boom", "boom", "normal", "shutdown", ("shutdown", "x")])
outcomes = st.lists(st.sampled_from(["ok", "fail", "fail", "ignore"]), min_size=1, max_size=4)


@st.composite
def child_tuples(draw: st.DrawFn, child_id: str, auto: str) -> tuple[str, str, float | str, bool]:
    restart: str = draw(restarts)
    allowed = restart != "permanent" and auto != "never"
    return child_id, restart, draw(shutdowns), allowed and draw(st.booleans())


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    auto = draw(st.sampled_from(["never", "never", "any_significant", "all_significant"]))
    count = draw(st.integers(1, 5))
    members = tuple(draw(child_tuples(child_id, auto)) for child_id in IDS[:count])
    step = st.one_of(
        st.tuples(st.just("exit"), ids, reasons),
        st.tuples(st.just("exit"), ids, reasons),
        st.tuples(st.just("plan"), ids, outcomes),
        st.tuples(st.sampled_from(["terminate", "restart", "delete"]), ids),
        st.sampled_from([("which",), ("count",)]),
        st.tuples(st.just("start"), ids.flatmap(lambda child_id: child_tuples(child_id, auto))),
    )
    boot = draw(st.lists(st.tuples(st.just("plan"), ids, outcomes), max_size=1))
    steps = (*boot, ("which",), *draw(st.lists(step, max_size=14)), ("which",))
    strategy = draw(st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]))
    return Scenario(strategy, draw(st.integers(0, 6)), auto, members, steps)


PERMANENT = tuple((child_id, "permanent", 5.0, False) for child_id in "abc")


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(scenario=scenarios())
@example(scenario=Scenario("rest_for_one", 3, "never", PERMANENT, (("exit", "b", "boom"),) * 4))
@example(
    scenario=Scenario(
        "one_for_all", 3, "never", PERMANENT, (("which",), ("plan", "c", ["fail"] * 2), ("exit", "a", "boom"))
    )
)
@example(
    scenario=Scenario(
        "rest_for_one", 3, "never", PERMANENT, (("which",), ("plan", "c", ["fail"] * 9), ("exit", "b", "boom"))
    )
)
@example(scenario=Scenario("one_for_one", 3, "never", PERMANENT, (("plan", "b", ["fail"]),)))
def test_every_scenario_goes_as_in_otp(otp: Oracle, scenario: Scenario) -> None:
    ours = trio.run(within, scenario)

    assert ours == otp.play(scenario)


def test_the_orders_that_the_design_quotes(otp: Oracle) -> None:
    """A fixed point, so that the comparison itself is known to compare something."""
    scenario = Scenario("rest_for_one", 3, "never", PERMANENT, (("exit", "b", "boom"),))

    assert otp.play(scenario)[3:7] == ["stop b boom", "stop c shutdown", "start b", "start c"]
