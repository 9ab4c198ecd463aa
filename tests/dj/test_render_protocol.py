"""The link to the render process is closed: what is not a message of it is an error, never a guess."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dj.render_protocol import (
    MAX_DATAGRAM,
    Drop,
    Load,
    Packet,
    Ready,
    RenderProtocolError,
    SetState,
    SetTiers,
    Unload,
    decode_order,
    decode_report,
    encode,
)
from wsactors.dj.state import BattleState, Crossfader, DeckState

ORDERS = [
    Load("song", 48_000),
    Unload("song"),
    SetState("demo", 123, BattleState(DeckState("x", 10, True), DeckState(), Crossfader(0.5))),
    SetTiers("demo", (64_000, 32_000)),
    SetTiers("demo", ()),
    Drop("demo"),
]
REPORTS = [
    Ready(1, 3_840, 312),
    Packet("demo", 960, -18.5, -7.0, b"\xfcabc"),
    Packet("demo", 960, -18.5, -7.0, b"\xfcabc", ((64_000, b"\xfcab"), (32_000, b"\xfca"))),
]


@pytest.mark.parametrize("order", ORDERS)
def test_orders_arrive_as_sent(order: Any) -> None:
    assert decode_order(encode(order)) == order
    with pytest.raises(RenderProtocolError):
        decode_report(encode(order))


@pytest.mark.parametrize("report", REPORTS)
def test_reports_arrive_as_sent(report: Any) -> None:
    assert decode_report(encode(report)) == report
    with pytest.raises(RenderProtocolError):
        decode_order(encode(report))


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        None,
        ["state"],
        ["state", "demo", 1],
        ["state", "", 1, []],
        ["load", "x" * 200, 5],
        ["load", "x", 0],
        ["load", "x", 5.0],
        ["load", "x", True],
        ["drop", 5],
        ["drop", "x", "y"],
        ["no such", 1],
        [["load"], "x", 1],
        [None],
        ["packet", "demo", 1, float("nan"), 0.0, b"x", []],
        ["packet", "demo", -1, 0.0, 0.0, b"x", []],
        ["packet", "demo", 1, 0.0, 0.0, b"", []],
        ["packet", "demo", 1, 0.0, 0.0, b"x" * 2_000, []],
        ["packet", "demo", 1, 0.0, 0.0, b"x"],
        ["packet", "demo", 1, 0.0, 0.0, b"x", [[64_000]]],
        ["packet", "demo", 1, 0.0, 0.0, b"x", [[64_000, b""]]],
        ["packet", "demo", 1, 0.0, 0.0, b"x", [[64_000, b"x"]] * 4],
        ["tiers", "demo", 5],
        ["tiers", "demo", [0]],
        ["tiers", "demo", [64_000] * 4],
    ],
)
def test_anything_else_is_an_error(body: object) -> None:
    data = msgpack.packb(body)
    for decode in (decode_order, decode_report):
        with pytest.raises(RenderProtocolError):
            decode(data)


@given(st.binary(max_size=300))
def test_no_bytes_get_through_by_accident(data: bytes) -> None:
    for decode in (decode_order, decode_report):
        with pytest.raises(RenderProtocolError):
            decode(data)


def test_size_is_bounded() -> None:
    with pytest.raises(RenderProtocolError, match="bytes"):
        decode_order(b"")
    with pytest.raises(RenderProtocolError, match="bytes"):
        decode_order(b"\x90" * (MAX_DATAGRAM + 1))
    with pytest.raises(RenderProtocolError):
        decode_order(b"\x91" * 5_000)  # nested five thousand deep
