"""The page's audio cores, without a browser: jitter buffer, playout, uplink, framing, and what they have in common with ours."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from wsactors.dsp.meter import measure
from wsactors.media.vad import VoiceDetector
from wsactors.wire import native
from wsactors.wire.audio_frame import (
    FLAG_DISCONTINUITY,
    FLAG_SILENCE,
    FLAG_VOICE,
    decode_uplink,
    encode_audio,
    encode_redundant,
)
from wsactors.wire.length_prefix import LengthPrefixed, prefixed

HERE = Path(__file__).parent
MODULES = HERE.parents[1] / "src" / "wsactors" / "web" / "js"
PACKET = b"\xfc" + bytes(20)
"""20 ms of Opus, by its first byte."""
SILENT_PACKET = b"\xf8\xff\xfe"
TONE = 440.0

Ask: TypeAlias = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def ask() -> Ask:
    """``ask((kind, question), …) -> answers`` of `audio_side.mjs`."""
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        pytest.skip("no node here: `apt-get install nodejs`")

    def run(*questions: tuple[str, Any]) -> list[Any]:
        command = [node, str(HERE / "audio_side.mjs"), str(MODULES)]
        asked = json.dumps(questions)
        done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        found: list[Any] = json.loads(done.stdout)
        return found

    return run


def frame(sequence: int, *, flags: int = FLAG_VOICE, first: int = 0) -> str:
    """The frame with that sequence, whose payload says which it is, as hex."""
    timestamp = (sequence - first) % 2**32 * 960
    return encode_audio(3, sequence, timestamp, payload_of(timestamp), level=20, flags=flags).hex()


def payload_of(timestamp: int) -> bytes:
    return b"\xfc" + timestamp.to_bytes(8, "big")


def timestamps(answer: dict[str, Any]) -> list[int]:
    return [released[0] // 960 for released in answer["released"]]


# -- jitter buffer ----------------------------------------------------------------------------------------------------


def test_frames_in_disorder_doubled_and_over_the_wrap_are_decoded_once_and_in_order(ask: Ask) -> None:
    chance, first = random.Random(3), 2**32 - 40
    arrivals: list[list[Any]] = []
    for number in range(100):
        at = 1 + number * 0.02 + chance.choice([0.0, 0.0, 0.03, 0.05])
        arrivals += [[frame((first + number) % 2**32, first=first), at]] * chance.choice([1, 1, 2])
    arrivals[0][1] = 1.0
    arrivals.sort(key=lambda each: float(each[1]))
    (answer,) = ask(("received", {"arrivals": arrivals, "played": 48_000 * -2}))
    assert timestamps(answer) == list(range(100))
    assert all(bytes.fromhex(payload) == payload_of(at) for at, payload, *_ in answer["released"])
    assert answer["counts"]["duplicates"] == len(arrivals) - 100
    assert answer["counts"]["lost"] == 0


def test_a_lost_frame_is_waited_for_until_its_turn_and_a_late_one_is_counted(ask: Ask) -> None:
    # Sample 0 is heard at 1.1 s: frame 2 is due at 1.14 s.
    arrivals: list[list[Any]] = [[frame(0), 1.0], [frame(1), 1.02], [frame(3), 1.06], [frame(4), 1.08]]
    arrivals += [[None, 1.1], [None, 1.12], [frame(2), 1.13], [frame(5), 1.14]]
    (answer,) = ask(("received", {"arrivals": arrivals, "played": -1.1 * 48_000}))
    assert timestamps(answer) == [0, 1, 3, 4, 5]
    assert [released[-1] for released in answer["released"]] == [1.0, 1.02, 1.12, 1.12, 1.14]
    expected = {"received": 5, "lost": 1, "late": 1, "runs": 1, "recovered": 0, "duplicates": 0, "stale": 0}
    assert answer["counts"] == expected


@pytest.mark.parametrize("distances", [(1,), (3,), (5, 2)])
def test_what_is_lost_is_taken_from_the_copy_in_a_later_frame(ask: Ask, distances: tuple[int, ...]) -> None:
    lost = {4, 9, 10}
    arrivals: list[list[Any]] = []
    for number in range(20):
        data = frame(number)
        if number >= max(distances):
            whole = native.decode_audio(bytes.fromhex(data))
            first, *more = (native.Copy(payload_of((number - far) * 960), far) for far in distances)
            data = encode_redundant(whole, first.payload, first.distance, *more).hex()
        if number not in lost:
            arrivals.append([data, 1 + number * 0.02])
    (answer,) = ask(("received", {"arrivals": arrivals, "played": -1.2 * 48_000}))
    found = timestamps(answer)
    missing = {9} if distances == (1,) else set()  # the copy of 9 was in 10
    assert found == [number for number in range(20) if number not in missing]
    assert answer["counts"]["lost"] == 3
    assert answer["counts"]["recovered"] == 3 - len(missing)
    (without,) = ask(("received", {"arrivals": [[frame(n), 1 + n * 0.02] for n in range(20)], "played": None}))
    assert answer["aim"] == pytest.approx(without["aim"] + max(distances) * 0.02, abs=0.003)
    report = native.decode_client(bytes.fromhex(answer["report"]))
    assert isinstance(report, native.ReceiverReport)
    assert report.tracks[0].received == 17
    assert report.tracks[0].highest == 19


def test_a_copy_is_not_used_while_the_frame_itself_may_still_come(ask: Ask) -> None:
    second = native.decode_audio(bytes.fromhex(frame(2)))
    arrivals = [[frame(0), 1.0], [encode_redundant(second, payload_of(960), 1).hex(), 1.02], [frame(1), 1.03]]
    (answer,) = ask(("received", {"arrivals": arrivals, "played": -1.2 * 48_000}))
    assert timestamps(answer) == [0, 1, 2]
    assert answer["counts"]["received"] == 3
    assert answer["counts"]["lost"] == answer["counts"]["recovered"] == answer["counts"]["late"] == 0


def test_a_pause_is_not_waited_for_and_the_sound_after_it_is_known_as_new(ask: Ask) -> None:
    arrivals = [[frame(0), 1.0], [frame(1, flags=FLAG_SILENCE), 1.02]]
    after = encode_audio(3, 2, 48_000, PACKET, level=20, flags=FLAG_DISCONTINUITY | FLAG_VOICE).hex()
    (answer,) = ask(("received", {"arrivals": [*arrivals, [after, 2.0]], "played": None}))
    assert [each[0] for each in answer["released"]] == [0, 960, 48_000]
    assert [each[2:4] for each in answer["released"]] == [[False, False], [False, True], [True, False]]
    assert answer["counts"]["lost"] == 0


# -- playout ----------------------------------------------------------------------------------------------------------


def arrivals_of(
    seconds: float, *, ppm: float = 0, jitter: float = 0.0, lost: frozenset[int] = frozenset()
) -> list[Any]:
    chance = random.Random(8)
    found, before = [], 0.0
    for number in range(int(seconds * 50)):
        if number not in lost:
            before = max(before, (number + 1) * 0.02 / (1 + ppm * 1e-6) + chance.random() * jitter)
            found.append([number, before])
    return found


@pytest.mark.parametrize("ppm", [300, -300])
def test_clocks_that_differ_by_300_ppm_never_run_dry_and_the_delay_stays(ask: Ask, ppm: int) -> None:
    arrivals = arrivals_of(241, ppm=ppm, jitter=0.01)
    (answer,) = ask(("heard", {"arrivals": arrivals, "seconds": 240, "tone": TONE, "keeps": False}))
    assert answer["counts"]["underruns"] == 0
    assert answer["counts"]["concealed"] == answer["counts"]["cut"] == 0
    least, most = answer["waits"]
    assert most - least < 0.02
    assert 0.08 <= least <= most <= 0.11


def test_what_is_lost_is_guessed_for_as_long_as_it_would_have_lasted_without_a_click(ask: Ask) -> None:
    lost = frozenset({100, 180, 250, 251, 320})
    question = {"arrivals": arrivals_of(9, lost=lost), "seconds": 8.5, "tone": TONE, "keeps": True}
    (answer,) = ask(("heard", question))
    assert answer["counts"]["concealed"] == 960 * len(lost)
    assert answer["counts"]["underruns"] == 0
    steepest = 0.5 * 2 * np.pi * TONE / 48_000
    assert answer["step"] < 1.5 * steepest
    sound = np.array(answer["sound"][2 * 48_000 : 8 * 48_000])
    level = np.sqrt(np.convolve(sound**2, np.ones(480) / 480, "valid"))
    assert level.min() > 0.15  # a sine of 0.5 has 0.35


def test_without_anything_to_play_it_fades_stops_and_goes_on_where_it_was(ask: Ask) -> None:
    arrivals = [[number, at if number < 100 else at + 1.0] for number, at in arrivals_of(6)]
    (answer,) = ask(("heard", {"arrivals": arrivals, "seconds": 6, "tone": TONE, "keeps": True}))
    assert answer["counts"]["underruns"] == 1
    assert answer["counts"]["concealed"] <= 0.09 * 48_000
    assert answer["playing"]
    silent = np.flatnonzero(np.abs(np.array(answer["sound"][2 * 48_000 : 4 * 48_000])) < 1e-6)
    assert 0.7 * 48_000 < len(silent) < 1.2 * 48_000


@pytest.mark.parametrize(("aim", "most_leaps"), [(0.25, 8), (0.05, 8)])
def test_a_delay_that_is_far_off_is_corrected_within_a_second_without_a_click(
    ask: Ask, aim: float, most_leaps: int
) -> None:
    """Wanted from 3 s on; from 0.25 s back to 0.05 s from 5 s on."""
    aims = [[3, 0.25], [5, aim]]
    question = {"arrivals": arrivals_of(9), "seconds": 8, "tone": TONE, "keeps": False, "aims": aims}
    (answer,) = ask(("heard", question))
    assert answer["counts"]["underruns"] == answer["counts"]["concealed"] == 0
    assert 0 < answer["counts"]["leaps"] <= most_leaps * len({0.25, aim})
    assert abs(answer["average"] - aim) < 0.08
    assert answer["step"] < 1.5 * 0.5 * 2 * np.pi * TONE / 48_000


def test_a_pause_is_silence_and_no_dropout_however_long(ask: Ask) -> None:
    arrivals = [[number, at] for number, at in arrivals_of(6) if not 100 < number < 200]
    question = {"arrivals": arrivals, "seconds": 6, "tone": TONE, "keeps": True, "quietFrom": 100, "freshFrom": 200}
    (answer,) = ask(("heard", question))
    assert answer["counts"]["underruns"] == answer["counts"]["concealed"] == answer["counts"]["cut"] == 0
    silent = np.flatnonzero(np.abs(np.array(answer["sound"][48_000 : 5 * 48_000])) < 1e-6)
    assert abs(len(silent) - 99 * 960) < 0.05 * 48_000
    assert answer["counts"]["played"] < 4.3 * 48_000


# -- uplink -----------------------------------------------------------------------------------------------------------


def test_nothing_that_was_heard_while_muted_is_ever_sent(ask: Ask) -> None:
    secret, said = PACKET + b"secret", PACKET + b"said"
    packets = [(15, secret, False)] * 20 + [(15, said, True)] * 20 + [(15, secret, False)] * 20
    (answer,) = ask(("sent", [[level, payload.hex(), is_open] for level, payload, is_open in packets]))
    frames = [decode_uplink(bytes.fromhex(each)) for sent in answer for each in sent]
    assert {bytes(each.payload) for each in frames} == {said, SILENT_PACKET}
    assert not any(answer[:20])
    assert [len(sent) for sent in answer[20:40]] == [1] * 20
    assert [each.flags for each in frames[-3:]] == [FLAG_SILENCE] * 3


def test_a_word_is_sent_from_just_before_it_with_true_times_and_ends_with_silence(ask: Ask) -> None:
    packets = [[70, PACKET.hex(), True]] * 30 + [[20, PACKET.hex(), True]] * 10 + [[70, PACKET.hex(), True]] * 40
    (answer,) = ask(("sent", packets))
    frames = [decode_uplink(bytes.fromhex(each)) for sent in answer for each in sent]
    assert [each.sequence for each in frames] == list(range(len(frames)))
    assert frames[0].timestamp == 28 * 960
    assert [each.timestamp for each in frames] == [28 * 960 + 960 * number for number in range(len(frames))]
    assert [bool(each.flags & FLAG_DISCONTINUITY) for each in frames] == [True] + [False] * (len(frames) - 1)
    assert sum(bool(each.flags & FLAG_VOICE) for each in frames) == 10
    assert [bool(each.flags & FLAG_SILENCE) for each in frames[-4:]] == [False, True, True, True]
    assert len(frames) == 2 + 10 + 15 + 3


def test_the_voice_detector_and_the_level_are_ours(ask: Ask) -> None:
    chance = random.Random(2)
    levels, loudness = [], 60
    for _ in range(3_000):
        loudness = chance.choice([loudness, loudness, loudness, chance.randrange(10, 90)])
        levels.append(min(127, max(0, loudness + chance.randrange(-3, 4))))
    blocks = [[chance.uniform(-1, 1) * 10 ** (-chance.random() * 4) for _ in range(960)] for _ in range(20)]
    theirs, their_levels = ask(("voices", levels), ("levels", blocks))
    detector = VoiceDetector()
    assert theirs == [[detector.hear(level, 960), detector.voiced] for level in levels]
    assert {voiced for _, voiced in theirs} == {True, False}
    for block, level in zip(blocks, their_levels, strict=True):
        assert abs(level - measure(np.array(block, np.float32)[:, None]).dbov) <= 1


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_messages_on_a_stream_are_framed_as_ours(ask: Ask) -> None:
    chance = random.Random(4)
    messages = [chance.randbytes(chance.choice([0, 1, 63, 64, 300, 16_383, 16_384, 70_000])) for _ in range(40)]
    stream = b"".join(map(prefixed, messages))
    pieces, at = [], 0
    while at < len(stream):
        size = chance.choice([1, 2, 5, 1_000, 30_000])
        pieces.append(stream[at : at + size])
        at += size
    (framed, split, refused) = ask(
        ("prefixed", [message.hex() for message in messages]),
        ("split", [piece.hex() for piece in pieces]),
        ("split", ["bf", "ffffff"]),
    )
    assert framed == [prefixed(message).hex() for message in messages]
    reader = LengthPrefixed(100_000)
    assert split == [[message.hex() for message in reader.feed(piece)] for piece in pieces]
    assert refused == [[], "RangeError"]


def test_webtransport_is_tried_less_often_the_oftener_it_fails(ask: Ask) -> None:
    steps = [
        ["allows", 0],
        ["failed", 2],
        ["allows", 31],
        ["allows", 32],
        ["failed", 34],
        ["allows", 93],
        ["allows", 94],
    ]
    steps += [["worked", 94], ["ended", 97, True], ["allows", 98]]  # broke at once: a failure, too
    steps += [["worked", 300], ["ended", 400, True], ["allows", 401], ["failed", 402], ["allows", 433]]
    steps += [["failed", each] for each in range(500, 510)] + [["allows", 1_108], ["allows", 1_110]]  # never beyond 600
    (answer,) = ask(("choices", steps))
    said = [each for each, (what, *_) in zip(answer, steps, strict=True) if what == "allows"]
    assert said == [True, False, True, False, True, False, True, True, False, True]


def test_a_stage_is_known_by_its_changes_and_a_missed_one_is_noticed(ask: Ask) -> None:
    ann = {"id": 1, "name": "ann", "role": 3, "track": 65_537}
    bob = {"id": 2, "name": "bob", "role": 1, "hand": True}
    state = {"version": 4, "topic": "a", "people": [bob, ann], "hands": [2], "you": {**bob, "push_to_talk": True}}
    events = [
        ["stage_state", state],
        ["stage_change", {"from": 4, "version": 5, "people": [{**bob, "role": 2, "hand": False}], "hands": []}],
        ["stage_you", {**bob, "role": 2, "hand": False, "push_to_talk": True}],
        ["stage_change", {"from": 5, "version": 5, "levels": [[1, 20], [2, 40]]}],
        ["stage_change", {"from": 7, "version": 8, "topic": "b", "gone": [1]}],
    ]
    (answer,) = ask(("stage", events))
    assert [each["isNext"] for each in answer] == [True, True, True, True, False]
    assert [each["speakers"] for each in answer] == [[1], [1, 2], [1, 2], [1, 2], [2]]
    assert [each["hands"] for each in answer] == [[2], [], [], [], []]
    assert answer[-1]["topic"] == "b"
    assert answer[3]["levels"] == [[1, 20], [2, 40]]
    assert [each["may"] for each in answer[:3]] == [[False, False], [False, False], [False, True]]
    assert [each["track"] for each in answer] == [1, 1, 1, 1, None]


def test_only_the_others_are_quieter_while_somebody_with_priority_speaks(ask: Ask) -> None:
    (now, later) = ask(("ducking", [[[7, 10.4]], [7, 8], 10.0]), ("ducking", [[[7, 10.4]], [7, 8], 10.5]))
    assert now == [1, 0.25]
    assert later == [1, 1]
