"""PyPI realtime against a node: ``supabase http://host:port SCENARIO TOKENS`` (or ``all``), TOKENS being JSON."""

from __future__ import annotations

import asyncio
import functools
import json
import traceback
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeChannelOptions, RealtimeSubscribeStates

from tests.interop.py.talk import main, told
from tests.interop.py.talk import say as talk_say

SECONDS = 30.0
Say: TypeAlias = Callable[..., None]


class Client:
    """One connection."""

    def __init__(self, url: str, token: str) -> None:
        self.client = AsyncRealtimeClient(f"{url}/realtime/v1", token, initial_backoff=0.05, timeout=30)

    async def enter(self, name: str, **config: Any) -> AsyncRealtimeChannel:
        """Join a channel, which must be possible."""
        channel, states = await self.subscribe(name, **config)
        assert states == ["SUBSCRIBED"], states
        return channel

    async def subscribe(self, name: str, **config: Any) -> tuple[AsyncRealtimeChannel, list[str]]:
        """Try to join a channel; the states and errors that its callback is told, now and later."""
        options = {
            "broadcast": {"ack": False, "self": False},
            "presence": {"key": "", "enabled": False},
            "private": False,
        }
        channel = self.client.channel(name, cast(RealtimeChannelOptions, {"config": {**options, **config}}))
        states: list[str] = []

        def told_state(state: RealtimeSubscribeStates, error: Exception | None) -> None:
            states.append(state.value if error is None else f"{state.value}: {error}")

        await channel.subscribe(told_state)
        return channel, states


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that tells nobody when it happens."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def heard(channel: AsyncRealtimeChannel, event: str) -> list[Any]:
    """What will be broadcast as ``event``."""
    found: list[Any] = []
    channel.on_broadcast(event, found.append)
    return found


async def talk(say: Say, url: str, tokens: dict[str, str]) -> None:
    """Broadcasts, also by REST."""
    ada, bob = Client(url, tokens["anon"]), Client(url, tokens["anon"])
    a, b = await ada.enter("py"), await bob.enter("py")
    chat, data = heard(b, "chat"), heard(b, "data")
    await a.send_broadcast("chat", {"text": "hé 😀", "list": [1, 2.5, None]})
    await until(lambda: chat)
    say(heard=chat[0])
    await a.http_send("chat", {"by": "REST"})
    await a.http_send("data", b"\x00\xff")
    await until(lambda: len(chat) == 2 and data)
    say(heard=chat[1]["payload"], data=data[0]["payload"])
    mine = await ada.enter("py2", broadcast={"ack": True, "self": True})
    own = heard(mine, "own")
    push = await mine.push("broadcast", {"type": "broadcast", "event": "own", "payload": {"n": 1}})
    await until(lambda: push.received_resp and own)
    say(own=own[0]["payload"], acked=push.received_resp is not None and push.received_resp[0].value)
    await ada.client.remove_all_channels()
    await bob.client.close()


async def presence(say: Say, url: str, tokens: dict[str, str]) -> None:
    """Two devices of one person."""
    eve = Client(url, tokens["eve"])
    channel = eve.client.channel(
        "py-presence", {"config": {"broadcast": None, "presence": {"key": "", "enabled": True}, "private": False}}
    )
    channel.on_presence_sync(lambda: None)
    await channel.subscribe()

    def seen() -> dict[str, list[str]]:
        state: dict[str, Any] = channel.presence_state()
        return {key: sorted(meta["device"] for meta in metas) for key, metas in state.items()}

    devices = [Client(url, tokens["ada"]) for _ in range(2)]
    phone, desk = [await each.enter("py-presence", presence={"key": "ada", "enabled": True}) for each in devices]
    await phone.track({"device": "phone"})
    await until(lambda: seen() == {"ada": ["phone"]})
    await desk.track({"device": "desk"})
    await until(lambda: seen() == {"ada": ["desk", "phone"]})
    say(both=seen())
    await phone.untrack()
    await until(lambda: seen() == {"ada": ["desk"]})
    await devices[1].client.close()
    await until(lambda: not seen())
    say(none=seen())
    await devices[0].client.close()
    await eve.client.close()


async def refuse(say: Say, url: str, tokens: dict[str, str]) -> None:
    """A private channel, for those who may and those who may not."""
    anon, ada = Client(url, tokens["anon"]), Client(url, tokens["ada"])
    _, states = await anon.subscribe("py-den", private=True)
    say(refused=states)
    channel, states = await ada.subscribe("py-den", private=True)
    await ada.client.set_auth(tokens["ada2"])
    await channel.push("presence", {"event": "track", "payload": {}})
    say(entered=states)
    for each in (anon, ada):
        await each.client.close()


async def crash(say: Say, url: str, tokens: dict[str, str]) -> None:
    """A channel whose actor crashes."""
    ada, bob = Client(url, tokens["anon"]), Client(url, tokens["anon"])
    a, states = await ada.subscribe("room:py-crash")
    b = await bob.enter("room:py-crash")
    chat = heard(a, "chat")
    await a.send_broadcast("crash", {})
    await until(lambda: len(states) > 1 and states[-1] == "SUBSCRIBED")
    say(states=[state.partition(":")[0] for state in states])
    await b.send_broadcast("chat", {"text": "still here"})
    await until(lambda: chat)
    say(heard=chat[0]["payload"])
    for each in (ada, bob):
        await each.client.close()


async def cut(say: Say, url: str, tokens: dict[str, str]) -> None:
    """A socket that breaks."""
    ada, bob = Client(url, tokens["anon"]), Client(url, tokens["anon"])
    a, states = await ada.subscribe("py-cut")
    b = await bob.enter("py-cut")
    chat = heard(a, "chat")
    connection = ada.client._ws_connection
    assert connection is not None
    connection.transport.abort()
    await until(lambda: len(states) > 1 and states[-1] == "SUBSCRIBED")
    say(states=[state.partition(":")[0] for state in states])
    await b.send_broadcast("chat", {"text": "welcome back"})
    await until(lambda: chat)
    say(heard=chat[0]["payload"])
    for each in (ada, bob):
        await each.client.close()


async def drain(say: Say, url: str, tokens: dict[str, str]) -> None:
    """A node that stops."""
    ada = Client(url, tokens["anon"])
    ada.client.auto_reconnect = False
    _, states = await ada.subscribe("py-drain")
    connection = ada.client._ws_connection
    assert connection is not None
    say(ready=True)
    await until(lambda: len(states) > 1)
    say(code=connection.close_code)
    await told()


SCENARIOS = {each.__name__: each for each in (talk, presence, refuse, crash, cut, drain)}


async def body(url: str, wanted: str, tokens: str) -> None:
    """Play the scenario that is wanted, or all but the last, at once."""

    async def play(name: str) -> None:
        try:
            await SCENARIOS[name](functools.partial(talk_say, scenario=name), url, json.loads(tokens))
        except Exception:
            talk_say(scenario=name, failed=traceback.format_exc())

    await asyncio.gather(*(play(name) for name in SCENARIOS if name == wanted or (wanted == "all" and name != "drain")))


if __name__ == "__main__":
    main(body)
