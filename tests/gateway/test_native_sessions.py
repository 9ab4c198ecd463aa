"""What one client asks of sessions: joins, acts and speech, and how it is slowed down, then refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio

from tests.gateway.harness import NOBODY, TestDirectory, TestMembership, TestSession, open_gateway
from wsactors.gateway.native_sessions import REQUESTS, NativeSessions
from wsactors.gateway.port import Port
from wsactors.realtime.identity import ANONYMOUS, Refused, User
from wsactors.wire import native


class Ears:
    def __init__(self) -> None:
        self.said: list[Any] = []

    def offer(self, data: bytes, key: object = None) -> bool:
        self.said.append(native.decode_server(data))
        return True


class Talking(TestMembership):
    """A place in a session in which people speak."""

    takes_speech = True

    async def act(self, action: str, args: Mapping[str, native.Plain]) -> native.Plain:
        await trio.lowlevel.checkpoint()
        if action == "forbidden":
            raise Refused("unauthorized", "Only moderators may do that.")
        return {"did": action, **args}

    def speak(self, data: bytes, now: float) -> None:
        self.said.append(data)

    said: list[bytes]


class Hall(TestDirectory):
    async def join(self, name: str, *args: Any, **how: Any) -> TestMembership:
        if name == "banned":
            raise Refused("refused", "You were asked to leave.")
        member = await super().join(name, *args, **how)
        if name.startswith("talk"):
            member.__class__ = Talking
            member.said = []  # type: ignore[attr-defined]
        return member


def sessions_of(port: Port) -> tuple[NativeSessions, Ears]:
    ears = Ears()
    return NativeSessions(ears, port, NOBODY, lambda: None, "websocket"), ears


def hall() -> Hall:
    found = Hall()
    for name in ("music", "talk one", "talk two"):
        found.add(TestSession(name))
    return found


async def test_acts_are_answered_with_what_came_of_them() -> None:
    async with open_gateway(directory=hall()) as gateway:
        sessions, ears = sessions_of(gateway.shared)
        await sessions.act(native.Act(1, "talk one", "wave"))
        await sessions.join("talk one", ANONYMOUS, "g")
        await sessions.act(native.Act(2, "talk one", "wave", {"n": 1}))
        await sessions.act(native.Act(3, "talk one", "forbidden"))
        await sessions.join("music", ANONYMOUS, "g")
        await sessions.act(native.Act(4, "music", "wave"))
        await sessions.join("banned", ANONYMOUS, "g")
        errors = [(each.code, each.session, each.ref) for each in ears.said if isinstance(each, native.Error)]
        assert errors == [
            ("not_joined", "talk one", 1),
            ("unauthorized", "talk one", 3),
            ("refused", "music", 4),
            ("refused", "banned", 0),
        ]
        assert native.Reply(2, "ok", {"did": "wave", "n": 1}) in ears.said


async def test_speech_goes_to_the_session_that_was_joined_last_of_those_that_take_it() -> None:
    directory = hall()
    async with open_gateway(directory=directory) as gateway:
        sessions, _ears = sessions_of(gateway.shared)
        assert not sessions.speak(b"\x01nobody hears this")
        for name in ("talk one", "talk two", "music"):
            await sessions.join(name, User("ann"), "")
        one, two = (next(iter(directory.by_name[name].members)) for name in ("talk one", "talk two"))
        assert isinstance(one, Talking)
        assert isinstance(two, Talking)
        assert sessions.speak(b"\x01first")
        sessions.leave("talk two")
        assert sessions.speak(b"\x01second")
        assert (one.said, two.said) == ([b"\x01second"], [b"\x01first"])
        sessions.renew(User("ann", "other"))
        assert one.user.role == "other"
        sessions.end()
        assert not directory.by_name["talk one"].members


async def test_who_joins_and_leaves_without_end_is_read_more_slowly_and_refused_in_the_end(
    autojump_clock: object,
) -> None:
    async with open_gateway(directory=hall()) as gateway:
        sessions, ears = sessions_of(gateway.shared)
        waits = []
        for _ in range(300):
            waits.append(await sessions.join("music", ANONYMOUS, "g"))
            sessions.leave("music")
        assert waits[: int(REQUESTS.burst)] == [0.0] * int(REQUESTS.burst)
        assert min(waits[int(REQUESTS.burst) + 1 :]) > 0
        refused = [each for each in ears.said if isinstance(each, native.Error)]
        assert {each.code for each in refused} == {"rate"}
        assert refused[0].after > 1
        assert len(refused) == pytest.approx(300 - REQUESTS.burst - REQUESTS.debt, abs=2)
        await trio.sleep(10)
        await sessions.join("music", ANONYMOUS, "g")
        assert isinstance(ears.said[-1], native.Joined)
