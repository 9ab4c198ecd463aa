from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
import trio
import trio.testing

from wsactors.gateway.admission import Admission
from wsactors.gateway.endpoint import accept_connections, open_listener
from wsactors.gateway.options import GatewayOptions, GatewayRefused


def test_a_name_that_is_no_address_of_this_machine_is_refused_with_its_setting() -> None:
    options = GatewayOptions(host="nowhere.invalid", port=0, allow_anonymous_public=True)
    with pytest.raises(GatewayRefused, match=r"gateway\.host = 'nowhere\.invalid'"):
        open_listener(options)
    with pytest.raises(GatewayRefused, match="cannot bind"):
        open_listener(GatewayOptions(host="192.0.2.1", port=0, allow_anonymous_public=True))


def test_the_search_for_a_free_port_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(GatewayRefused, match=f"from {port} to {port}"):
            open_listener(GatewayOptions(port=port, port_search=0))


class Scarce:
    """A listener without descriptors left, at first."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.failures = [errno.EMFILE, errno.ENFILE, errno.ECONNABORTED]

    def fileno(self) -> int:
        return self._listener.fileno()

    def accept(self) -> Any:
        if self.failures:
            raise OSError(self.failures.pop(), "scarce")
        return self._listener.accept()


async def test_running_out_of_descriptors_pauses_accepting_and_nothing_else() -> None:
    accepted: list[str] = []
    arrived = trio.Event()

    async def start(sock: socket.socket, address: str) -> None:
        await trio.lowlevel.checkpoint()
        accepted.append(address)
        sock.close()
        arrived.set()

    with open_listener(GatewayOptions(port=0)) as listener:
        async with trio.open_nursery() as nursery:
            scarce: Any = Scarce(listener)
            nursery.start_soon(accept_connections, scarce, Admission(total=9, per_address=9), start)
            async with await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1]):
                with trio.fail_after(30):
                    await arrived.wait()
            nursery.cancel_scope.cancel()
    assert accepted == ["127.0.0.1"]
    assert not scarce.failures
