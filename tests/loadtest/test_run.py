"""Whole runs against a real node: what is measured, what is written, and how they end."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
import trio

from tests.gateway.harness import until
from tests.node.booting import RunningNode, node_running
from wsactors.loadtest.lead import HarnessFault, HarnessRefused, lead, make_room
from wsactors.loadtest.settings import (
    GroupSettings,
    HarnessSettings,
    LoadSettings,
    StageSettings,
    TargetSettings,
)
from wsactors.loadtest.target import Target, find_target
from wsactors.node.cli import ExitCode

ROOT = Path(__file__).parents[2]
SECONDS = 90


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("node")
    config = folder / "node.toml"
    config.write_text((ROOT / "config/dev.toml").read_text().replace("../supervisors", str(ROOT / "supervisors")))
    config.chmod(0o600)
    with node_running(config, "--set", "gateway.port=0", "--print-addresses") as running:
        running.address = json.loads(running.wait_line('"gateway"'))["websocket"].removesuffix("/ws")  # type: ignore[attr-defined]
        yield running


def address(node: RunningNode) -> str:
    return node.address  # type: ignore[attr-defined, no-any-return]


RUN = """
[stages.ramp]
users = 20
seconds = 0.5
[stages.hold]
users = 20
seconds = 2.0
[harness]
max_lag = 30.0
drain_seconds = 0.3
[users.ears]
topics = 2
transport = "phoenix"
[users.sockets]
topics = 2
transport = "socketio"
fixed_count = 3
[users.mouths]
behaviour = "chat"
transport = "native"
topics = 2
fixed_count = 2
rate = 10
[users.churners]
behaviour = "churn"
transport = "native"
presence = true
topics = 2
fixed_count = 2
stay_seconds = 0.3
away_seconds = 0.1
[users.audio]
topic = "demo"
audio = true
fixed_count = 3
[thresholds]
latency_p99_ms = 30000
join_p99_ms = 30000
loss_share = 0.9
failed_share = 0
min_users = 17
min_messages = 50
"""


BRIEF = ("stages.ramp.seconds=0.2", "stages.hold.seconds=0.7", "harness.drain_seconds=0.1")


def setting(*keys: str) -> list[str]:
    """As arguments."""
    return [word for key in keys for word in ("--set", key)]


class Run:
    """One `wsactors load` in a folder of its own."""

    def __init__(self, folder: Path, url: str, *arguments: str, text: str = RUN) -> None:
        self.folder = folder
        config = folder / "run.toml"
        config.write_text(text)
        config.chmod(0o600)
        code = "from wsactors.node.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "load", str(config), "--set", f"target.url={url}", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        )  # fmt: skip

    def wait_under_way(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self) -> tuple[int, str]:
        said, _ = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, said

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "load-report.json").read_text())
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_a_run_measures_and_passes(node: RunningNode, tmp_path: Path) -> None:
    with Run(tmp_path, address(node)) as run:
        code, said = run.end()

    assert code == ExitCode.OK, said
    report = run.report()
    groups = report["groups"]
    assert report["outcome"] == "passed"
    # Of audio a node drops what it could not send in time.
    assert groups["ears"]["missed"] == groups["sockets"]["missed"] == 0
    assert groups["ears"]["joins"] == 10
    # Messages go to the other members of one of two topics.
    assert 10 <= groups["mouths"]["sent"] <= 100
    assert groups["ears"]["received"] > 20
    assert groups["sockets"]["received"] > 4
    assert groups["ears"]["latency"]["count"] == groups["ears"]["received"]
    assert groups["audio"]["audio"] > 20
    assert groups["audio"]["late"]["count"] == groups["audio"]["audio"]
    assert groups["ears"]["first"]["count"] == 10
    assert groups["churners"]["partings"] >= 2
    assert groups["churners"]["joins"] > groups["churners"]["partings"] - 2
    assert sum(row["received"] for row in report["rows"]) == report["total"]["received"]
    assert (tmp_path / "load-report.html").read_text().startswith("<!doctype html>")
    assert "kept" in said


@pytest.fixture(scope="module")
def bad_runs(node: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Run, int, str]]:
    """Two short runs that do not pass, side by side: one breaks a threshold, the other has not enough of a processor."""
    keys = {
        "broken": ("thresholds.join_p99_ms=0.01", "report.html=", *BRIEF),
        "limit": (
            "harness.max_cpu=0.05",
            "harness.max_lag=0.001",
            "users.audio.fixed_count=200",
            "stages.ramp.users=220",
            "stages.hold.users=220",
            *BRIEF,
        ),
    }
    with ExitStack() as stack:
        runs = {
            name: stack.enter_context(Run(tmp_path_factory.mktemp(name), address(node), "--quiet", *setting(*more)))
            for name, more in keys.items()
        }
        return {name: (run, *run.end()) for name, run in runs.items()}


def test_a_broken_threshold_is_the_exit_code(bad_runs: dict[str, tuple[Run, int, str]]) -> None:
    run, code, said = bad_runs["broken"]

    assert code == ExitCode.THRESHOLD_BROKEN, said
    assert "BROKEN  join_p99_ms" in said
    assert run.report()["outcome"] == "failed"
    assert not (run.folder / "load-report.html").exists()


def test_a_harness_at_its_limit_says_so_and_judges_nothing(bad_runs: dict[str, tuple[Run, int, str]]) -> None:
    run, code, said = bad_runs["limit"]

    assert code == ExitCode.HARNESS_LIMIT, said
    assert "THE HARNESS WAS THE LIMIT" in said
    assert run.report()["outcome"] == "harness limit"


def test_an_interrupt_ends_the_run_in_order(node: RunningNode, tmp_path: Path) -> None:
    with Run(tmp_path, address(node), "--set", "stages.hold.seconds=600") as run:
        run.wait_under_way()
        run.process.send_signal(signal.SIGINT)
        code, _ = run.end()

    assert code == ExitCode.INTERRUPTED
    assert run.report()["outcome"] == "interrupted"


def children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_workers_die_with_the_lead_process(node: RunningNode, tmp_path: Path) -> None:
    with Run(tmp_path, address(node), "--set", "stages.hold.seconds=600") as run:
        await trio.to_thread.run_sync(run.wait_under_way)
        workers = children(run.process.pid)
        assert len(workers) == 2
        run.process.kill()
        await until(lambda: not any(is_alive(worker) for worker in workers))


def small(
    url: str, *, users: int = 3, seconds: float = 2.0, drain: float = 0.3, cap: float = 0.0
) -> tuple[LoadSettings, Target]:
    settings = LoadSettings(
        target=TargetSettings(url=url, connections_per_second=cap),
        harness=HarnessSettings(processes=1, drain_seconds=drain),
        stages={"hold": StageSettings(users=users, seconds=seconds, spawn_rate=1000.0)},
        users={
            "mouths": GroupSettings(behaviour="chat", transport="phoenix", topic="t", fixed_count=1, rate=40.0),
            "ears": GroupSettings(transport="phoenix", topic="t"),
        },
    )
    return settings, find_target(url)


async def test_a_stalled_server_shows_in_all_messages_it_held_up(node: RunningNode) -> None:
    """Coordinated omission: a sender that waited for the server would see one slow message, and a good p50."""
    settings, target = small(address(node), drain=2.5)
    stalled: list[float] = []

    def stall(_: object, elapsed: float) -> None:
        if elapsed >= 1 and not stalled:
            stalled.append(elapsed)
            node.signal(signal.SIGSTOP)
            nursery.start_soon(go_on)

    async def go_on() -> None:
        await trio.sleep(1.0)
        node.signal(signal.SIGCONT)

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            results = await lead(settings, target, each_second=stall)

    ears = results.groups["ears"]
    late = sum(count for bucket, count in ears.latency.counts.items() if bucket > 7_706)  # the bucket of 100 ms
    assert ears.missed == 0
    # 40 messages per second to 2 listeners: 72 of those due in the second of silence came over 0.1 s too late.
    assert late >= 50
    assert ears.latency.highest > 0.7
    assert 60 <= results.groups["mouths"].sent <= 200, "it went on sending by the clock"


async def test_a_dead_worker_ends_the_run(node: RunningNode) -> None:
    settings, target = small(address(node))

    def kill(*_: object) -> None:
        for worker in children(os.getpid()):
            if b"loadtest.worker" in Path(f"/proc/{worker}/cmdline").read_bytes():
                os.kill(worker, signal.SIGKILL)

    with trio.fail_after(SECONDS), pytest.raises(HarnessFault, match="killed by SIGKILL"):
        await lead(settings, target, each_second=kill)


async def test_connections_keep_to_the_cap(node: RunningNode) -> None:
    settings, target = small(address(node), users=500, seconds=1.0, cap=5.0)
    start = trio.current_time()
    with trio.fail_after(SECONDS):
        results = await lead(settings, target)

    # One at once, then five in each second, also of those that starting and ending take.
    most = 1 + 5 * (trio.current_time() - start)
    assert 2 <= sum(group.attempts for group in results.groups.values()) <= most < 499


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--set", "target.url=ws://192.0.2.7:80"), ExitCode.USAGE, "--allow-remote"),
        (("--allow-remote", "--set", "target.url=ws://192.0.2.7:80"), ExitCode.USAGE, "connections_per_second"),
        (("--set", "users.ears.behavior=listen"), ExitCode.USAGE, "did you mean 'behaviour'"),
        ((), ExitCode.NO_NODE, "nobody answers"),
    ],
)
def test_what_cannot_be_run_is_refused(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    with Run(tmp_path, "ws://127.0.0.1:1", *arguments) as run:
        found, said = run.end()

    assert found == code
    assert words in said


def test_users_need_open_files() -> None:
    settings, _ = small("ws://127.0.0.1:1")
    many = LoadSettings(
        stages={"hold": StageSettings(users=1_000_000)}, users=settings.users, harness=HarnessSettings(processes=1)
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard > 1_000_000:
        pytest.skip("this machine has no limit that a run could meet")

    make_room(settings)
    with pytest.raises(HarnessRefused, match="ulimit"):
        make_room(many)
