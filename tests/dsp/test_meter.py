"""Levels against known sounds."""

from __future__ import annotations

import numpy as np
import pytest

from wsactors.dsp.meter import Level, measure


def test_a_full_scale_sine() -> None:
    t = np.arange(48_000) / 48_000
    sine = np.repeat(np.sin(2 * np.pi * 997 * t).astype(np.float32)[:, None], 2, axis=1)
    level = measure(sine)
    assert level.peak == pytest.approx(0.0, abs=0.01)
    assert level.rms == pytest.approx(-3.01, abs=0.01)
    assert level.dbov == 3


@pytest.mark.parametrize("block", [np.zeros((480, 2), np.float32), np.zeros((0, 2), np.float32)])
def test_silence_is_the_least_there_is(block: object) -> None:
    level = measure(block)  # type: ignore[arg-type]
    assert level == Level(-127.0, -127.0)
    assert level.dbov == 127


def test_more_than_full_scale_is_still_a_level() -> None:
    assert measure(np.full((10, 2), 2.0, np.float32)).dbov == 0
    assert measure(np.full((10, 2), 2.0, np.float32)).peak == pytest.approx(6.02, abs=0.01)
