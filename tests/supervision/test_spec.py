"""Child specs and supervisor options: OTP's words and defaults, and errors that teach."""

from __future__ import annotations

import math
from typing import Any

import pytest

from wsactors.actors.redact import safe_repr
from wsactors.errors import SpecError
from wsactors.supervision.spec import Backoff, ChildSpec, SupervisorOptions, check_children


class Worker:
    """Looks like an Actor to a spec, which starts nothing."""

    async def init(self) -> None: ...


class Boss(Worker):
    child_type = "supervisor"


def test_defaults_are_those_of_otp() -> None:
    spec = ChildSpec("a", Worker)

    assert (spec.restart, spec.shutdown, spec.type, spec.significant) == ("permanent", 5.0, "worker", False)


def test_a_supervisor_class_is_a_supervisor_child_and_may_take_for_ever_to_stop() -> None:
    spec = ChildSpec("a", Boss)

    assert (spec.type, spec.shutdown) == ("supervisor", "infinity")
    assert ChildSpec("a", Worker, type="supervisor").shutdown == "infinity"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (
            {"restart": "permanant"},
            'restart: expected one of permanent, transient, temporary.*Did you mean "permanent"',
        ),
        ({"restart": None}, "restart: expected one of"),
        ({"shutdown": "brutal-kill"}, 'shutdown: expected seconds.*Did you mean "brutal_kill"'),
        ({"shutdown": -1}, "shutdown: expected seconds"),
        ({"shutdown": math.inf}, "shutdown: expected seconds"),
        ({"shutdown": math.nan}, "shutdown: expected seconds"),
        ({"shutdown": True}, "shutdown: expected seconds"),
        ({"type": "boss"}, "type: expected one of worker, supervisor"),
        ({"significant": True}, "significant: a permanent child is always restarted"),
        ({"name": ""}, "name: expected a non-empty string"),
        ({"id": None}, "id: expected an id"),
        ({"id": []}, "id: expected something hashable"),
        ({"start": Worker()}, r"start: expected a class, got .*: give the class itself"),
        ({"start": int}, "start: expected a subclass of Actor, got the class int"),
    ],
)
def test_a_wrong_word_is_refused_with_the_right_ones(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        ChildSpec(**{"id": "a", "start": Worker, **wrong})


def test_everything_wrong_is_told_at_once() -> None:
    wrong: dict[str, Any] = {"id": "a", "start": Worker, "restart": "never", "shutdown": "soon", "type": "boss"}
    with pytest.raises(SpecError) as caught:
        ChildSpec(**wrong)

    assert all(word in str(caught.value) for word in ("child 'a'", "restart:", "shutdown:", "type:"))


def test_arguments_cannot_change_behind_the_specs_back() -> None:
    args, kwargs = [1], {"size": 2}
    spec = ChildSpec("a", Worker, args, kwargs)
    args.append(9)
    kwargs["size"] = 9

    assert (spec.args, dict(spec.kwargs)) == ((1,), {"size": 2})
    assert spec.without_arguments().args == ()
    assert dict(spec.without_arguments().kwargs) == {}


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"strategy": "one-for-all"}, 'strategy: expected one of.*Did you mean "one_for_all"'),
        ({"intensity": -1}, "intensity: expected a whole number of restarts"),
        ({"intensity": 1.5}, "intensity: expected a whole number"),
        ({"intensity": True}, "intensity: expected a whole number"),
        ({"period": 0}, "period: expected more than 0"),
        ({"period": "5"}, "period: expected seconds"),
        ({"auto_shutdown": "any"}, "auto_shutdown: expected one of never, any_significant, all_significant"),
    ],
)
def test_supervisor_options_are_checked(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        SupervisorOptions(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"initial": -1}, {"factor": 0.5}, {"jitter": 1.1}, {"maximum": "x"}, {"reset_after": -1}]
)
def test_backoff_is_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=f"backoff: {next(iter(wrong))}: expected"):
        Backoff(**wrong)


def test_ids_are_unique_within_a_supervisor() -> None:
    with pytest.raises(SpecError, match="child 'a': a second child has this id"):
        check_children([ChildSpec("a", Worker), ChildSpec("b", Worker), ChildSpec("a", Worker)], "never")


def test_a_significant_child_needs_a_supervisor_that_cares() -> None:
    significant = ChildSpec("a", Worker, restart="transient", significant=True)
    with pytest.raises(SpecError, match='auto_shutdown "never"'):
        check_children([significant], "never")

    assert check_children([significant], "any_significant") == (significant,)


def test_children_that_are_no_specs_are_named() -> None:
    with pytest.raises(SpecError, match="child 0: expected a ChildSpec"):
        check_children([Worker], "never")  # type: ignore[list-item]


def test_a_spec_shows_no_arguments_wherever_it_is_shown() -> None:
    spec = ChildSpec("a", Worker, ("hunter2",), {"plain": "hunter2"})

    assert "hunter2" not in repr(spec)
    assert "hunter2" not in safe_repr({"children": [spec]}, 10_000)
