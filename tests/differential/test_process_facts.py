"""Processes, links, monitors, exits, calls and servers do what Erlang/OTP does, scenario by scenario.

Each scenario runs twice: as a case of erlang/process_facts.erl on the installed OTP, and as its twin here on wsactors.
The facts they leave must be equal, unless `DEVIATIONS` says that we differ on purpose; then ours must be what it says,
and OTP's must not.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Final

import pytest
import trio.testing

from tests.differential import _call_scenarios, _life_scenarios, _link_scenarios, _signal_scenarios
from tests.differential._otp import facts
from tests.differential._world import Scenario, play

DEVIATIONS: Final[dict[str, tuple[str, str]]] = {
    "send_dead_pid": ("[{sent,{value,false}}]", "send tells whether somebody was there"),
    "send_unregistered_name": ("[{sent,{value,false}}]", "send never raises for a missing target"),
    "cast_unregistered_name": ("[{cast,{value,false}}]", "cast tells whether somebody was there"),
    "unregister_unknown": ("[value]", "unregistering an unknown name is no error"),
    "linked_init_stops": (
        "[{start,{error,enough}},{whereis,undefined},quiet]",
        "a failed start reaches the starter as StartError alone: no Exit is left in its mailbox",
    ),
    "linked_init_stops_not_trapping": (
        "[{down,ref,p,{crash,StartError}}]",
        "for the same reason the starter is not killed by the link; here it crashes because it does not catch the StartError",
    ),
}
"""Scenario → the facts we leave, and why we differ. Each is documented where the function is."""


def _twins(*modules: ModuleType) -> dict[str, Scenario]:
    """Every async function of one argument ``w`` is a scenario."""
    return {
        name: function
        for module in modules
        for name, function in vars(module).items()
        if inspect.iscoroutinefunction(function) and list(inspect.signature(function).parameters) == ["w"]
    }


TWINS: Final = _twins(_link_scenarios, _signal_scenarios, _call_scenarios, _life_scenarios)


@pytest.mark.erlang
@pytest.mark.parametrize("name", sorted(TWINS))
async def test_facts_equal_those_of_otp(name: str, autojump_clock: trio.testing.MockClock) -> None:
    otp = facts("process_facts")[name]
    ours = await play(TWINS[name])
    if name in DEVIATIONS:
        expected, why = DEVIATIONS[name]
        assert otp != expected, f"OTP does the same: this is no deviation any more ({why})"
        assert ours == expected, why
    else:
        assert ours == otp


@pytest.mark.erlang
def test_every_scenario_has_its_twin() -> None:
    assert sorted(facts("process_facts")) == sorted(TWINS)


def test_deviations_name_scenarios() -> None:
    assert DEVIATIONS.keys() <= TWINS.keys()
