"""Real browsers, driven from a test: Chromium by the DevTools protocol, Firefox by WebDriver BiDi.

Neither gets an autoplay flag, and a click is a mouse event at the place of the element, so that what works here works for a
person. Browsers talk to the test alone: background networking is off, and each has a fresh profile.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from wsactors.client import open_websocket

MESSAGE_BYTES = 256 * 1024 * 1024


class BrowserError(Exception):
    """The browser refused a command, or the page threw."""


class Channel:
    """Commands with answers over one WebSocket of JSON, and the events in between."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._serial = 0
        self._waiting: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self.events: list[dict[str, Any]] = []
        self.answers: dict[str, Callable[[dict[str, Any]], tuple[str, dict[str, Any]] | None]] = {}
        """For an event's method: the command that answers it."""

    async def read(self) -> None:
        try:
            while True:
                message = json.loads(await self._socket.get_message())
                waiting = self._waiting.pop(message.get("id"), None)
                if waiting is not None:
                    waiting.send_nowait(message)
                elif message.get("method") in self.answers:
                    await self._answer(message)
                elif "method" in message:
                    self.events.append(message)
        except ConnectionClosed:
            for channel in self._waiting.values():
                channel.close()

    async def _answer(self, event: dict[str, Any]) -> None:
        answer = self.answers[event["method"]](event["params"])
        if answer is not None:
            method, params = answer
            self._serial += 1
            extra = {"sessionId": event["sessionId"]} if "sessionId" in event else {}
            await self._socket.send_message(
                json.dumps({"id": self._serial, "method": method, "params": params, **extra})
            )

    async def command(self, method: str, params: dict[str, Any] | None = None, **extra: Any) -> Any:
        self._serial += 1
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._waiting[self._serial] = send
        body = {"id": self._serial, "method": method, "params": params or {}, **extra}
        await self._socket.send_message(json.dumps(body))
        answer = await receive.receive()
        if "error" in answer:
            raise BrowserError(f"{method}: {answer.get('message') or answer['error']}")
        return answer["result"]


class Page(ABC):
    """One tab."""

    @abstractmethod
    async def before_load(self, source: str) -> None:
        """Run the function ``source`` in every page before its own scripts."""

    @abstractmethod
    async def add_script(self, path: str, source: str) -> None:
        """Answer the page's requests for ``path`` with a script, as if its own server had it."""

    @abstractmethod
    async def goto(self, url: str) -> None:
        """Load ``url``."""

    @abstractmethod
    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited, as JSON."""

    @abstractmethod
    async def mouse_click(self, x: float, y: float) -> None:
        """Press and release the left button there."""

    @abstractmethod
    async def screenshot(self, path: Path) -> None:
        """Write what is seen, as PNG."""

    @abstractmethod
    def complaints(self) -> list[str]:
        """Errors and violations that the page caused."""

    async def wait_for(self, expression: str, seconds: float = 60) -> Any:
        """Wait until the expression is true in the page; its value."""
        with trio.move_on_after(seconds):
            while True:
                value = await self.evaluate(expression)
                if value:
                    return value
                await trio.sleep(0.05)
        body = await self.evaluate("document.body.innerText")
        raise AssertionError(f"never true: {expression}\ncomplaints: {self.complaints()}\npage: {body}")

    async def click(self, selector: str) -> None:
        """Click the middle of the first element that ``selector`` finds."""
        place = await self.wait_for(
            f"""(() => {{
              const element = document.querySelector({json.dumps(selector)});
              if (!element) return null;
              element.scrollIntoView({{block: "center"}});
              const box = element.getBoundingClientRect();
              return box.width ? [box.x + box.width / 2, box.y + box.height / 2] : null;
            }})()"""
        )
        await self.mouse_click(*place)


# -- Chromium ---------------------------------------------------------------------------------------------------------


class ChromiumPage(Page):
    def __init__(self, channel: Channel, session: str) -> None:
        self._channel = channel
        self._session = session

    async def _do(self, method: str, **params: Any) -> Any:
        return await self._channel.command(method, params, sessionId=self._session)

    async def prepare(self) -> None:
        for domain in ("Page", "Runtime", "Log"):
            await self._do(f"{domain}.enable")

    async def before_load(self, source: str) -> None:
        await self._do("Page.addScriptToEvaluateOnNewDocument", source=f"({source})()")

    async def add_script(self, path: str, source: str) -> None:
        def answer(paused: dict[str, Any]) -> tuple[str, dict[str, Any]]:
            return "Fetch.fulfillRequest", {
                "requestId": paused["requestId"],
                "responseCode": 200,
                "responseHeaders": [{"name": "Content-Type", "value": "text/javascript"}],
                "body": base64.b64encode(source.encode()).decode(),
            }

        self._channel.answers["Fetch.requestPaused"] = answer
        await self._do("Fetch.enable", patterns=[{"urlPattern": f"*{path}"}])

    async def goto(self, url: str) -> None:
        answer = await self._do("Page.navigate", url=url)
        if answer.get("errorText"):
            raise BrowserError(f"{url}: {answer['errorText']}")
        await self.wait_for("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        answer = await self._do("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"].get("exception", {}).get("description")))
        return answer["result"].get("value")

    async def mouse_click(self, x: float, y: float) -> None:
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self._do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def screenshot(self, path: Path) -> None:
        answer = await self._do("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def complaints(self) -> list[str]:
        found = []
        for event in self._channel.events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(params["entry"]["text"])
            elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
                found.append(str(params["args"]))
        return found


@asynccontextmanager
async def open_chromium(profile: Path, *flags: str) -> AsyncIterator[ChromiumPage]:
    """Debian's Chromium, headless. Skips the test where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium here: `apt-get install chromium`")
    command = [
        program,
        "--headless=new",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-gpu",
        "--disable-extensions",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--no-default-browser-check",
        "--window-size=900,900",
        *flags,
        "about:blank",
    ]
    if os.geteuid() == 0:
        command.insert(1, "--no-sandbox")
    async with _running(command, r"DevTools listening on (ws://\S+)") as url, _channel(url) as channel:
        target = await channel.command("Target.createTarget", {"url": "about:blank"})
        attached = await channel.command("Target.attachToTarget", {**target, "flatten": True})
        page = ChromiumPage(channel, attached["sessionId"])
        await page.prepare()
        yield page


# -- Firefox ----------------------------------------------------------------------------------------------------------

_FIREFOX_PREFERENCES = {
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "app.normandy.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "remote.active-protocols": 1,
}


class FirefoxPage(Page):
    def __init__(self, channel: Channel, context: str) -> None:
        self._channel = channel
        self._context = context

    async def before_load(self, source: str) -> None:
        await self._channel.command("script.addPreloadScript", {"functionDeclaration": source})

    async def add_script(self, path: str, source: str) -> None:
        def answer(blocked: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
            if not blocked["isBlocked"]:
                return None
            return "network.provideResponse", {
                "request": blocked["request"]["request"],
                "statusCode": 200,
                "reasonPhrase": "OK",
                "headers": [{"name": "Content-Type", "value": {"type": "string", "value": "text/javascript"}}],
                "body": {"type": "string", "value": source},
            }

        self._channel.answers["network.beforeRequestSent"] = answer
        await self._channel.command("session.subscribe", {"events": ["network.beforeRequestSent"]})
        patterns = [{"type": "pattern", "pathname": path}]
        await self._channel.command("network.addIntercept", {"phases": ["beforeRequestSent"], "urlPatterns": patterns})

    async def goto(self, url: str) -> None:
        params = {"context": self._context, "url": url, "wait": "complete"}
        await self._channel.command("browsingContext.navigate", params)

    async def evaluate(self, expression: str) -> Any:
        # As text: BiDi's own way to pass values is not JSON.
        answer = await self._channel.command(
            "script.evaluate",
            {
                "expression": f"(async () => JSON.stringify(await ({expression})) ?? 'null')()",
                "target": {"context": self._context},
                "awaitPromise": True,
            },
        )
        if answer["type"] != "success":
            raise BrowserError(str(answer["exceptionDetails"]["text"]))
        return json.loads(answer["result"]["value"])

    async def mouse_click(self, x: float, y: float) -> None:
        actions: list[dict[str, Any]] = [
            {"type": "pointerMove", "x": round(x), "y": round(y)},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": actions}
        await self._channel.command("input.performActions", {"context": self._context, "actions": [mouse]})

    async def screenshot(self, path: Path) -> None:
        answer = await self._channel.command("browsingContext.captureScreenshot", {"context": self._context})
        path.write_bytes(base64.b64decode(answer["data"]))

    def complaints(self) -> list[str]:
        return [
            str(event["params"].get("text"))
            for event in self._channel.events
            if event.get("method") == "log.entryAdded" and event["params"].get("level") == "error"
        ]


@asynccontextmanager
async def open_firefox(profile: Path) -> AsyncIterator[FirefoxPage]:
    """Debian's Firefox, headless. Skips the test where there is none."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("no Firefox here: `apt-get install firefox-esr`")
    lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in _FIREFOX_PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))
    command = [program, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"]
    async with (
        _running(command, r"WebDriver BiDi listening on (ws://\S+)") as url,
        _channel(f"{url}/session") as channel,
    ):
        await channel.command("session.new", {"capabilities": {}})
        await channel.command("session.subscribe", {"events": ["log.entryAdded"]})
        tree = await channel.command("browsingContext.getTree")
        yield FirefoxPage(channel, tree["contexts"][0]["context"])


# -- both -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _channel(url: str) -> AsyncIterator[Channel]:
    async with open_websocket(url, max_message_size=MESSAGE_BYTES) as socket:
        channel = Channel(socket)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.read)
            yield channel
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _running(command: Sequence[str], announcement: str) -> AsyncIterator[str]:
    """Start a browser in a process group of its own; yields the address it announces; ends the group afterwards."""
    environment = {key: value for key, value in os.environ.items() if key not in {"DISPLAY", "WAYLAND_DISPLAY"}}
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, env=environment
    )
    assert process.stderr is not None
    try:
        async with trio.open_nursery() as nursery:
            announced, address = trio.Event(), [""]
            nursery.start_soon(_drain, process.stderr, announcement, announced, address)
            with trio.move_on_after(60):
                await announced.wait()
            if not address[0]:
                pytest.fail(f"{command[0]} did not start")
            yield address[0]
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _drain(stream: trio.abc.ReceiveStream, pattern: str, announced: trio.Event, address: list[str]) -> None:
    seen = b""
    async for piece in stream:
        if announced.is_set():
            continue
        seen += piece
        match = re.search(pattern, seen.decode("utf-8", "replace"))
        if match:
            address[0] = match[1]
            announced.set()
    announced.set()


async def _end(process: trio.Process) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signum)
        except ProcessLookupError:
            break
        with trio.move_on_after(3):
            await process.wait()
            break
    await process.wait()
    if process.stderr is not None:
        await process.stderr.aclose()
    try:
        os.killpg(process.pid, signal.SIGKILL)  # helpers that outlived the browser
    except ProcessLookupError:
        return
