"""The page's client in a real browser, on topics, with a Trio client and a wire that breaks."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.browser.driver import open_chromium
from tests.client.stage import stage, wire
from tests.gateway.harness import until
from wsactors.client import connect

pytestmark = pytest.mark.browser

CLIENT = """(async () => {
  const { Client } = await import("/js/client.js");
  const states = [];
  const on = { state: (text) => states.push(text) };
  const client = new Client(%r, on, { token: () => "page", retry: { first: 0.02, longest: 0.1 } });
  const heard = [];
  const room = await client.joinTopic("room:1", {
    onMessage: ({ payload, afterGap }) => heard.push([payload instanceof Uint8Array ? [...payload] : payload, afterGap]),
  });
  await room.track({ mood: "good" });
  window.test = { client, room, heard, states };
  return client.core.welcome.subject;
})()"""


async def test_the_pages_client_talks_on_topics_and_resumes(tmp_path: Path) -> None:
    async with (
        stage() as here,
        wire(here.port) as cable,
        connect(here.url, token="trio") as other,
        open_chromium(tmp_path) as page,
    ):
        with trio.fail_after(120):
            room = await other.join_topic("room:1")
            await page.goto(cable.url.replace("ws:", "http:").removesuffix("ws"))
            assert await page.evaluate(CLIENT % cable.url) == "page"
            while "page" not in room.presence:
                await room.changed()
            position = await page.evaluate('test.room.publish("said", { cover: new Uint8Array([0, 255]), n: -1.5 })')
            assert position["offset"] == 1
            assert (await anext(room)).payload == {"cover": b"\x00\xff", "n": -1.5}
            await room.publish("said", b"\x01\x02")
            await page.wait_for("test.heard.length === 1")
            assert await page.wait_for("test.client.latency.seconds > 0")

            cable.target = None
            cable.cut()
            await until(lambda: len(here.realtime.seats) == 1)
            await room.publish("said", "missed")
            cable.target = here.port
            await page.wait_for("test.heard.length === 2")
            assert await page.evaluate("test.heard") == [[[1, 2], False], ["missed", False]]
            assert await page.evaluate("[test.room.membership.recovered, test.client.connections]") == [True, 2]
            assert await page.evaluate("test.states[0]") == "connecting"
            refused = await page.evaluate('test.client.joinTopic("nowhere").catch((error) => error.code)')
            assert refused == "unmatched_topic"
            cable.target = None
            cable.cut()
            await page.wait_for("!test.client.online")
            refused = await page.evaluate('test.room.publish("said", 1, { timeout: 0.2 }).catch((error) => error.code)')
            assert refused == "no_answer"
            await page.wait_for("test.states.at(-1) === 'failed'")
            assert await page.evaluate("[test.client.failure.code, test.room.membership.phase]") == [
                "connection_failed",
                "ended",
            ]
