"""From what workers report to what people read: sums, verdicts, the page, the terminal. All pure."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import attrs
import pytest
from rich.console import Console

from wsactors.loadtest.control import Report
from wsactors.loadtest.histogram import Histogram
from wsactors.loadtest.page import html_page
from wsactors.loadtest.plots import Plot, draw
from wsactors.loadtest.report import Facts, outcome, report
from wsactors.loadtest.results import Results
from wsactors.loadtest.settings import GroupSettings, LoadSettings, ReportSettings, StageSettings, ThresholdSettings
from wsactors.loadtest.tally import MAX_REASONS, Tally
from wsactors.loadtest.verdict import harness_limits, judge
from wsactors.loadtest.view import draw as draw_view
from wsactors.loadtest.view import summary
from wsactors.node.secret import Secret

HOSTILE = "<script>alert(1)</script>\x1b[31m[bold]\"'&\u202egnp.exe"
FACTS = Facts("2026-01-01T00:00:00+00:00", 12.0, "x86_64", busy=0.5, shared=True)


def settings(**thresholds: float) -> LoadSettings:
    return LoadSettings(
        stages={"hold": StageSettings(users=4, seconds=2.0)},
        users={"ears": GroupSettings(token=Secret("hunter2")), "deaf": GroupSettings(behaviour="stall")},
        thresholds=ThresholdSettings(**thresholds),
        report=ReportSettings(title=HOSTILE),
    )


def second(number: int, ears: Tally, deaf: Tally | None = None, **more: Any) -> Report:
    values: dict[str, Any] = {
        "seconds": 1.0,
        "cpu": 0.1,
        "lag": [],
        "send_lag": [],
        "received": 10,
        "sent": 1,
        "memory": 1,
    }
    values.update(more)
    return Report(number, {"ears": ears.take(), "deaf": (deaf or Tally()).take()}, **values)


def tally(**counts: Any) -> Tally:
    made = Tally()
    for name, value in counts.items():
        setattr(made, name, Histogram(value) if isinstance(value, list) else value)
    return made


def results_of(*reports: tuple[int, Report], **thresholds: float) -> Results:
    results = Results(settings(**thresholds))
    results.wanted[0] = 4
    for worker, each in reports:
        results.add(worker, each)
    return results


def plain_run(**counts: Any) -> Results:
    ears = {"users": 2, "joined": 2, "attempts": 2, "joins": 2, "received": 90, "latency": [0.010] * 90, **counts}
    return results_of(
        (0, second(0, tally(**ears))),
        (1, second(0, tally(users=2, joined=2, received=10, latency=[0.5] * 10))),
        (0, second(1, tally(users=2, joined=2, received=1, latency=[0.001]))),
    )


def test_workers_and_seconds_add_up() -> None:
    results = plain_run()
    results.settle()

    rows = list(results.walk())
    assert [(row["second"], row["users"], row["received"], row["bytes_in"]) for row in rows] == [
        (0, 4, 100, 20),
        (1, 2, 1, 10),
    ]
    assert rows[0]["latency"]["p50"] == pytest.approx(0.010, rel=0.01)
    assert rows[0]["latency"]["p99"] == pytest.approx(0.5, rel=0.01)
    assert results.groups["ears"].received == 101
    assert results.most_joined == 4


def test_old_seconds_are_settled_while_the_run_goes_on() -> None:
    results = results_of(*((0, second(number, tally(received=1))) for number in range(100)))

    assert sum(row["received"] for row in results.walk()) == 100
    assert len(results._open) < 10


def test_those_who_stall_are_not_held_against_the_server() -> None:
    deaf = tally(users=1, joined=1, received=5, missed=100, disconnects=3, latency=[9.0] * 5)
    results = results_of((0, second(0, tally(received=10, latency=[0.01] * 10), deaf)))

    total = results.total()
    assert (total.received, total.missed, total.disconnects) == (10, 0, 0)
    assert total.latency.highest < 0.1
    assert results.groups["deaf"].missed == 100


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({"latency_p50_ms": 20}, True),
        ({"latency_p99_ms": 100}, False),
        ({"latency_max_ms": 600}, True),
        ({"loss_share": 0}, True),
        ({"failed_share": 0}, True),
        ({"min_messages": 101}, True),
        ({"min_messages": 102}, False),
        ({"min_users": 4}, True),
        ({"min_users": 5}, False),
        ({"audio_late_p99_ms": 1e9}, False),  # there was no audio: nothing to measure keeps no threshold
    ],
)
def test_thresholds(limits: dict[str, float], kept: bool) -> None:
    wanted = settings(**limits)

    assert [finding.kept for finding in judge(wanted.thresholds, plain_run())] == [kept]
    assert outcome(wanted, plain_run(), FACTS) == ("passed" if kept else "failed")


def test_gaps_and_failures_are_shares() -> None:
    results = plain_run(missed=1, attempts=4, failures=1)

    found = {each.name: each.value for each in judge(ThresholdSettings(loss_share=0.0, failed_share=0.0), results)}
    assert found == {"loss_share": pytest.approx(1 / 102), "failed_share": 0.25}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"cpu": 0.97}, "97% of a core"),
        ({"lag": Histogram([0.3] * 50).pack()}, "300 ms late"),
        ({"send_lag": Histogram([0.2] * 50).pack()}, "200 ms too late"),
    ],
)
def test_the_harness_says_when_it_is_the_limit(more: dict[str, Any], words: str) -> None:
    results = results_of((0, second(0, tally(users=4, joined=4), **more)))
    wanted = settings()

    (limit,) = harness_limits(wanted.harness, results)
    assert words in limit
    assert outcome(wanted, results, FACTS) == "harness limit"
    accepting = attrs.evolve(wanted, harness=attrs.evolve(wanted.harness, accept_limit=True))
    assert outcome(accepting, results, FACTS) == "passed"


def test_users_that_never_came_are_the_harness_own_fault() -> None:
    results = results_of((0, second(0, tally(users=1, crashes=1))))

    assert harness_limits(settings().harness, results) == [
        "4 users were wanted, the harness had 1 at most",
        "1 users died of an error in the harness",
    ]


def test_reasons_are_bounded() -> None:
    made = Tally()
    for number in range(10_000):
        made.because(f"reason {number} " + "x" * 10_000)

    assert len(made.reasons) == MAX_REASONS + 1
    assert max(map(len, made.reasons)) <= 120
    assert sum(made.reasons.values()) == 10_000


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile_run() -> Results:
    ears = tally(users=2, joined=2, failures=1, received=50, latency=[0.01] * 50, join=[0.02], first=[0.03])
    ears.reasons = {HOSTILE: 3}
    return results_of((0, second(0, ears)), (1, second(1, tally(received=5, latency=[0.02] * 5))))


def test_the_page_shows_foreign_words_as_text() -> None:
    page = Page(html_page(report(settings(), hostile_run(), FACTS)))

    assert "script" not in page.tags
    assert page.text.count("<script>alert(1)</script>") >= 2  # the title and the reason
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    html = html_page(report(settings(), hostile_run(), FACTS))
    page = Page(html)

    assert not {"src", "href", "xlink:href", "onload", "onclick", "action"} & {name for name, _ in page.attributes}
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert not re.search(r"url\s*\(|@import", html)
    assert page.tags.count("svg") >= 4
    policy = (
        dict(page.attributes)["content"],
        [value for name, value in page.attributes if value and "default-src" in value],
    )
    assert any("default-src 'none'" in value for value in policy[1])


def test_the_report_is_json_and_keeps_secrets() -> None:
    made = report(settings(latency_p99_ms=1.0), hostile_run(), FACTS)
    text = json.dumps(made, allow_nan=False)

    assert "hunter2" not in text
    assert "hunter2" not in html_page(made)
    again = json.loads(text)
    assert again["format"] == "wsactors-load-report/1"
    assert again["outcome"] == "harness limit"  # two of four users
    assert again["thresholds"] == [
        {"name": "latency_p99_ms", "limit": 1.0, "value": pytest.approx(20, rel=0.01), "kept": False}
    ]
    assert Histogram.unpack(again["total"]["latency"]["buckets"]).count == 55


def test_an_empty_run_has_a_report_too() -> None:
    html = html_page(report(settings(), Results(settings()), attrs.evolve(FACTS, shared=False, interrupted=True)))

    assert "interrupted" in html


def test_the_terminal_obeys_no_foreign_words() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None)
    results = hostile_run()
    console.print(draw_view(settings(), results, 1.0))
    console.print(summary(settings(latency_p99_ms=1.0), results))

    assert "[bold]" in out.getvalue()
    assert "\x1b[31m" not in out.getvalue()
    assert "\u202e" not in out.getvalue()
    assert "BROKEN" in out.getvalue()


def test_a_plot_escapes_its_names() -> None:
    svg = draw(Plot({HOSTILE: [(0, 1), (1, 2)], "flat": [(0, 0), (1, 0)]}, "<x>", "&y"))

    assert "<script" not in svg
    assert svg.count("<polyline") == 2
    assert "Nothing was measured" in draw(Plot({"dot": [(0, 1)]}, "x", "y"))


def test_percentiles_are_drawn_by_nines() -> None:
    svg = draw(Plot({"latency": [(0.0, 1.0), (90.0, 2.0), (99.0, 3.0)]}, "percentile", "ms", percentiles=True))
    points = re.search(r'points="([^"]+)"', svg)

    assert points is not None
    xs = [float(point.split(",")[0]) for point in points[1].split()]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
