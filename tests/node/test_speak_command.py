"""``wsactors speak``: a file is heard in a session, once a moderator has let its speaker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

pytest.importorskip("av")

from tests.client.test_stage import House, house, next_from, taking_part
from tests.dj import hostile

__all__ = ["house"]


async def run(*arguments: str) -> tuple[int, str]:
    code = "from wsactors.node.cli import main; main()"
    command = [sys.executable, "-c", code, "speak", *arguments]
    done = await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)
    return done.returncode, (done.stdout + done.stderr).decode()


async def test_a_file_is_said_once_a_moderator_lets_its_speaker(house: House, tmp_path: Path) -> None:
    sound = hostile.tone(tmp_path / "tone.wav", seconds=1.0, channels=1)
    said: list[tuple[int, str]] = []

    async def speak() -> None:
        said.append(await run(house.url, "talk", str(sound), "--token", "ann"))

    async with taking_part(house.url, "mod") as mod, trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        await mod.wait(lambda: mod.mirror.hands)
        await mod.act("invite", id=mod.mirror.hands[0].id)
        await mod.wait(lambda: any(person.name == "ann" and person.track for person in mod.mirror.people.values()))
        track = next(person.track for person in mod.mirror.people.values() if person.name == "ann")
        assert (await next_from(mod, track)).role == 2
    assert said[0][0] == 0
    assert "50 frames said" in said[0][1]


async def test_what_cannot_be_said_is_told(house: House, tmp_path: Path) -> None:
    code, text = await run(house.url, "nowhere", str(tmp_path / "none.wav"), "--token", "ann")
    assert code == 5
    assert "no_session" in text
