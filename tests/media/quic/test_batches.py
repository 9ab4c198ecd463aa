from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from wsactors.media.quic.batches import BATCH, DATAGRAM_BYTES, Batches, KernelBatches, PlainBatches, batches_of

LOOPS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def bound(request: pytest.FixtureRequest) -> Iterator[Callable[[], socket.socket]]:
    with ExitStack() as stack:

        def bind() -> socket.socket:
            sock = stack.enter_context(socket.socket(request.param, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            try:
                sock.bind((LOOPS[request.param], 0))
            except OSError as error:
                pytest.skip(f"no such address here: {error}")
            return sock

        yield bind


@pytest.fixture(params=[PlainBatches, KernelBatches])
def made(request: pytest.FixtureRequest) -> Callable[[socket.socket], Batches]:
    if request.param is KernelBatches:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            if not isinstance(batches_of(sock), KernelBatches):
                pytest.skip("this system has no such calls")
    kind: Callable[[socket.socket], Batches] = request.param
    return kind


Bind = Callable[[], socket.socket]
Make = Callable[[socket.socket], Batches]


def test_datagrams_of_all_sizes_arrive_whole_and_in_order(bound: Bind, made: Make) -> None:
    ours, theirs = bound(), bound()
    sender, receiver = made(ours), made(theirs)
    name = sender.name(theirs.getsockname())
    sizes = [0, 1, 34, 127, 128, 129, 1_200, DATAGRAM_BYTES, 33]
    packets = [bytes([size & 0xFF]) * size for size in sizes]

    assert sender.send(packets, [name] * len(packets)) == []

    found = receiver.receive()
    assert [data for data, _ in found] == packets
    assert {receiver.address(each) for _, each in found} == {ours.getsockname()}
    assert receiver.receive() == []


def test_packets_of_one_size_go_to_each_their_own(bound: Bind, made: Make) -> None:
    ours = bound()
    theirs = [bound() for _ in range(BATCH)]
    sender = made(ours)
    names = [sender.name(each.getsockname()) for each in theirs]
    for count in (BATCH, 1, 3):
        packets = [bytes([place]) * 150 for place in range(count)]
        assert sender.send(packets, names[:count]) == []
        assert [each.recv(2_048) for each in theirs[:count]] == packets


def test_many_are_read_in_batches(bound: Bind, made: Make) -> None:
    ours, theirs = bound(), bound()
    receiver = made(theirs)
    for number in range(BATCH + 5):
        ours.sendto(bytes([number]), theirs.getsockname())

    first, second = receiver.receive(), receiver.receive()

    assert [data[0] for data, _ in first + second] == list(range(BATCH + 5))
    assert len(first) == BATCH


def test_a_name_is_who_sent_and_where_an_answer_goes(bound: Bind, made: Make) -> None:
    ours, theirs = bound(), bound()
    receiver = made(theirs)
    for _ in range(2):
        ours.sendto(b"here I am", theirs.getsockname())
    [(_, name), (_, again)] = receiver.receive()

    assert name == again == receiver.name(ours.getsockname())
    assert receiver.send([b"welcome"], [name]) == []
    assert ours.recvfrom(100) == (b"welcome", theirs.getsockname())


def test_what_the_kernel_refuses_is_named_and_the_others_leave(bound: Bind, made: Make) -> None:
    ours, theirs = bound(), bound()
    sender = made(ours)
    good = sender.name(theirs.getsockname())
    nobody = sender.name((theirs.getsockname()[0], 0))  # no packet goes to port 0
    packets = [b"one", b"none", b"two", bytes(70_000), b"three", b"none"]

    assert sender.send(packets, [good, nobody, good, good, good, nobody]) == [1, 3, 5]
    assert [theirs.recv(100) for _ in range(3)] == [b"one", b"two", b"three"]
    assert sender.send([bytes(70_000)], [good]) == [0]


def test_what_a_peer_is_said_to_be_does_not_end_the_reading(bound: Bind, made: Make) -> None:
    ours, gone = bound(), bound()
    ours.connect(gone.getsockname())
    gone.close()
    receiver = made(ours)
    for _ in range(3):
        with suppress(ConnectionRefusedError):
            ours.send(b"anybody?")  # an ICMP message comes back, and is the socket's next error
    assert receiver.receive() == []


def test_a_socket_that_is_closed_says_so(bound: Bind, made: Make) -> None:
    ours, theirs = bound(), bound()
    batches = made(ours)
    name = batches.name(theirs.getsockname())
    ours.close()

    with pytest.raises(OSError) as raised:
        batches.receive()
    assert raised.value.errno == errno.EBADF
    assert batches.send([b"lost"], [name]) == [0]


def test_an_endpoint_has_what_its_system_can_do() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        assert isinstance(batches_of(sock), KernelBatches | PlainBatches)
    if hasattr(socket, "AF_UNIX"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            assert isinstance(batches_of(other), PlainBatches)
