"""The mixer of a stage: one stream of all voices, for those who can or want to receive only one.

It works only while somebody wants that: then it gets every frame that everybody gets, and gives one every 20 ms.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Final

import trio

from wsactors.actors import UNHANDLED, Actor
from wsactors.media.mixdown import Mixdown, MixdownOptions, Mixed
from wsactors.sessions.stage_messages import MixerUp, MixFor, MixFrame, MixSound
from wsactors.sessions.stage_options import StageOptions
from wsactors.wire.native import AudioFrame, encode_audio

MIX_OPTIONS: Final = MixdownOptions()
_SECONDS: Final = MIX_OPTIONS.samples / 48_000
_BREATH: Final = 4
"""Streams coded between two looks at the rest of the node: a millisecond at most."""
_LATE: Final = 0.5
"""Seconds behind the clock after which what should have sounded is left out."""


class StageMixer(Actor):
    """Casts: `MixFor`, `MixFrame`. The session gets `MixSound`."""

    def init(self, stage: StageOptions = StageOptions()) -> None:  # noqa: B008 - frozen
        self._session = stage.part("session")
        self._mix = Mixdown(stage.mix_track, MIX_OPTIONS)
        self._wanted = MixFor()
        self._runs = False
        self.at_death("mix", lambda _: self._mix.close())
        self.node.cast(self._session, MixerUp())

    def handle_cast(self, message: Any) -> Any:
        match message:
            case MixFrame(frame):
                self._mix.put(frame, trio.current_time())
            case MixFor():
                self._want(message)
            case _:
                return UNHANDLED
        return None

    def _want(self, wanted: MixFor) -> None:
        for track in set(self._wanted.tracks) - set(wanted.tracks):
            self._mix.listen_as(track, False)
        for track in wanted.tracks:
            self._mix.listen_as(track, True)
        self._mix.listen(wanted.whole)
        self._wanted = wanted
        if not self._runs and (wanted.whole or wanted.tracks):
            self._runs = True
            self.start_soon(self._run)

    async def _run(self) -> None:
        number = math.ceil(trio.current_time() / _SECONDS)
        while self._wanted.whole or self._wanted.tracks:
            await trio.sleep_until(number * _SECONDS)
            late = trio.current_time() - number * _SECONDS
            if late > _LATE:
                number += int(late / _SECONDS)
            mixed = await self._tick(trio.current_time())
            own = tuple((track, _coded(frame)) for track, frame in mixed.own.items())
            whole = b"" if mixed.whole is None else _coded(mixed.whole)
            self.node.cast(self._session, MixSound(whole, own))
            number += 1
        self._runs = False

    async def _tick(self, now: float) -> Mixed:
        """The next frame; others have their turn while it is made."""
        steps = self._mix.steps(now)
        for number in itertools.count(1):
            try:
                next(steps)
            except StopIteration as end:
                mixed: Mixed = end.value
                return mixed
            if not number % _BREATH:
                await trio.lowlevel.checkpoint()
        raise AssertionError("counting ends never")


def _coded(frame: AudioFrame) -> bytes:
    return encode_audio(
        frame.track, frame.sequence, frame.timestamp, frame.payload, level=frame.level, flags=frame.flags
    )
