"""The load harness: users by the thousand, cheap enough to measure a node with.

``wsactors load`` runs it (`wsactors.loadtest.command`). `LightListener` is for those who want a handful of listeners in a
program of their own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .light_listener import LightListener, gaps, percentile

__all__ = ["LightListener", "gaps", "percentile"]


def __getattr__(name: str) -> object:
    """Import the listener when it is asked for: the command line imports this package just to know its command."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.light_listener"), name)
    return value
