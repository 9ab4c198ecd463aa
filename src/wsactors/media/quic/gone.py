"""What is left in the place of a transport when its connection has ended: nothing that takes room, and nothing that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .transport import Address, Drop, TransportStatistics, no_drops

if TYPE_CHECKING:
    from aioquic.quic.events import QuicEvent


class Gone:
    """A `Transport` that is no more. Whoever still has the connection in hand may go on as if it were closed."""

    __slots__ = ()

    quic: Any = None
    host_cid: bytes = b""
    address: Address = ("", 0)

    @property
    def drops(self) -> dict[Drop, int]:
        """Nobody counts any more."""
        return no_drops()

    def receive(self, data: bytes, address: Address, now: float) -> bool:
        """Nothing comes of it."""
        return False

    def transmit(self, now: float) -> list[tuple[bytes, Address]]:
        """Nothing is to be sent."""
        return []

    def timer(self) -> float | None:
        """Never."""
        return None

    def handle_timer(self, now: float) -> None:
        """Time does not matter."""

    def next_event(self) -> QuicEvent | None:
        """There is none."""
        return None

    def datagram(self, frame: bytes, now: float) -> tuple[bytes, Address] | None:
        """It is dropped."""
        return None

    def send_datagram_ordinary(self, payload: bytes) -> bool:
        """It is dropped."""
        return False

    def next_stream_id(self, *, unidirectional: bool = False) -> int:
        """One that leads nowhere."""
        return 3 if unidirectional else 1

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """It is dropped."""

    def unsent(self, stream_id: int) -> int:
        """Nothing waits."""
        return 0

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """It is gone."""

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """It is gone."""

    def request_key_update(self) -> None:
        """There are no keys."""

    def close(self, error_code: int = 0, reason: str = "", *, transport_error: bool = False) -> None:
        """It is closed."""

    def statistics(self) -> TransportStatistics:
        """What is known of nothing."""
        return TransportStatistics(0.0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.drops)


GONE: Final = Gone()
