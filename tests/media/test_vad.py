from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.media.vad import VoiceDetector, VoiceOptions

FRAME = 960
PER_SECOND = 50


def heard(detector: VoiceDetector, levels: list[int]) -> list[bool]:
    return [detector.hear(level, FRAME) for level in levels]


def test_speech_begins_with_its_first_frame_and_ends_after_the_hangover() -> None:
    detector = VoiceDetector()
    room = heard(detector, [62] * 100)
    speech = heard(detector, [28, 35, 24, 40])
    after = heard(detector, [62] * 40)

    assert not any(room)
    assert all(speech)
    assert after.index(False) == 15  # 0.3 s
    assert not any(after[15:])


@pytest.mark.parametrize("noise", [45, 40, 38])
def test_a_noisy_room_is_not_speech_once_it_is_known_and_speech_in_it_is(noise: int) -> None:
    detector = VoiceDetector()
    heard(detector, [noise] * 5 * PER_SECOND)

    assert not detector.active
    assert heard(detector, [noise - 15]) == [True]


def test_who_speaks_on_and_on_is_not_taken_for_noise() -> None:
    detector = VoiceDetector()
    word = [26, 24, 25, 30, 28, 26, 33, 41, 52, 58]  # a fifth of a second, and a breath
    assert all(heard(detector, [60] * 50 + word * 5 * 30)[50:])


def test_what_is_steadily_loud_is_meant_to_be_heard() -> None:
    detector = VoiceDetector()
    assert all(heard(detector, [20] * 20 * PER_SECOND))


def test_a_level_that_trembles_at_the_threshold_changes_nothing() -> None:
    detector = VoiceDetector(VoiceOptions(hangover=0.0))
    heard(detector, [60] * 50)
    assert len(set(heard(detector, [49, 51, 50, 53, 50, 52]))) == 1


def test_the_speaker_s_own_detector_is_believed_but_for_silence() -> None:
    detector = VoiceDetector()
    assert detector.hear(60, FRAME, says=True)
    detector.silence()
    assert not detector.hear(127, FRAME, says=True)


def test_decoded_sound_is_heard_like_its_level() -> None:
    rng = np.random.default_rng(3)
    detector = VoiceDetector()
    quiet = (1e-4 * rng.standard_normal((FRAME, 1))).astype(np.float32)
    loud = (0.1 * rng.standard_normal((FRAME, 1))).astype(np.float32)
    assert [detector.hear_sound(block) for block in (quiet, quiet, loud, quiet)] == [False, False, True, True]


@given(st.lists(st.integers(0, 127), max_size=300))
def test_the_hangover_is_never_longer_than_it_is_and_the_threshold_stays_in_its_range(levels: list[int]) -> None:
    detector, quiet = VoiceDetector(), 0
    for level in levels:
        detector.hear(level, FRAME)
        quiet = 0 if detector.voiced else quiet + 1
        assert not (detector.active and quiet > 15)
        assert -50 <= detector.threshold <= -30
        assert detector.voiced or level >= 30
