from __future__ import annotations

from tests.gateway.harness import TestSession, until
from tests.gateway.quic_harness import open_quic_gateway, raw_talker, web_talker
from wsactors.gateway.exposition import Exposition
from wsactors.media.quic.door import Turned
from wsactors.media.quic.transport import Drop
from wsactors.realtime.metrics import Metrics
from wsactors.wire import native


async def test_what_quic_counts_is_shown_under_closed_sets_of_labels() -> None:
    async with open_quic_gateway() as gateway:
        session = gateway.directory.add(TestSession("demo"))
        metrics = Metrics.of(gateway.node)

        def read(name: str) -> dict[str, float]:
            [found] = [each for each in metrics.all() if each.name == f"wsactors_quic_{name}"]
            reading = found.read()
            assert isinstance(reading, dict)
            return reading

        async with web_talker(gateway) as talker, raw_talker(gateway.port) as raw:
            for each in (talker, raw):
                await each.hello()
                await each.say(native.Join("demo"))
                await each.hears(native.Joined)
            for _ in range(10):
                session.offer_frame(b"sound")
            for each in (talker, raw):
                await each.sound(10)
            await raw.client.raw(b"\x00\x01")
            assert read("connections") == {"": 2.0}
            assert read("handshakes_total") == {"": 2.0}
            assert read("datagrams_out_total") == {"": 20.0}
            assert read("fast_share")[""] > 0.5
            await until(lambda: read("turned_away_total")["malformed"] == 1)
            assert set(read("turned_away_total")) == {str(each) for each in Turned}
            assert set(read("drops_total")) == {str(each) for each in Drop}
            await gateway.shared.refresh_meters()
            opened = gateway.shared.meters.read("open")
            assert (opened["webtransport"], opened["quic"]) == (1, 1)
            sent = gateway.shared.meters.read("messages_out")
            assert sent["webtransport"] >= 12
            assert sent["quic"] >= 12
            text = await Exposition(gateway.node, "local").text()
            assert b'wsactors_quic_drops_total{node="quic",reason="congested",region="local"}' in text
        await until(lambda: read("connections") == {"": 0.0})
        assert read("opened_total") == {"": 2.0}, "what was counted stays"
