from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, connect_websocket_url

from tests.gateway.harness import exchange, upgrade
from tests.gateway.test_longpoll import Site, open_site
from wsactors.gateway.options import GatewayOptions
from wsactors.gateway.phoenix_sockets import offered_token, phoenix_door, query_params, supabase_door
from wsactors.wire.errors import ProtocolError
from wsactors.wire.http_head import RequestHead, parse_head
from wsactors.wire.phoenix import V1, V2


@asynccontextmanager
async def connected(site: Site, target: str, **more: Any) -> AsyncIterator[WebSocketConnection]:
    async with trio.open_nursery() as nursery:
        with trio.fail_after(30):
            ws = await connect_websocket_url(nursery, f"ws://127.0.0.1:{site.port}{target}", **more)
        yield ws
        await ws.aclose()
        await ws._stream.aclose()  # which it leaves open where the server has closed it
        nursery.cancel_scope.cancel()


async def told(ws: WebSocketConnection) -> Any:
    with trio.fail_after(30):
        message = await ws.get_message()
    return json.loads(message) if isinstance(message, str) else message


async def refused(site: Site, target: str, headers: str = "") -> tuple[int, bytes]:
    answer = await exchange(site.port, upgrade(target, headers=headers))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_phoenix_and_supabase_on_real_sockets() -> None:
    async with open_site() as site:  # noqa: SIM117 - the site before its clients
        async with (
            connected(site, "/socket/websocket?vsn=2.0.0") as fay,
            connected(site, "/socket/websocket?vsn=2.0.0&apikey=key") as sue,
            connected(site, "/realtime/v1/websocket?apikey=key") as old,
        ):
            await fay.send_message('["1","1","plain:1","phx_join",{}]')
            assert (await told(fay))[4] == {"status": "ok", "response": {}}
            assert (await told(fay))[3] == "presence_state"
            await sue.send_message('["1","1","realtime:plain:1","phx_join",{}]')
            assert (await told(sue))[4]["status"] == "ok"
            await old.send_message('{"topic":"realtime:plain:1","event":"phx_join","payload":{},"ref":"1"}')
            assert (await told(old))["payload"]["status"] == "ok"

            await sue.send_message(b"\3\1\0\x10\3\0\x001realtime:plain:1hit\xff\0")
            assert await told(fay) == b"\2\7\3plain:1hit\xff\0"
            assert (await told(old))["payload"]["payload"] == {"$binary": "/wA="}
            await fay.send_message('["1","2","plain:1","hit",{"a":"é"}]')
            assert await told(sue) == b'\4\x10\3\0\1realtime:plain:1hit{"a":"\xc3\xa9"}'
            assert (await told(old))["payload"]["payload"] == {"a": "é"}


async def test_a_megabyte_of_bytes_passes_where_it_may() -> None:
    options = GatewayOptions(port=0)
    object.__setattr__(options.limits, "message_bytes", 2_000_000)
    object.__setattr__(options.limits, "input_rate", 100_000_000)
    async with open_site(options) as site:
        more = {"max_message_size": 2_000_000}
        async with (
            connected(site, "/socket/websocket?vsn=2.0.0", **more) as ada,
            connected(site, "/socket/websocket?vsn=2.0.0", **more) as bob,
        ):
            for ws in (ada, bob):
                await ws.send_message('["1","1","plain:1","phx_join",{}]')
                await told(ws)
                await told(ws)
            for size in (0, 1, 65_536, 1_000_000):
                await ada.send_message(b"\0\1\0\7\3" + b"1plain:1hit" + bytes(size))
                assert await told(bob) == b"\2\7\3plain:1hit" + bytes(size)


async def test_malformed_messages_end_a_phoenix_connection_and_no_other() -> None:
    async with open_site() as site:  # noqa: SIM117
        async with connected(site, "/socket/websocket") as ada, connected(site, "/socket/websocket?apikey=x") as sue:
            await ada.send_message("[" * 50_000)
            with pytest.raises(ConnectionClosed) as closed:
                await told(ada)
            assert closed.value.reason is not None
            assert closed.value.reason.code == 1002
            await sue.send_message("[" * 50_000)
            await sue.send_message('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}')
            assert (await told(sue))["payload"]["status"] == "ok"


async def test_who_may_not_connect() -> None:
    async with open_site() as site:
        for target in ("vsn=3.0.0", "vsn=2.0.0&token=expired", "&".join(f"p{n}=1" for n in range(60)), "a=%ff"):
            status, _ = await refused(site, f"/socket/websocket?{target}")
            assert status == 403, target
        for target, status, text in (
            ("", 401, "API key is missing"),
            ("apikey=", 401, "API key is missing"),
            ("apikey=x&vsn=9", 400, "vsn: expected 1.0.0 or 2.0.0"),
        ):
            found, body = await refused(site, f"/realtime/v1/websocket?{target}")
            assert (found, json.loads(body)) == (status, {"error": text})


async def test_a_token_among_the_subprotocols() -> None:
    async with open_site() as site:
        offered = ["phoenix", "base64url.bearer.phx." + base64.urlsafe_b64encode(b"ada").decode().rstrip("=")]
        async with connected(site, "/socket/websocket", subprotocols=offered) as ws:
            assert ws.subprotocol == "phoenix"
            await ws.send_message('{"topic":"plain:1","event":"phx_join","payload":{},"ref":"1"}')
            await told(ws)
            assert [seat.user.subject for seat in site.realtime.seats.values()] == ["ada"]
        bad = base64.urlsafe_b64encode(b"expired").decode().rstrip("=")
        status, _ = await refused(
            site, "/socket/websocket", f"Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.{bad}\r\n"
        )
        assert status == 403


# -- doors, without sockets -------------------------------------------------------------------------------------------------


def head(target: str, headers: str = "") -> RequestHead:
    found = parse_head(upgrade(target, headers=headers))
    assert found is not None
    return found


def test_what_a_client_says_on_connecting() -> None:
    request = head("/socket/websocket?vsn=2.0.0&token=t&user=a&api_key=k", "Origin: http://127.0.0.1\r\n")
    door = phoenix_door(request.target, request.get, "1.2.3.4")
    assert door.version == V2
    shown = door.credentials
    assert (shown.token, shown.api_key, shown.address, shown.origin) == ("t", "k", "1.2.3.4", "http://127.0.0.1")
    assert shown.params == {"user": "a"}, "no tokens"

    request = head("/socket/websocket?apikey=a&log_level=info", "X-Api-Key: b\r\n")
    other = supabase_door(request.target, request.get, "")
    assert (other.version, other.credentials.api_key) == (V1, "b")
    assert other.credentials.params == {"log_level": "info"}


@pytest.mark.parametrize("target", ["/?" + "&".join(["a"] * 51), "/?a=%ff", "/?a=%e2%28"])
def test_queries_are_bounded_and_utf_8(target: str) -> None:
    with pytest.raises(ProtocolError):
        query_params(target)


def test_secrets_do_not_show() -> None:
    request = head("/socket/websocket?token=hush&apikey=hush")
    assert "hush" not in repr(phoenix_door(request.target, request.get, ""))
    assert "hush" not in repr(supabase_door(request.target, request.get, ""))


def test_offered_tokens() -> None:
    def offer(*protocols: str) -> str | None:
        return offered_token(head("/", f"Sec-WebSocket-Protocol: {', '.join(protocols)}\r\n"))

    assert offer("phoenix", "base64url.bearer.phx.w6k_") == "é?"
    assert offer("phoenix") is None
    assert offer("base64url.bearer.phx.YQ") is None
    for wrong in ("!", "a", "_w"):
        with pytest.raises(ProtocolError):
            offer("phoenix", f"base64url.bearer.phx.{wrong}")
