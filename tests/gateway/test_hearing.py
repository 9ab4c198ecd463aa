"""What listeners report, until whoever runs the node sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from tests.gateway.harness import TestSession, until
from tests.gateway.quic_harness import QuicGateway, Talker, open_quic_gateway, raw_talker, web_talker
from wsactors.client import connect
from wsactors.gateway import Gateway, GatewayOptions
from wsactors.gateway.admin_site import admin_site
from wsactors.gateway.server import Address
from wsactors.realtime.start import start_realtime
from wsactors.sessions.listener_metrics import ListenerMetrics
from wsactors.wire import native

BEARER = {"authorization": "Bearer secret"}


def told(number: int) -> native.ReceiverReport:
    """The report after so many seconds."""
    return native.ReceiverReport(
        (
            native.TrackReport(
                1,
                highest=50 * number,
                received=45 * number,
                lost=5 * number,
                recovered=3 * number,
                runs=4 * number,
                played=48_000 * number,
                concealed=1_920 * number,
                jitter=3.0,
                buffer=55.0,
            ),
        )
    )


async def report_until(say: Callable[[native.ReceiverReport], Any], condition: Callable[[], bool]) -> None:
    """Report as a client would, only faster."""
    number = 0
    with trio.fail_after(30):
        while not condition():
            number += 1
            await say(told(number))
            await trio.sleep(0.25)


async def joined(talker: Talker) -> None:
    await talker.hello()
    await talker.say(native.Join("demo"))
    await talker.hears(native.Joined)


@asynccontextmanager
async def admin(gateway: QuicGateway) -> AsyncIterator[httpx.AsyncClient]:
    addresses: list[Address] = []
    await gateway.node.spawn(Gateway, GatewayOptions(port=0), None, addresses.append, None, None, admin_site("secret"))
    async with httpx.AsyncClient(base_url=addresses[0].urls[0], timeout=30, headers=BEARER) as client:
        yield client


async def test_reports_reach_the_metrics_and_the_admin_api() -> None:
    async with open_quic_gateway(prepare=start_realtime) as gateway, admin(gateway) as client:
        gateway.directory.add(TestSession("demo"))
        found = ListenerMetrics.of(gateway.node)
        async with web_talker(gateway) as talker, raw_talker(gateway.port) as raw:
            await joined(talker)
            await joined(raw)
            await report_until(talker.say, lambda: found.reports.read()["taken"] >= 2)
            counted = found.frames.read()
            assert counted["came"] == counted["lost"] * 45 / 2 == counted["recovered"] * 45 / 3
            rows = (await client.get("/admin/api/connections")).json()["connections"]
            by_protocol = {row["protocol"]: row["hearing"] for row in rows}
            assert by_protocol["quic"] is None, "it has reported nothing"
            hearing = by_protocol["webtransport"]
            assert (hearing["loss"], hearing["concealed"], hearing["jitter"]) == (0.1, 0.04, 0.003)
            sound = (await client.get("/admin/api/sound")).json()
            assert sound["frames"]["came"] == counted["came"]
            assert sound["loss"]["p50"] == 0.1
            assert sound["fast_share"] is not None
            text = (await client.get("/metrics")).text
            assert 'wsactors_hearing_frames_total{node="quic",region="local",result="came"}' in text


async def test_reports_on_a_websocket_count_too() -> None:
    async with open_quic_gateway() as gateway:
        gateway.directory.add(TestSession("demo"))
        found = ListenerMetrics.of(gateway.node)
        async with connect(f"{gateway.origin.replace('http', 'ws')}/ws") as client:
            await client.join("demo")

            async def say(report: native.ReceiverReport) -> None:
                client.report(report)

            await report_until(say, lambda: found.frames.read()["came"] > 0)
        await until(lambda: gateway.shared.meters.read("open")["native"] == 0)
