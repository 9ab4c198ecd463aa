from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps, loads
from wsactors.wire.plain import MAX_EXACT_INT, Plain, check_plain, textual

from .plain_values import JSON_VALUES, PLAIN_VALUES


@settings(deadline=None)
@given(PLAIN_VALUES)
def test_what_goes_out_comes_in_again(value: Plain) -> None:
    assert loads(dumps(value)) == textual(value)


@settings(deadline=None)
@given(JSON_VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_other_writers_are_read(value: Plain, ascii_only: bool, indent: int | None) -> None:
    assert loads(json.dumps(value, ensure_ascii=ascii_only, indent=indent)) == value


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text('{}[]"\\,:0123456789eE+-.nultrfasdDcC \n\x00é', max_size=60).map(str.encode))
@example(b"\xef\xbb\xbf1")
@example(b'"\\ud800"')
def test_arbitrary_bytes_are_plain_or_refused(data: bytes) -> None:
    try:
        value = loads(data)
    except ProtocolError:
        return
    check_plain(value)
    assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    "attack",
    [
        b"NaN", b"[Infinity]", b'{"a":-Infinity}', b"1e400", b"-1e999999999", b"[1.0e309]",
        b"9007199254740992", b"-9007199254740992", b"1" * 5_000, b"0." + b"1" * 5_000, b"1e" + b"0" * 5_000,
        b'"\\ud800"', b'{"\\uDfff":1}', b'"\\udc00\\ud800"', b'"\xed\xa0\x80"', b'"\xff"', b"\xef\xbb\xbf1",
        b'{"a":1,"a":2}', b'[{"b":{"a":1,"\\u0061":2}}]', b'{"a":{},"a":{}}',
        b"", b" ", b"{", b"[1,]", b"{'a':1}", b'"a', b'"\x00"', b'"\n"', b"01", b"+1", b".5", b"1.", b"nul", b"1 2",
        b'{"a":1}x', b"\x00", b"[" * 33 + b"]" * 33, b'{"a":' * 33 + b"1" + b"}" * 33,
    ],
)  # fmt: skip
def test_what_would_pass_elsewhere_is_refused_here(attack: bytes) -> None:
    with pytest.raises(ProtocolError):
        loads(attack)
    with pytest.raises(ProtocolError):
        loads(attack.decode("utf-8", "surrogatepass") if b"\xff" not in attack else "\udcff")


@pytest.mark.parametrize(
    "attack",
    [
        b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000, b"]" * 100_000, b"[{" * 50_000,
        b'"\\"' * 100_000, b'["' + b'\\"' * 500_000, b'[[["' * 30_000, (b"[" * 33 + b'"\\') * 3_000,
        b"[" * 33 + b"{}," * 100_000, b"[" * 30 + b"[]," * 300_000,
    ],
    ids=range(11),
)  # fmt: skip
def test_megabytes_of_brackets_and_quotes_cost_little(attack: bytes) -> None:
    before = time.process_time()

    with pytest.raises(ProtocolError):
        loads(attack)

    assert time.process_time() - before < 3, "the checks must stay linear"


def test_the_bounds_themselves_come_in() -> None:
    assert loads(b"[9007199254740991,-9007199254740991,1.7e308,1e2]") == [MAX_EXACT_INT, -MAX_EXACT_INT, 1.7e308, 100.0]
    assert loads(b"[" * 32 + b"]" * 32) is not None
    assert loads(b'["[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "\\"[[{"]') == ["[" * 40, '"[[{']
    assert loads(b'"\\ud83d\\ude00 \\u00e9"') == "😀 é"
    assert loads(b'[{"a":[]},{"a":{}}]' * 1) == [{"a": []}, {"a": {}}]
    assert loads(b"[" + b"[1]," * 1_000 + b"[]]", max_depth=2) == [[1]] * 1_000 + [[]]


def test_depth_is_counted_exactly() -> None:
    assert loads(b'[{"a":[1]}]', max_depth=3) == [{"a": [1]}]
    with pytest.raises(ProtocolError, match="nested deeper than 2"):
        loads(b'[{"a":[1]}]', max_depth=2)


@pytest.mark.parametrize("value", [float("nan"), "\ud800", {"a": {1, 2}}, object(), {b"a": 1}])
def test_what_is_not_plain_does_not_go_out(value: Plain) -> None:
    with pytest.raises(ProtocolError):
        dumps(value)
