"""One coded stream out of many: decoded again, it holds the others' tones and not one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wsactors.media.mixdown import Mixdown, MixdownOptions
from wsactors.media.opus import Decoder, Encoder
from wsactors.wire.audio_frame import FLAG_LAST, FLAG_PRIORITY, FLAG_VOICE, AudioFrame

RATE, FRAME = 48_000, 960
HERTZ = {1: 400.0, 2: 700.0, 3: 1_100.0}


def packets(hertz: float, count: int) -> list[bytes]:
    t = np.arange(count * FRAME) / RATE
    sound = (0.2 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)[:, None]
    with Encoder(1, bitrate=64_000) as encoder:
        return [encoder.encode(sound[at : at + FRAME]) for at in range(0, len(sound), FRAME)]


def power(sound: Any, hertz: float) -> float:
    t = np.arange(len(sound)) / RATE
    return float(np.abs(np.mean(sound * np.exp(-2j * np.pi * hertz * t))))


def run(mixdown: Mixdown, flags: dict[int, int] | None = None, count: int = 100) -> tuple[Any, dict[int, Any]]:
    coded = {track: packets(hertz, count) for track, hertz in HERTZ.items()}
    whole, own = Decoder(1), {track: Decoder(1) for track in HERTZ}
    heard: list[Any] = []
    heard_by: dict[int, list[Any]] = {track: [] for track in HERTZ}
    for n in range(count):
        for track, found in coded.items():
            mixdown.put(AudioFrame(track, n, n * FRAME, found[n], 20, (flags or {}).get(track, 0)), n / 50)
        mixed = mixdown.tick(n / 50)
        if mixed.whole is not None:
            assert (mixed.whole.track, mixed.whole.sequence, mixed.whole.timestamp) == (9, n, n * FRAME)
            heard.append(whole.decode(mixed.whole.payload))
        for track, frame in mixed.own.items():
            heard_by[track].append(own[track].decode(frame.payload))
    sound = np.concatenate(heard)[RATE:, 0] if heard else None
    return sound, {track: np.concatenate(each)[RATE:, 0] for track, each in heard_by.items() if each}


def test_listeners_hear_all_and_a_speaker_hears_the_others() -> None:
    mixdown = Mixdown(9)
    mixdown.listen(True)
    assert mixdown.listen_as(2, True)
    whole, own = run(mixdown)
    assert all(power(whole, hertz) > 0.07 for hertz in HERTZ.values())
    assert power(own[2], HERTZ[2]) < 0.003
    assert power(own[2], HERTZ[1]) > 0.07
    mixdown.listen_as(2, False)
    mixdown.listen(False)
    assert mixdown.tick(3.0).own == {}
    mixdown.close()


def test_others_are_lowered_for_a_priority_speaker_and_gains_count() -> None:
    mixdown = Mixdown(9)
    mixdown.listen(True)
    mixdown.set_gain(3, 0.0)
    whole, _ = run(mixdown, {1: FLAG_PRIORITY | FLAG_VOICE})
    assert power(whole, HERTZ[1]) > 0.07
    assert 0.01 < power(whole, HERTZ[2]) < 0.04
    assert power(whole, HERTZ[3]) < 0.003
    with pytest.raises(ValueError, match="gain"):
        mixdown.set_gain(3, -1.0)
    mixdown.close()


def test_who_leaves_while_a_frame_is_made_gets_no_more_and_harms_nobody() -> None:
    mixdown = Mixdown(9)
    mixdown.listen(True)
    for track in (1, 2, 3):
        mixdown.listen_as(track, True)
    steps = mixdown.steps(0.0)
    next(steps)
    mixdown.listen_as(2, False)
    mixdown.listen(False)
    with pytest.raises(StopIteration) as end:
        while True:
            next(steps)
    mixed = end.value.value
    assert mixed.whole is not None
    assert mixed.own.keys() == {1, 3}
    mixdown.close()


def test_inputs_outputs_and_time_are_bounded() -> None:
    mixdown = Mixdown(9, MixdownOptions(inputs=2, outputs=1))
    packet = packets(400, 1)[0]
    for track in range(5):
        mixdown.put(AudioFrame(track, 0, 0, packet), 0.0)
    mixdown.put(AudioFrame(99, 0, 0, packet, flags=FLAG_LAST), 0.0)
    assert mixdown.refused == 3
    assert mixdown.listen_as(1, True)
    assert not mixdown.listen_as(2, True)
    mixdown.tick(10.0)  # both are idle by now
    mixdown.put(AudioFrame(4, 1, FRAME, packet), 10.0)
    assert mixdown.refused == 3
    mixdown.close()
    mixdown.close()
