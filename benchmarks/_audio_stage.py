"""A server that plays frames to listeners over QUIC, behind a pipe: ours, a plain loop around a library, or bare `sendto`.

    python benchmarks/_audio_stage.py (fast|ordinary|aioquic|qh3|sendto)

``fast`` and ``ordinary`` are the endpoint of a node with either of its paths, ``aioquic`` and ``qh3`` plain loops around them.
It prints ``ok PORT``, then answers each line on stdin with one line:

    connected                                   ok NUMBER
    target PORT NUMBER                          ok            (sendto only: where to send without any protocol)
    play LISTENERS SECONDS INTERVAL_MS PHASES   ok WALL_US CPU_US SENT REFUSED LATE_P99_MS PACKETS_IN

All play alike: a frame per interval to everybody, in phases, and what has come is read before each. Every
frame carries the time at which its phase was due, so that a listener on this machine knows how late it is.
"""

from __future__ import annotations

import datetime as dt
import gc
import importlib
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PAYLOAD: Final = 120
"""Bytes of a datagram: a header of 19, and Opus at 40 kbit/s in frames of 20 ms."""
STAMP: Final = struct.Struct(">Bd")
ALPN: Final = "wsactors"
BUFFER: Final = 4 * 1024 * 1024
_SETTLE: Final = 0.05
"""Seconds for the last acknowledgements."""
LATE_SAMPLES: Final = 64
"""So many packets leave in a row, as from sessions; how late the last of them left is noted. Reading the clock has its price."""


class Stage:
    """What all contenders share: the socket, the pacing, the counting."""

    def __init__(self) -> None:
        self.listeners: list[Any] = []
        self.packets_in = 0
        self.port = 0

    async def open(self, nursery: trio.Nursery) -> None:
        """Begin to serve."""
        raise NotImplementedError

    def drain(self) -> None:
        """Read and answer what has come."""
        raise NotImplementedError

    def send(self, listeners: list[Any], payload: bytes) -> int:
        """Send one frame to each; how many the kernel took."""
        raise NotImplementedError

    async def play(self, count: int, seconds: float, interval: float, phases: int) -> str:
        """Frames for a while; the answer's numbers."""
        chosen = self.listeners[:count]
        groups = [chosen[phase::phases] for phase in range(phases)]
        late: list[float] = []
        sent = refused = 0
        packets, cpu, wall = self.packets_in, time.process_time(), time.monotonic()
        begin = wall + 0.01
        for turn in range(round(seconds / interval) * phases):
            due = begin + turn * interval / phases
            await trio.sleep_until(trio.current_time() + max(0.0, due - time.monotonic()))
            self.drain()
            group = groups[turn % phases]
            payload = STAMP.pack(0, due).ljust(PAYLOAD, b"\x55")
            for at in range(0, len(group), LATE_SAMPLES):
                part = group[at : at + LATE_SAMPLES]
                done = self.send(part, payload)
                late.append(time.monotonic() - due)
                sent += done
                refused += len(part) - done
        await trio.sleep(_SETTLE)
        self.drain()
        took = (time.monotonic() - wall) * 1e6, (time.process_time() - cpu) * 1e6
        late.sort()
        worst = late[int(len(late) * 0.99)] * 1e3 if late else 0.0
        return f"{took[0]:.0f} {took[1]:.0f} {sent} {refused} {worst:.3f} {self.packets_in - packets}"


class Ours(Stage):
    """The endpoint as a node has it."""

    def __init__(self, backend: str) -> None:
        super().__init__()
        from wsactors.media.quic.transport import datagram_frame

        self._backend = backend
        self._hub: Any = None
        self._gathering: Any = None
        self._framed = datagram_frame
        self._payload = self._frame = b""

    async def open(self, nursery: trio.Nursery) -> None:
        ready = trio.Event()
        nursery.start_soon(self._serve, ready)
        await ready.wait()

    async def _serve(self, ready: trio.Event) -> None:
        from aioquic.quic.configuration import QuicConfiguration

        import wsactors
        from wsactors.media.gathering import Gathering
        from wsactors.media.quic.congestion import LIVE
        from wsactors.media.quic.door import DoorOptions, HubOptions
        from wsactors.media.quic.endpoint import EndpointBinding, EndpointOptions, QuicEndpoint
        from wsactors.media.quic.self_check import choose_backend
        from wsactors.supervision import ChildSpec, DynamicSupervisor, Supervisor

        certificate, key = self_signed()
        made = QuicConfiguration(
            is_client=False,
            alpn_protocols=[ALPN],
            certificate=certificate,
            private_key=key,
            max_datagram_frame_size=65536,
            idle_timeout=60.0,
            congestion_control_algorithm=LIVE,
        )
        # Joining is not what is measured.
        door = DoorOptions(retry_above=1e6, half_open=4000, handshake_share=1.0)
        hub = HubOptions(connections=4000, connections_per_address=4000, packets_per_address=1e6, door=door)
        binding = EndpointBinding(EndpointOptions(hub=hub), choose_backend(self._backend), lambda: made, self._accept)
        async with wsactors.Node("stage") as node:
            children = [
                ChildSpec(
                    "connections", DynamicSupervisor, kwargs={"extra_args": (binding.current,)}, name="connections"
                ),
                ChildSpec("endpoint", QuicEndpoint, (binding, "connections"), name="endpoint"),
            ]
            await node.spawn(Supervisor, "rest_for_one", children, 5, 10.0)
            self._hub = binding.hub
            self._gathering = Gathering.of(node)
            assert binding.bound is not None
            self.port = binding.bound
            ready.set()
            await trio.sleep_forever()

    def _accept(self, connection: Any) -> Any:
        self.listeners.append(connection)
        return Listening()

    def drain(self) -> None:
        self._hub.drain()
        self.packets_in = self._hub.packets_in

    def send(self, listeners: list[Any], payload: bytes) -> int:
        if payload is not self._payload:
            self._payload, self._frame = payload, self._framed(payload)
        frame, before = self._frame, self._hub.outgoing.datagrams_out
        with self._gathering:  # as sessions do
            for connection in listeners:
                connection.send_datagram(frame)
        sent: int = self._hub.outgoing.datagrams_out - before
        return sent


class Listening:
    """An application that has nothing to say by itself."""

    def event(self, event: object) -> None:
        pass

    def progress(self) -> None:
        pass

    async def handle(self, message: object) -> None:
        pass

    def closed(self, reason: str) -> None:
        pass


class Plain(Stage):
    """A library's connections in the plainest loop there is: what one writes who has read its documentation."""

    def __init__(self, library: str) -> None:
        super().__init__()
        self._sock = udp()
        self.port = self._sock.getsockname()[1]
        self._by_cid: dict[bytes, Any] = {}
        self._timers: dict[Any, float | None] = {}
        configuration, connection, events = (
            importlib.import_module(f"{library}.quic.{name}") for name in ("configuration", "connection", "events")
        )
        self._events: Any = events
        self._refused: type[Exception] = connection.QuicConnectionError
        self._connection: Any = connection.QuicConnection
        certificate, key = self_signed()
        self._configuration = configuration.QuicConfiguration(
            is_client=False, alpn_protocols=[ALPN], max_datagram_frame_size=65536, idle_timeout=60.0
        )
        give_certificate(self._configuration, library, certificate, key)

    async def open(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._read)
        nursery.start_soon(self._tend)

    async def _read(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            self.drain()

    async def _tend(self) -> None:
        while True:
            await trio.sleep(0.025)
            now = time.monotonic()
            for quic, due in list(self._timers.items()):
                if due is not None and due <= now:
                    quic.handle_timer(now)
                    self._flush(quic, now)

    def drain(self) -> None:
        now = time.monotonic()
        while True:
            try:
                data, address = self._sock.recvfrom(2048)
            except BlockingIOError:
                return
            self.packets_in += 1
            cid = data[6 : 6 + data[5]] if data[0] & 0x80 else data[1:9]
            quic = self._by_cid.get(cid)
            if quic is None:
                if not data[0] & 0x80:
                    continue
                quic = self._connection(configuration=self._configuration, original_destination_connection_id=cid)
                self._by_cid[cid] = self._by_cid[quic.host_cid] = quic
            quic.receive_datagram(data, address, now)
            self._flush(quic, now)

    def _flush(self, quic: Any, now: float) -> int:
        while (event := quic.next_event()) is not None:
            if isinstance(event, self._events.ConnectionIdIssued):
                self._by_cid[event.connection_id] = quic
            elif isinstance(event, self._events.HandshakeCompleted):
                self.listeners.append(quic)
        sent = 0
        try:
            packets = quic.datagrams_to_send(now)
        except self._refused:
            packets = []  # qh3 raises where the amplification limit leaves no room, instead of waiting
        for data, address in packets:
            try:
                self._sock.sendto(data, address)
            except BlockingIOError:
                continue
            sent += 1
        self._timers[quic] = quic.get_timer()
        return sent

    def send(self, listeners: list[Any], payload: bytes) -> int:
        now = time.monotonic()
        sent = 0
        for quic in listeners:
            quic.send_datagram_frame(payload)
            sent += self._flush(quic, now) > 0
        return sent


class Bare(Stage):
    """No protocol at all: the floor."""

    def __init__(self) -> None:
        super().__init__()
        self._sock = udp()
        self.port = self._sock.getsockname()[1]

    async def open(self, nursery: trio.Nursery) -> None:
        pass

    def drain(self) -> None:
        pass

    def send(self, listeners: list[Any], payload: bytes) -> int:
        sendto = self._sock.sendto
        packet = payload + bytes(30)
        for address in listeners:
            sendto(packet, address)
        return len(listeners)


def udp() -> socket.socket:
    """A socket with buffers as the endpoint has them."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(("127.0.0.1", 0))
    for plain, forced in ((socket.SO_RCVBUF, 33), (socket.SO_SNDBUF, 32)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, plain, BUFFER)
    return sock


def self_signed() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate for the run."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    )
    return builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1)).sign(key, hashes.SHA256()), key


def give_certificate(
    configuration: Any, library: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    """Aioquic takes objects of cryptography's; qh3 has its own, made from PEM."""
    if library != "qh3":
        configuration.certificate, configuration.private_key = certificate, key
        return
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = certificate.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    configuration.load_cert_chain(*pem)


async def answer(stage: Stage, line: list[str]) -> str:
    """What is said to one command."""
    match line:
        case ["connected"]:
            return str(len(stage.listeners))
        case ["target", port, number]:
            stage.listeners += [("127.0.0.1", int(port))] * int(number)
            return "0"
        case ["play", count, seconds, interval, phases]:
            gc.collect()
            gc.freeze()
            return await stage.play(int(count), float(seconds), float(interval) / 1e3, int(phases))
    raise ValueError(f"no such command: {line}")


async def main(kind: str) -> None:
    """Serve until stdin ends."""
    gc.set_threshold(50_000, 20, 100)
    makers: dict[str, Callable[[], Stage]] = {
        "fast": lambda: Ours("fast"),
        "ordinary": lambda: Ours("aioquic"),
        "aioquic": lambda: Plain("aioquic"),
        "qh3": lambda: Plain("qh3"),
        "sendto": Bare,
    }
    stage = makers[kind]()
    async with trio.open_nursery() as nursery:
        await stage.open(nursery)
        print("ok", stage.port, flush=True)
        buffer = b""
        while True:
            await trio.lowlevel.wait_readable(0)
            data = os.read(0, 4096)
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                print("ok", await answer(stage, line.decode().split()), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
