"""The session actor of a stage or a voice session: who is there, who may speak, and where their voices go.

What people may do is decided by `wsactors.sessions.stage_rules`; who is there is kept in a `Room`, of which every change
is written to a table that another actor keeps. So when this one is killed, its successor finds people, roles and hands in
the table, the places in their process group, and the listeners hear again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import trio

from wsactors.actors import UNHANDLED, GroupChange, Request
from wsactors.media.forwarder import Forwarded
from wsactors.realtime.identity import Refused
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions import stage_news as news
from wsactors.sessions.fan_out import Turn
from wsactors.sessions.soundboard_rules import BOARD_ACTIONS
from wsactors.sessions.stage_messages import (
    Act,
    AddClip,
    BoardSound,
    BoardUp,
    ClipReady,
    Denied,
    Done,
    Enter,
    GetStage,
    KeeperUp,
    MixerUp,
    MixFor,
    MixFrame,
    MixSound,
    Renew,
    Spoken,
    StageStatus,
)
from wsactors.sessions.stage_options import StageOptions
from wsactors.sessions.stage_people import BREATH, Arrived, Dismiss, Expire, Flush, StagePeople, Tell
from wsactors.sessions.stage_rules import Args, Person, Ruling, decide, may_be_heard
from wsactors.sessions.stage_sound import TICK
from wsactors.wire.native import Plain

PARTS: Final = ("keeper", "soundboard", "mixer")
"""The other actors of a session, beside its listeners."""
KICKED: Final = "you were asked to leave"
OVER: Final = "the session is over"


@attrs.frozen
class _Tick:
    """To itself, while anybody is heard."""


class Stage(StagePeople):
    """The session actor. Registered as ``options.part("session")``. Calls: `Enter`, `Act`, `GetStage`."""

    async def init(self, stage: StageOptions = StageOptions()) -> None:  # noqa: B008 - frozen
        self._ticking = self._clips_changed = False
        await self._open(stage)

    def handle_call(self, message: Any, caller: Request) -> Any:
        match message:
            case Enter(visitor):
                return self._enter(visitor)
            case Act():
                return self._act(message)
            case GetStage():
                return self._status()
            case _:
                return UNHANDLED

    async def handle_cast(self, message: Any) -> Any:
        match message:
            case Spoken():
                await self._speak(message)
            case BoardSound():
                await self._offer(self._sound.play(message, trio.current_time()))
            case ClipReady():
                await self._clip_ready(message)
            case BoardUp():
                for lost in self._board.lost_decoder():
                    await self._clip_ready(lost)
            case MixSound():
                await self._offer_mix(message)
            case MixerUp():
                self._mixes = MixFor()
                self._mix_anew()
            case Renew(listener, visitor):
                self._renew(listener, visitor)
            case KeeperUp():
                self._write_all()
            case _:
                return UNHANDLED
        return None

    async def handle_info(self, message: Any) -> Any:
        match message:
            case GroupChange(event="join", members=members):
                await self._come(members)
            case GroupChange(event="leave", members=members):
                for member in members:
                    self._go(member.pid)
            case Turn():
                await self._fan.turn()
            case Tell():
                await self._tell()
            case _Tick():
                self._ticking = False
                await self._offer(self._sound.tick(trio.current_time()))
            case Flush():
                endings, self._endings = self._endings, []
                await self._offer(endings)
            case Dismiss():
                await self._dismiss()
            case Expire():
                self._expire()
            case Arrived(person):
                self._arrived(person)
            case _:
                return UNHANDLED
        return None

    def _status(self) -> StageStatus:
        dropped = self.frames()
        dropped.pop("forwarded", None)
        return StageStatus(
            listeners=len(self._seats),
            people=len(self._room),
            on_stage=self._room.stage_size,
            hands=self._room.hand_count,
            tracks=len(self._sound),
            frames=self._frames,
            dropped=tuple(sorted(dropped.items())),
        )

    # -- what people do --

    def _act(self, act: Act) -> Done | Denied:
        seat = self._seats.get(act.listener)
        person = None if seat is None else self._room.person(seat.person)
        if seat is None or person is None:
            return Denied("not_joined", "Join the session first.")
        try:
            answer = self._do(act, person)
        except Refused as refusal:
            self._metrics.acts.add(refusal.code)
            return Denied(refusal.code, refusal.message)
        self._metrics.acts.add("ok")
        return Done(answer)

    def _do(self, act: Act, who: Person) -> Plain:
        """Raises `Refused`."""
        now = trio.current_time()
        match act.action:
            case "state":
                return {**self._state(), "you": self._you(who)}
            case "people":
                return self._news.page(_number(act.args, "after"))
            case "hear":
                return self._hear(act)
            case "mix":
                return self._mix(act)
            case action if action in BOARD_ACTIONS:
                return self._use_board(action, act.args, who, now)
        self._room.expire(now)
        ruling = decide(self._options, self._room, who, act.action, act.args)
        self._room.apply(ruling, now)
        self._send_off(ruling)
        return None

    def _send_off(self, ruling: Ruling) -> None:
        if ruling.kicked is not None:
            for listener in tuple(self._seats.of(ruling.kicked.id)):
                self._send_away(listener, KICKED)
        if ruling.ended:
            self._send_all_away(OVER)

    def _hear(self, act: Act) -> Plain:
        if act.args.keys() != {"id", "on"} or not isinstance(act.args["on"], bool):
            raise Refused("refused", "This action takes id, on.")
        person = self._room.person(_number(act.args, "id"))
        if person is None:
            raise Refused("not_found", "Nobody here is called by that number.")
        self._seats.hush(act.listener, person, self._sound.track_of(person.id), on=not act.args["on"])
        return None

    def _mix(self, act: Act) -> Plain:
        on = act.args.get("on")
        if act.args.keys() != {"on"} or not isinstance(on, bool):
            raise Refused("refused", "This action takes on.")
        self._seats.mix(act.listener, on=on)
        self._mix_anew()
        seat = self._seats.get(act.listener)
        if on and seat is not None and not seat.mixed:
            raise Refused("too_many", "The node mixes for as many speakers as it can. You get each voice by itself.")
        return {"track": self._options.mix_track}

    def _use_board(self, action: str, args: Args, who: Person, now: float) -> Plain:
        soundboard = self._options.part("soundboard")
        match action:
            case "upload":
                taken = self._board.upload(who, args, now)
                if not isinstance(taken, AddClip):
                    return {"at": taken}
                if not self.node.cast(soundboard, taken):
                    self._board.lost_decoder()
                    raise Refused("overloaded", "The soundboard begins anew. Try again in a moment.")
                return {"at": len(taken.data), "clip": taken.id}
            case "play":
                self.node.cast(soundboard, self._board.play(who, args, now))
            case "delete":
                self._write(("clip", self._board.delete(who, args)), None)
                self._clips_changed = True
                self._tell_later()
        return None

    async def _clip_ready(self, ready: ClipReady) -> None:
        """Tell everybody of a new clip, or whoever has uploaded it why there is none."""
        if self._board.ready(ready):
            self._write(("clip", ready.id), ready.clip)
            self._clips_changed = True
            self._tell_later()
            return
        for listener in self._seats.of(ready.by):
            seat = self._seats.get(listener)
            if seat is not None:
                self._offer_event(seat, news.CLIP_FAILED, {"clip": ready.id, "error": ready.error})

    # -- sound --

    async def _speak(self, spoken: Spoken) -> None:
        seat = self._seats.get(spoken.listener)
        person = None if seat is None else self._room.person(seat.person)
        # The seat has looked already, but what it knew may be a moment old.
        if seat is None or person is None or seat.silenced or not may_be_heard(person):
            self._drops["left"] += 1
            return
        now = trio.current_time()
        self._news.spoke(person.id, spoken.frame.level)
        self._tell_later()
        await self._offer(self._sound.speak(person.id, spoken.frame, now))

    async def _offer(self, frames: Sequence[Forwarded]) -> None:
        """Offer what the forwarder lets through to everybody but those who do not want it, or have said it."""
        is_mixed = self._mixes.whole or self._mixes.tracks
        for sent in frames:
            self._frames += 1
            if is_mixed:
                self.node.cast(self._options.part("mixer"), MixFrame(sent.frame))
            await self._fan.put((sent.coded(), sent.frame.track))
        if not self._ticking and self._sound.is_busy:
            self._ticking = True
            self.send_after(TICK, self.pid, _Tick())

    async def _offer_mix(self, sound: MixSound) -> None:
        """Offer to those who want one stream the others' voices, without their own."""
        own = dict(sound.own)
        for at, seat in enumerate(tuple(self._seats.mixed())):
            data = own.get(seat.own, b"") if seat.own else sound.whole
            if data:
                seat.offer(data, AUDIO)
            if at % BREATH == BREATH - 1:
                await trio.lowlevel.checkpoint()

    # -- news --

    async def _tell(self) -> None:
        self._telling = False
        self._told_at = now = trio.current_time()
        change = self._news.change(count=now >= self._counted_at + self._options.count_after(len(self._seats)))
        if change is not None:
            if news.COUNT in change:
                self._counted_at = now
            await self._tell_all(news.CHANGE, change)
        if self._news.is_loud or not self._news.is_counted:
            self._tell_later()
        if self._clips_changed:
            self._clips_changed = False
            await self._tell_all(news.CLIPS, self._board.payload())

    async def _tell_all(self, name: str, payload: Mapping[str, Plain]) -> None:
        data = news.event(self._options.name, name, payload)
        for at, seat in enumerate(tuple(self._seats)):
            if seat.events:
                seat.offer(data, (name, self._options.name))
            if at % BREATH == BREATH - 1:
                await trio.lowlevel.checkpoint()


def _number(args: Args, name: str) -> int:
    value = args.get(name, 0)
    if type(value) is not int or not 0 <= value < 2**53:
        raise Refused("refused", f"{name} has a value that it cannot have.")
    return value
