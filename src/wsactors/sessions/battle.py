"""The session actor of a battle: it gathers the truth, has it rendered, and fans the sound out to the listeners.

It owns nothing that cannot be had again: truths come from the parts, listeners and their sinks from their process group,
sound from whatever render host is up. So when it is killed, its successor asks everybody and the listeners hear again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import attrs
import trio

from wsactors.actors import UNHANDLED, Actor, GroupChange, Member, Pid, Request
from wsactors.dj.clock import now, soon
from wsactors.dj.render_host import HostUp, Render, Rendering, Samples, Sound, Tiers
from wsactors.dj.render_protocol import Packet
from wsactors.dj.state import BattleState
from wsactors.dj.timeline import PACKET, SAMPLE_RATE
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions.battle_tiers import LOOK, TiersInUse, coded
from wsactors.sessions.fan_out import BREATH, FanOut, Turn
from wsactors.sessions.listener import Seat, listeners_of
from wsactors.sessions.messages import (
    SESSIONS,
    DeckTruth,
    GetStatus,
    MixerTruth,
    PartChanged,
    Report,
    Restore,
    SessionCard,
    Status,
)
from wsactors.sessions.now_playing import INTERVAL, moves, state_event, state_key
from wsactors.sessions.options import BattleOptions
from wsactors.wire.native import FLAG_DISCONTINUITY

PARTS = ("deck_a", "deck_b", "mixer")
STALE = SAMPLE_RATE
"""Frames by which a packet may be late when the session comes to it: a busy node does not serve an ever older past."""
HISTORY = 150
"""Packets kept for those who ask for a running start: three seconds."""


@attrs.frozen
class _TellState:
    """To itself, when the state may be told again."""


def _offer_sound(seat: Seat, frames: tuple[bytes, ...]) -> None:
    seat.offer(frames[seat.tier], AUDIO)


class Battle(Actor):
    """The session actor of a battle. Registered as ``options.part("session")``. Calls: `GetStatus`."""

    def init(self, battle: BattleOptions = BattleOptions()) -> None:  # noqa: B008 - frozen
        self._options = battle
        self._truths: dict[str, PartChanged] = {}
        self._host: Pid | None = None
        self._render_process: int | None = None
        self._history: deque[bytes] = deque(maxlen=HISTORY)
        self._next_frame: int | None = None
        self._packets = self._gaps = 0
        self._seats: dict[Pid, Seat] = {}
        self._fan: FanOut[Seat, tuple[bytes, ...]] = FanOut(self, _offer_sound)
        self._tiers = TiersInUse(battle.lower)
        self._rates: tuple[int, ...] | None = None
        self._told: object = None
        self._state_timer = False
        self.node.groups.join(
            SESSIONS,
            self.pid,
            SessionCard(battle.name, battle.title or battle.name, "battle", battle.track, tiers=1 + len(battle.lower)),
        )
        self._ref, seated = self.node.groups.monitor(self.pid, listeners_of(battle.name))
        self._seat(seated)
        for part in PARTS:
            self.node.cast(battle.part(part), Report())

    def handle_call(self, message: Any, caller: Request) -> Any:
        match message:
            case GetStatus():
                return Status(len(self._seats), self._packets, self._gaps, self._render_process, self._host)
            case _:
                return UNHANDLED

    async def handle_cast(self, message: Any) -> Any:
        match message:
            case Sound(packet):
                await self._fan_out(packet)
            case PartChanged():
                self._take_truth(message)
                if not self._state_timer:
                    await self._tell_state()
            case HostUp():
                self._rates = None
                self._next_frame = -1  # a new encoder: decoders are to start afresh
                self._have_it_rendered(soon())
            case Rendering(host, process):
                self._host, self._render_process = host, process
            case _:
                return UNHANDLED
        return None

    async def handle_info(self, message: Any) -> Any:
        match message:
            case Turn():
                await self._fan.turn()
            case _TellState():
                self._state_timer = False
                await self._tell_state()
            case GroupChange(event="join", members=members):
                self._seat(members)
            case GroupChange(event="leave", members=members):
                for member in members:
                    self._seats.pop(member.pid, None)
                    self._fan.leave(member.meta)
            case _:
                return UNHANDLED
        return None

    # -- truth --

    def _take_truth(self, change: PartChanged) -> None:
        known = self._truths.get(change.part)
        if change.revision == 0 and known is not None and known.revision > 0:
            # The part has started anew and forgotten what we still know.
            self.node.cast(self._options.part(change.part), Restore(known.revision, known.truth))
            return
        if known is not None and (change.revision, change.truth) == (known.revision, known.truth):
            return
        self._truths[change.part] = change
        self._have_it_rendered(change.frame)

    def _have_it_rendered(self, frame: int) -> None:
        """Tell the render host the whole truth, from `frame` on, once every part has reported."""
        truths = self._whole_truth()
        if truths is None:
            return
        a, b, mixer = truths
        state = BattleState(a.state, b.state, mixer.crossfader, mixer.master)
        samples = {
            deck.song.id: Samples(deck.song.id, deck.pcm)
            for deck in (a, b)
            if deck.song is not None and deck.pcm is not None
        }
        self.node.cast(
            self._options.part("render"), Render(self._options.name, frame, state, tuple(samples.values()), self.pid)
        )

    def _whole_truth(self) -> tuple[DeckTruth, DeckTruth, MixerTruth] | None:
        if len(self._truths) < len(PARTS):
            return None
        a, b, mixer = (self._truths[part].truth for part in PARTS)
        if not isinstance(a, DeckTruth) or not isinstance(b, DeckTruth) or not isinstance(mixer, MixerTruth):
            raise TypeError("a part reported the truth of another")
        return a, b, mixer

    async def _tell_state(self) -> None:
        """Tell the listeners what is played, if that has changed; again after a while when it changes by itself."""
        truths = self._whole_truth()
        if truths is None:
            return
        a, b, mixer = truths
        frame = soon()
        # A deck that just plays on is no news: its listeners know place and speed. A fader under way is.
        news = (a.song, a.state, b.song, b.state, mixer.master, round(mixer.crossfader.at(frame), 2))
        is_new = news != self._told
        if is_new or moves(mixer.crossfader, frame):
            self._state_timer = True
            self.send_after(INTERVAL, self.pid, _TellState())
        if is_new:
            self._told = news
            await self._tell_all(self._state(truths, frame), state_key(self._options.name))

    def _state(self, truths: tuple[DeckTruth, DeckTruth, MixerTruth], frame: int) -> bytes:
        a, b, mixer = truths
        return state_event(self._options.name, {"a": a, "b": b}, mixer, frame)

    # -- sound --

    async def _fan_out(self, packet: Packet) -> None:
        """Make a frame for each bit rate, and offer the same bytes to every sink on it. What nobody would play is left out."""
        if now() - packet.frame > STALE:
            return
        jumped = self._next_frame is not None and packet.frame != self._next_frame
        self._gaps += jumped
        self._next_frame = packet.frame + PACKET
        frames = coded(self._options.track, packet, self._options.lower, FLAG_DISCONTINUITY if jumped else 0)
        self._history.append(frames[0])
        self._packets += 1
        if not self._packets % LOOK:
            self._choose_tiers()
        await self._fan.put(frames)

    def _choose_tiers(self) -> None:
        """Have the sound coded at the rates that listeners need, if those are others than before."""
        rates = self._tiers.look((seat.tier for seat in self._seats.values()), self._packets)
        if rates != self._rates:
            self._rates = rates
            self.node.cast(self._options.part("render"), Tiers(self._options.name, rates))

    async def _tell_all(self, data: bytes, key: object) -> None:
        """Offer to every listener that wants more than sound."""
        for at, seat in enumerate(tuple(self._seats.values()), 1):
            if seat.events:
                seat.offer(data, key)
            if not at % BREATH:
                await trio.lowlevel.checkpoint()

    def _seat(self, members: Sequence[Member]) -> None:
        truths = self._whole_truth()
        state = None if truths is None else self._state(truths, soon())
        for member in members:
            seat: Seat = member.meta
            self._seats[member.pid] = seat
            self._fan.enter(seat)
            if state is not None and seat.events:
                seat.offer(state, state_key(self._options.name))
            if not seat.started:
                seat.started = True
                for data in tuple(self._history)[len(self._history) - min(seat.history, len(self._history)) :]:
                    seat.offer(data, AUDIO)
