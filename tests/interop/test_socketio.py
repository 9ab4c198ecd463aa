"""npm socket.io-client, its bundle in a browser, and PyPI python-socketio, as they are, against a real node."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trio

from tests.browser.driver import open_chromium
from tests.interop.children import JS, Child, Line, js_child
from tests.interop.conftest import BootNode, InteropNode
from tests.interop.scenarios import Scenarios

CLIENT_FILES = JS / "node_modules" / "socket.io-client" / "dist"
TRANSPORTS = ("polling", "websocket", "upgrade")
LAST = {"polling": "polling", "websocket": "websocket", "upgrade": "websocket"}
on_each = pytest.mark.parametrize("on", TRANSPORTS)


@pytest.fixture(scope="module")
def node(boot_interop_node: BootNode) -> Iterator[InteropNode]:
    with boot_interop_node(f"gateway.socketio.client_files={CLIENT_FILES}") as running:
        yield running


@pytest.fixture(scope="module")
def play(node: InteropNode) -> Scenarios:
    """All scenarios of ``js/socketio.mjs`` but the drain."""
    with js_child("socketio.mjs", node.http, "all") as child:
        return Scenarios(child.end())


@on_each
def test_events_and_acknowledgements(play: Scenarios, on: str) -> None:
    assert play(f"talk {on}") == [
        {"auth": [{"token": "t", "more": [1]}]},
        {"transport": LAST[on]},
        {"back": ["hé 😀", 1.5, None, {"a": [True]}]},
        {"ack": [1, "2"]},
    ]


@on_each
def test_refusals(play: Scenarios, on: str) -> None:
    assert play(f"refuse {on}") == [
        {"message": "Not authorized", "data": {"code": 17}},
        {"message": "Invalid namespace"},
    ]


@on_each
def test_bytes_from_none_to_a_megabyte(play: Scenarios, on: str) -> None:
    *sizes, many = play(f"binary {on}")
    assert sizes == [{"size": size, "same": True} for size in (0, 1, 255, 65_536, 1_000_000)]
    assert many == {"many": list(range(1, 11))}


@on_each
def test_rooms_exceptions_and_questions_to_the_client(play: Scenarios, on: str) -> None:
    heard = {"ada": [], "bob": ["both", "to bob", "b again"], "cat": ["both"]}
    assert play(f"rooms {on}") == [{"heard": heard, "asked": [42, 7]}]


@on_each
def test_two_namespaces_on_one_connection(play: Scenarios, on: str) -> None:
    assert play(f"namespaces {on}") == [{"auths": [[{}], [{"b": 2}]]}, {"ids": True}, {"ack": "still here"}]


@on_each
def test_a_cut_connection_is_recovered_with_its_rooms_and_all_it_missed(play: Scenarios, on: str) -> None:
    (said,) = play(f"recovery {on}")
    assert said["reason"] in {"transport close", "transport error", "forced close"}
    assert said == {**said, "recovered": True, "sameId": True, "heard": ["before", "missed 1", "missed 2", "after"]}


def test_a_made_up_token_recovers_nothing(play: Scenarios) -> None:
    assert play("stale") == [{"recovered": False, "sameId": False}]


@on_each
def test_clients_that_are_sent_away(play: Scenarios, on: str) -> None:
    assert play(f"dismissed {on}") == [
        {"reason": "io server disconnect", "active": False}, {"reason": "io server disconnect"}
    ]  # fmt: skip


@on_each
def test_a_crash_is_a_disconnect_of_one_namespace(play: Scenarios, on: str) -> None:
    assert play(f"crash {on}") == [{"reason": "io server disconnect"}, {"again": True}]


@on_each
def test_bursts_stay_in_order(play: Scenarios, on: str) -> None:
    assert play(f"burst {on}") == [{"burst": True, "backs": True}]


@on_each
def test_topics_are_shared_and_remember(play: Scenarios, on: str) -> None:
    assert play(f"topics {on}") == [
        {
            "joined": "ok", "published": "ok", "name": True, "event": "shout", "payload": [1, 2], "offset": 1, "joins": "here",
            "refused": "not_subscribed", "recovered": True, "missed": "shout",
        }
    ]  # fmt: skip


def test_a_node_that_stops_says_so(
    boot_interop_node: BootNode, start_js: Callable[..., Child], start_py_client: Callable[..., Child]
) -> None:
    with boot_interop_node() as node:
        children = [
            start_js("socketio.mjs", node.http, "drain"),
            start_py_client("socketio_client.py", node.http, "drain"),
        ]
        for child in children:
            child.hear(ready=True)
        node.running.signal(signal.SIGTERM)
        for child, reasons in zip(children, ({"transport close", "transport error"}, {"transport error"}), strict=True):
            assert child.hear()["reason"] in reasons
            child.say(done=True)
            child.end()
        assert node.running.wait_exit() == 0


@on_each
def test_python_socketio(node: InteropNode, run_py_client: Callable[..., list[Line]], on: str) -> None:
    assert run_py_client("socketio_client.py", node.http, on) == [
        {"auths": [{"token": "t"}, {"token": "t"}], "transport": LAST[on]},
        {"back": ["hé 😀", 1.5, None, {"a": [True]}]},
        {"ack": [1, "2"]},
        {"same": [True] * 5},
        {"refused": {"message": "Not authorized", "data": {"code": 17}}},
        {"burst": True, "rooms": 20, "asked": [42, [7]]},
        {"joined": "ok", "message": [True, "shout", [1], 1]},
        {"crashed": "server disconnect", "again": True},
        *([] if on == "polling" else [{"back": True, "heard": "welcome back"}]),
    ]


def test_the_bundle_comes_from_the_installed_package(node: InteropNode) -> None:
    response = httpx.get(f"{node.http}/socket.io/socket.io.js", timeout=30)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/javascript")
    assert response.content == (CLIENT_FILES / "socket.io.js").read_bytes()
    same = {"if-none-match": response.headers["etag"]}
    assert httpx.get(f"{node.http}/socket.io/socket.io.js", headers=same, timeout=30).status_code == 304
    assert httpx.get(f"{node.http}/socket.io/../../etc/passwd", timeout=30).status_code == 404
    assert httpx.get(f"{node.http}/socket.io/package.json", timeout=30).status_code == 404


IN_A_PAGE = """
(async () => {
  const results = [];
  for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
    const socket = io("/", { transports, forceNew: true });
    await new Promise((resolve, reject) => { socket.once("connect", resolve); socket.once("connect_error", reject); });
    if (transports.length > 1 && socket.io.engine.transport.name === "polling")
      await new Promise((resolve) => socket.io.engine.once("upgrade", resolve));
    const back = new Promise((resolve) => socket.once("message-back", (...all) => resolve(all)));
    socket.emit("message", "from a page", new Uint8Array([1, 2, 3]));
    const [text, data] = await back;
    const ack = await socket.timeout(5000).emitWithAck("message-with-ack", new Uint8Array(100000).fill(7));
    results.push([socket.io.engine.transport.name, text, [...new Uint8Array(data)], ack.byteLength]);
    socket.disconnect();
  }
  return results;
})()
"""


@pytest.mark.browser
async def test_the_bundle_in_a_real_browser(node: InteropNode, tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with open_chromium(tmp_path) as page:
            await page.goto(node.http + "/")
            await page.evaluate(
                "fetch('/socket.io/socket.io.js').then((r) => r.text()).then((text) => { window.text = text })"
            )
            await page.evaluate(await page.evaluate("window.text"))  # a page would have a script element
            results = await page.evaluate(IN_A_PAGE)
            again = await page.evaluate(
                "import('/socket.io/socket.io.esm.min.js').then(({ io }) => new Promise((resolve) =>"
                " io('/custom', { auth: { a: 1 } }).once('auth', resolve)))"
            )
    assert results == [[name, "from a page", [1, 2, 3], 100_000] for name in ("polling", "websocket", "websocket")]
    assert again == {"a": 1}
