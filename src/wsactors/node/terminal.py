"""Foreign text on a terminal: shown, never obeyed.

Names, titles and messages come from strangers. An escape sequence in one could move the cursor, set the window's title
or paint over what was said before; square brackets could be taken for markup. What is not printable is spelled out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["as_text", "visible"]

_MAX_LETTERS = 200


def visible(text: object, limit: int = _MAX_LETTERS) -> str:
    r"""``str(text)`` with what is unprintable (controls, bidirectional overrides) spelled out, cut at ``limit``.

    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(text)[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def as_text(text: object, style: str = "", limit: int = _MAX_LETTERS) -> Text:
    """Foreign text for a rich table or tree; rich reads no markup in a :class:`rich.text.Text`."""
    from rich.text import Text

    return Text(visible(text, limit), style=style)
