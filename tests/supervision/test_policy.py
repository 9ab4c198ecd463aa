"""The decisions of a supervisor, one rule at a time, and the restart window against its definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.supervision.policy import (
    Action,
    RestartWindow,
    affected,
    ends_supervisor,
    next_row,
    on_exit,
    pause,
    stopped_well,
)
from wsactors.supervision.spec import Backoff

CLEAN: list[object] = ["normal", "shutdown", ("shutdown", "moved")]
CRASHES: list[object] = ["boom", "killed", "noproc", ("error", 1), ("shutdown",), ("shutdown", 1, 2), None]


@pytest.mark.parametrize("reason", CLEAN + CRASHES)
def test_a_permanent_child_is_restarted_whatever_the_reason(reason: object) -> None:
    assert on_exit("permanent", reason).action is Action.RESTART
    assert on_exit("permanent", reason).report


@pytest.mark.parametrize("reason", CLEAN)
def test_a_transient_child_that_ended_well_keeps_its_spec(reason: object) -> None:
    verdict = on_exit("transient", reason)

    assert (verdict.action, verdict.report) == (Action.KEEP, False)


@pytest.mark.parametrize("reason", CRASHES)
def test_a_transient_child_that_crashed_is_restarted(reason: object) -> None:
    assert on_exit("transient", reason).action is Action.RESTART


def test_a_temporary_child_is_dropped_and_only_a_crash_is_reported() -> None:
    assert {on_exit("temporary", reason).action for reason in CLEAN + CRASHES} == {Action.DROP}
    assert not any(on_exit("temporary", reason).report for reason in CLEAN)
    assert all(on_exit("temporary", reason).report for reason in CRASHES)


@pytest.mark.parametrize(
    ("restart", "shutdown", "reason", "well"),
    [
        ("permanent", 5.0, "shutdown", True),
        ("permanent", 5.0, "normal", False),
        ("permanent", 5.0, ("shutdown", "x"), False),
        ("permanent", 5.0, "killed", False),
        ("transient", 5.0, "normal", True),
        ("transient", "infinity", ("shutdown", "x"), True),
        ("temporary", 5.0, "killed", False),
        ("permanent", "brutal_kill", "killed", True),
        ("permanent", "brutal_kill", "shutdown", False),
        ("transient", "brutal_kill", "shutdown", True),
        ("transient", "brutal_kill", "boom", False),
    ],
)
def test_which_end_of_a_stopped_child_is_an_error(restart, shutdown, reason, well) -> None:
    assert stopped_well(restart, shutdown, reason) is well


def test_who_is_restarted_with_whom() -> None:
    ids = ["a", "b", "c", "d"]

    assert list(affected("one_for_one", ids, "b")) == ["b"]
    assert list(affected("rest_for_one", ids, "b")) == ["b", "c", "d"]
    assert list(affected("one_for_all", ids, "b")) == ids


@pytest.mark.parametrize(
    ("mode", "significant", "others", "ends"),
    [
        ("never", True, [], False),
        ("any_significant", False, [], False),
        ("any_significant", True, [True], True),
        ("all_significant", True, [True], False),
        ("all_significant", True, [False, False], True),
        ("all_significant", True, [], True),
        ("all_significant", False, [], False),
    ],
)
def test_auto_shutdown(mode, significant, others, ends) -> None:
    assert ends_supervisor(mode, significant=significant, others_active=others) is ends


def test_intensity_three_grants_three_and_refuses_the_fourth() -> None:
    window = RestartWindow(3, 5.0)

    assert [window.request(0.0) for _ in range(4)] == [True, True, True, False]


def test_intensity_nought_never_grants() -> None:
    assert not RestartWindow(0, 5.0).request(100.0)


def test_the_window_includes_both_its_ends() -> None:
    at_the_end, past_it = RestartWindow(1, 5.0), RestartWindow(1, 5.0)
    at_the_end.request(10.0)
    past_it.request(10.0)

    assert not at_the_end.request(15.0)
    assert past_it.request(15.000001)


def test_the_window_slides_and_does_not_tumble() -> None:
    window = RestartWindow(2, 10.0)

    assert [window.request(t) for t in (0.0, 9.0, 11.0)] == [True, True, True]
    assert not window.request(18.0)


def test_a_refusal_is_foreseen_only_when_sure() -> None:
    window = RestartWindow(2, 10.0)
    window.request(0.0)
    window.request(6.0)

    assert window.would_refuse(7.0)
    assert window.would_refuse(10.0)
    assert not window.would_refuse(10.5)
    assert len(window) == 2


@given(
    intensity=st.integers(0, 6),
    period=st.floats(0.01, 100, allow_nan=False),
    gaps=st.lists(st.floats(0, 60, allow_nan=False), max_size=60),
)
def test_no_window_ever_holds_more_than_the_intensity_and_none_is_refused_without_need(
    intensity: int, period: float, gaps: list[float]
) -> None:
    window, now = RestartWindow(intensity, period), 0.0
    granted: list[float] = []
    for gap in gaps:
        now += gap
        within = [moment for moment in granted if now - moment <= period]
        assert window.would_refuse(now) == (len(within) >= intensity)
        allowed = window.request(now)

        assert allowed == (len(within) < intensity)
        if allowed:
            granted.append(now)
        assert len(window) <= intensity


def test_pauses_double_up_to_the_maximum_and_jitter_only_shortens() -> None:
    backoff = Backoff(initial=0.5, maximum=3.0, factor=2.0, jitter=0.5)

    assert [pause(backoff, row, 0.0) for row in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert pause(backoff, 1, 0.999) == pytest.approx(0.5, abs=0.01)


@given(
    row=st.integers(0, 10**9),
    chance=st.floats(0, 1, exclude_max=True),
    factor=st.floats(1, 100),
    jitter=st.floats(0, 1),
)
def test_a_pause_is_never_negative_never_above_the_maximum_and_never_overflows(row, chance, factor, jitter) -> None:
    backoff = Backoff(initial=0.1, maximum=30.0, factor=factor, jitter=jitter)

    assert 0 <= pause(backoff, row, chance) <= 30.0


def test_a_child_that_lived_long_enough_starts_its_row_again() -> None:
    backoff = Backoff(reset_after=60.0)

    assert next_row(backoff, -1, 0.0) == 0
    assert next_row(backoff, 4, 59.9) == 5
    assert next_row(backoff, 4, 60.0) == 0
