"""The Socket.IO namespace ``/battle``: players' commands on their way to a battle's session, and its news on their way back.

It translates and measures; the session decides. Who a player is, his token says, and no id in any message. News reach everybody
who has joined a battle as publications in the room that `battle_room` names.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar, Final
from urllib.parse import quote

import trio

from wsactors.actors import Member
from wsactors.dj.clock import now
from wsactors.dj.stamp import RoundTrip
from wsactors.dj.timeline import SAMPLE_RATE
from wsactors.errors import CallExit, MailboxFull
from wsactors.sessions.battle_messages import (
    OPERATE_SECONDS,
    Describe,
    Description,
    NotOperated,
    Operate,
    Operated,
)
from wsactors.sessions.messages import SESSIONS
from wsactors.wire.battle_events import AudioStreamAnswer, AudioSync, MidiResponse, acknowledgement, encode_server_event
from wsactors.wire.battle_protocol import BattleQuery, JoinBattle, MidiCommand, deck_inside, decode_event, decode_query
from wsactors.wire.errors import ProtocolError
from wsactors.wire.plain import Plain

from .socketio_namespace import Namespace, NotAcknowledged, on

SYNC_SECONDS: Final = 1.0
"""Between two measurements of a player's round trip."""
_FAILED: Final = "this battle cannot be played by hand now; try again later"
_UNKNOWN: Final = "there is no battle of that name, or not for you; ask for the list of sessions"


def battle_room(battle: str) -> str:
    """The room of everybody who has joined a battle."""
    return f"battle:{battle}"


class BattleNamespace(Namespace):
    """One client of battles. It is in one battle at a time.

    Once a second it tells a client in a battle which frame is being played (``audio-sync``). A client that acknowledges that has
    its round trip measured, and so its commands compensated; others' take effect when they arrive.
    """

    asks: ClassVar[frozenset[str]] = frozenset({"battleId", "playerId"})

    async def connect(self, auth: Any) -> None:
        """Everybody may look on. A client whose address names a battle has joined it."""
        self._battle: str | None = None
        self._trip = RoundTrip()
        self._clock: trio.CancelScope | None = None
        if self.query:
            try:
                asked: BattleQuery | None = decode_query(dict(self.query))
            except ProtocolError:
                asked = None  # it may still join by an event, and learns then what is wrong
            if asked is not None:
                await self._join(asked.battle_id)

    @classmethod
    def too_fast(cls, event: str, seconds: float) -> tuple[Plain, ...] | None:
        """Players are told that they play too fast."""
        return (_refused("rate", "you send too fast; slow down"),) if event == MidiCommand.EVENT else None

    # -- events --

    @on("join-battle")
    async def join_battle(self, *arguments: Any) -> Plain:
        """Look on at a battle, or play it."""
        try:
            asked = decode_event("join-battle", arguments)
        except ProtocolError as error:
            return _refused("malformed", str(error))
        if not isinstance(asked, JoinBattle) or not await self._join(asked.battle_id):
            return _refused("no_session", _UNKNOWN)
        return {"success": True}

    @on("leave-battle")
    async def leave_battle(self, *arguments: Any) -> Plain:
        """Have done with the battle."""
        try:
            decode_event("leave-battle", arguments)
        except ProtocolError as error:
            return _refused("malformed", str(error))
        self._leave()
        return {"success": True}

    @on("midi-command")
    async def midi_command(self, *arguments: Any) -> Plain:
        """A button, a knob, the wheel: acknowledged with what became of it."""
        arrived = now()
        try:
            said = decode_event("midi-command", arguments)
        except ProtocolError as error:
            return _refused("malformed", str(error))
        session = self._session_of(self._battle)
        if session is None or not isinstance(said, MidiCommand):
            return _refused("no_session", "join a battle first")
        deck = deck_inside(said.deck)
        what = Operate(self.user.subject, deck, said.message(0), arrived, said.frame, self._trip.frames)
        match await self._ask(session, what):
            case Operated(frame):
                return acknowledgement(MidiResponse(True, deck=said.deck, frame=frame))
            case NotOperated(code, message):
                return _refused(code, message)
        return _refused("unavailable", _FAILED)

    @on("ping")
    async def pinged(self, *arguments: Any) -> Plain:
        """The node's time in milliseconds."""
        try:
            decode_event("ping", arguments)
        except ProtocolError as error:
            return _refused("malformed", str(error))
        return time.time() * 1000

    @on("request-audio-stream")
    async def request_audio_stream(self, *arguments: Any) -> Plain:
        """Where the sound is. It does not come by WebRTC, and the answer says so."""
        try:
            decode_event("request-audio-stream", arguments)
        except ProtocolError as error:
            return _refused("malformed", str(error))
        stream = None if self._battle is None else f"/listen/{quote(self._battle, safe='')}.ogg"
        event, payload = encode_server_event(AudioStreamAnswer("webtransport", "/webtransport.json", stream))
        self.emit(event, *payload)
        return payload[0]

    # -- battles --

    def _session_of(self, battle: str | None) -> Member | None:
        members = self.node.groups.members(SESSIONS)
        return next((each for each in members if (each.meta.name, each.meta.kind) == (battle, "battle")), None)

    async def _join(self, battle: str) -> bool:
        session = self._session_of(battle)
        if session is None or not await self.permits("join", battle_room(battle)):
            return False
        if self._battle != battle:
            self._leave()
            self._battle = battle
            self.join(battle_room(battle))
            self._clock = trio.CancelScope()
            self.start_soon(self._tell_time, self._clock)
        answer = await self._ask(session, Describe(self.user.subject))
        if isinstance(answer, Description):
            event, payload = encode_server_event(answer.state)
            self.emit(event, *payload)
        return True

    def _leave(self) -> None:
        if self._battle is not None:
            self.leave(battle_room(self._battle))
            self._battle = None
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    async def _ask(self, session: Member, what: Operate | Describe) -> Any:
        """The session's answer; None when it gives none, or is gone."""
        if not session.meta.operated:
            return None
        try:
            return await self.node.call(session.pid, what, timeout=OPERATE_SECONDS)
        except (CallExit, MailboxFull):
            return None

    async def _tell_time(self, scope: trio.CancelScope) -> None:
        """A task: tell which frame is played, and measure how long it takes to be acknowledged."""
        with scope:
            while True:
                await trio.sleep(SYNC_SECONDS)
                trip = self._trip.frames * 1000 / SAMPLE_RATE
                event, payload = encode_server_event(AudioSync(now(), time.time() * 1000, round_trip=trip or None))
                number = self._trip.ask(time.monotonic_ns())
                try:
                    await self.emit_with_ack(event, *payload, timeout=SYNC_SECONDS)
                except NotAcknowledged:
                    continue
                self._trip.answered(number, time.monotonic_ns())


def _refused(code: str, message: str) -> dict[str, Plain]:
    return acknowledgement(MidiResponse(False, message, code))
