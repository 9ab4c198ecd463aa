"""The node of config/dev.toml, whole: it boots from files, is ready, sounds, shows itself, drains and stops."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from tests.node.booting import RunningNode, node_running
from wsactors.node.cli import ExitCode

ROOT = Path(__file__).parents[2]
SECONDS = 90.0
NAMES = ["demo", "lounge", "talk"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of its own that boots the shipped trees."""
    path = tmp_path / "node.toml"
    text = (ROOT / "config/dev.toml").read_text().replace("../supervisors", str(ROOT / "supervisors"))
    path.write_text(text + "\n[gateway.limits]\n# Nothing special.\nidle_seconds = 30.0\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def node(config: Path) -> Iterator[RunningNode]:
    with node_running(
        config, "--set", "gateway.port=0", "--set", "node.drain_seconds=4", "--print-addresses"
    ) as running:
        yield running


def get(url: str, **more: Any) -> httpx.Response:
    return httpx.get(url, timeout=SECONDS, **more)


def addresses(node: RunningNode) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(node.wait_line('"websocket": "ws'))
    return found


def sound(url: str, seconds: float) -> np.ndarray[Any, Any]:
    """The first ``seconds`` of an endless Ogg Opus stream, decoded: channels by samples."""
    data = bytearray()
    until = time.monotonic() + SECONDS
    with httpx.stream("GET", url, timeout=SECONDS) as response:
        assert response.headers["content-type"] == "audio/ogg; codecs=opus"
        for piece in response.iter_bytes():
            data += piece
            if len(data) > seconds * 16_000 or time.monotonic() > until:
                break
    with av.open(io.BytesIO(bytes(data)), "r", format="ogg") as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def test_it_sounds_shows_itself_drains_and_stops(node: RunningNode) -> None:
    told = addresses(node)
    url = told["gateway"]

    assert get(f"{url}/health").status_code == 200
    assert get(f"{url}/ready").status_code == 200
    assert [row["name"] for row in get(f"{url}/api/sessions").json()["sessions"]] == NAMES
    assert get(f"{url}/").headers["content-type"].startswith("text/html")

    heard = sound(f"{url}/listen/demo.ogg", 2.0)
    level = float(np.sqrt(np.mean(np.square(heard))))
    assert heard.shape[0] == 2
    assert 0.01 < level < 0.5
    assert float(np.abs(heard).max()) <= 1.0

    code = "from wsactors.node.cli import main; main()"
    arguments = ["top", "--once", "--socket", told["admin"], "--sort", "handled"]
    top = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False,
        env={**os.environ, "COLUMNS": "160"},
    )  # fmt: skip
    assert top.returncode == 0, top.stderr
    assert "Battle" in top.stdout
    assert "battle:demo:deck_a" in top.stdout

    node.signal_group(signal.SIGTERM)
    node.wait_event("stopping")
    assert get(f"{url}/ready").status_code == 503
    assert get(f"{url}/health").status_code == 200
    assert node.wait_exit() == ExitCode.OK
    with pytest.raises(httpx.ConnectError):
        get(f"{url}/health")
    errors = [line for line in node.seen if '"level": "error"' in line or '"level": "critical"' in line]
    # A busy machine may let the render process wait until it is replaced.
    assert [line for line in errors if "the render process" not in line] == []


def test_a_killed_render_process_is_replaced_and_nobody_else_notices(node: RunningNode) -> None:
    url = addresses(node)["gateway"]
    assert sound(f"{url}/listen/demo.ogg", 0.5).size
    before = render_processes(node)
    assert len(before) == 1

    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while (after := render_processes(node)) in ([], before) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert len(after) == 1
    assert float(np.abs(sound(f"{url}/listen/demo.ogg", 1.0)).max()) > 0.01
    assert get(f"{url}/ready").status_code == 200


def test_nothing_is_left_behind_by_a_killed_node(node: RunningNode) -> None:
    addresses(node)
    children = render_processes(node)
    assert children

    node.process.kill()
    node.wait_exit()

    deadline = time.monotonic() + SECONDS
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def render_processes(node: RunningNode) -> list[int]:
    """The node's child processes that render."""
    found = []
    children = Path(f"/proc/{node.process.pid}/task").glob("*/children")
    for pid in {int(word) for file in children for word in file.read_text().split()}:
        try:
            if b"wsactors.dj.render" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_other_machines_get_https_and_every_address_is_told(config: Path, tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with node_running(
        config, "--host", "0.0.0.0", "--set", "gateway.port=0", "--print-addresses", environ=state
    ) as running:
        told = addresses(running)
        assert all(url.startswith("https://") for url in told["urls"])

        context = ssl.create_default_context(cafile=str(tmp_path / "state/wsactors/development-certificate.pem"))
        answer = get(f"https://127.0.0.1:{told['port']}/ready", verify=context)
        assert answer.status_code == 200
        assert (
            get(f"https://127.0.0.1:{told['port']}/", verify=context, headers={"host": "evil.example"}).status_code
            == 421
        )


def test_a_busy_port_gives_way_to_the_next_and_says_so(config: Path) -> None:
    with node_running(config, "--set", "gateway.port=0", "--print-addresses") as first:
        port = addresses(first)["port"]
        with node_running(config, "--set", f"gateway.port={port}", "--set", "node.name=second") as second:
            second.wait_line(f"Port {port} is busy; this is the next free one")
            second.wait_line("Listen:  http://127.0.0.1:")
        with node_running(config, "--set", f"gateway.port={port}", "--set", "gateway.port_search=0") as third:
            assert "gateway" in third.wait_event("the node could not start")["reason"]
            assert third.wait_exit() == ExitCode.NOT_STARTED


def test_sessions_come_back_when_their_supervisor_was_killed(config: Path) -> None:
    options = ("--set", "gateway.port=0", "--set", "admin.allow_changes=true", "--print-addresses")
    with node_running(config, *options) as running:
        told = addresses(running)
        assert [row["name"] for row in get(f"{told['gateway']}/api/sessions").json()["sessions"]] == NAMES

        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(told["admin"])
            admin.sendall(b'{"op": "kill", "pid": "battles"}\n')
            assert json.loads(admin.recv(65_536))["done"] is True

        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if [row["name"] for row in get(f"{told['gateway']}/api/sessions").json()["sessions"]] == NAMES:
                break
            time.sleep(0.05)
        assert float(np.abs(sound(f"{told['gateway']}/listen/demo.ogg", 1.0)).max()) > 0.01


def test_the_log_says_of_each_address_what_it_serves(config: Path) -> None:
    ports = ("--set", "gateway.port=0", "--set", "admin.http.port=0")
    with node_running(config, *ports) as running:
        admin, page = running.wait_event("admin_open"), running.wait_event("gateway_open")
        assert (admin["serves"], page["serves"]) == ("metrics and the admin API", "page")
        said = running.wait_line("Listen:  ")
        assert page["urls"][0] in said
        assert "(the page)" in said
        assert admin["urls"][0] in running.wait_line("Metrics: ")
        assert sum("gateway_open" in line for line in running.seen) == 1


def test_a_node_without_doors_runs_too(config: Path) -> None:
    with node_running(config, "--set", "gateway.enabled=false", "--set", "admin.enabled=false") as running:
        running.wait_line("Node dev is up.")
        running.signal(signal.SIGTERM)
        assert running.wait_exit() == ExitCode.OK
