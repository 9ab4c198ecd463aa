from __future__ import annotations

import attrs
import pytest
import trio

from tests.sessions.conftest import Ear, House
from tests.sessions.stages import Guest, open_hall
from wsactors.errors import NoSuchSession
from wsactors.media.reports import Heard
from wsactors.realtime.metrics import Metrics
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions.listener import Seat, Way
from wsactors.sessions.listener_metrics import MOST_SECONDS, ListenerMetrics

HEARD = Heard(
    track=1,
    seconds=1.0,
    frames=50,
    lost=5,
    runs=4,
    loss=0.1,
    residual=0.04,
    concealed=0.04,
    jitter=3.0,
    buffer=55.0,
    delay=0.09,
)


def test_what_a_listener_reports_is_counted() -> None:
    metrics = ListenerMetrics(Metrics())
    assert metrics.hear([HEARD], 0.03) == [HEARD]
    assert metrics.frames.read() == {"came": 45, "recovered": 3, "lost": 2, "other": 0}
    assert metrics.loss.quantile(1.0) == 0.1
    assert metrics.jitter.total == pytest.approx(0.003)
    assert metrics.buffer.total == pytest.approx(0.055)
    assert metrics.delay.total == pytest.approx(0.09)
    assert metrics.rtt.total == pytest.approx(0.03)


def test_a_track_on_which_nobody_speaks_says_nothing() -> None:
    metrics = ListenerMetrics(Metrics())
    metrics.hear([attrs.evolve(HEARD, frames=0, lost=0, runs=0, loss=0.0, residual=0.0)], None)
    assert sum(metrics.loss.counts) == sum(metrics.buffer.counts) == sum(metrics.rtt.counts) == 0


def test_reports_that_cannot_be_true_do_not_spoil_what_is_counted() -> None:
    metrics = ListenerMetrics(Metrics())
    lie = attrs.evolve(HEARD, frames=2**53, lost=2**52)
    assert metrics.hear([lie], 0.03) == []
    assert metrics.reports.read() == {"taken": 0, "implausible": 1, "other": 0}
    assert sum(metrics.frames.read().values()) == sum(metrics.rtt.counts) == 0
    metrics.hear([attrs.evolve(HEARD, jitter=2.0**53, buffer=2.0**53)], None)
    assert metrics.jitter.total == metrics.buffer.total == MOST_SECONDS


async def test_joins_listeners_and_their_first_sound_are_counted(house: House) -> None:
    await house.open("one")
    metrics = ListenerMetrics.of(house.node)
    ear = Ear()
    member = await house.directory.join("one", ear, house.visitor.pid, history=8, transport="webtransport")
    other, _ = await house.listen("one")
    assert metrics.here() == {"websocket": 0, "webtransport": 1, "quic": 0, "http": 0, "other": 1}
    await ear.hear(2)
    await other.hear(2)
    assert sum(metrics.first_sound.counts) == 2, "once for each"
    with pytest.raises(NoSuchSession):
        await house.listen("nowhere")
    assert metrics.joins.read()["ok"] == sum(metrics.join_seconds.counts) == 2
    assert metrics.joins.read()["no_session"] == 1
    member.leave()
    with trio.fail_after(30):
        while metrics.here()["webtransport"]:  # noqa: ASYNC110 - a number that nobody announces
            await trio.sleep(0.01)


async def test_where_nobody_speaks_the_first_sound_is_not_waited_for(autojump_clock: object) -> None:
    async with open_hall() as hall:
        await hall.open(first_moderates=True)
        metrics = ListenerMetrics.of(hall.node)
        speaker = await hall.join(guest="one")
        early = await hall.join(guest="two")
        await trio.sleep(60)
        speaker.say()
        await early.until(lambda: early.frames)
        assert sum(metrics.first_sound.counts) == 0
        late = Guest()
        await hall.join(guest="three", sink=late)
        speaker.say()
        await late.until(lambda: late.frames)
        assert sum(metrics.first_sound.counts) == 1
        assert metrics.joins.read()["ok"] == 3


def test_what_waits_for_the_first_sound_is_in_nobodys_way_afterwards() -> None:
    class Deaf:
        takes = False

        def offer(self, data: bytes, key: object = None) -> bool:
            return self.takes

    began: list[int] = []
    seat = Seat(deaf := Deaf(), way=Way("quic", lambda: began.append(1)))
    seat.offer(b"", AUDIO)
    deaf.takes = True
    seat.offer(b"", "news")
    assert not began, "sound that was not taken is not heard, and news are no sound"
    for _ in range(3):
        assert seat.offer(b"", AUDIO)
    assert began == [1]
    seat.give_up("over")
    assert not seat.offer(b"", AUDIO)
