"""What those who command the signal processing have to know, and so without numpy: a node never loads it."""

from __future__ import annotations

MAX_RATE = 4.0
"""Fastest reading of a recording, forwards or backwards, in source frames per output frame."""
LOOP_BPM = 125.0
"""Beats per minute of the demo loops. A beat is exactly 23,040 frames: 24 packets of 20 ms."""
