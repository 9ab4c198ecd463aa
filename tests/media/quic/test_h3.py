"""What HTTP/3 says of itself, to those who listen closely: browsers."""

from __future__ import annotations

from aioquic.h3.connection import H3Connection, Setting

from tests.media.quic.endpoints import open_endpoint
from tests.media.quic.quic_client import open_quic
from wsactors.media.quic.connection import Connection
from wsactors.media.quic.h3 import ConnectRequest, Http3, Rejected, _offered

DRAFT_07 = 0xC671706A


class Closed:
    """HTTP/3 that lets nobody in."""

    def __init__(self, connection: Connection) -> None:
        self._http = Http3(connection, self.admit)
        self.event = self._http.event
        self.asked: list[ConnectRequest] = []

    def admit(self, request: ConnectRequest) -> Rejected:
        self.asked.append(request)
        return Rejected(403)

    def progress(self) -> None:
        self._http.progress()

    async def handle(self, message: object) -> None:
        raise NotImplementedError

    def closed(self, reason: str) -> None:
        self._http.over(reason)


async def test_the_settings_are_those_that_browsers_want() -> None:
    async with open_endpoint(accept=Closed) as server, open_quic(server.port, "h3") as client:
        client.h3 = H3Connection(client.quic, enable_webtransport=True)
        settings = await client.wait(lambda: client.h3 and client.h3.received_settings)
        assert settings[0x2B603742] == 1, "Chromium speaks draft 02"
        assert settings[0x14E9CD29] == 1, "Safari asks for a number of sessions"
        assert settings[0x2C7CF000] == 1
        assert settings[Setting.H3_DATAGRAM] == settings[Setting.ENABLE_CONNECT_PROTOCOL] == 1
        assert DRAFT_07 not in settings, "it made Chrome choose that draft"
        assert settings[Setting.QPACK_MAX_TABLE_CAPACITY] == settings[Setting.QPACK_BLOCKED_STREAMS] == 0
        assert settings[Setting.MAX_FIELD_SECTION_SIZE] == 16 * 1024


def test_sub_protocols_are_strings_in_a_list() -> None:
    def offered(value: bytes) -> tuple[str, ...]:
        return _offered({b"wt-available-protocols": value})

    assert offered(b'"wsactors-v2", "other";q=1') == ("wsactors-v2", "other")
    assert offered(b"wsactors-v2") == ()
    assert offered(b'"a\x00b"') == offered(b'"' + b"x" * 100 + b'"') == ()
    assert len(offered(b'"a",' * 1_000)) == 16
    assert _offered({}) == ()
