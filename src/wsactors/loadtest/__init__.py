"""The load harness: listeners by the hundred, cheap enough to measure a node with."""

from __future__ import annotations

from .light_listener import LightListener, gaps, percentile

__all__ = ["LightListener", "gaps", "percentile"]
