"""The quick way to scipy's recursive filter gives what the public one does, and is given up when it does not work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from wsactors.dsp import recursion

signal = pytest.importorskip("scipy.signal")


@pytest.mark.parametrize("function", [recursion.recurse, recursion._public])
def test_it_is_scipy_s_filter_to_the_bit(function):
    rng = np.random.default_rng(3)
    b, a = np.array([0.2, 0.3, 0.1]), np.array([1.0, -0.4, 0.2])
    state = rng.standard_normal((2, 2))
    block = rng.standard_normal((480, 2)).astype(np.float32)

    out, after = function(b, a, block, 0, state)

    wanted, memory = signal.lfilter(b, a, block.astype(np.float64), axis=0, zi=state)
    assert np.array_equal(out, wanted)
    assert np.array_equal(after, memory)


def test_the_rest_of_scipy_signal_is_not_imported():
    program = "import sys; import wsactors.dsp.recursion; print('scipy.signal' in sys.modules)"
    environment = {"PYTHONPATH": str(Path(recursion.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("found", [None, SimpleNamespace(submodule_search_locations=["/nonexistent"])])
def test_without_the_module_the_public_function_is_taken(monkeypatch, found):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    assert recursion._direct() is None
