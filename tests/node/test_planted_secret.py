"""A secret is planted wherever one can be, and looked for wherever something is shown."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.node.booting import SECONDS, node_running, write_application
from wsactors.node.cli import ExitCode

PLANTED = "PLANTED-9f31c0"
TREE = f"""
[[child]]
id = "gateway"
start = "wsactors.node.services:GatewayService"
[[child]]
id = "admin"
start = "wsactors.node.admin:AdminSocket"
[[child]]
id = "keeper"
start = "bootapp:Keeper"
args = {{ token = "{PLANTED}" }}
name = "keeper"
restart = "temporary"
"""


def exchange(path: str, request: dict[str, Any]) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        said = b""
        while not said.endswith(b"\n"):
            said += connection.recv(65_536)
        return said.decode()


def visit(url: str) -> str:
    """Requests as careless clients make them, and hostile ones; what they were answered."""
    shown = []
    headers = {"authorization": f"Bearer {PLANTED}", "cookie": f"session={PLANTED}"}
    for path in (f"/?token={PLANTED}", f"/nowhere?apikey={PLANTED}", f"/listen/x.ogg?access_token={PLANTED}", "/ready"):
        answer = httpx.get(url + path, headers=headers, timeout=SECONDS)
        shown.append(f"{answer.headers} {answer.text}")
    foreign = {"host": "127.0.0.1", "origin": f"http://evil.example/?password={PLANTED}"}
    shown.append(httpx.get(f"{url}/?token={PLANTED}", headers=foreign, timeout=SECONDS).text)
    port = int(url.rpartition(":")[2])
    for line in (
        f"GET /ws?token={PLANTED}&vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        f"GET /ws?token={PLANTED} HTTP/9.9\r\nAuthorization: Basic {PLANTED}\r\nno header at all\r\n\r\n",
        f"POST /api/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 30\r\n\r\npassword={PLANTED}",
    ):
        with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
            connection.sendall(line.encode())
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                shown.append(piece.decode("latin-1"))
    return "\n".join(shown)


@pytest.mark.parametrize("look", ["json", "pretty"])
def test_a_planted_secret_is_found_nowhere(tmp_path: Path, look: str) -> None:
    config = write_application(tmp_path, TREE, "[admin]\nallow_changes = true\n[gateway]\nport = 0\n")
    environ = {"WSACTORS_GATEWAY__TLS__KEY_PASSWORD": PLANTED}
    options = ("--set", f"logging.format={look}", "--set", "logging.level=debug", "--print-addresses")
    with node_running(config, *options, environ=environ) as node:
        told = json.loads(node.wait_line('"websocket": "ws'))
        # Before it chokes: it lives for five seconds.
        shown = [exchange(told["admin"], {"op": "status", "pid": "keeper"})]
        shown += [exchange(told["admin"], {"op": op}) for op in ("info", "processes")]
        shown.append(visit(told["gateway"]))
        code = "from wsactors.node.cli import main; main()"
        for arguments in (
            ["top", "--once", "--socket", told["admin"]],
            ["config", "check", str(config)],
            ["tree", str(config)],
        ):
            done = subprocess.run(
                [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False,
                env={**os.environ, **environ, "PYTHONPATH": str(tmp_path)},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            shown += [done.stdout, done.stderr]
        node.wait_line("supervisor.child_terminated")  # the keeper choked on a message with the secret in it
        node.signal(signal.SIGHUP)
        node.wait_line("configuration read again")
        node.signal(signal.SIGTERM)
        assert node.wait_exit() == ExitCode.OK
    shown += node.seen

    leaks = [text[max(0, text.find(PLANTED) - 100) :][:250] for text in shown if PLANTED in text]
    assert leaks == []
    assert any("Keeper" in text for text in shown)
    assert any("redacted" in text for text in shown)
