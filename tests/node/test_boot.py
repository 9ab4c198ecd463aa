"""A node as an operator meets it: how it starts, reloads, stops, fails, and what its exit code says."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.node.booting import node_running, write_application
from wsactors.node.cli import ExitCode

TWO = """
[[child]]
id = "first"
start = "bootapp:Worker"
args = { label = "first" }
[[child]]
id = "second"
start = "bootapp:Worker"
args = { label = "second" }
"""
HANGING = """
[[child]]
id = "hanging"
start = "bootapp:Worker"
args = { label = "hanging", hang = true }
shutdown = "infinity"
"""


def child(cls: str) -> str:
    return f'[[child]]\nid = "it"\nstart = "bootapp:{cls}"\n'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_ordered_last_started_first_and_fine(tmp_path: Path, number: signal.Signals) -> None:
    with node_running(write_application(tmp_path, TWO)) as node:
        node.wait_event("ready")
        node.signal(number)
        assert node.wait_event("stopping")["signal"] == number.name
        node.wait_event("stopped")

        assert node.wait_exit() == ExitCode.OK
    order = [line for line in node.seen if line.startswith(("started", "stopping"))]
    assert order == ["started first", "started second", "stopping second shutdown", "stopping first shutdown"]


def test_a_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    with node_running(write_application(tmp_path, HANGING), "--set", "node.shutdown_timeout=600") as node:
        node.wait_event("ready")
        node.signal(signal.SIGINT)
        node.wait_line("stopping hanging")
        node.signal(signal.SIGINT)

        assert node.wait_exit() == ExitCode.INTERRUPTED


def test_a_stop_takes_no_longer_than_its_time_out(tmp_path: Path) -> None:
    with node_running(write_application(tmp_path, HANGING), "--set", "node.shutdown_timeout=0.2") as node:
        node.wait_event("ready")
        node.signal(signal.SIGTERM)
        node.wait_line("stopping hanging")

        assert node.wait_exit() == ExitCode.OK


def test_a_node_can_be_stopped_while_it_still_starts(tmp_path: Path) -> None:
    with node_running(write_application(tmp_path, child("Slow"))) as node:
        node.wait_line("starting slowly")
        node.signal(signal.SIGTERM)

        assert node.wait_exit() == ExitCode.OK
    assert '"event": "ready"' not in "".join(node.seen)


def test_a_child_that_does_not_start_is_told(tmp_path: Path) -> None:
    with node_running(write_application(tmp_path, child("Refuses"))) as node:
        assert "is wrong" in node.wait_event("the node could not start")["reason"]
        assert node.wait_exit() == ExitCode.NOT_STARTED
    assert "PLANTED" not in "".join(node.seen)


def test_a_root_that_gives_up_fails_the_node(tmp_path: Path) -> None:
    with node_running(write_application(tmp_path, child("Crashes"))) as node:
        node.wait_event("the node failed: its root supervisor gave up")
        assert node.wait_exit() == ExitCode.NODE_FAILED
    assert "PLANTED" not in "".join(node.seen)


def test_the_addresses_are_one_json_line_on_standard_output(tmp_path: Path) -> None:
    with node_running(write_application(tmp_path, TWO), "--print-addresses", "--set", "node.name=printed") as node:
        line = node.wait_line('{"node"')
        while '"event"' in line:
            line = node.wait_line('{"node"')
        assert json.loads(line)["node"] == "printed"
        node.signal(signal.SIGTERM)
        assert node.wait_exit() == ExitCode.OK


def test_sighup_takes_over_what_is_live_and_names_what_waits(tmp_path: Path) -> None:
    config = write_application(tmp_path, TWO)
    with node_running(config) as node:
        node.wait_event("ready")
        config.write_text(config.read_text() + "[logging]\nlevel = 'debug'\n[gateway]\nport = 1234\n")
        node.signal(signal.SIGHUP)
        told = node.wait_event("configuration read again")
        assert (told["changed"], told["waiting_for_restart"]) == (["logging.level"], ["gateway.port"])

        config.write_text("[gateway]\nprot = 1\n")
        node.signal(signal.SIGHUP)
        assert "did you mean 'port'" in node.wait_event("the configuration is wrong now; nothing was changed")["faults"]

        node.signal(signal.SIGTERM)
        assert node.wait_exit() == ExitCode.OK


def test_a_busy_name_is_no_fault_of_a_second_node(tmp_path: Path) -> None:
    config = write_application(tmp_path, TWO)
    with node_running(config) as first, node_running(config) as second:
        first.wait_event("ready")
        second.wait_event("ready")
        for node in (first, second):
            node.signal(signal.SIGTERM)
            assert node.wait_exit() == ExitCode.OK


def test_a_terminal_gets_people_and_a_pipe_gets_machines(tmp_path: Path) -> None:
    with node_running(write_application(tmp_path, TWO), "--set", "logging.format=pretty") as node:
        line = node.wait_line("ready")
        with pytest.raises(json.JSONDecodeError):
            json.loads(line)
        node.signal(signal.SIGTERM)
        assert node.wait_exit() == ExitCode.OK
    assert isinstance(node.process, subprocess.Popen)
