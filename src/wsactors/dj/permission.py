"""Who may do what in a battle, as a function of who sits where.

The player is the user whom the connection proved to be, and never what a message claims. He has the decks that he sits at
and no other, his own headphones, and of what both share what the round's rule for the crossfader lets him have. Spectators
have nothing.
"""

from __future__ import annotations

from typing import Final

import attrs

from .command import Command, DeckCommand, PrivateCommand

CROSSFADER_RULES: Final = ("both", "turn", "a", "b", "nobody")
"""Who moves the crossfader and the master's effects: both players, the one whose turn it is, who has that deck, or nobody."""


@attrs.frozen
class Seats:
    """Who sits at which deck: subjects of users, None where nobody does. In practice both may be the same one."""

    a: str | None = None
    b: str | None = None

    def decks_of(self, subject: str) -> tuple[str, ...]:
        """The decks of a user. Nobody in particular (an empty subject) has none."""
        return tuple(deck for deck, who in (("a", self.a), ("b", self.b)) if subject and who == subject)


@attrs.frozen
class Round:
    """What the round that is being played lets the players do."""

    crossfader: str = attrs.field(default="both", validator=attrs.validators.in_(CROSSFADER_RULES))
    turn: str | None = attrs.field(default=None, validator=attrs.validators.in_((None, "a", "b")))
    """The deck whose player's turn it is; None between turns."""

    def mixers(self) -> tuple[str, ...]:
        """The decks whose players have the crossfader."""
        match self.crossfader:
            case "both":
                return ("a", "b")
            case "turn":
                return () if self.turn is None else (self.turn,)
            case "nobody":
                return ()
        return (self.crossfader,)


@attrs.frozen
class Refusal:
    """Why a command was not carried out."""

    code: str
    """``not_a_player``, ``not_your_deck`` or ``not_your_turn``."""
    message: str
    """For the player to read."""


def refusal_of(command: Command, subject: str, seats: Seats, now: Round) -> Refusal | None:
    """Why ``subject`` may not give ``command``; None: he may.

    Example:
        >>> from wsactors.dj.command import Play
        >>> refusal_of(Play("b"), "ana", Seats("ana", "bo"), Round()).code
        'not_your_deck'
    """
    decks = seats.decks_of(subject)
    if not decks:
        return Refusal("not_a_player", "only those who sit at a deck can play; take a seat first")
    if isinstance(command, PrivateCommand):
        return None
    if isinstance(command, DeckCommand):
        if command.deck in decks:
            return None
        return Refusal("not_your_deck", f"deck {command.deck.upper()} is not yours; yours is {decks[0].upper()}")
    if any(deck in decks for deck in now.mixers()):
        return None
    return Refusal(
        "not_your_turn", f"the crossfader, the effects and the master are not yours now: {_WHOSE[now.crossfader]}"
    )


_WHOSE: Final = {
    "both": "they belong to both players",
    "turn": "they belong to whose turn it is",
    "a": "in this round they belong to deck A",
    "b": "in this round they belong to deck B",
    "nobody": "in this round they move by themselves",
}
