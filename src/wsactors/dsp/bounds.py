"""Limits that those who command the signal processing check, and so without numpy: a node never loads it."""

from __future__ import annotations

MAX_RATE = 4.0
"""Fastest reading of a recording, forwards or backwards, in source frames per output frame."""
