from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from wsactors.client.membership import Membership
from wsactors.wire import native


@attrs.define
class Topic:
    """A topic that keeps its newest messages, as a member meets it."""

    size: int
    epoch: int = 0
    log: list[tuple[int, bool]] = attrs.field(factory=list)
    """Offset, and whether it is the member's own, which is not sent to it."""
    offset: int = 0

    def joined(self, member: Membership) -> tuple[native.TopicJoined, list[native.Message]]:
        since = member.join(1).since
        missed: list[native.Message] = []
        recovered = None
        if since is not None:
            later = [offset for offset, _ in self.log[-self.size :] if offset > since.offset] if self.size else []
            recovered = since.epoch == f"e{self.epoch}" and len(later) == self.offset - since.offset
            missed = [self.message(offset) for offset in later] if recovered else []
        return native.TopicJoined(1, "t", f"e{self.epoch}", self.offset, recovered, len(missed)), missed

    def message(self, offset: int) -> native.Message:
        return native.Message("t", "e", [self.epoch, offset], f"e{self.epoch}", offset)


steps = st.lists(
    st.sampled_from(
        [
            "other",
            "other",
            "other",
            "own",
            "own",
            "own unanswered",
            "cut",
            "cut",
            "cut while joining",
            "join",
            "restart",
        ]
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=300)
@given(steps, st.integers(0, 8))
def test_whatever_happens_nothing_comes_twice_or_out_of_order_and_every_loss_is_told(
    history: list[str], size: int
) -> None:
    topic, member = Topic(size), Membership("t")
    heard: list[Any] = []
    due: list[Any] = []  # what a member that never broke off would have heard
    known = True  # whether all acknowledgements of own publications came

    def read() -> None:
        while member.buffer:
            message = member.buffer.popleft()
            heard.append((message.payload, message.after_gap))

    def join(*, cut: bool) -> None:
        joined, missed = topic.joined(member)
        member.take_joined(joined)
        for message in missed[: len(missed) // 2] if cut else missed:
            member.take_message(message)

    join(cut=False)
    for step in history:
        match step:
            case "cut":
                member.lose_connection()
            case "join" if member.phase == "wanted":
                join(cut=False)
            case "cut while joining" if member.phase == "wanted":
                join(cut=True)
                member.lose_connection()
            case "restart":
                topic = Topic(size, topic.epoch + 1)
                member.lose_connection()
            case "own" | "own unanswered" if member.phase == "joined":
                topic.offset += 1
                topic.log.append((topic.offset, True))
                if step == "own":
                    member.take_published(native.Published(1, f"e{topic.epoch}", topic.offset), echo=False)
                else:
                    known = False
            case "other":
                topic.offset += 1
                topic.log.append((topic.offset, False))
                due.append([topic.epoch, topic.offset])
                if member.phase == "joined":
                    member.take_message(topic.message(topic.offset))
        read()
    if member.phase == "wanted":
        join(cut=False)
        read()

    payloads = [payload for payload, _ in heard]
    assert payloads == sorted(payloads)
    assert len({tuple(payload) for payload in payloads}) == len(payloads)
    if known and size:
        assert set(map(tuple, payloads)) <= set(map(tuple, due))
    if not member.gaps and known and size:
        assert payloads == due
    assert sum(after for _, after in heard) <= member.gaps


def test_a_topic_that_was_restarted_under_its_members_is_a_gap() -> None:
    member = Membership("t")
    member.join(1)
    member.take_joined(native.TopicJoined(1, "t", "e0", 5))
    member.take_message(native.Message("t", "e", 1, "e0", 6))
    member.take_message(native.Message("t", "e", 2, "e1", 1))

    assert [(each.payload, each.after_gap) for each in member.buffer] == [(1, False), (2, True)]
    assert (member.gaps, member.since) == (1, native.Position("e1", 1))
