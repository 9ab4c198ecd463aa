"""Files of what was heard: other programs' decoders find the sound that went in."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from wsactors.client.sound_files import RATE, OggFile, SoundFile, WavFile


def decoded(path: Path) -> np.ndarray:
    """What FFmpeg makes of the file: float32, shape (samples, channels)."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    sound = np.concatenate([each if each.shape[0] == 2 else each.reshape(-1, 2).T for each in frames], axis=1)
    return (sound.astype(np.float32) / 32_768 if sound.dtype == np.int16 else sound).T


@pytest.mark.parametrize(("kind", "name", "alike"), [(WavFile, "heard.wav", 0.9999), (OggFile, "heard.ogg", 0.99)])
def test_what_is_written_in_pieces_is_heard_whole(
    tmp_path: Path, kind: type[SoundFile], name: str, alike: float
) -> None:
    times = np.arange(RATE + 777, dtype=np.float32) / RATE
    sound = np.stack((0.5 * np.sin(2 * np.pi * 440 * times), 0.25 * np.sin(2 * np.pi * 1_000 * times)), 1)
    with kind(tmp_path / name) as file:  # type: ignore[call-arg]
        for start in range(0, len(sound), 481):
            file.write(sound[start : start + 481].astype(np.float32))
    heard = decoded(tmp_path / name)
    assert abs(len(heard) - len(sound)) <= 960
    both = min(len(heard), len(sound))
    for channel in range(2):
        assert np.corrcoef(heard[:both, channel], sound[:both, channel])[0, 1] > alike
