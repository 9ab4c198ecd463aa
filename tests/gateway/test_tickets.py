from __future__ import annotations

from wsactors.gateway.tickets import Tickets
from wsactors.realtime.identity import User

ADA = User("ada")
PAGE = "https://radio.example"


def test_a_ticket_is_good_once() -> None:
    tickets = Tickets()
    text = tickets.issue(ADA, "demo", PAGE, now=0.0)
    ticket = tickets.redeem(text, "HTTPS://Radio.example", now=59.9)
    assert ticket is not None
    assert (ticket.user, ticket.session) == (ADA, "demo")
    assert tickets.redeem(text, PAGE, now=59.9) is None


def test_a_ticket_is_good_for_a_minute() -> None:
    tickets = Tickets()
    text = tickets.issue(ADA, "demo", PAGE, now=0.0)
    assert tickets.redeem(text, PAGE, now=60.1) is None


def test_a_ticket_in_wrong_hands_is_void() -> None:
    tickets = Tickets()
    text = tickets.issue(ADA, "demo", PAGE, now=0.0)
    assert tickets.redeem(text, "https://evil.example", now=1.0) is None
    assert tickets.redeem(text, PAGE, now=1.0) is None


def test_what_is_no_ticket_is_good_for_nothing() -> None:
    tickets = Tickets()
    tickets.issue(ADA, "demo", "", now=0.0)
    for text in ("", "x", "x" * 100_000, "\ud800", "é"):
        assert tickets.redeem(text, "", now=0.0) is None


def test_tickets_that_nobody_shows_are_bounded_and_not_kept_in_clear() -> None:
    tickets = Tickets(most=100)
    texts = [tickets.issue(ADA, "demo", PAGE, now=0.0) for _ in range(1_000)]
    assert repr(tickets) == "<Tickets 100>"
    assert tickets.redeem(texts[0], PAGE, now=0.0) is None
    assert tickets.redeem(texts[-1], PAGE, now=0.0) is not None
    assert not any(text.encode() in key for key in tickets._waiting for text in texts)
    tickets.issue(ADA, "demo", PAGE, now=100.0)
    assert repr(tickets) == "<Tickets 1>"
