from __future__ import annotations

from aioquic.quic import events

from tests.media.quic.endpoints import open_endpoint
from tests.media.quic.quic_client import open_quic
from tests.media.quic.test_outgoing import established
from wsactors.gateway.datagram_sink import ControlStream, DatagramSink
from wsactors.media.gathering import Gathering
from wsactors.media.quic.fast_path import FastBackend
from wsactors.realtime.send_queue import AUDIO

FRAME = bytes(100)


async def test_sound_that_was_gathered_and_not_taken_after_all_counts_as_dropped() -> None:
    async with open_endpoint(backend=FastBackend()) as server, open_quic(server.port) as client:
        await client.send(b"hello")
        await client.wait(lambda: client.stream(0))
        [connection] = await established(server, 1)
        sink = DatagramSink(connection, ControlStream(connection), b"\0")
        gathering, name = Gathering.of(server.node), connection.came_as

        with gathering:
            assert sink.offer(FRAME, AUDIO)
        assert (sink.audio_sent, sink.bytes_sent, sink.dropped) == (1, len(FRAME), 0)

        connection.came_as = server.hub._batches.name(("127.0.0.1", 0))  # no packet goes to port 0
        with gathering:
            sink.offer(FRAME, AUDIO)
        assert (sink.audio_sent, sink.bytes_sent, sink.dropped) == (1, len(FRAME), 1)

        connection.came_as = name
        assert sink.offer(FRAME, AUDIO), "nobody gathers: it leaves at once"
        await client.wait(lambda: len(client.of(events.DatagramFrameReceived)) == 2)
        found = sink.statistics()
        assert (found.offered, found.sent_direct, found.aged_out) == (3, 2, 1)
