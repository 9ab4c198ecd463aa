from __future__ import annotations

import base64
import datetime as dt
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
from aioquic.quic import events
from cryptography.hazmat.primitives import hashes

from tests.gateway.harness import TestDirectory, TestSession, until
from tests.gateway.quic_harness import QuicGateway, RawTalker, WebTalker, open_quic_gateway, raw_talker, web_talker
from tests.media.quic.quic_client import open_quic
from tests.realtime.tokens import SECRET, claims, signed
from wsactors.gateway import Gateway, quic_conversation
from wsactors.gateway.dev_certificate import DevelopmentCertificates
from wsactors.gateway.options import GatewayOptions
from wsactors.gateway.quic_server import QuicOptions
from wsactors.gateway.server import Address
from wsactors.media import reports
from wsactors.realtime.auth import AuthOptions, KeyedAuthenticator
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node
from wsactors.wire import native
from wsactors.wire.capsules import Close


@asynccontextmanager
async def topics_gateway(options: GatewayOptions | None = None) -> AsyncIterator[QuicGateway]:
    """Of a node that lets in those who log in, and nobody else."""
    keys = KeyedAuthenticator(AuthOptions(anonymous=False, secret=SECRET))
    options = attrs.evolve(options or GatewayOptions(port=0), requires_login=True)

    async def prepare(node: Node) -> object:
        topics = RealtimeOptions((TopicOptions("room:*"),))
        return await start_realtime(node, topics, authenticator=keys)

    async with open_quic_gateway(options, prepare=prepare) as found:
        found.directory.add(TestSession("demo"))
        found.directory.add(TestSession("other"))
        yield found


def token(subject: str = "ada") -> str:
    return signed(claims(sub=subject))


@pytest.fixture
async def gateway() -> AsyncIterator[QuicGateway]:
    async with open_quic_gateway() as found:
        found.directory.add(TestSession("demo", title="Demo"))
        yield found


@pytest.mark.parametrize("backend", ["fast", "aioquic", "qh3"])
async def test_a_session_is_heard_in_datagrams_and_left_by_a_capsule(backend: str) -> None:
    if backend == "qh3":
        pytest.importorskip("qh3")
    async with open_quic_gateway(quic=QuicOptions(backend=backend)) as gateway:
        await hear_and_leave(gateway, gateway.directory.add(TestSession("demo")))


async def hear_and_leave(gateway: QuicGateway, session: TestSession) -> None:
    async with web_talker(gateway) as talker:
        welcome = await talker.hello()
        assert welcome.version == 2
        await talker.say(native.Join("demo"))
        joined = await talker.hears(native.Joined)
        assert (joined.session, joined.track) == ("demo", session.track)
        for number in range(20):
            session.offer_frame(b"frame %d" % number)
        frames = await talker.sound(20)
        assert [frame.payload for frame in frames] == session.sent
        assert [frame.sequence for frame in frames] == list(range(20))
    await until(lambda: not session.members)
    await until(lambda: not gateway.clients)


async def test_quic_itself_carries_the_same(gateway: QuicGateway) -> None:
    session = gateway.directory.by_name["demo"]
    async with raw_talker(gateway.port) as talker:
        await talker.hello()
        await talker.say(native.Join("demo"))
        await talker.hears(native.Joined)
        for number in range(20):
            session.offer_frame(b"frame %d" % number)
        assert [frame.payload for frame in await talker.sound(20)] == session.sent
        await talker.say(native.Ping(7))
        assert (await talker.hears(native.Pong)).nonce == 7
    await until(lambda: not session.members)


async def test_a_datagram_of_each_listener_is_the_same_frame(gateway: QuicGateway) -> None:
    session = gateway.directory.by_name["demo"]
    async with web_talker(gateway) as first, web_talker(gateway) as second, raw_talker(gateway.port) as third:
        for talker in (first, second, third):
            await talker.hello()
            await talker.say(native.Join("demo"))
            await talker.hears(native.Joined)
        session.offer_frame(b"for all")
        for talker in (first, second, third):
            assert [each.payload for each in await talker.sound(1)] == [b"for all"]
        for each in list(gateway.clients):
            assert each.sink.statistics().sent_direct == 1
        assert not first.client.of(events.ConnectionTerminated)


async def test_a_listener_that_reports_loss_gets_copies_and_nobody_else_does(
    monkeypatch: pytest.MonkeyPatch, gateway: QuicGateway
) -> None:
    monkeypatch.setattr(reports, "LEAST_BETWEEN", 0.0)
    session = gateway.directory.by_name["demo"]
    async with web_talker(gateway) as lossy, raw_talker(gateway.port) as lucky:
        for talker in (lossy, lucky):
            await talker.hello()
            await talker.say(native.Join("demo"))
            await talker.hears(native.Joined)
        for talker, lost in ((lossy, 10), (lucky, 0)):
            await talker.say(native.ReceiverReport((native.TrackReport(session.track, 99, 100),)))
            await talker.hears(native.Probe)
            await talker.say(native.ReceiverReport((native.TrackReport(session.track, 199, 200, lost, runs=lost),)))
            await talker.say(native.Ping(1))
            await talker.hears(native.Pong)
        for number in range(5):
            session.offer_frame(b"\xf8 %d" % number)
        with_copies, without = await lossy.sound(5), await lucky.sound(5)
    assert [frame.payload for frame in with_copies] == [frame.payload for frame in without] == session.sent
    assert [[copy.payload for copy in frame.copies][-1:] for frame in with_copies] == [
        [],
        *([each] for each in session.sent[:4]),
    ]
    assert not any(frame.copies for frame in without)


# --- the door ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, b"200"),
        ("own", b"200"),
        ("https://radio.example", b"200"),
        ("https://evil.example", b"403"),
        ("null", b"403"),
        ("http://127.0.0.1:1", b"403"),
    ],
)
async def test_pages_of_other_sites_are_turned_away_as_on_websockets(origin: str | None, status: bytes) -> None:
    options = GatewayOptions(port=0, allowed_origins=("https://radio.example",))
    async with open_quic_gateway(options) as gateway, open_quic(gateway.port, "h3") as client:
        answer = await WebTalker(client).connect(gateway.port, origin=gateway.origin if origin == "own" else origin)
        assert answer[b":status"] == status


async def test_a_page_of_localhost_may_name_the_address(gateway: QuicGateway) -> None:
    async with web_talker(gateway, origin=f"http://localhost:{gateway.page.port}") as talker:
        await talker.hello()


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        (b":authority", b"evil.example:443", b"421"),
        (b":path", b"/", b"404"),
        (b":path", b"/wt/../wt", b"404"),
        (b":protocol", b"websocket", b"501"),
        (b":scheme", b"http", b"400"),
        (b":path", b"/wt?ticket=made-up", b"401"),
        (b":path", b"/wt?" + b"x" * 2_000, b"401"),
    ],
)
async def test_what_asks_for_no_session_of_ours_gets_none(
    gateway: QuicGateway, header: bytes, value: bytes, status: bytes
) -> None:
    async with open_quic(gateway.port, "h3") as client:
        talker = WebTalker(client)
        answer = await talker.connect(gateway.port, origin=gateway.origin, replace={header: value})
        assert answer[b":status"] == status
        assert not gateway.clients


async def test_a_connection_has_one_session_and_serves_no_pages(gateway: QuicGateway) -> None:
    async with web_talker(gateway) as talker:
        assert (await talker.connect(gateway.port, origin=gateway.origin))[b":status"] == b"429"
    async with open_quic(gateway.port, "h3") as client:
        answer = await WebTalker(client).connect(
            gateway.port, origin=None, replace={b":method": b"GET", b":protocol": None}
        )
        assert answer[b":status"] == b"404"


async def test_the_sub_protocol_is_ours_if_it_is_offered(gateway: QuicGateway) -> None:
    async with open_quic(gateway.port, "h3") as client:
        answer = await WebTalker(client).connect(
            gateway.port, origin=None, wt_available_protocols=b'"other", "wsactors-v2"'
        )
        assert answer[b"wt-protocol"] == b'"wsactors-v2"'
        assert answer[b"sec-webtransport-http3-draft"] == b"draft02"
    async with open_quic(gateway.port, "h3") as client:
        answer = await WebTalker(client).connect(gateway.port, origin=None, wt_available_protocols=b'"other"')
        assert b"wt-protocol" not in answer


async def test_who_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch, gateway: QuicGateway) -> None:
    monkeypatch.setattr(quic_conversation, "HELLO_SECONDS", 1.0)
    async with web_talker(gateway) as silent, raw_talker(gateway.port) as raw, open_quic(gateway.port, "h3") as idle:
        await raw.raw(b"\x05")
        assert (await silent.capsule(Close)).code == 4408
        assert (await raw.client.wait_for(events.ConnectionTerminated)).error_code == 4408
        assert (await idle.wait_for(events.ConnectionTerminated)).error_code == 0x100


async def test_a_node_that_is_being_emptied_asks_to_come_back(gateway: QuicGateway) -> None:
    gateway.shared.drain._is_on = True
    async with raw_talker(gateway.port) as talker, open_quic(gateway.port, "h3") as web:
        for client in (talker.client, web):
            assert (await client.wait_for(events.ConnectionTerminated)).error_code == 0x10B


# --- tickets -------------------------------------------------------------------------------------------------------------


async def ask_for_ticket(gateway: QuicGateway, session: str = "demo", **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(gateway.origin + "/webtransport/ticket", json={"session": session}, headers=headers)


async def test_a_ticket_opens_its_session_once_and_nothing_else() -> None:
    async with topics_gateway() as gateway:
        refused = await ask_for_ticket(gateway)
        assert refused.status_code == 401
        answer = await ask_for_ticket(gateway, authorization=f"Bearer {token()}", origin=gateway.origin)
        assert answer.json()["seconds"] == 60.0
        path = f"/wt?ticket={answer.json()['ticket']}"
        async with web_talker(gateway, path=path) as talker:
            assert (await talker.hello()).subject == "ada"
            await talker.say(native.Join("other"))
            assert (await talker.hears(native.Error)).code == "unauthorized"
            await talker.say(native.JoinTopic(1, "room:1"))
            assert (await talker.hears(native.Error, 2)).code == "unauthorized"
            await talker.say(native.Join("demo"))
            await talker.hears(native.Joined)
        async with open_quic(gateway.port, "h3") as client:
            again = await WebTalker(client).connect(gateway.port, origin=gateway.origin, path=path)
            assert again[b":status"] == b"401"


async def test_a_ticket_is_of_no_use_to_another_page() -> None:
    options = GatewayOptions(port=0, allowed_origins=("https://radio.example",))
    async with topics_gateway(options) as gateway:
        answer = await ask_for_ticket(gateway, authorization=f"Bearer {token()}", origin="https://radio.example")
        path = f"/wt?ticket={answer.json()['ticket']}"
        for origin in (gateway.origin, "https://radio.example"):
            async with open_quic(gateway.port, "h3") as client:
                seen = await WebTalker(client).connect(gateway.port, origin=origin, path=path)
                assert seen[b":status"] == b"401"


async def test_the_first_message_must_say_who_it_is_where_that_is_asked() -> None:
    async with topics_gateway() as gateway:
        async with web_talker(gateway) as talker:
            await talker.say(native.Hello(versions=(2,), client="test"))
            assert (await talker.hears(native.Error)).code == "unauthorized"
            assert (await talker.capsule(Close)).code == 4401
        async with web_talker(gateway) as talker:
            assert (await talker.hello(token=token())).subject == "ada"
            await until(lambda: [each.talk.subject for each in gateway.clients] == ["ada"])


# --- what pages are told -------------------------------------------------------------------------------------------------


async def test_where_it_is_and_its_hash_are_told_under_the_rule_for_other_sites() -> None:
    options = GatewayOptions(port=0, allowed_origins=("https://radio.example",))
    async with open_quic_gateway(options) as gateway, httpx.AsyncClient() as client:
        url = gateway.origin + "/webtransport.json"
        answer = await client.get(url)
        assert answer.json() == {
            "url": f"https://127.0.0.1:{gateway.port}/wt",
            "hashes": [
                {"algorithm": "sha-256", "value": base64.b64encode(each).decode()} for each in gateway.offer.hashes()
            ],
            "protocols": ["wsactors-v2"],
        }
        assert answer.headers["cache-control"] == "no-store"
        for method in (client.get, client.options):
            evil = await method(url, headers={"origin": "https://evil.example", "access-control-request-method": "GET"})
            assert evil.status_code == 403
            assert "access-control-allow-origin" not in evil.headers
        kind = await client.get(url, headers={"origin": "https://radio.example"})
        assert kind.headers["access-control-allow-origin"] == "https://radio.example"
        assert (await client.get(url, headers={"host": "evil.example"})).status_code == 421
        named = await client.get(url, headers={"host": f"localhost:{gateway.page.port}"})
        assert named.json()["url"] == f"https://127.0.0.1:{gateway.port}/wt"


async def test_a_node_without_quic_says_so() -> None:
    async with Node("no-quic") as node, httpx.AsyncClient() as client:
        pages: list[Address] = []
        await node.spawn(
            Gateway, GatewayOptions(port=0), kwargs={"on_open": pages.append, "directory": TestDirectory()}
        )
        answer = await client.get(pages[0].urls[0] + "webtransport.json")
        assert (answer.status_code, answer.json()) == (200, {})


async def test_the_certificate_is_replaced_while_the_node_runs() -> None:
    today = [dt.datetime.now(dt.UTC)]
    certificates = DevelopmentCertificates(["localhost"], lambda: today[0])
    async with open_quic_gateway(certificates=certificates) as gateway, raw_talker(gateway.port) as old:
        await old.hello()
        [first] = gateway.offer.hashes()
        assert shown(old) == first
        today[0] += dt.timedelta(days=12)
        async with raw_talker(gateway.port) as new:
            [second] = gateway.offer.hashes()
            assert shown(new) == second != first
            await old.say(native.Ping(1))
            await old.hears(native.Pong)


def shown(talker: RawTalker) -> bytes:
    """The hash of the certificate that the server has shown."""
    certificate = talker.client.quic.tls._peer_certificate
    assert certificate is not None
    return certificate.fingerprint(hashes.SHA256())


@pytest.mark.parametrize("kind", ["raw", "web"])
async def test_nothing_of_a_connection_waits_for_the_garbage_collector(gateway: QuicGateway, kind: str) -> None:
    """A node collects all of it but once in hours, and listeners come and go."""
    gc.collect()
    gc.disable()
    try:
        async with raw_talker(gateway.port) if kind == "raw" else web_talker(gateway) as talker:
            await talker.hello()
            await talker.say(native.Join("demo"))
            await talker.hears(native.Joined)
            [client] = gateway.clients
            connection = client.sink._connection
            kept = [weakref.ref(each) for each in (client, connection.application, connection.transport.quic)]
            del client, connection
        await until(lambda: not any(each() for each in kept))
    finally:
        gc.enable()
