"""A real browser hears a session over WebTransport, from a whole node with its development certificate."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from signal import Signals

import httpx
import pytest
import trio

from tests.browser.driver import open_chromium
from tests.node.booting import node_running
from wsactors.wire import native

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]

CONFIG = f"""
[node]
name = "webtransport"
trees = ["{ROOT / "supervisors/node.toml"}"]
[gateway]
port = 0
[admin.http]
port = 0
[quic]
enabled = true
port = 0
[sessions.demo]
fade_seconds = 1.0
"""

LISTEN = """(async () => {
  const where = await (await fetch("/webtransport.json")).json();
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const serverCertificateHashes = where.hashes.map(({ algorithm, value }) => ({ algorithm, value: bytes(value) }));
  const transport = new WebTransport(where.url, { serverCertificateHashes, protocols: where.protocols });
  const page = window.test = { frames: [], heard: 0, closed: null, protocol: null };
  transport.closed.then((info) => (page.closed = [info.closeCode, info.reason]), (error) => (page.closed = String(error)));
  transport.datagrams.incomingHighWaterMark = 1000;
  await transport.ready;
  page.protocol = transport.protocol;
  page.transport = transport;

  (async () => {
    for await (const datagram of transport.datagrams.readable) {
      const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
      page.frames.push([view.getUint8(0), view.getUint32(2), view.getUint32(6), datagram.byteLength]);
    }
  })().catch(() => {});

  const control = await transport.createBidirectionalStream();
  const writer = control.writable.getWriter();
  page.say = async (hex) => {
    const message = Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
    const length = message.length < 64 ? [message.length] : [0x40 | (message.length >> 8), message.length & 255];
    await writer.write(new Uint8Array([...length, ...message]));
  };
  (async () => {
    for await (const piece of control.readable) page.heard += piece.length;
  })().catch(() => {});
  return true;
})()"""


def test_a_browser_hears_a_battle_in_datagrams_leaves_and_is_told_when_the_node_stops(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text(CONFIG)
    config.chmod(0o600)
    hello = native.encode(native.Hello(versions=(2,), client="browser")).hex()
    join = native.encode(native.Join("demo")).hex()

    async def listen(page_url: str, metrics_url: str, stop: Callable[[], None]) -> None:
        with trio.fail_after(120):
            async with open_chromium(tmp_path / "profile") as page:
                await page._do("Page.setBypassCSP", enabled=True)
                await page.goto(page_url + "/health")  # of the page's origin, and without the page's own connections
                assert await page.evaluate(LISTEN)
                assert await page.evaluate("test.protocol") in {"wsactors-v2", None}
                await page.evaluate(f"test.say({hello!r})")
                await page.wait_for("test.heard > 0")
                await page.evaluate(f"test.say({join!r})")
                await page.wait_for("test.frames.length >= 100", 60)
                frames = await page.evaluate("test.frames.slice(0, 100)")
                sequences = [sequence for _, _, sequence, _ in frames]
                assert sequences == sorted(set(sequences)), "each comes once, and in order"
                assert sequences[-1] - sequences[0] < 1_000
                assert {kind for kind, *_ in frames} == {native.AUDIO_KIND}
                assert len({track for _, track, *_ in frames}) == 1
                assert all(size > native.AUDIO_HEADER_BYTES for *_, size in frames)
                metrics = await scraped(metrics_url)
                assert value(metrics, 'wsactors_connections{node="webtransport",protocol="webtransport"') == 1
                assert value(metrics, "wsactors_quic_connections") == 1
                assert value(metrics, "wsactors_quic_fast_share") > 0.5
                await page.evaluate("test.transport.close({ closeCode: 7, reason: 'enough' })")
                await page.wait_for("test.closed !== null")
                assert await page.evaluate("test.closed") == [7, "enough"]
                while value(await scraped(metrics_url), "wsactors_quic_connections"):  # noqa: ASYNC110 - in another process
                    await trio.sleep(0.1)

                assert await page.evaluate(LISTEN)
                await page.evaluate(f"test.say({hello!r})")
                await page.wait_for("test.heard > 0")
                stop()
                await page.wait_for("test.closed !== null")
                assert await page.evaluate("test.closed") == [1012, "the node stops: come back in a moment"]

    with node_running(config, "--print-addresses") as node:
        addresses = json.loads(node.wait_line('"websocket": "ws'))
        trio.run(
            listen, addresses["gateway"], addresses["admin_http"] + "/metrics", partial(node.signal, Signals.SIGTERM)
        )


async def scraped(url: str) -> str:
    async with httpx.AsyncClient(timeout=30) as client:
        return (await client.get(url)).text


def value(metrics: str, name: str) -> float:
    [found] = [line for line in metrics.splitlines() if line.startswith(name)]
    return float(found.rpartition(" ")[2])
