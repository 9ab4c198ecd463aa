"""Which of several places something belongs to: consistent hashing, so that one place more moves as little as can be. Pure."""

from __future__ import annotations

_MULTIPLIER = 2862933555777941757
_MASK = (1 << 64) - 1


def jump_hash(key: int, places: int) -> int:
    """The place of ``key``, from 0 to ``places`` - 1; going from n to n+1 places moves one key in n+1, to the new one.

    The algorithm is J. Lamping and E. Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm" (2014).

    Args:
        key: any integer; its low 64 bits count.
        places: at least 1.

    >>> [jump_hash(key, 4) for key in range(8)]
    [0, 0, 3, 3, 1, 1, 2, 0]
    """
    if places < 1:
        raise ValueError(f"expected at least one place, got {places}")
    key &= _MASK
    place, jump = -1, 0
    while jump < places:
        place = jump
        key = (key * _MULTIPLIER + 1) & _MASK
        jump = int((place + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return place
