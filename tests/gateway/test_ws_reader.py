"""RFC 6455 as a server must read it, case by case: what Autobahn's suite asks of a server, and then some."""

from __future__ import annotations

import contextlib
import itertools
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import Opcode

from tests.gateway.ws_frames import BINARY, CLOSE, MORE, PING, PONG, TEXT, deflate, frame, in_pieces
from wsactors.gateway import ws_reader
from wsactors.gateway.ws_reader import MessageReader, ProtocolBroken, Said

LIMIT = 100_000


def read(pieces: Iterable[bytes], *, limit: int = LIMIT, deflates: bool = False) -> list[Said]:
    """Everything but parts of messages that is said in ``pieces``."""
    reader = MessageReader.take(limit, deflates=deflates)
    said = []
    for piece in pieces:
        reader.feed(piece)
        while (each := reader.next()) is not None:
            if each[0] is not Opcode.CONTINUATION:
                said.append(each)
    return said


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def code_of(data: bytes, *, limit: int = LIMIT, deflates: bool = False) -> int:
    """The close code for a client that sends ``data``: the same whether it comes at once or byte by byte."""
    codes = []
    for pieces in ([data], bytewise(data[:5000])):
        with pytest.raises(ProtocolBroken) as broken:
            read(pieces, limit=limit, deflates=deflates)
        codes.append(broken.value.code)
    assert len(set(codes)) == 1
    return codes[0]


# --- what is well-formed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65_535, 65_536, LIMIT])
def test_messages_of_every_length(size: int) -> None:
    data = b"*" * size
    assert read([frame(TEXT, data)]) == [(Opcode.TEXT, data.decode())]
    assert read([frame(BINARY, data)]) == [(Opcode.BINARY, data)]


@given(st.text(max_size=40), st.lists(st.integers(0, 40), max_size=5), st.lists(st.integers(0, 200), max_size=6))
def test_text_in_fragments_and_portions_cut_anywhere(text: str, cuts: list[int], chops: list[int]) -> None:
    """Also in the middle of characters, of headers and of masks."""
    payload = text.encode()
    data = in_pieces(TEXT, payload, [min(cut, len(payload)) for cut in cuts])
    places = [0, *sorted(min(chop, len(data)) for chop in chops), len(data)]
    portions = [data[a:b] for a, b in itertools.pairwise(places)]
    assert read(portions) == [(Opcode.TEXT, text)]


def test_control_frames_between_fragments_are_heard_at_once_and_change_nothing() -> None:
    data = (
        frame(TEXT, b"Hello, \xce", fin=0)
        + frame(PING, b"one")
        + frame(MORE, b"\xba", fin=0)
        + frame(PONG)
        + frame(MORE, b"", fin=0)
        + frame(PING, b"two" * 40)
        + frame(MORE, b"\xe1\xbd\xb9")
        + frame(BINARY, b"next")
    )
    expected = [
        (Opcode.PING, b"one"),
        (Opcode.PONG, b""),
        (Opcode.PING, b"two" * 40),
        (Opcode.TEXT, "Hello, κ\u1f79"),
        (Opcode.BINARY, b"next"),
    ]
    assert read([data]) == read(bytewise(data)) == expected


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\2\3\4"])
def test_any_mask_will_do(mask: bytes) -> None:
    assert read([frame(BINARY, b"payload", mask=mask)]) == [(Opcode.BINARY, b"payload")]


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999]
)
def test_close_codes_that_a_client_may_send(code: int) -> None:
    reason = "für immer"
    payload = code.to_bytes(2, "big") + reason.encode()
    assert read([frame(CLOSE, payload)]) == [(Opcode.CLOSE, (code, reason))]


def test_a_close_without_a_code_is_1005_and_the_longest_reason_is_123_bytes() -> None:
    assert read([frame(CLOSE)]) == [(Opcode.CLOSE, (1005, ""))]
    assert read([frame(CLOSE, b"\x03\xe8" + b"*" * 123)]) == [(Opcode.CLOSE, (1000, "*" * 123))]


def test_nothing_is_heard_behind_a_close() -> None:
    assert read([frame(CLOSE, b"\x03\xe8") + frame(TEXT, b"late") + frame(PING)]) == [(Opcode.CLOSE, (1000, ""))]


# --- what is not -----------------------------------------------------------------------------------------------------

BROKEN = {
    **{f"reserved bits {rsv}": frame(TEXT, b"x", rsv=rsv) for rsv in range(1, 8)},
    **{f"reserved bits {rsv} on a ping": frame(PING, b"x", rsv=rsv) for rsv in range(1, 8)},
    **{f"reserved bits {rsv} on a close": frame(CLOSE, b"", rsv=rsv) for rsv in range(1, 8)},
    **{f"opcode {opcode}": frame(opcode, b"x") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{f"opcode {opcode} in a message": frame(TEXT, b"a", fin=0) + frame(opcode) for opcode in (3, 7, 11, 15)},
    **{f"control {opcode} of 126 bytes": frame(opcode, bytes(126)) for opcode in (CLOSE, PING, PONG)},
    **{f"control {opcode} in pieces": frame(opcode, b"x", fin=0) for opcode in (CLOSE, PING, PONG)},
    **{f"not masked {opcode}": frame(opcode, b"", mask=None) for opcode in (TEXT, BINARY, CLOSE, PING, PONG)},
    "continuation of nothing": frame(MORE, b"x"),
    "unfinished continuation of nothing": frame(MORE, b"x", fin=0),
    "continuation after the end": frame(TEXT, b"a", fin=0) + frame(MORE, b"b") + frame(MORE, b"c"),
    "text in a message": frame(BINARY, b"a", fin=0) + frame(TEXT, b"b"),
    "binary in a message": frame(TEXT, b"a", fin=0) + frame(BINARY, b"b"),
    "length in more bytes than it needs": frame(BINARY, bytes(10), wide=2),
    "length in eight bytes for two": frame(BINARY, bytes(300), wide=8),
    "length with its highest bit": frame(BINARY, b"x", length=1 << 63),
    "close of one byte": frame(CLOSE, b"\x03"),
    **{
        f"close code {code}": frame(CLOSE, code.to_bytes(2, "big"))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_what_breaks_the_protocol_is_1002(data: bytes) -> None:
    assert code_of(data) == 1002


BAD_TEXT = {
    "a lone continuation byte": b"\x80",
    "an overlong slash": b"\xc0\xaf",
    "an overlong NUL": b"\xc0\x80",
    "an overlong three": b"\xe0\x80\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "beyond the last character": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "an impossible byte": b"\xfe",
    "half a character": b"\xce",
    "three quarters of a character": b"\xf0\x9f\x98",
    "good, bad, good": "κόσμε".encode() + b"\xed\xa0\x80" + b"edited",
}


@pytest.mark.parametrize("text", BAD_TEXT.values(), ids=BAD_TEXT.keys())
def test_what_is_no_utf8_is_1007_whole_or_in_pieces(text: bytes) -> None:
    assert code_of(frame(TEXT, text)) == 1007
    assert code_of(in_pieces(TEXT, text, list(range(len(text))))) == 1007
    assert code_of(frame(CLOSE, b"\x03\xe8" + text)) == 1007


def test_bad_utf8_is_noticed_before_the_message_has_ended() -> None:
    reader = MessageReader(LIMIT)
    reader.feed(frame(TEXT, "κόσμε".encode() + b"\xf4\x90\x80\x80", length=60_000))
    with pytest.raises(ProtocolBroken) as broken:
        while reader.next() is not None:
            pass
    assert broken.value.code == 1007


def test_a_character_may_be_cut_by_a_fragment_but_not_by_the_end() -> None:
    whole = "é".encode()
    assert read([frame(TEXT, whole[:1], fin=0) + frame(MORE, whole[1:])]) == [(Opcode.TEXT, "é")]
    assert code_of(frame(TEXT, whole[:1], fin=0) + frame(MORE, b"")) == 1007


def test_a_message_that_is_too_large_is_1009_in_one_piece_or_many_and_of_bytes_not_characters() -> None:
    assert code_of(frame(BINARY, bytes(1001)), limit=1000) == 1009
    assert code_of(in_pieces(BINARY, bytes(1001), list(range(0, 1000, 10))), limit=1000) == 1009
    assert code_of(frame(TEXT, "€".encode() * 334), limit=1000) == 1009
    assert read([frame(TEXT, "€".encode() * 333)], limit=1000) == [(Opcode.TEXT, "€" * 333)]


def test_too_large_is_noticed_before_it_is_here() -> None:
    reader = MessageReader(1000)
    reader.feed(frame(BINARY, bytes(1500), length=1 << 40))
    with pytest.raises(ProtocolBroken) as broken:
        while reader.next() is not None:
            pass
    assert broken.value.code == 1009


def test_the_limit_is_of_each_message_not_of_all() -> None:
    assert len(read([in_pieces(BINARY, bytes(900), [400]) * 20], limit=1000)) == 20


@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_break_nothing_but_the_protocol(data: bytes, deflates: bool) -> None:
    with contextlib.suppress(ProtocolBroken):
        read([data], deflates=deflates)


# --- deflated --------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=3000), st.lists(st.integers(0, 400), max_size=4), st.integers(9, 15))
def test_deflated_messages_in_fragments_cut_anywhere(data: bytes, cuts: list[int], bits: int) -> None:
    packed = deflate(data, bits)
    wire = in_pieces(BINARY, packed, [min(cut, len(packed)) for cut in cuts], rsv=4)
    assert read([wire, wire], deflates=True) == read(bytewise(wire * 2), deflates=True) == [(Opcode.BINARY, data)] * 2


def test_pings_between_deflated_fragments_change_nothing() -> None:
    packed = deflate("κόσμε".encode() * 50)
    wire = (
        frame(PING)
        + frame(TEXT, packed[:9], fin=0, rsv=4)
        + frame(PING, b"x")
        + frame(MORE, packed[9:20], fin=0)
        + frame(PONG)
        + frame(MORE, packed[20:])
        + frame(TEXT, b"plain")
    )
    said = [each for each in read(bytewise(wire), deflates=True) if each[0] is Opcode.TEXT]
    assert said == [(Opcode.TEXT, "κόσμε" * 50), (Opcode.TEXT, "plain")]


def test_deflated_text_is_checked_too() -> None:
    assert code_of(frame(TEXT, deflate(b"abc\xed\xa0\x80"), rsv=4), deflates=True) == 1007


@pytest.mark.parametrize(
    "data",
    [
        frame(PING, b"x", rsv=4),
        frame(TEXT, b"a", fin=0) + frame(MORE, b"b", rsv=4),
        frame(TEXT, b"a", rsv=2),
        frame(TEXT, b"a", rsv=6),
    ],
)
def test_the_bit_of_deflate_belongs_on_the_first_frame_of_a_message(data: bytes) -> None:
    assert code_of(data, deflates=True) == 1002


def test_what_does_not_inflate_is_1007() -> None:
    assert code_of(frame(BINARY, b"\xff" * 50, rsv=4), deflates=True) == 1007


def test_a_zip_bomb_is_refused_while_it_inflates() -> None:
    bomb = deflate(bytes(16_900_000))
    assert len(bomb) < 17_000
    reader = MessageReader(1_000_000, deflates=True)
    reader.feed(frame(BINARY, bomb, rsv=4))
    with pytest.raises(ProtocolBroken) as broken:
        while reader.next() is not None:
            pass
    assert broken.value.code == 1009
    assert code_of(in_pieces(BINARY, bomb, list(range(0, len(bomb), 100)), rsv=4), deflates=True) == 1009


def test_a_message_of_exactly_the_limit_inflates() -> None:
    assert read([frame(BINARY, deflate(bytes(5000)), rsv=4)], limit=5000, deflates=True) == [
        (Opcode.BINARY, bytes(5000))
    ]
    assert code_of(frame(BINARY, deflate(bytes(5001)), rsv=4), limit=5000, deflates=True) == 1009


def test_a_message_may_be_of_several_deflate_streams() -> None:
    """RFC 7692 §7.2.3.4: a block with its final bit set in the middle of a message, and at its end."""

    def stream(data: bytes) -> bytes:
        compressor = zlib.compressobj(wbits=-15)
        return compressor.compress(data) + compressor.flush(zlib.Z_FINISH)

    wire = frame(TEXT, stream(b"one ") + stream(b"two ") + deflate(b"three"), rsv=4)
    assert read([wire], deflates=True) == read(bytewise(wire), deflates=True) == [(Opcode.TEXT, "one two three")]
    assert read([frame(TEXT, stream(b"end"), rsv=4)], deflates=True) == [(Opcode.TEXT, "end")]


def test_an_empty_deflated_message() -> None:
    assert read([frame(TEXT, b"\x00", rsv=4)], deflates=True) == [(Opcode.TEXT, "")]


# --- readers are lent ------------------------------------------------------------------------------------------------


def test_a_reader_is_given_back_between_messages_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It rests on attributes of wsproto that are not promised: this fails if a release renames them."""
    spare: list[MessageReader] = []
    monkeypatch.setattr(ws_reader, "_spare", spare)
    data = frame(TEXT, b"one", fin=0) + frame(PING, b"x") + frame(MORE, b"two") + frame(BINARY, b"three")
    boundaries = {0, len(data), len(data) - len(frame(BINARY, b"three"))}
    for at in range(len(data) + 1):
        reader = MessageReader.take(LIMIT, deflates=False)
        reader.feed(data[:at])
        while reader.next() is not None:
            pass
        assert reader.give_back() == (at in boundaries)
        if at in boundaries:
            assert spare == [reader]
            assert MessageReader.take(5, deflates=False) is reader
            reader.feed(frame(TEXT, b"12345"))
            assert reader.next() == (Opcode.TEXT, "12345")
            with pytest.raises(ProtocolBroken):
                reader.feed(frame(TEXT, b"123456"))
                reader.next()
