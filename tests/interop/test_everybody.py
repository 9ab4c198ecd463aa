"""A Phoenix, a Supabase, a Socket.IO and a native client and an actor on one topic: all hear and see each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.interop.children import ROOT, Child
from tests.interop.conftest import BootNode
from wsactors.client import connect

TOPIC = "town:square"
FOREIGN = ("phoenix", "supabase", "socketio")
EVERYBODY = sorted((*FOREIGN, "native"))
TREE = f"""
[supervisor]
strategy = "one_for_one"
[[child]]
id = "crier"
start = "tests.interop.crier:Crier"
args = {{ topic = "{TOPIC}" }}
"""


def settings(tree: Path) -> tuple[str, ...]:
    tree.write_text(TREE)
    tree.chmod(0o600)
    trees = [str(ROOT / "supervisors/node.toml"), str(tree)]
    return (
        f"node.trees={json.dumps(trees)}",
        'node.allowed_packages=["wsactors","tests"]',
        "realtime.topics.all.channel=tests.interop.rooms:Room",
    )


class Ears:
    """What the native client has heard."""

    def __init__(self, topic: Any) -> None:
        self._topic = topic
        self.heard: list[tuple[str, Any]] = []
        self._more = trio.lowlevel.ParkingLot()

    async def listen(self) -> None:
        async for message in self._topic:
            self.heard.append((message.event, message.payload))
            self._more.unpark_all()

    async def wait_heard(self, count: int) -> None:
        with trio.fail_after(30):
            while len(self.heard) < count:
                await self._more.park()

    async def wait_present(self, wanted: list[str]) -> None:
        with trio.move_on_after(30):
            while self.present() != wanted:
                await self._topic.changed()
        assert self.present() == wanted

    def present(self) -> list[str]:
        presence = self._topic.presence
        return sorted(meta["user"] for key in presence.keys for meta in presence.metas(key))


def everybody_said() -> list[tuple[str, Any]]:
    """What is heard when all have spoken: each of the others, and the actor about each."""
    said: list[tuple[str, Any]] = [("text", {"from": name}) for name in EVERYBODY]
    return said + [("echo of text", {"heard": name, "present": EVERYBODY}) for name in EVERYBODY]


def without(name: str) -> list[tuple[str, Any]]:
    return [each for each in everybody_said() if each != ("text", {"from": name})]


def heard_by(child: Child, client: str) -> list[tuple[str, Any]]:
    return [
        (each["heard"][0], each["heard"][1]) for each in child.heard if each.get("client") == client and "heard" in each
    ]


def in_order(heard: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return sorted(heard, key=repr)


async def test_everybody_hears_and_sees_everybody(
    boot_interop_node: BootNode, start_js: Callable[..., Child], tmp_path: Path
) -> None:
    with boot_interop_node(*settings(tmp_path / "crier.toml")) as node:
        child = start_js("everybody.mjs", node.http, TOPIC, "any")
        await trio.to_thread.run_sync(partial(child.hear, ready=True))
        async with connect(f"{node.ws}/ws") as native, trio.open_nursery() as nursery:
            topic = await native.join_topic(TOPIC)
            await topic.track({"user": "native"})
            ears = Ears(topic)
            nursery.start_soon(ears.listen)

            await ears.wait_present(EVERYBODY)
            while not all({"client": client, "present": EVERYBODY} in child.heard for client in FOREIGN):
                await trio.to_thread.run_sync(child.hear)

            child.say(speak="text")
            await topic.push("text", {"from": "native"})
            await ears.wait_heard(7)
            while any(len(heard_by(child, client)) < 7 for client in FOREIGN):
                await trio.to_thread.run_sync(child.hear)
            assert in_order(ears.heard) == in_order(without("native"))
            for client in FOREIGN:
                assert in_order(heard_by(child, client)) == in_order(without(client)), client

            rest = list(EVERYBODY)
            for client in FOREIGN:
                rest.remove(client)
                child.say(leave=client)
                await ears.wait_present(rest)
            nursery.cancel_scope.cancel()
        child.say(end=True)
        await trio.to_thread.run_sync(child.end)
