from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.links import Listener, arrivals, listening, talk
from wsactors.media.reports import Reports, track_report
from wsactors.wire.receiver_report import ReceiverReport, TrackReport

counts = st.integers(0, 2**53 - 1)


def report(*tracks: TrackReport, probe: int = 0, held: float = 0.0) -> ReceiverReport:
    return ReceiverReport(tracks, probe, held)


def heard_once(first: TrackReport, second: TrackReport) -> object:
    reports = Reports()
    assert reports.take(report(first), 10.0) == []
    (found,) = reports.take(report(second), 11.0)
    return found


def test_two_reports_tell_what_happened_between_them() -> None:
    first = TrackReport(7, 100, 100, 5, 5, 0, 5, 96_000, 960)
    second = TrackReport(7, 150, 140, 15, 11, 2, 10, 144_000, 5_760, 2.5, 41.0)
    reports = Reports()
    assert reports.take(report(first), 10.0) == []
    (found,) = reports.take(report(second), 11.0)
    assert (found.track, found.frames, found.lost, found.runs, found.seconds) == (7, 50, 10, 5, 1.0)
    assert (found.loss, found.residual, found.concealed) == (0.2, 4 / 50, 0.1)
    assert (found.jitter, found.buffer, found.delay) == (2.5, 41.0, None)


def test_a_real_buffer_s_report_says_what_it_heard() -> None:
    chance = random.Random(3)
    listener: Listener = listening()
    coming = arrivals(talk(1_000, distances=(1,)), is_lost=lambda: chance.random() < 0.1)
    reports, seen = Reports(), []
    for second in range(1, 20):
        listener.run([each for each in coming if second - 1 <= each[0] < second], second)
        seen += reports.take(report(track_report(1, listener.buffer)), float(second))
    assert sum(each.lost for each in seen) / sum(each.frames for each in seen) == pytest.approx(0.1, abs=0.03)
    assert max(each.residual for each in seen) < 0.1
    assert all(0 < each.buffer < 100 for each in seen)


def test_a_probe_measures_the_way_and_back_without_the_time_it_was_held() -> None:
    reports = Reports()
    assert reports.probe(0.0) is None  # not before it reports
    reports.take(report(), 1.0)
    probe = reports.probe(1.0)
    assert probe is not None
    assert reports.probe(2.0) is None
    track = TrackReport(1, 5, 5, heard=round(1.72 * 48_000))
    reports.take(report(track, probe=probe.nonce, held=0.7), 1.8)
    assert reports.rtt == pytest.approx(0.1)
    (found,) = reports.take(report(attrs.evolve(track, received=60, heard=round(2.7 * 48_000))), 2.8)
    assert found.delay == pytest.approx(0.05)  # it said so a twentieth of a second ago
    reports.take(report(probe=probe.nonce, held=0.0), 3.8)
    assert reports.rtt == pytest.approx(0.1)  # each probe is answered once


def test_counters_that_begin_anew_and_floods_of_reports_do_no_harm() -> None:
    reports = Reports()
    reports.take(report(TrackReport(1, 900, 900, 9)), 1.0)
    assert reports.take(report(TrackReport(1, 10, 10, 0)), 2.0) == []
    assert len(reports.take(report(TrackReport(1, 60, 60, 0)), 3.0)) == 1
    assert reports.take(report(TrackReport(1, 70, 70, 0)), 3.05) == []


@given(st.lists(st.tuples(counts, counts, counts, counts, counts, counts, st.floats(0, 1e9)), max_size=20))
def test_whatever_a_listener_says_shares_are_shares(told: list[tuple[int, int, int, int, int, int, float]]) -> None:
    reports, now = Reports(), 0.0
    for received, lost, recovered, runs, played, concealed, held in told:
        now += 1.0
        probe = reports.probe(now)
        track = TrackReport(1, 0, received, lost, recovered, 0, runs, played, concealed, heard=played)
        for found in reports.take(report(track, probe=probe.nonce if probe else 0, held=held), now):
            assert 0 <= found.residual <= found.loss <= 1
            assert 0 <= found.concealed <= 1
            assert 0 <= found.runs <= found.lost <= found.frames
            assert found.delay is None or 0 <= found.delay < 10
    assert reports.rtt is None or 0 <= reports.rtt <= 10
