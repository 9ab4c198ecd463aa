"""libopus through ctypes: sound survives, wrong input is refused before it reaches foreign memory, memory is freed."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.errors import OpusError, OpusUnavailable
from wsactors.media import opus
from wsactors.media.opus import Application, Decoder, Encoder
from wsactors.wire.opus_packet import has_fec, packet_samples


def tone(hertz: float, frames: int, channels: int = 2, start: int = 0) -> Any:
    t = (np.arange(frames) + start) / opus.SAMPLE_RATE
    return np.repeat((0.4 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)[:, None], channels, axis=1)


def strongest(sound: Any) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum) * opus.SAMPLE_RATE / len(sound))


def coded(signal: Any, frame: int = 960, **options: Any) -> list[bytes]:
    with Encoder(channels=signal.shape[1], **options) as encoder:
        blocks = range(0, len(signal) - frame + 1, frame)
        return [encoder.encode(np.ascontiguousarray(signal[at : at + frame])) for at in blocks]


@pytest.mark.parametrize("frame", [480, 960, 1_920, 2_880])
@pytest.mark.parametrize("application", list(Application))
def test_a_tone_comes_back_on_its_channel(frame: int, application: Application) -> None:
    signal = np.concatenate((tone(440, 48_000, 1), tone(1_320, 48_000, 1)), axis=1)
    with Decoder() as decoder:
        sound = np.concatenate([decoder.decode(packet) for packet in coded(signal, frame, application=application)])
    assert sound.shape == (48_000 // frame * frame, 2)
    assert sound.dtype == np.float32
    assert strongest(sound[9_600:, 0]) == pytest.approx(440, abs=3)
    assert strongest(sound[9_600:, 1]) == pytest.approx(1_320, abs=3)


def test_the_decoded_sound_lags_by_exactly_the_lookahead() -> None:
    signal = np.zeros((9_600, 2), np.float32)
    signal[4_800:4_810] = 0.8
    with Encoder(bitrate=256_000) as encoder, Decoder() as decoder:
        packets = [encoder.encode(signal[at : at + 960]) for at in range(0, 9_600, 960)]
        sound = np.concatenate([decoder.decode(packet) for packet in packets])
        lag = encoder.lookahead
    assert lag == 312
    assert abs(int(np.argmax(np.abs(sound[:, 0]))) - (4_805 + lag)) <= 5


def test_bitrate_follows_the_control_while_running() -> None:
    rng = np.random.default_rng(1)
    noise = (0.2 * rng.standard_normal((96_000, 2))).astype(np.float32)
    with Encoder(bitrate=128_000) as encoder:
        rich = [len(encoder.encode(noise[at : at + 960])) for at in range(0, 48_000, 960)]
        encoder.bitrate = 32_000
        poor = [len(encoder.encode(noise[at : at + 960])) for at in range(48_000, 96_000, 960)]
        assert encoder.bitrate == 32_000
    assert np.mean(rich) * 8 * 50 == pytest.approx(128_000, rel=0.15)
    assert np.mean(poor[5:]) * 8 * 50 == pytest.approx(32_000, rel=0.25)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("frame", [480, 960, 1_920, 2_880])
def test_every_rate_works_at_every_length_and_packets_keep_within_their_bound(channels: int, frame: int) -> None:
    rng = np.random.default_rng(1)
    noise = (0.2 * rng.standard_normal((96_000, channels))).astype(np.float32)
    with Encoder(channels, max_packet=1_100) as encoder, Decoder(channels) as decoder:
        for bitrate in (8_000, 32_000, 128_000):
            encoder.bitrate = bitrate
            packets = [encoder.encode(noise[at : at + frame]) for at in range(0, 96_000 - frame + 1, frame)]
            assert max(map(len, packets)) <= 1_100
            assert {packet_samples(packet) for packet in packets} == {frame}
            second = packets[-(48_000 // frame) :]
            assert (0.4 if bitrate < 10_000 else 0.65) <= sum(map(len, second)) * 8 / bitrate <= 1.2
            assert {len(decoder.decode(packet)) for packet in packets} == {frame}


def test_a_bound_below_what_a_rate_needs_is_kept() -> None:
    noise = (0.2 * np.random.default_rng(1).standard_normal((2_880, 2))).astype(np.float32)
    with Encoder(bitrate=510_000, max_packet=300) as encoder:
        assert len(encoder.encode(noise)) <= 300
    with pytest.raises(ValueError, match="max_packet"):
        Encoder(max_packet=4)


def test_any_length_can_be_guessed() -> None:
    packets = coded(tone(440, 9_600))
    with Decoder() as decoder:
        for packet in packets:
            decoder.decode(packet)
        assert [len(decoder.decode(None, lost=lost)) for lost in (120, 480, 960, 2_880)] == [120, 480, 960, 2_880]
        for lost in (0, 100, 121, 5_880):
            with pytest.raises(ValueError, match="lost"):
                decoder.decode(None, lost=lost)


@pytest.mark.parametrize("frame", [480, 960, 1_920, 2_880])
@pytest.mark.parametrize("channels", [1, 2])
def test_packets_tell_whether_they_carry_the_sound_before_them(frame: int, channels: int) -> None:
    t = np.arange(48_000) / 48_000
    buzz: Any = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12)) * 0.1
    speech = np.repeat(buzz.astype(np.float32)[:, None], channels, axis=1)
    bitrate = 20_000 * channels
    packets = coded(speech, frame, application=Application.VOIP, bitrate=bitrate, fec=True, expected_loss=30)
    said = [has_fec(packet) for packet in packets]
    better, worse = 0.0, 0.0
    for at in range(4, len(packets)):
        if not said[at]:
            continue
        decoders = [Decoder(channels) for _ in range(3)]
        for packet in packets[: at - 1]:
            for decoder in decoders:
                decoder.decode(packet)
        real = decoders[0].decode(packets[at - 1])
        better += float(np.sum((decoders[1].decode(packets[at], fec=True) - real) ** 2))
        worse += float(np.sum((decoders[2].decode(None) - real) ** 2))
    assert any(said) or packets[-1][0] & 3 == 3
    assert better <= worse
    assert not any(map(has_fec, coded(speech, frame, application=Application.VOIP, bitrate=bitrate)))
    assert not any(map(has_fec, coded(speech, frame, application=Application.LOW_DELAY)))


def test_controls_read_back_and_refuse_nonsense() -> None:
    with Encoder(complexity=3, fec=True, dtx=True, expected_loss=10) as encoder:
        assert (encoder.complexity, encoder.fec, encoder.dtx, encoder.expected_loss) == (3, True, True, 10)
        for name, value in (("complexity", 11), ("bitrate", 100), ("expected_loss", 101), ("complexity", True)):
            with pytest.raises(ValueError, match=name):
                setattr(encoder, name, value)
    with pytest.raises(ValueError, match="channels"):
        Encoder(channels=3)


@pytest.mark.parametrize(
    "pcm",
    [
        np.zeros((960, 2)),  # float64: libopus would read half as many frames as garbage
        np.zeros((960, 2), np.int16),
        np.zeros((960, 1), np.float32),  # one channel: it would read past the end
        np.zeros((961, 2), np.float32),
        np.zeros((0, 2), np.float32),
        np.zeros(1_920, np.float32),
        np.zeros((2, 960), np.float32).T,  # right shape, wrong layout
        np.zeros((1_920, 2), np.float32)[::2],
        np.zeros((960, 3), np.float32)[:, :2],
        b"\0" * 7_680,
        None,
        [[0.0, 0.0]] * 960,
    ],
)
def test_a_wrong_block_is_refused_before_libopus_sees_it(pcm: Any) -> None:
    with Encoder() as encoder:
        with pytest.raises(ValueError, match="C-contiguous float32"):
            encoder.encode(pcm)
        assert encoder.encode(np.zeros((960, 2), np.float32))


def test_silence_and_not_a_number_do_not_break_the_stream() -> None:
    broken = np.full((960, 2), np.nan, np.float32)
    with Encoder() as encoder, Decoder() as decoder:
        sound = decoder.decode(encoder.encode(np.zeros((960, 2), np.float32)))
        for block in (broken, np.full((960, 2), np.inf, np.float32), np.zeros((960, 2), np.float32)):
            sound = decoder.decode(encoder.encode(block))
        assert np.isfinite(sound).all()


def test_a_lost_packet_is_concealed_not_skipped() -> None:
    packets = coded(tone(440, 19_200))
    with Decoder() as decoder:
        before = [decoder.decode(packet) for packet in packets[:10]][-1]
        guess = decoder.decode(None)
    assert guess.shape == (960, 2)
    assert np.sqrt(np.mean(guess**2)) > 0.5 * np.sqrt(np.mean(before**2))


def test_forward_error_correction_recovers_speech() -> None:
    signal = tone(200, 48_000, 1) * np.linspace(0, 1, 48_000, dtype=np.float32)[:, None]
    packets = coded(signal, application=Application.VOIP, bitrate=24_000, fec=True, expected_loss=30)
    with Decoder(1) as decoder:
        for packet in packets[:30]:
            decoder.decode(packet)
        recovered = decoder.decode(packets[31], fec=True)  # packet 30 was lost
        decoder.decode(packets[31])
        assert recovered.shape == (960, 1)
        assert strongest(recovered[:, 0]) == pytest.approx(200, abs=60)
        with pytest.raises(ValueError, match="after the lost one"):
            decoder.decode(None, fec=True)


@given(st.binary(min_size=1, max_size=400))
@settings(max_examples=150, deadline=None)
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    with Decoder() as decoder:
        try:
            sound = decoder.decode(data)
        except OpusError:
            return
        assert len(sound) <= opus.MAX_FRAMES


@pytest.mark.parametrize("packet", [b"", b"x" * (opus.MAX_PACKET + 1), bytearray(10), "packet", 3])
def test_what_is_no_packet_is_a_value_error(packet: Any) -> None:
    with Decoder() as decoder, pytest.raises(ValueError, match="packet"):
        decoder.decode(packet)


def test_closed_is_closed() -> None:
    encoder, decoder = Encoder(), Decoder()
    encoder.close()
    encoder.close()
    decoder.close()
    assert encoder.closed
    for use in (lambda: encoder.encode(np.zeros((960, 2), np.float32)), lambda: encoder.bitrate, encoder.reset):
        with pytest.raises(ValueError, match="closed"):
            use()
    with pytest.raises(ValueError, match="closed"):
        decoder.decode(None)


def test_native_memory_is_freed_with_the_last_reference() -> None:
    code = (
        "import resource; from wsactors.media.opus import Encoder, Decoder\n"
        "for _ in range(200): Encoder(); Decoder()\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for _ in range(3000): Encoder(); Decoder()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)"
    )
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 8_000  # KiB; an encoder and a decoder are about 80 KiB, 3,000 pairs would be 240 MB


@pytest.fixture
def fresh_library() -> Iterator[None]:
    opus.load_library.cache_clear()
    yield
    opus.load_library.cache_clear()


@pytest.mark.usefixtures("fresh_library")
def test_the_library_inside_the_av_wheel_does_when_debian_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    bundled = [name for name in opus._candidates() if "av.libs" in name]
    if not bundled:
        pytest.skip("this build of PyAV links the system's libopus and bundles none")
    monkeypatch.setattr(opus, "_candidates", lambda: ["libopus-missing.so.9", *bundled])
    assert opus.version().startswith("libopus")
    packets = coded(tone(440, 9_600))
    assert len(packets) == 10
    gc.collect()  # what the other library made is freed by it before the fixture swaps libraries


@pytest.mark.usefixtures("fresh_library")
def test_without_any_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opus, "_candidates", lambda: ["libopus-missing.so.9"])
    with pytest.raises(OpusUnavailable, match="apt-get install libopus0"):
        Encoder()
