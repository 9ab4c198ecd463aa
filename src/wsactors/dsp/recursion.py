"""Recursive filters over blocks: `scipy.signal.lfilter`, had without the rest of `scipy.signal`.

A render process that was killed has to sound again within a second, and importing that package takes longer than that
(0.9 s and 75 MB here; the extension module alone 0.3 ms). The module is private to scipy, so it is tried out first; should
it be elsewhere or work otherwise in another version, the public function is taken and the import waited for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Any

import numpy as np


def _direct() -> Callable[..., Any] | None:
    scipy = importlib.util.find_spec("scipy")
    folders = scipy.submodule_search_locations if scipy is not None else None
    if not folders:
        return None
    spec = PathFinder.find_spec("_sigtools", [f"{folders[0]}/signal"])
    if spec is None or spec.loader is None:
        return None
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        function: Callable[..., Any] = module._linear_filter
        out, state = function(np.array([1.0]), np.array([1.0, -0.5]), np.array([1.0, 0.0]), 0, np.array([2.0]))
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
    return function if np.array_equal(out, [3.0, 1.5]) and np.array_equal(state, [0.75]) else None


def _public(b: Any, a: Any, block: Any, axis: int, state: Any) -> Any:
    from scipy.signal import lfilter

    return lfilter(b, a, block, axis, state)


_FILTER = _direct() or _public


def recurse(b: Any, a: Any, block: Any, axis: int, state: Any) -> Any:
    """Filter a block along `axis`: the result, and the state for the next block.

    `b` and `a` are the coefficients, `a[0]` being 1; double precision throughout.
    """
    return _FILTER(np.asarray(b, np.float64), np.asarray(a, np.float64), np.asarray(block, np.float64), axis, state)
