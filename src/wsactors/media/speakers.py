"""Who of many speakers is forwarded: the loudest few, with hysteresis, so that nobody flaps in and out.

A free place goes to whoever begins to speak, at once. When all are taken, a place changes hands when its holder is only
in the hangover of what was said, when the newcomer has priority and the holder has not, or when the newcomer has been
clearly louder for a while and the holder has had the place for a while. Pure: levels and ``now`` in, a verdict out.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import attrs

_ATTACK: Final = 0.5
_RELEASE: Final = 0.04
"""Per frame: how far the smoothed loudness follows a louder and a softer frame. Vowels lead, pauses hardly count."""


@attrs.frozen
class SpeakersOptions:
    """How many are heard at a time, and how easily a place changes hands."""

    last: int = 3
    """Places; 0: as many as speak."""
    margin: float = 6.0
    """Decibels by which a newcomer must be louder than the weakest holder."""
    patience: float = 0.3
    """Seconds for which it must be so."""
    hold: float = 1.0
    """Seconds for which a holder keeps the place against louder ones."""


@attrs.define
class _Voice:
    loudness: float = -127.0
    priority: bool = False
    voiced: bool = False
    since: float = 0.0
    louder_since: float | None = None


class Speakers:
    """The places of one stage.

    Example:
        >>> places = Speakers(SpeakersOptions(last=1))
        >>> places.hear("ann", 30, now=0.0), places.hear("bob", 29, now=0.02)
        (True, False)
    """

    def __init__(self, options: SpeakersOptions = SpeakersOptions()) -> None:
        self._options = options
        self._voices: dict[Hashable, _Voice] = {}
        self._holders: dict[Hashable, _Voice] = {}
        self.switches = 0
        """How many times somebody who spoke had to give way to somebody louder."""

    @property
    def holders(self) -> tuple[Hashable, ...]:
        """Who has a place."""
        return tuple(self._holders)

    def hear(self, speaker: Hashable, level: int, *, now: float, voiced: bool = True, priority: bool = False) -> bool:
        """``speaker`` is active with a frame of ``level`` (−dBov); whether it is to be forwarded.

        ``voiced``: false in the hangover of what was said.
        """
        voice = self._voices.get(speaker)
        if voice is None:
            voice = self._voices[speaker] = _Voice(-float(level))
        voice.loudness += (-level - voice.loudness) * (_ATTACK if -level > voice.loudness else _RELEASE)
        voice.priority, voice.voiced = priority, voiced
        if speaker in self._holders:
            return True
        if not voiced:
            return False
        if self._options.last and len(self._holders) >= self._options.last and not self._take_over(voice, now):
            return False
        voice.since, voice.louder_since = now, None
        self._holders[speaker] = voice
        return True

    def rest(self, speaker: Hashable) -> None:
        """``speaker`` is silent: the place is free."""
        self._voices.pop(speaker, None)
        self._holders.pop(speaker, None)

    def _take_over(self, voice: _Voice, now: float) -> bool:
        """Whether ``voice`` may have the place of the weakest holder, which then has lost it."""
        options = self._options
        weakest = min(self._holders, key=lambda each: _rank(self._holders[each]))
        holder = self._holders[weakest]
        if holder.priority and not voice.priority and holder.voiced:
            voice.louder_since = None
            return False
        if holder.voiced and (holder.priority or not voice.priority):
            if voice.loudness < holder.loudness + options.margin:
                voice.louder_since = None
                return False
            if voice.louder_since is None:
                voice.louder_since = now
            if now - voice.louder_since < options.patience or now - holder.since < options.hold:
                return False
            self.switches += 1
        del self._holders[weakest]
        return True


def _rank(voice: _Voice) -> tuple[bool, bool, float]:
    return voice.voiced, voice.priority, voice.loudness
