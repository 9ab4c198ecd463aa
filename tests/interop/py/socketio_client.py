"""PyPI python-socketio (its asyncio client) against a node: ``socketio_client.py http://host:port TRANSPORT``."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import socketio
from socketio.exceptions import ConnectionError as Refused

from tests.interop.py.talk import main, say, told

SIZES = (0, 1, 255, 65_536, 1_000_000)


async def body(url: str, transport: str) -> None:
    if transport == "drain":
        await drain(url)
        return
    transports = ["polling", "websocket"] if transport == "upgrade" else [transport]
    await talk(url, transports)
    await refuse(url, transports)
    await bursts(url, transports)
    await topics(url, transports)
    await crash(url, transports)
    if transport != "polling":
        await cut(url, transports)


async def talk(url: str, transports: list[str]) -> None:
    client = socketio.AsyncClient()
    auths: asyncio.Queue[Any] = asyncio.Queue()
    backs: asyncio.Queue[Any] = asyncio.Queue()
    client.on("auth", auths.put)
    client.on("auth", auths.put, namespace="/custom")

    async def back(*arguments: Any) -> None:
        await backs.put(arguments)

    client.on("message-back", back)

    await client.connect(url, transports=transports, namespaces=["/", "/custom"], auth={"token": "t"})
    say(auths=[await auths.get(), await auths.get()], transport=client.transport())
    await client.emit("message", ("hé 😀", 1.5, None, {"a": [True]}))
    say(back=await backs.get())
    say(ack=await client.call("message-with-ack", (1, "2")))
    same = []
    for size in SIZES:
        data = bytes([size & 255]) * size
        answer = await client.call("message-with-ack", {"at": [data]}, timeout=15)
        same.append(answer == {"at": [data]})
    say(same=same)
    await client.disconnect()


async def refuse(url: str, transports: list[str]) -> None:
    client = socketio.AsyncClient(reconnection=False)
    refusals: asyncio.Queue[Any] = asyncio.Queue()
    client.on("connect_error", refusals.put, namespace="/rooms")
    with suppress(Refused):
        await client.connect(url, transports=transports, namespaces=["/rooms"], auth={"refuse": {"code": 17}})
    say(refused=await refusals.get())
    await client.disconnect()


async def bursts(url: str, transports: list[str]) -> None:
    """More than sixteen packets at once, either way: its own limit for what it takes in one answer."""
    client = socketio.AsyncClient()
    numbers: list[Any] = []
    done = asyncio.Event()

    async def burst(number: int, *_: Any) -> None:
        numbers.append(number)
        if len(numbers) == 100:
            done.set()

    client.on("burst", burst, namespace="/rooms")

    async def asked(value: int, *_: Any) -> Any:
        return value + 1, b"\x07"

    client.on("asked", asked, namespace="/rooms")

    await client.connect(url, transports=transports, namespaces=["/rooms"])
    await client.emit("burst", 100, namespace="/rooms")
    await asyncio.wait_for(done.wait(), 30)
    joined = [await client.call("join", f"room {number}", namespace="/rooms") for number in range(20)]
    answer = await client.call("ask", 41, namespace="/rooms")
    say(burst=numbers == list(range(100)), rooms=len(joined[-1]), asked=[answer[0], list(answer[1])])
    await client.disconnect()


async def topics(url: str, transports: list[str]) -> None:
    client = socketio.AsyncClient()
    messages: asyncio.Queue[Any] = asyncio.Queue()

    async def message(*arguments: Any) -> None:
        await messages.put(arguments)

    client.on("message", message, namespace="/topics")

    await client.connect(url, transports=transports, namespaces=["/topics"])
    topic = f"python {transports}"
    joined = await client.call("subscribe", (topic, {"self": True}), namespace="/topics")
    await client.call("publish", (topic, "shout", {"b": b"\x01"}), namespace="/topics")
    name, event, payload, about, *_ = await messages.get()
    say(joined=joined["status"], message=[name == topic, event, list(payload["b"]), about["offset"]])
    await client.disconnect()


async def crash(url: str, transports: list[str]) -> None:
    """A namespace's actor that crashes, and the same client once more."""
    client = socketio.AsyncClient(reconnection=False)
    gone: asyncio.Queue[Any] = asyncio.Queue()
    client.on("disconnect", gone.put, namespace="/rooms")
    await client.connect(url, transports=transports, namespaces=["/rooms"])
    await client.emit("crash", namespace="/rooms")
    reason = await asyncio.wait_for(gone.get(), 30)
    await client.wait()
    await client.connect(url, transports=transports, namespaces=["/rooms"])
    say(crashed=reason, again="x" in await client.call("join", "x", namespace="/rooms"))
    await client.disconnect()


async def cut(url: str, transports: list[str]) -> None:
    """A connection that breaks: it comes back by itself, and enters its namespace again."""
    client = socketio.AsyncClient(reconnection_delay=0.05)
    entered: asyncio.Queue[Any] = asyncio.Queue()
    words: asyncio.Queue[Any] = asyncio.Queue()

    async def enter() -> None:
        await entered.put(client.get_sid("/rooms"))

    async def word(said: Any, *_: Any) -> None:
        await words.put(said)

    client.on("connect", enter, namespace="/rooms")
    client.on("word", word, namespace="/rooms")
    await client.connect(url, transports=transports, namespaces=["/rooms"])
    first = await asyncio.wait_for(entered.get(), 30)
    client.eio.ws._response.connection.transport.abort()
    second = await asyncio.wait_for(entered.get(), 30)
    room = f"cut {transports}"
    await client.call("join", room, namespace="/rooms")
    other = socketio.AsyncClient()
    await other.connect(url, transports=transports, namespaces=["/rooms"])
    await other.call("say", ([room], [], "word", "welcome back"), namespace="/rooms")
    say(back=first != second, heard=await asyncio.wait_for(words.get(), 30))
    await other.disconnect()
    await client.disconnect()


async def drain(url: str) -> None:
    """A node that stops."""
    client = socketio.AsyncClient(reconnection=False)
    gone: asyncio.Queue[Any] = asyncio.Queue()
    client.on("disconnect", gone.put, namespace="/rooms")
    await client.connect(url, transports=["websocket"], namespaces=["/rooms"])
    say(ready=True)
    say(reason=await asyncio.wait_for(gone.get(), 30))
    await told()


if __name__ == "__main__":
    main(body)
