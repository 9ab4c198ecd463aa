"""A real node for foreign clients, and the clients in processes of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeAlias

import attrs
import pytest

from tests.interop.children import ROOT, Child, Line, js_child, py_child
from tests.node.booting import RunningNode, node_running


@attrs.frozen
class InteropNode:
    """A node that serves ``config/interop.toml``."""

    host: str
    port: int
    running: RunningNode
    admin: str = ""
    """Where its admin port is, as ``http://host:port``."""

    @property
    def http(self) -> str:
        """``http://host:port``."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws(self) -> str:
        """``ws://host:port``."""
        return f"ws://{self.host}:{self.port}"


PATIENT = "gateway.socketio.connect_timeout=45"
"""As everywhere but in ``config/interop.toml``: the protocol's own suite is in a hurry, a busy machine is not."""
BootNode: TypeAlias = Callable[..., AbstractContextManager[InteropNode]]


@pytest.fixture(scope="session")
def boot_interop_node(tmp_path_factory: pytest.TempPathFactory) -> BootNode:
    """Boots a node of your own: ``with boot_interop_node("gateway.engineio.ping_interval=0.3") as node: ...``."""

    @contextmanager
    def boot(*settings: str) -> Iterator[InteropNode]:
        folder = tmp_path_factory.mktemp("interop")
        config = folder / "interop.toml"
        text = (ROOT / "config" / "interop.toml").read_text()
        config.write_text(text.replace('"../', f'"{ROOT}/'))
        config.chmod(0o600)
        arguments = [word for setting in ("gateway.port=0", PATIENT, *settings) for word in ("--set", setting)]
        with node_running(config, *arguments, "--print-addresses", environ={"PYTHONPATH": str(ROOT)}) as running:
            found: dict[str, Any] = json.loads(running.wait_line('"port":'))
            yield InteropNode(found["host"], found["port"], running, found.get("admin_http", ""))

    return boot


@pytest.fixture(scope="session")
def interop_node(boot_interop_node: BootNode) -> Iterator[InteropNode]:
    """One node for all tests here: use topics, rooms and users of your own."""
    with boot_interop_node() as node:
        yield node


@pytest.fixture
def start_js() -> Iterator[Callable[..., Child]]:
    """``start_js("script.mjs", *arguments) -> Child``, a JavaScript client that runs until the test ends."""
    with ExitStack() as children:
        yield lambda script, *arguments: children.enter_context(js_child(script, *arguments))


@pytest.fixture
def start_py_client() -> Iterator[Callable[..., Child]]:
    """``start_py_client("script.py", *arguments) -> Child``, a client on asyncio that runs until the test ends."""
    with ExitStack() as children:
        yield lambda script, *arguments: children.enter_context(py_child(script, *arguments))


@pytest.fixture
def run_js(start_js: Callable[..., Child]) -> Callable[..., list[Line]]:
    """``run_js("script.mjs", *arguments) -> lines``: run it to its end; everything it said."""
    return lambda script, *arguments: start_js(script, *arguments).end()


@pytest.fixture
def run_py_client(start_py_client: Callable[..., Child]) -> Callable[..., list[Line]]:
    """``run_py_client("script.py", *arguments) -> lines``: run it to its end; everything it said."""
    return lambda script, *arguments: start_py_client(script, *arguments).end()
