"""Engine.IO over real sockets: the rules of the protocol's own test suite, and attacks."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import attrs
import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from tests.gateway.engines import ENGINE, PATIENT, Served, serving
from tests.gateway.harness import exchange, until
from wsactors.gateway.engineio import EngineServer
from wsactors.gateway.engineio_options import EngineOptions
from wsactors.gateway.port import Port
from wsactors.gateway.socketio import SocketIo
from wsactors.gateway.socketio_interop import Main
from wsactors.gateway.socketio_options import SocketIoOptions
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node, Supervisor


async def closed(ws: WebSocketConnection, seconds: float = 30) -> None:
    with trio.fail_after(seconds), pytest.raises(ConnectionClosed):
        while True:
            await ws.get_message()


async def test_the_protocol_suite_handshake() -> None:
    async with serving(ENGINE) as served:
        response = await served.get()
        assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
        assert response.text[0] == "0"
        said = json.loads(response.text[1:])
        assert said == {
            **said,
            "upgrades": ["websocket"],
            "pingInterval": 300,
            "pingTimeout": 200,
            "maxPayload": 1000000,
        }
        assert len(said) == 5
        assert len(said["sid"]) >= 22

        for query in (
            {"EIO": ""},
            {"EIO": "abc"},
            {"EIO": 3},
            {"transport": ""},
            {"transport": "abc"},
            {"sid": "x"},
            {"j": 0},
        ):
            response = await served.get(**query)
            assert response.status_code == 400, query
            assert set(response.json()) == {"code", "message"}
        assert (await served.post("")).json() == {"code": 2, "message": "Bad handshake method"}
        assert (await served.http.put(served.url())).status_code == 400
        assert (await served.get(transport="websocket")).json()["code"] == 3
        assert (await served.http.get(served.url() + "&a=1" * 100)).status_code == 400

        async with served.ws() as ws:
            said = json.loads((await ws.get_message())[1:])
            assert said["upgrades"] == []
        for query in ({"EIO": ""}, {"EIO": "abc"}, {"transport": ""}, {"transport": "abc"}, {"sid": "x"}):
            assert await served.is_refused(**query), query


async def test_the_protocol_suite_messages() -> None:
    async with serving(PATIENT) as served:
        for body in ("4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA=="):
            sid = await served.sid()
            assert (await served.post(body, sid=sid)).text == "ok"
            response = await served.get(sid=sid)
            assert (response.status_code, response.text) == (200, body)

        sid = await served.sid()
        assert (await served.post("abc", sid=sid)).status_code == 400
        assert (await served.get(sid=sid)).status_code == 400

        async with served.ws() as ws:
            await ws.get_message()
            await ws.send_message("4hello")
            assert await ws.get_message() == "4hello"
            await ws.send_message(b"\1\2\3\4")
            assert await ws.get_message() == b"\1\2\3\4"
            await ws.send_message("abc")
            await closed(ws)


async def test_the_protocol_suite_gets_that_overlap_or_break_off() -> None:
    async with serving(PATIENT) as served:
        sid = await served.sid()
        answers = []

        async def get() -> None:
            answers.append(await served.get(sid=sid))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            await served.wait_polled()
            nursery.start_soon(get)
        assert sorted((each.status_code, each.text[:1]) for each in answers) == [(200, "1"), (400, "{")]
        assert (await served.get(sid=sid)).status_code == 400

        sid = await served.sid()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            await served.wait_polled()
            nursery.cancel_scope.cancel()
        status = 200
        with trio.fail_after(30):
            while status != 400:
                with trio.move_on_after(0.2):
                    status = (await served.get(sid=sid)).status_code


async def test_the_protocol_suite_heartbeat_and_close() -> None:
    async with serving(ENGINE) as served:  # where nobody answers
        sid = await served.sid()
        with trio.fail_after(30):
            while (await served.get(sid=sid)).status_code != 400:
                pass
        async with served.ws() as ws:
            await ws.get_message()
            await closed(ws)

    # However late the answer comes on a busy machine, it is one.
    async with serving(attrs.evolve(ENGINE, ping_timeout=30.0)) as served:
        sid = await served.sid()
        for _ in range(3):
            assert (await served.get(sid=sid)).text == "2"
            assert (await served.post("3", sid=sid)).status_code == 200

        async with served.ws() as ws:
            await ws.get_message()
            for _ in range(3):
                assert await ws.get_message() == "2"
                await ws.send_message("3")

        sid = await served.sid()
        async with trio.open_nursery() as nursery:
            answers = []

            async def get() -> None:
                answers.append(await served.get(sid=sid))

            nursery.start_soon(get)
            await served.wait_polled()
            assert (await served.post("1", sid=sid)).status_code == 200
        assert (answers[0].status_code, answers[0].text) == (200, "6")
        assert (await served.get(sid=sid)).status_code == 400

        async with served.ws() as ws:
            await ws.get_message()
            await ws.send_message("1")
            await closed(ws)


async def upgraded(served: Served, ws: WebSocketConnection) -> None:
    await ws.send_message("2probe")
    assert await ws.get_message() == "3probe"
    await ws.send_message("5")


async def test_the_protocol_suite_upgrade() -> None:
    async with serving(PATIENT) as served:
        sid = await served.sid()
        async with served.ws(sid=sid) as ws:
            await ws.send_message("2probe")
            assert await ws.get_message() == "3probe"
            response = await served.get(sid=sid)
            assert (response.status_code, response.text) == (200, "6")
            await ws.send_message("5")
            await ws.send_message("4hello")
            assert await ws.get_message() == "4hello"
            assert (await served.get(sid=sid)).status_code == 400
            assert await served.is_refused(sid=sid)
            await ws.send_message("4hello")
            assert await ws.get_message() == "4hello"


async def test_nothing_is_lost_or_reordered_in_an_upgrade() -> None:
    async with serving(PATIENT) as served:
        sid = await served.sid()
        said = []
        async with served.ws(sid=sid) as ws:
            for number in range(40):
                await served.post(f"4{number}", sid=sid)
            said += (await served.get(sid=sid)).text.split("\x1e")
            assert len(said) == 16
            await upgraded(served, ws)
            while len(said) < 40:
                said.append(str(await ws.get_message()))
        assert said == [f"4{number}" for number in range(40)]


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_000])
async def test_binary_of_any_size_on_both_transports(size: int) -> None:
    data = random.Random(size).randbytes(size)
    async with serving(PATIENT) as served:
        async with served.ws() as ws:
            await ws.get_message()
            for _ in range(3):
                await ws.send_message(data)
            for _ in range(3):
                assert await ws.get_message() == data
        import base64

        sid = await served.sid()
        body = b"b" + base64.b64encode(data)
        assert (await served.post(body, sid=sid)).text == "ok"
        assert (await served.get(sid=sid)).content == body


async def test_too_large_a_body_is_refused() -> None:
    async with serving(EngineOptions(echo=True, max_message=1000)) as served:
        sid = await served.sid()
        assert (await served.post("4" + "x" * 2000, sid=sid)).status_code == 413
        async with served.ws() as ws:
            await ws.get_message()
            await ws.send_message("4" + "x" * 2000)
            with pytest.raises(ConnectionClosed) as caught:
                await ws.get_message()
            assert caught.value.reason is not None
            assert caught.value.reason.code == 1009


async def test_one_address_has_so_many_sessions_and_their_end_makes_room() -> None:
    async with serving(EngineOptions(echo=True, max_sessions_per_address=3)) as served:
        sids = [await served.sid() for _ in range(3)]
        refused = await served.get()
        assert (refused.status_code, refused.json()["code"]) == (503, 4)
        assert await served.is_refused()
        await served.post("1", sid=sids[0])
        assert (await served.get()).status_code == 200


async def test_a_session_that_nobody_polls_ends() -> None:
    async with serving(EngineOptions(ping_interval=0.5, ping_timeout=0.5, echo=True)) as served:
        before = served.node.info().actors
        for _ in range(20):
            await served.sid()
        assert served.node.info().actors > before
        await until(lambda: served.node.info().actors <= before + 1)


async def test_who_polls_is_told_when_the_node_stops() -> None:
    answers = []
    async with trio.open_nursery() as nursery, serving(PATIENT) as served:
        sid = await served.sid()

        async def get() -> None:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}", verify=False) as client:
                answers.append((await client.get(served.url(sid=sid))).text)

        nursery.start_soon(get)
        await served.wait_polled()
    assert answers == ["1"]


async def test_pages_of_other_sites_need_to_be_named() -> None:
    async with serving(PATIENT, allowed_origins=("https://friend.example",)) as served:
        foe = {"origin": "https://foe.example"}
        assert (await served.http.get(served.url(), headers=foe)).status_code == 403
        response = await served.http.get(served.url(), headers={"origin": "https://friend.example"})
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == "https://friend.example"
        assert response.headers["access-control-allow-credentials"] == "true"
        assert (await served.http.get(served.url())).headers.get("access-control-allow-origin") is None


async def test_clients_of_revision_3_when_they_are_wanted() -> None:
    async with serving(EngineOptions(echo=True, eio3=True)) as served:
        old = json.loads((await served.get(EIO=3, b64=1)).text.partition(":")[2][1:])["sid"]
        await served.post("6:b4AQI=", EIO=3, sid=old)
        assert (await served.get(EIO=3, sid=old, b64=1)).text == "6:b4AQI="
        response = await served.get(EIO=3)
        length, _, packet = response.text.partition(":")
        assert int(length) == len(packet)
        sid = json.loads(packet[1:])["sid"]
        assert (await served.post("6:4hello1:2", EIO=3, sid=sid)).text == "ok"
        assert sorted((await served.get(EIO=3, sid=sid)).text) == sorted("6:4hello1:3")
        octets = {"content-type": "application/octet-stream"}
        body = b"\x01\x03\xff\x04\x01\x02"
        await served.http.post(served.url(EIO=3, sid=sid), content=body, headers=octets)
        response = await served.get(EIO=3, sid=sid)
        assert (response.headers["content-type"], response.content) == ("application/octet-stream", body)
        async with served.ws(EIO=3, sid=sid) as ws:
            await upgraded(served, ws)
            await ws.send_message(b"\4\1")
            assert await ws.get_message() == b"\4\1"


class Direct:
    """An endpoint on a node, asked without a socket in between."""

    def __init__(self, server: EngineServer) -> None:
        self._server = server

    async def __call__(self, method: str, body: bytes = b"", **query: str) -> tuple[int, bytes]:
        fields = {"EIO": "4", "transport": "polling", **query}
        scope = {
            "type": "http",
            "method": method,
            "query_string": "&".join(f"{key}={value}" for key, value in fields.items()).encode(),
            "headers": [],
        }
        asked, answered = [{"type": "http.request", "body": body}], []

        async def receive() -> Any:
            return asked.pop() if asked else await trio.sleep_forever()

        async def send(message: Any) -> None:
            answered.append(message)

        await self._server(scope, receive, send)
        return answered[0]["status"], answered[1]["body"]

    async def open(self) -> str:
        _, body = await self("GET")
        return str(json.loads(body[1:])["sid"])


async def test_a_hundred_thousand_malformed_packets_leave_a_healthy_node() -> None:
    luck = random.Random(9)
    good = [
        b"40",
        b'42["message",1]',
        b'451-["message",{"_placeholder":true,"num":0}]',
        b"bAQID",
        b"2probe",
        b"5",
        b"3",
        b"41",
        b"430[]",
    ]

    def damaged() -> bytes:
        packet = bytearray(luck.choice(good))
        packet[luck.randrange(len(packet))] = luck.randrange(256)
        return bytes(packet)

    async with Node("fuzzed") as node:
        await start_realtime(node)
        app = SocketIo(node, SocketIoOptions(), {"/": Main})
        server = EngineServer(node, EngineOptions(), app)
        await node.spawn(Supervisor, "one_for_one", [app.child(), server.child()])
        ask, before = Direct(server), node.info().actors
        sid = await ask.open()
        for _ in range(5_000):
            packets = b"\x1e".join(damaged() for _ in range(20))
            status, _ = await ask("POST", packets, sid=sid)
            assert status in {200, 400}
            if status == 400:
                sid = await ask.open()
        await ask("POST", b"1", sid=sid)
        sid = await ask.open()
        assert await ask("POST", b"40\x1e", sid=sid) == (400, b'{"code":3,"message":"Bad request"}')
        sid = await ask.open()
        assert await ask("POST", b"40", sid=sid) == (200, b"ok")
        assert b'40{"sid"' in (await ask("GET", sid=sid))[1]
        await until(lambda: node.info().actors <= before + 2)
        assert len(server) == 1


async def test_malformed_packets_leave_a_healthy_node() -> None:
    luck = random.Random(3)
    async with serving(PATIENT) as served:
        before = served.node.info().actors
        for _ in range(20):
            async with served.ws("/socket.io/") as ws:
                try:
                    for _ in range(30):
                        text = "".join(
                            chr(luck.choice((48 + luck.randrange(8), luck.randrange(1, 0x250)))) for _ in range(9)
                        )
                        await ws.send_message(luck.choice(("4", "40", "42", "451-", "")) + text)
                        await ws.send_message(luck.randbytes(3))
                except ConnectionClosed:
                    pass
        for _ in range(20):
            sid = await served.sid("/socket.io/")
            await served.post(luck.randbytes(30), "/socket.io/", sid=sid)
        raw = await exchange(
            served.port, b"POST /engine.io/?EIO=4 HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n"
        )
        assert b" 400 " in raw
        async with served.ws() as ws:
            await ws.get_message()
            await ws.send_message("4healthy")
            assert await ws.get_message() == "4healthy"
        await until(lambda: served.node.info().actors <= before + 4)


async def test_a_get_whose_connection_is_ended_from_here_ends_its_session_and_no_message_is_lost_in_silence() -> None:
    async with serving() as served:
        port = Port.of(served.node)
        assert port is not None
        sid = await served.sid()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with contextlib.suppress(httpx.HTTPError):
                    await served.get(sid=sid)

            nursery.start_soon(ask)
            await served.wait_polled()
            (carrier,) = [each for each in port.meters.connections.values() if each.carried]
            served.node.exit(carrier.owner, "kicked")
        await until(lambda: not served.sessions())
        assert (await served.post("4hello", sid=sid)).status_code == 400
