from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wsactors.gateway.admission import Admission


def test_ipv6_clients_are_counted_by_their_network_and_mapped_ones_as_ipv4() -> None:
    door = Admission(total=10, per_address=1)

    assert door.enter("2001:db8:0:1::1")
    assert not door.enter("2001:db8:0:1:ffff::2")
    assert door.enter("2001:db8:0:2::1")
    assert door.enter("::ffff:10.0.0.1")
    assert not door.enter("10.0.0.1")
    assert door.enter("fe80::1%eth0")
    assert door.refused == 2


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1", "local"])), max_size=60)
)
def test_it_counts_like_a_simple_model_and_forgets_who_left(steps: list[tuple[bool, str]]) -> None:
    door = Admission(total=5, per_address=3)
    inside: list[str] = []
    for comes, address in steps:
        if comes:
            allowed = len(inside) < 5 and inside.count(address) < 3
            assert door.enter(address) is allowed
            inside += [address] * allowed
        elif address in inside:
            inside.remove(address)
            door.leave(address)
        assert door.open == len(inside)
        assert f"{len(set(inside))} addresses" in repr(door)
