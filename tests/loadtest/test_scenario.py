from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.loadtest.scenario import Pacer, Schedule, Sharing, Stages, highest_message_rate, part_of, topic_of
from wsactors.loadtest.settings import GroupSettings, LoadSettings, StageSettings


def ramp_and_hold(**more: float) -> Stages:
    return Stages([StageSettings(users=100, seconds=10.0, **more), StageSettings(users=100, seconds=5.0)])


def test_a_ramp_grows_evenly_then_holds_then_ends() -> None:
    shape = ramp_and_hold()

    ticks = [shape.tick(elapsed) for elapsed in (0, 2.5, 10, 14.9, 15)]
    assert ticks == [(0, 10.0), (25, 10.0), (100, 10.0), (100, 10.0), None]


def test_a_spawn_rate_reaches_the_number_sooner() -> None:
    shape = ramp_and_hold(spawn_rate=50.0)

    assert [shape.tick(elapsed) for elapsed in (1, 2, 3)] == [(50, 50.0), (100, 50.0), (100, 50.0)]


def test_a_later_stage_may_have_fewer_users() -> None:
    shape = Stages([StageSettings(users=10, seconds=1.0, spawn_rate=100.0), StageSettings(users=4, seconds=2.0)])

    assert [shape.tick(elapsed) for elapsed in (0.5, 1, 2, 2.99)] == [(10, 100.0), (10, 3.0), (7, 3.0), (5, 3.0)]


groups = st.dictionaries(
    st.sampled_from("abcd"),
    st.builds(
        lambda weight, fixed: GroupSettings(weight=weight, fixed_count=fixed), st.floats(0.1, 10), st.integers(0, 5)
    ),
    min_size=1,
)


@settings(deadline=None)
@given(groups, st.integers(1, 300))
def test_nobody_is_sent_away_while_the_number_grows(kinds: dict[str, GroupSettings], most: int) -> None:
    sharing = Sharing(kinds, most)
    previous = dict.fromkeys(kinds, 0)

    for total in range(most + 1):
        counts = sharing.counts(total)
        assert all(counts[name] >= previous[name] for name in kinds)
        assert sum(counts.values()) <= total
        previous = counts


def test_fixed_counts_come_first_and_the_rest_by_weight() -> None:
    kinds = {
        "ear": GroupSettings(weight=3.0),
        "mouth": GroupSettings(fixed_count=2),
        "other": GroupSettings(weight=1.0),
    }
    sharing = Sharing(kinds, 402)

    assert sharing.counts(1) == {"ear": 0, "mouth": 1, "other": 0}
    assert sharing.counts(402) == {"ear": 300, "mouth": 2, "other": 100}


@given(st.integers(0, 1000), st.integers(1, 16))
def test_the_processes_have_all_users_together(count: int, processes: int) -> None:
    parts = [part_of(count, index, processes) for index in range(processes)]

    assert sum(parts) == count
    assert max(parts) - min(parts) <= 1


def test_users_spread_over_topics() -> None:
    group = GroupSettings(topic="room:{}", topics=3)

    assert [topic_of(group, number) for number in range(4)] == ["room:0", "room:1", "room:2", "room:0"]


def test_a_stall_shows_in_every_message_it_held_up() -> None:
    """Coordinated omission: a sender that waits for the last answer would tell of one slow message."""
    schedule = Schedule(start=0.0, rate=10.0)
    intended = []
    for now in (0.05, 0.15, 0.25, 1.25):  # after 0.25 the sender could not run for a second
        while (due := schedule.due(now)) is not None:
            intended.append((due, now - due))

    assert [round(due, 1) for due, _ in intended] == [index / 10 for index in range(13)]
    assert sum(1 for _, delay in intended if delay > 0.1) == 9


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 0.5), max_size=50))
def test_a_schedule_drops_no_message(rate: float, pauses: list[float]) -> None:
    schedule, now, count = Schedule(100.0, rate), 100.0, 0
    for pause in pauses:
        now += pause
        while schedule.due(now) is not None:
            count += 1

    assert abs(count - ((now - 100.0) * rate + 1)) <= 1.001


def test_a_pacer_spreads_what_comes_at_once() -> None:
    pacer = Pacer(rate=10.0)

    assert [round(pacer.reserve(5.0), 3) for _ in range(3)] == [0.0, 0.1, 0.2]
    assert pacer.reserve(9.0) == 0.0
    assert [Pacer(0.0).reserve(5.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_the_highest_message_rate_is_that_of_the_fullest_stage() -> None:
    run = LoadSettings(
        stages={"a": StageSettings(users=10), "b": StageSettings(users=50)},
        users={"ear": GroupSettings(weight=4.0), "mouth": GroupSettings(behaviour="chat", weight=1.0, rate=2.5)},
    )

    assert highest_message_rate(run) == 25.0
    fixed = attrs.evolve(run, users={"mouth": GroupSettings(behaviour="chat", fixed_count=3, rate=0.5)})
    assert highest_message_rate(fixed) == pytest.approx(1.5)
