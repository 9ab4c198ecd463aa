"""Rules: whose topics a pattern names, and which rule has the word."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.realtime.identity import ANONYMOUS, User
from wsactors.realtime.rules import Action, Pattern, Rule, first_word

ADA = User("ada", "member", {"sub": "someone else", "plan": "pro", "rooms": ["a", "b", 7], "admin": True, "empty": ""})


@pytest.mark.parametrize(
    ("pattern", "topic", "matches"),
    [
        ("room:42", "room:42", True),
        ("room:42", "room:421", False),
        ("room:*", "room:", True),
        ("*", "", True),
        ("a*b*c", "abc", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("aa*aa", "aaa", False),
        ("a*", "ba", False),
        ("room:[0-9]", "room:1", False),
        ("room:.", "room:x", False),
        ("user:{sub}", "user:ada", True),
        ("user:{sub}", "user:bob", False),
        ("user:{sub}", "user:someone else", False),
        ("user:{sub}:*", "user:ada:inbox", True),
        ("{role}:{sub}", "member:ada", True),
        ("plan:{plan}", "plan:pro", True),
        ("x:{absent}", "x:", False),
        ("x:{empty}", "x:", False),
        ("x:{rooms}", "x:a", False),
        ("x:{admin}", "x:True", False),
    ],
)
def test_a_pattern_names_topics(pattern: str, topic: str, matches: bool) -> None:
    assert Pattern(pattern).matches(topic, ADA) == matches


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_stars_stand_for_anything(pattern: str, topic: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), topic) is not None

    assert Pattern(pattern).matches(topic, ADA) == expected


@pytest.mark.parametrize("subject", ["*", "a*", "{sub}", "{role}", "ada*"])
def test_a_name_is_no_pattern(subject: str) -> None:
    """Whoever registers as `*` owns the topic `user:*`, and no other."""
    own = Pattern("user:{sub}")

    assert own.matches(f"user:{subject}", User(subject))
    assert not own.matches("user:ada", User(subject))
    assert not own.matches("user:member", User(subject, "member"))


def test_nobody_in_particular_owns_no_topic() -> None:
    assert not Pattern("user:{sub}").matches("user:", ANONYMOUS)
    assert not Pattern("user:{sub}*").matches("user:ada", ANONYMOUS)


@pytest.mark.parametrize("text", ["{", "}", "a{b", "{}", "{a{b}}", "{a*}"])
def test_braces_name_a_claim(text: str) -> None:
    with pytest.raises(ValueError, match="claim"):
        Pattern(text)


def test_a_hostile_pattern_and_topic_take_linear_time() -> None:
    pattern = Pattern("*".join(["a"] * 60) + "*b")
    start = time.thread_time()
    assert not pattern.matches("a" * 255, ADA)
    assert time.thread_time() - start < 0.01


def rule(action: Action = "join", **more: object) -> Rule:
    return Rule(**({"allow": [action]} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (rule(), True),
        (rule("publish"), None),
        (rule(topics=["a", "room:*"]), True),
        (rule(topics=["a"]), None),
        (rule(topics=[]), None),
        (rule(roles=["member", "admin"]), True),
        (rule(roles=["admin"]), None),
        (rule(claims={"plan": "pro"}), True),
        (rule(claims={"plan": "free"}), None),
        (rule(claims={"plan": "pro", "absent": ""}), None),
        (rule(claims={"rooms": "b"}), True),
        (rule(claims={"rooms": "7"}), True),
        (rule(claims={"rooms": "c"}), None),
        (rule(claims={"admin": "true"}), True),
        (rule(claims={"admin": "True"}), None),
        (rule(claims={"sub": "ada"}), True),
        (rule(claims={"sub": "someone else"}), None),
        (rule(deny=["join"]), False),
        (rule(allow=[], deny=["join"]), False),
    ],
)
def test_a_rule_speaks_for_whom_it_names(made: Rule, word: bool | None) -> None:
    assert made.says("join", ADA, "room:42") is word


def test_the_first_rule_that_says_anything_has_the_word() -> None:
    rules = (
        rule("publish", topics=["room:*"], roles=["admin"]),
        Rule(topics=("room:*",), deny=("publish",)),
        rule("publish"),
    )

    assert first_word(rules, "publish", ADA, "room:1") is False
    assert first_word(rules, "publish", User("root", "admin"), "room:1") is True
    assert first_word(rules, "publish", ADA, "hall") is True
    assert first_word(rules, "join", ADA, "hall") is None


def test_connecting_is_to_no_topic() -> None:
    assert rule("connect", topics=["room:*"]).says("connect", ADA, "") is True
