"""A stage with one speaker on QUIC and listeners on QUIC and a WebSocket: the same conversation, sound in datagrams."""

from __future__ import annotations

from typing import Any

import pytest
import trio

pytest.importorskip("av")
pytest.importorskip("aioquic")

from tests.client.stage import Tokens
from tests.client.test_stage import TALK, bring_up, keep_talking, next_from
from tests.gateway.quic_harness import open_quic_gateway
from tests.sessions.stages import SUPERVISORS
from wsactors.client import connect, join_stage
from wsactors.realtime.options import RealtimeOptions
from wsactors.realtime.start import start_realtime
from wsactors.sessions.directory import SessionDirectory, open_stage
from wsactors.sessions.stage_messages import GetStage
from wsactors.supervision import Node, load_tree


class LateDirectory:
    """The sessions of a node that is yet to be started."""

    def __init__(self) -> None:
        self.found: SessionDirectory

    async def prepare(self, node: Node) -> None:
        await node.start_tree(load_tree(SUPERVISORS / "sessions.toml", ["wsactors"]))
        await start_realtime(node, RealtimeOptions(), authenticator=Tokens())
        await open_stage(node, TALK, load_tree(SUPERVISORS / "stage.toml", ["wsactors"]))
        self.found = SessionDirectory(node)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.found, name)


async def test_who_speaks_by_datagrams_is_heard_by_datagrams_and_on_websockets() -> None:
    late: Any = LateDirectory()
    with trio.fail_after(60):
        async with open_quic_gateway(directory=late, prepare=late.prepare) as gateway:
            quic, trust = f"quic://127.0.0.1:{gateway.port}", gateway.offer.hashes()[0]
            websocket = f"ws://{gateway.origin.partition('://')[2]}/ws"
            async with (
                connect(websocket, token="mod") as one,
                connect(quic, token="ann", certificate_sha256=trust) as two,
                connect(quic, certificate_sha256=trust) as three,
            ):
                mod, ann, guest = [await join_stage(client, "talk") for client in (one, two, three)]
                guest.speak(b"\xfc" + bytes(40), level=20)
                await bring_up(mod, ann)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(keep_talking, ann)
                    assert ann.you is not None
                    for listener in (mod, guest):
                        frame = await next_from(listener, ann.you.track)
                        assert (frame.role, frame.payload) == (2, b"\xfc" + bytes(40))
                    nursery.cancel_scope.cancel()
                await guest.act("people")
                status = await gateway.node.call(TALK.part("session"), GetStage())
                assert dict(status.dropped).get("role", 0) <= 1
                assert {frame.track for frame in ann.listening._frames} <= {mod.you.track}  # type: ignore[union-attr]
