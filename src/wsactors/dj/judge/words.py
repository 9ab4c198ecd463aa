"""Why a score is what it is, in words."""

from __future__ import annotations

from typing import Final

from wsactors.dj.judge.beats import BeatMatch
from wsactors.dj.judge.harmony import Harmony
from wsactors.dj.judge.levels import Flow, LevelHandling
from wsactors.dj.judge.transition import Transition
from wsactors.dj.timeline import SAMPLE_RATE

NO_GRID: Final = "One of the songs has no beatgrid, so this was not judged."
NO_KEY: Final = "The key of one of the songs is not known, so this was not judged."


def beat(match: BeatMatch, silence: int = 0) -> str:
    """About the beats."""
    side = "late" if match.late > 0 else "early"
    if match.away < 3.0:
        said = f"The beats lay on each other, {match.away:.1f} ms apart."
    elif abs(match.late) > 0.7 * match.away:
        said = f"The incoming beats were {abs(match.late):.1f} ms {side}: {_how_bad(match.away)}."
    else:
        said = f"The beats wandered, {match.away:.1f} ms apart on average: {_how_bad(match.away)}."
    if silence:
        said += " But there was a silence between them."
    if match.drift >= 1.0:
        said += f" The tempos differed, by {match.drift:.1f} ms every second."
    return said


def _how_bad(milliseconds: float) -> str:
    if milliseconds < 12.0:
        return "a little loose"
    return "heard as a flam" if milliseconds < 40.0 else "a train wreck"


def phrase(beats: int, bar: int, phrase_beats: int) -> str:
    """About phrases."""
    if beats == 0:
        return "The phrases began together."
    if beats % bar:
        return f"The bars did not lie on each other: {beats} beat{'s' if beats > 1 else ''} off."
    bars = beats // bar
    return f"The bars fitted, but the phrases of {phrase_beats // bar} bars were {bars} bar{'s' if bars > 1 else ''} apart."


def level(handling: LevelHandling) -> str:
    """About levels and the equaliser."""
    if abs(handling.step) < 1.0:
        said = "Both songs were equally loud"
    else:
        said = f"The new song was {abs(handling.step):.1f} dB {'louder' if handling.step > 0 else 'quieter'}"
    if handling.swing >= 4.0:
        said += f", and the level swung by {handling.swing:.1f} dB on the way"
    if handling.clash >= 1.0:
        said += f"; both basses were open for {handling.clash:.1f} s"
    return said + "."


def harmony(fit: Harmony) -> str:
    """About keys."""
    keys = f"{fit.first.name} ({fit.first.wheel}) and {fit.second.name} ({fit.second.wheel})"
    if fit.steps == 0:
        said = f"Both were in {fit.first.name} ({fit.first.wheel})"
    elif fit.steps == 1:
        said = f"{keys} are neighbours"
    elif fit.steps == 2:
        said = f"{keys} go together, with some tension"
    else:
        said = f"{keys} rub: {fit.steps} steps apart on the wheel"
    if fit.detune >= 5.0:
        said += f", and {fit.detune:.0f} cents out of tune"
    return said + (" (the keys are a guess)." if fit.sure < 0.2 else ".")


def clipping(amount: float) -> str:
    """About too much."""
    return "Nothing was too loud." if amount <= 0.0 else f"The limiter had to hold {amount:.1f} dB·s back."


def smoothness(flow: Flow, transition: Transition) -> str:
    """About the flow."""
    seconds = transition.frames / SAMPLE_RATE
    said = {"blend": f"A blend of {seconds:.1f} s", "cut": "A cut", "gap": f"{flow.silence:.1f} s of silence"}
    text = said[transition.kind]
    if flow.breaks:
        text += f", {flow.breaks} break{'s' if flow.breaks > 1 else ''} in the music"
    if flow.back >= 0.2:
        text += ", the faders went back and forth"
    return text + ("." if flow.breaks or flow.back >= 0.2 or transition.kind == "gap" else ", without a break.")
