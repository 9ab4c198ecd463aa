from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.harness import exchange, open_gateway, request
from wsactors.gateway import rates as rates_module
from wsactors.gateway.options import GatewayOptions, Limits
from wsactors.gateway.rates import Bucket, Rates


@given(st.lists(st.floats(0, 2), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_a_bucket_gives_no_more_than_its_rate_and_burst_allow(pauses: list[float], rate: int, burst: int) -> None:
    bucket = Bucket(rate=rate, burst=burst, now=0.0)
    now, given = 0.0, 0
    for pause in pauses:
        now += pause
        given += bucket.take(now)
        assert given <= burst + rate * now + 1e-6


def test_one_key_cannot_spend_what_is_another_s_and_all_together_are_bounded() -> None:
    rates = Rates(total=1.0, total_burst=4.0, per_key=1.0, key_burst=2.0)
    assert [rates.take("a", 0.0) for _ in range(4)] == [True, True, False, False]
    assert [rates.take("b", 0.0) for _ in range(2)] == [True, True]
    assert not rates.take("c", 0.0)
    assert rates.take("c", 1.0)
    assert not rates.take(None, 1.0)


def test_many_keys_take_bounded_memory(monkeypatch) -> None:
    monkeypatch.setattr(rates_module, "MAX_KEYS", 10)
    rates = Rates(total=1e9, total_burst=1e9, per_key=1.0, key_burst=1.0)
    for number in range(1000):
        assert rates.take(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(rates._keys) == 10


async def test_who_connects_too_fast_is_told_and_closed_and_comes_in_later() -> None:
    slow = Limits(connects_per_second=1000.0, connects_per_second_per_address=2.0)  # ten at once
    async with open_gateway(GatewayOptions(port=0, limits=slow)) as gateway:
        ask = request("/health", headers="Connection: close\r\n")
        answers: list[bytes] = []

        async def come() -> None:
            answers.append((await exchange(gateway.port, ask))[9:12])

        async with trio.open_nursery() as nursery:  # all at once: the longer it takes, the more may come in
            for _ in range(30):
                nursery.start_soon(come)
        assert answers.count(b"200") >= 10
        assert set(answers) <= {b"503", b"200", b""}
        assert gateway.shared.admission.refused == 30 - answers.count(b"200") > 0
        await trio.sleep(0.6)
        assert (await exchange(gateway.port, ask))[9:12] == b"200"
