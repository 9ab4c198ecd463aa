"""Topics that are private by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.realtime.test_topics import Owner
from tests.realtime.topics import Client
from wsactors.realtime.channel import Answer, Channel
from wsactors.realtime.identity import JoinRefused, PublishRefused, User
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import PolicyOptions
from wsactors.realtime.rules import Rule
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node

ADA = User("ada", "member")


class Careful(Channel):
    """Publishes nothing that it is pushed."""

    def handle_push(self, event: str, payload: Any) -> Any:
        return Answer("error", {"reason": "no"})


TOPICS = RealtimeOptions(
    topics=(
        TopicOptions("room:*", channel=f"{__name__}:Careful", history=7),
        TopicOptions("members:*", private=True, history=6),
        TopicOptions("private:news", history=5),
        TopicOptions("private"),
    )
)


@pytest.mark.parametrize(
    ("topic", "history", "private", "private_name"),
    [
        ("room:1", 7, False, "private:room:1"), ("private:room:1", 7, True, "private:room:1"),
        ("members:1", 6, True, "members:1"), ("private:members:1", 6, True, "private:members:1"),
        ("private:news", 5, True, "private:news"), ("private", 100, False, "private:private"),
    ],
)  # fmt: skip
def test_a_private_topic_is_like_that_of_its_name(topic: str, history: int, private: bool, private_name: str) -> None:
    options = TOPICS.for_topic(topic)
    assert options is not None
    assert (options.history, options.private, TOPICS.private_name(topic)) == (history, private, private_name)


@pytest.mark.parametrize(
    "topic", ["news", "private:", "private:nowhere", "private:private:room:1", "private:" + "x" * 255]
)
def test_there_is_none_where_there_is_no_such_name(topic: str) -> None:
    assert TOPICS.for_topic(topic) is None


MATCHES = st.sampled_from(["*", "private:*", "private:a", "private*", "a", "a*", "private:private:*", "p*", ""])


@given(
    st.lists(st.builds(TopicOptions, MATCHES, private=st.booleans()), max_size=4),
    st.sampled_from(["", "a", "ab", "private:", "private:a", "b"]),
)
def test_what_begins_with_private_is_private_whatever_is_configured(topics: list[TopicOptions], name: str) -> None:
    options = RealtimeOptions(topics=tuple(topics))
    found = options.for_topic(f"private:{name}")
    assert found is None or found.private
    twin = options.private_name(name)
    public = options.for_topic(name)
    assert twin != name or (public is not None and public.private)
    assert (twin_options := options.for_topic(twin)) is None or twin_options.private


async def test_a_private_topic_has_the_channel_class_of_its_name(autojump_clock: MockClock) -> None:
    rule = Rule(topics=("private:room:*",), roles=("member",), allow=("join", "publish", "presence_read"))
    permission = PermissionOptions(policy=PolicyOptions(rules=(rule,)))
    async with Node("names") as node:
        realtime = await start_realtime(node, TOPICS, permission=permission, allowed_packages=("wsactors", "tests"))
        owner = await node.spawn(Owner)
        await realtime.join("private:room:1", Client(), owner=owner, user=ADA)
        assert not realtime.publishes_pushes("private:room:1")
        for topic in ("private:room:1", "private:news"):
            with pytest.raises(JoinRefused):
                await realtime.join(topic, Client(), owner=owner, user=User("eve"))
            with pytest.raises(JoinRefused):
                await realtime.check_join(User("eve"), topic, None, private=False)
            with pytest.raises(PublishRefused):
                await realtime.check_publish(User("eve"), topic)
