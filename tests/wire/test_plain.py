from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings

from wsactors.wire.errors import ProtocolError
from wsactors.wire.plain import MAX_DEPTH, MAX_EXACT_INT, Plain, check_plain, has_bytes, textual

from .plain_values import JSON_VALUES, PLAIN_VALUES


def _nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


@settings(deadline=None)
@given(PLAIN_VALUES)
def test_plain_values_pass_and_their_textual_form_has_no_bytes(value: Plain) -> None:
    check_plain(value)

    assert not has_bytes(textual(value))
    check_plain(textual(value), max_depth=MAX_DEPTH + 1)


@settings(deadline=None)
@given(JSON_VALUES)
def test_text_stays_what_it_is(value: Plain) -> None:
    assert not has_bytes(value)
    assert textual(value) == value


class _Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        math.nan, math.inf, -math.inf, MAX_EXACT_INT + 1, -MAX_EXACT_INT - 1, "\ud800", {"\udfff": 1}, {1: 2},
        {None: 1}, (1, 2), {1}, object(), bytearray(b"a"), memoryview(b"a"), 1j, _Text("a"), [[_Text("a")]],
        _nested(MAX_DEPTH + 1), _nested(500),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_some_codec_cannot_encode_is_refused(value: object) -> None:
    with pytest.raises(ProtocolError):
        check_plain(value)


def test_the_bounds_themselves_are_plain() -> None:
    check_plain([MAX_EXACT_INT, -MAX_EXACT_INT, "\U0010ffff", 1.7e308, b""])
    check_plain(_nested(MAX_DEPTH))


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)

    with pytest.raises(ProtocolError, match="too deep"):
        check_plain(value)
