"""The soundboard: who may add and play clips, hostile ones among them, and what is heard of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

pytest.importorskip("av")

from tests.dj import hostile
from wsactors.actors import Pid
from wsactors.media.opus import Decoder
from wsactors.realtime.identity import Refused
from wsactors.realtime.limits import Rate
from wsactors.sessions.soundboard_rules import MAX_UPLOADS, Board
from wsactors.sessions.stage_messages import AddClip, Clip, ClipReady, PlayClip
from wsactors.sessions.stage_options import BoardOptions, StageOptions
from wsactors.sessions.stage_rules import Person, Role

from .stages import Guest, Hall, open_hall, user

MOD, ANN = user("mod"), user("ann")
PIECE = 48 * 1024


async def send_file(guest: Guest, data: bytes, name: str = "horn") -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for at in range(0, len(data), PIECE):
        answer = await guest.act("upload", name=name, size=len(data), at=at, data=data[at : at + PIECE])
    return answer


async def add_clip(guest: Guest, path: Path, name: str = "horn") -> int:
    """Upload a file, and wait until it can be played."""
    clip = int((await send_file(guest, path.read_bytes(), name))["clip"])
    await guest.until(lambda: any(each["clip"] == clip for each in guest.state.get("clips", ())), 60)
    return clip


async def failure(guest: Guest, data: bytes) -> str:
    """Upload what is no clip; what is said about it."""
    guest.state.pop("failed", None)
    await send_file(guest, data)
    return str(await guest.until(lambda: guest.state.get("failed"), 60))


async def talk(hall: Hall, **board: Any) -> tuple[StageOptions, Guest, Guest]:
    options = BoardOptions(**board)
    stage = await hall.open(opener=MOD, board=options)
    return stage, await hall.join(who=MOD), await hall.join(who=ANN)


def sound(guest: Guest, track: int) -> Any:
    with Decoder(2) as decoder:
        return np.concatenate([decoder.decode(frame.payload) for frame in guest.heard(track)])


def strongest(samples: Any) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * 48_000 / len(samples))


async def test_a_clip_is_heard_by_everybody_and_two_are_mixed(tmp_path: Path) -> None:
    async with open_hall() as hall:
        _stage, mod, ann = await talk(hall)
        low = await add_clip(mod, hostile.coded(tmp_path / "low.mp3", "libmp3lame", seconds=1, rate=44_100), "low")
        high = await add_clip(mod, hostile.tone(tmp_path / "high.wav", hertz=1_760), "high <b>")
        assert [(clip["name"], round(clip["seconds"])) for clip in ann.state["clips"]] == [("low", 1), ("high <b>", 1)]
        board = ann.state["board"]
        await mod.act("play", clip=low)
        await mod.act("play", clip=high)
        await ann.until(lambda: len(ann.heard(board)) >= 45)
        heard = sound(ann, board)[9_600:38_400, 0]
        spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
        peaks = [spectrum[round(hertz * len(heard) / 48_000)] for hertz in (440, 1_760)]
        assert min(peaks) > 50 * np.median(spectrum)
        assert {frame.track for frame in mod.frames} == {board}  # the one who plays it hears it, too
        assert {frame.role for frame in ann.frames} == {0}


async def test_who_may_not_upload_or_play_is_refused() -> None:
    async with open_hall() as hall:
        _stage, mod, ann = await talk(hall)
        for action, args in (
            ("upload", {"name": "x", "size": 10, "at": 0, "data": b"x"}),
            ("play", {"clip": 1}),
            ("delete", {"clip": 1}),
        ):
            with pytest.raises(Refused) as refused:
                await ann.act(action, **args)
            assert refused.value.code == "unauthorized"
        with pytest.raises(Refused) as refused:
            await mod.act("play", clip=1)
        assert refused.value.code == "not_found"


async def test_hostile_files_are_told_of_and_harm_nobody(tmp_path: Path) -> None:
    async with open_hall() as hall:
        stage, mod, ann = await talk(hall, uploads=_OFTEN)
        script = b"ffconcat version 1.0\nfile '/etc/passwd'\n"
        corpus = {
            "a script in a clip's clothes": script,
            "eleven seconds": hostile.coded(tmp_path / "long.mp3", "libmp3lame", seconds=12, rate=44_100).read_bytes(),
            "an hour in a few hundred kilobytes": hostile.endless_flac(tmp_path / "hour.flac", 1.0).read_bytes(),
            "a huge tag alone": hostile.id3(b"\x1b[2J" * 100_000),
        }
        for data in corpus.values():
            assert len(data) <= 1_000_000
            said = await failure(mod, data)
            assert "passwd" not in said
            assert "/" not in said
            assert "\x1b" not in said
        assert "clips" not in ann.state
        assert not ann.state.get("failed")  # nobody else is told
        await add_clip(mod, hostile.tone(tmp_path / "good.wav"))
        assert isinstance(hall.node.whereis(stage.part("soundboard")), Pid)


async def test_clips_outlive_the_soundboard_and_the_session(tmp_path: Path) -> None:
    async with open_hall() as hall:
        stage, mod, ann = await talk(hall)
        clip = await add_clip(mod, hostile.tone(tmp_path / "a.wav"))
        for part in ("soundboard", "session"):
            before = hall.node.whereis(stage.part(part))
            assert before is not None
            board = ann.state["board"]
            hall.node.exit(before, "kill")
            with trio.fail_after(30):
                while hall.node.whereis(stage.part(part)) in {before, None}:  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(0.01)
        await ann.until(lambda: ann.state["board"] != board)
        await mod.act("play", clip=clip)
        await ann.until(lambda: len(ann.heard(ann.state["board"])) >= 20)
        await mod.act("delete", clip=clip)
        await ann.until(lambda: not ann.state["clips"])


# -- rules ------------------------------------------------------------------------------------------------------------

_OFTEN = Rate(per_second=1000.0, burst=1000.0)


def moderator(number: int = 1) -> Person:
    return Person(number, f"user:{number}", "x", role=Role.MODERATOR)


def piece(at: int, data: bytes, size: int = 10) -> dict[str, Any]:
    return {"name": "x", "size": size, "at": at, "data": data}


def refusal(board: Board, who: Person, args: dict[str, Any], now: float = 0.0) -> str:
    with pytest.raises(Refused) as refused:
        board.upload(who, args, now)
    return refused.value.code


def test_a_file_comes_in_pieces_that_follow_each_other() -> None:
    board = Board(BoardOptions(uploads=_OFTEN), {})
    assert board.upload(moderator(), piece(0, b"12345"), 0.0) == 5
    added = board.upload(moderator(), piece(5, b"67890"), 0.0)
    assert isinstance(added, AddClip)
    assert added.data == b"1234567890"
    for wrong in (piece(3, b"x"), piece(0, b""), piece(0, b"x" * 11)):
        assert refusal(board, moderator(), wrong) == "refused"
    board.upload(moderator(), piece(0, b"12345"), 0.0)
    assert refusal(board, moderator(), piece(4, b"x")) == "refused"
    assert refusal(board, moderator(), piece(5, b"67890")) == "refused"  # begin again
    assert refusal(board, moderator(), piece(0, b"x", 1_000_001)) == "too_large"
    assert refusal(board, moderator(), piece(0, b"x", -1)) == "too_large"


def test_files_on_their_way_clips_and_tries_are_bounded() -> None:
    board = Board(BoardOptions(clips=2), {})
    for number in range(MAX_UPLOADS):
        board.upload(moderator(number), piece(0, b"x"), 0.0)
    assert refusal(board, moderator(9), piece(0, b"x")) == "overloaded"
    assert board.upload(moderator(9), piece(0, b"x"), 61.0) == 1
    codes = [refusal(board, moderator(7), piece(0, b"", 0), 70.0) for _ in range(3)]
    assert codes == ["too_large"] * 3
    full = Board(BoardOptions(clips=1, uploads=_OFTEN), {})
    added = full.upload(moderator(), piece(0, b"x", 1), 0.0)
    assert isinstance(added, AddClip)
    assert refusal(full, moderator(), piece(0, b"x", 1)) == "too_many"
    full.ready(ClipReady(added.id, 1, None, "no"))
    assert isinstance(full.upload(moderator(), piece(0, b"x", 1), 0.0), AddClip)
    often = Board(BoardOptions(clips=100), {})
    taken = 0
    with pytest.raises(Refused) as refused:
        for _ in range(20):
            often.upload(moderator(), piece(0, b"x", 1), 0.0)
            taken += 1
    assert (refused.value.code, taken) == ("rate", 3)


def test_clips_are_played_so_often_by_one_and_by_all_and_not_by_the_muted() -> None:
    clip = Clip(1, "x", 1, 48_000, None)  # type: ignore[arg-type]
    board = Board(BoardOptions(play="everybody"), {("clip", 1): clip})
    for number in range(10):
        assert isinstance(board.play(moderator(number), {"clip": 1}, 0.0), PlayClip)
    with pytest.raises(Refused, match="at a time"):
        board.play(moderator(11), {"clip": 1}, 0.0)
    for _ in range(4):
        board.play(moderator(100), {"clip": 1}, 100.0)
    with pytest.raises(Refused, match="often"):
        board.play(moderator(100), {"clip": 1}, 100.0)
    with pytest.raises(Refused, match="muted"):
        board.play(Person(3, "user:3", "x", server_muted=True), {"clip": 1}, 200.0)


def test_what_nobody_expects_is_no_clip() -> None:
    board = Board(BoardOptions(), {})
    assert not board.ready(ClipReady(7, 1, Clip(7, "x", 1, 1, None)))  # type: ignore[arg-type]
    assert not board.clips
