"""Foreign text is shown on a terminal, and never obeyed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from wsactors.node.terminal import as_text, visible


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "a\rb", "a\nb", "\u202eevil", "\u2066x", "\ud800", "\x00", "\x7f"],
)
def test_no_control_reaches_the_terminal(hostile: str) -> None:
    shown = visible(hostile)

    assert shown.isprintable()
    assert shown != hostile


@pytest.mark.parametrize("plain", ["plain", "Ümlaut ☃ 音", "[red]not markup[/red]", "a\\b"])
def test_what_people_read_stays(plain: str) -> None:
    assert visible(plain) == plain


def test_long_text_is_cut() -> None:
    assert visible("x" * 1000, 10) == "x" * 9 + "…"
    assert visible("x" * 10, 10) == "x" * 10


def test_markup_in_a_table_is_text() -> None:
    output = io.StringIO()
    table = Table()
    table.add_row(as_text("[bold red]name[/] [link=http://evil]x[/link]"))

    Console(file=output, width=120).print(table)

    assert "[bold red]name[/] [link=http://evil]x[/link]" in output.getvalue()
