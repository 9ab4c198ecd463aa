"""What a node's clients may do, on real topics: attacks by strangers, by people with a token, and by floods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.realtime.test_topics import Owner, settle
from tests.realtime.tokens import NOW, SECRET, claims, signed
from tests.realtime.topics import Client
from wsactors.actors import Stop
from wsactors.realtime.auth import AuthOptions, KeyedAuthenticator
from wsactors.realtime.channel import Channel
from wsactors.realtime.identity import ANONYMOUS, AuthRefused, Credentials, JoinRefused, PublishRefused, User
from wsactors.realtime.limits import LimitOptions, Rate
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import Decide, Decision, PolicyOptions
from wsactors.realtime.publication import Position
from wsactors.realtime.rules import Rule
from wsactors.realtime.service import Realtime
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node

ADA, BOB = User("ada", "member", stamp="a"), User("bob", "member", stamp="b")
OPTIONS = RealtimeOptions(topics=(TopicOptions("private:*", private=True), TopicOptions("*")))
SMALL = LimitOptions(
    messages=Rate(10, 20), topic_messages=Rate(10, 20), joins=Rate(1, 10), topics=3, presence_interval=0.5
)


class Clock:
    """Unix time, as far along as the test is."""

    def __call__(self) -> float:
        return NOW + trio.current_time()


@asynccontextmanager
async def realtime_node(**more: Any) -> AsyncIterator[Realtime]:
    authenticator = more.pop("authenticator", None)
    async with Node("permission", debug=True) as node:
        yield await start_realtime(
            node, OPTIONS, authenticator=authenticator, permission=PermissionOptions(**more)
        )  # fmt: skip


def ruled(*rules: Rule) -> PolicyOptions:
    return PolicyOptions(rules=rules)


async def enter(realtime: Realtime, topic: str, user: User = ANONYMOUS, **more: Any) -> tuple[Client, Any, Any]:
    client = more.pop("client", None) or Client()
    owner = more.pop("owner", None) or await realtime.node.spawn(Owner)
    return client, await realtime.join(topic, client, owner=owner, user=user, **more), owner


async def refused(realtime: Realtime, topic: str, code: str, user: User = ANONYMOUS, **more: Any) -> None:
    with pytest.raises(JoinRefused) as caught:
        await enter(realtime, topic, user, **more)
    assert caught.value.code == code


# --- policy -------------------------------------------------------------------------------------------------------


async def test_private_topics_are_shut_to_all_whom_no_rule_names(autojump_clock: MockClock) -> None:
    own = Rule(topics=("private:{sub}",), allow=("join", "publish"))
    async with realtime_node(policy=ruled(own)) as realtime:
        for user in (ANONYMOUS, BOB, User("ad"), User("*"), User("{sub}")):
            await refused(realtime, "private:ada", "unauthorized", user)
        await enter(realtime, "private:ada", ADA)
        await enter(realtime, "open:1")
        # A client's word that a public topic is private makes it so for this client.
        await refused(realtime, "open:1", "unauthorized", private=True)


async def test_who_may_read_may_not_therefore_write(autojump_clock: MockClock) -> None:
    readers = Rule(topics=("private:*",), allow=("join", "presence_read"))
    writers = Rule(topics=("private:*",), roles=("editor",), allow=("publish", "presence_write"))
    async with realtime_node(policy=ruled(readers, writers)) as realtime:
        reader, channel, _ = await enter(realtime, "private:1", ADA)
        writer, other, _ = await enter(realtime, "private:1", User("eve", "editor"))
        realtime.push(channel, "chat", "no", ref=1)
        realtime.track(channel, {}, ref=2)
        realtime.push(other, "chat", "yes", ref=1)
        realtime.track(other, {}, ref=2)
        await trio.sleep(1)

        assert [(ref, status) for ref, status, _ in reader.of("reply")] == [(1, "error"), (2, "error")]
        assert reader.of("reply")[0][2]["code"] == "unauthorized"
        assert [each[1] for each in reader.of("publication")] == ["yes"]
        assert [status for _, status, _ in writer.of("reply")] == ["ok", "ok"]
        assert list(await realtime.presence("private:1")) == ["eve"]
        with pytest.raises(PublishRefused):
            await realtime.check_publish(ADA, "private:1")


async def test_who_may_not_see_who_is_there_gets_neither_state_nor_changes(autojump_clock: MockClock) -> None:
    rules = (Rule(roles=("member",), deny=("presence_read",)),)
    async with realtime_node(policy=ruled(*rules)) as realtime:
        seen, first, _ = await enter(realtime, "a")
        realtime.track(first, {"n": 1})
        await trio.sleep(1)
        blind, _, _ = await enter(realtime, "a", ADA)
        blind_too, _, _ = await enter(realtime, "a", BOB)
        _, third, _ = await enter(realtime, "a")
        realtime.track(third, {"n": 2})
        await realtime.publish("a", "chat", "hello")
        await trio.sleep(1)

        assert len(seen.of("diff")) == 2
        for client in (blind, blind_too):
            assert client.of("state") == client.of("diff") == []
            assert client.of("publication") == [["chat", "hello", 1]]


async def test_a_policy_that_does_not_answer_refuses_and_holds_nobody_else_up(autojump_clock: MockClock) -> None:
    async def decide(question: Decide) -> bool:
        if question.topic == "stuck":
            await trio.sleep_forever()
        return True

    async with realtime_node(decider=decide, policy=PolicyOptions(deadline=1.0)) as realtime:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused, realtime, "stuck", "timeout")
            await settle()
            start = trio.current_time()
            await enter(realtime, "free")
            assert trio.current_time() == start
        await settle()
        assert len(realtime.seats) == 1


async def test_a_kick_ends_channels_places_and_what_was_decided(autojump_clock: MockClock) -> None:
    allowed, asked = True, 0

    def decide(question: Decide) -> Decision:
        nonlocal asked
        asked += 1
        return Decision(allow=allowed, reason="You were banned.")

    async with realtime_node(decider=decide) as realtime:
        client, channel, owner = await enter(realtime, "a", ADA)
        realtime.push(channel, "chat", "1", ref=1)
        await settle()
        before = asked
        realtime.push(channel, "chat", "2", ref=2)
        await settle()
        assert asked == before  # remembered
        token = realtime.places.issue(ADA, owner)
        allowed = False

        assert realtime.kick("ada") == 1
        await settle()
        assert client.of("closed") == [["kicked", False]]
        with pytest.raises(AuthRefused):
            realtime.places.redeem(token, ADA, trio.current_time())
        await refused(realtime, "a", "unauthorized", ADA)


async def test_a_kick_of_nobody_in_particular_kicks_nobody(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        client, _, _ = await enter(realtime, "a")

        assert realtime.kick("") == 0
        await settle()
        assert client.of("closed") == []


async def test_a_policy_may_shut_the_door_itself(autojump_clock: MockClock) -> None:
    keys = KeyedAuthenticator(AuthOptions(secret=SECRET), clock=Clock())
    banned = Rule(claims={"banned": "true"}, deny=("connect",))
    async with realtime_node(authenticator=keys, policy=ruled(banned)) as realtime:
        user = await realtime.authenticate(Credentials(token=signed(claims())))
        with pytest.raises(AuthRefused) as caught:
            await realtime.authenticate(Credentials(token=signed(claims(banned=True))))
        assert caught.value.code == "forbidden"
        with pytest.raises(AuthRefused):
            await realtime.reauthenticate(user, signed(claims(banned=True)))


# --- tokens on live connections -----------------------------------------------------------------------------------


async def test_what_a_token_has_opened_lasts_as_long_as_it_opens_anything(autojump_clock: MockClock) -> None:
    """Were it ended sooner, its client would come back with the same token, be let in, and be ended, in a tight loop."""
    clock = Clock()
    keys = KeyedAuthenticator(AuthOptions(secret=SECRET, leeway=10.0), clock=clock)
    async with realtime_node(authenticator=keys) as realtime:
        token = signed(claims(exp=NOW + 100))
        user = await realtime.authenticate(Credentials(token=token))
        assert realtime.permission.expires(user) == NOW + 110
        assert realtime.permission.expires(ANONYMOUS) is None

        await trio.sleep_until(109)
        await realtime.authenticate(Credentials(token=token))
        await trio.sleep_until(110)
        with pytest.raises(AuthRefused, match="expired"):
            await realtime.authenticate(Credentials(token=token))
    async with realtime_node(authenticator=None) as realtime:
        assert realtime.permission.expires(User("ada", expires=NOW)) == NOW


async def test_memberships_end_with_their_token_and_go_on_with_a_new_one(autojump_clock: MockClock) -> None:
    keys = KeyedAuthenticator(AuthOptions(secret=SECRET, leeway=0), clock=Clock())
    async with realtime_node(authenticator=keys) as realtime:
        short = await realtime.authenticate(Credentials(token=signed(claims(exp=NOW + 100))))
        kept, channel, _ = await enter(realtime, "a", short)
        lost, _, _ = await enter(realtime, "a", short)
        realtime.renew(channel, await realtime.reauthenticate(short, signed(claims(exp=NOW + 1000))))

        await trio.sleep_until(99)
        assert lost.of("closed") == []
        await trio.sleep_until(101)
        assert lost.of("closed") == [["Your token has expired: send a new one, or log in again.", False]]
        assert kept.of("closed") == []
        await refused(realtime, "a", "unauthorized", short)
        await trio.sleep_until(1001)
        assert len(kept.of("closed")) == 1
        assert realtime.seats == {}


async def test_a_revocation_reaches_live_memberships(autojump_clock: MockClock) -> None:
    keys = KeyedAuthenticator(AuthOptions(secret=SECRET), clock=Clock())
    async with realtime_node(authenticator=keys) as realtime:
        user = await realtime.authenticate(Credentials(token=signed(claims(jti="t1"))))
        client, _, _ = await enter(realtime, "a", user)
        keys.revoke_token(user)

        await refused(realtime, "a", "unauthorized", user)
        await trio.sleep(61)
        assert len(client.of("closed")) == 1


async def test_who_is_revoked_and_kicked_is_out_by_every_way(autojump_clock: MockClock) -> None:
    keys = KeyedAuthenticator(AuthOptions(secret=SECRET), clock=Clock())
    async with realtime_node(authenticator=keys) as realtime:
        token = signed(claims())
        client, _, owner = await enter(realtime, "a", user := await realtime.authenticate(Credentials(token=token)))
        place = realtime.places.issue(user, owner)

        realtime.permission.revoke("ada")
        assert realtime.kick("ada") == 1
        await settle()
        assert len(client.of("closed")) == 1
        await refused(realtime, "a", "unauthorized", user)
        for attempt in (
            realtime.authenticate(Credentials(token=token)),
            realtime.reauthenticate(user, token),
            realtime.permission.stay(user),
        ):
            with pytest.raises(AuthRefused):
                await attempt
        with pytest.raises(AuthRefused):
            realtime.places.redeem(place, user, trio.current_time())
    async with realtime_node() as realtime:
        with pytest.raises(ValueError, match="revokes nothing"):
            realtime.permission.revoke("ada")


async def test_a_user_of_a_simple_authenticator_expires_too(autojump_clock: MockClock) -> None:
    class Simple:
        async def authenticate(self, credentials: Credentials, /) -> User:
            return User(credentials.token, expires=NOW + 10)

    async with realtime_node(authenticator=Simple()) as realtime:
        realtime.permission._clock = Clock()
        user = await realtime.authenticate(Credentials(token="ada"))
        client, _, _ = await enter(realtime, "a", user)
        with pytest.raises(AuthRefused):
            await realtime.reauthenticate(user, "bob")
        await trio.sleep(11)
        assert len(client.of("closed")) == 1


# --- presence keys ------------------------------------------------------------------------------------------------


async def test_nobody_is_present_under_another_s_name(autojump_clock: MockClock) -> None:
    async with realtime_node(bind_presence=True) as realtime:
        for user, key in ((ADA, None), (BOB, "ada"), (ANONYMOUS, "ada"), (ANONYMOUS, "guest:ada"), (ANONYMOUS, None)):
            _, channel, _ = await enter(realtime, "a", user)
            realtime.track(channel, {"phx_ref": "forged"}, key=key)
        await settle()
        found = await realtime.presence("a")

        assert {"ada", "bob", "guest:ada", "guest:guest:ada"} < set(found)
        assert len(found) == 5
        assert all(len(metas) == 1 for metas in found.values())
        assert "forged" not in str(found)


async def test_where_nobody_logs_in_keys_are_free(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        _, channel, _ = await enter(realtime, "a")
        realtime.track(channel, {}, key="any")
        await settle()
        assert set(await realtime.presence("a")) == {"any"}


# --- limits -------------------------------------------------------------------------------------------------------


class Paced(Client):
    """An outlet that can be slowed down."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def slow_down(self, seconds: float) -> None:
        self.waits.append(seconds)


async def test_a_flood_is_slowed_then_refused_and_costs_nobody_else(autojump_clock: MockClock) -> None:
    async with realtime_node(limits=SMALL) as realtime:
        flood = Paced()
        _, channel, _ = await enter(realtime, "a", client=flood)
        calm, other, _ = await enter(realtime, "a")
        for number in range(100):
            assert realtime.push(channel, "chat", number, ref=number)
        realtime.push(other, "chat", "calm", ref=1)
        await settle()

        refusals = [reply for reply in flood.of("reply") if reply[1] == "error"]
        assert len(refusals) == 60
        assert {reply[2]["code"] for reply in refusals} == {"rate"}
        assert flood.waits[0] == 0.0  # a warning
        assert flood.waits[1] > 0.0
        assert len(calm.of("publication")) == 40
        assert calm.of("reply") == [[1, "ok", {}]]
        await trio.sleep(flood.waits[-1] + 2)
        realtime.push(channel, "chat", "again", ref=500)
        await settle()
        assert flood.of("reply")[-1] == [500, "ok", {}]


async def test_one_connection_has_one_budget_for_all_its_topics(autojump_clock: MockClock) -> None:
    async with realtime_node(limits=SMALL) as realtime:
        client, first, owner = await enter(realtime, "a")
        _, second, _ = await enter(realtime, "b", owner=owner, client=client)
        for number in range(50):
            realtime.push(first, "chat", number, ref=number)
            realtime.push(second, "chat", number, ref=number)
        await settle()
        assert sum(status == "ok" for _, status, _ in client.of("reply")) == 40


async def test_presence_that_changes_too_often_is_gathered_and_never_refused(autojump_clock: MockClock) -> None:
    async with realtime_node(limits=SMALL) as realtime:
        client, channel, _ = await enter(realtime, "a")
        watcher, _, _ = await enter(realtime, "a")
        for number in range(500):
            assert realtime.track(channel, {"n": number}, key="k", ref=number)
            if number % 100 == 0:
                await trio.sleep(0.01)
        await trio.sleep(2)

        assert [status for _, status, _ in client.of("reply")] == ["ok"] * 500
        assert client.of("closed") == []
        assert [meta["n"] for meta in (await realtime.presence("a"))["k"]] == [499]
        assert len(watcher.of("diff")) <= 3
        realtime.track(channel, {"n": -1}, key="k")
        realtime.untrack(channel)
        await trio.sleep(2)
        assert await realtime.presence("a") == {}


async def test_presence_without_end_is_read_more_slowly_and_counts_as_what_it_is(autojump_clock: MockClock) -> None:
    async with realtime_node(limits=SMALL) as realtime:
        flood = Paced()
        _, channel, _ = await enter(realtime, "a", client=flood)
        for number in range(50):
            assert realtime.track(channel, {"n": number}, ref=number)
            assert realtime.untrack(channel, ref=number)
        assert realtime.push(channel, "chat", "as well", ref="chat")
        await settle()
        assert flood.waits[-1] > 1.0, "whoever carries the client does not read it so long"
        assert [ref for ref, status, _ in flood.of("reply") if status != "ok"] == ["chat"]


async def test_joins_are_limited_and_every_way_to_leave_gives_its_place_back(autojump_clock: MockClock) -> None:
    limits = LimitOptions(joins=Rate(1, 1000), topics=2)
    shut = Rule(topics=("shut",), deny=("join",))
    async with realtime_node(limits=limits, policy=ruled(shut)) as realtime:
        _, first, owner = await enter(realtime, "a")
        for _ in range(5):
            await refused(realtime, "shut", "unauthorized", owner=owner)
            _, again, _ = await enter(realtime, "a", owner=owner)  # while the first is still there
            realtime.leave(again)
            await settle()
        with trio.CancelScope() as scope:
            scope.cancel()
            await enter(realtime, "cancelled", owner=owner)
        await enter(realtime, "b", owner=owner)
        await refused(realtime, "c", "too_many", owner=owner)
        realtime.node.exit(first, "kill")
        await settle()
        await enter(realtime, "c", owner=owner)
        realtime.node.exit(owner, "kill")
        await settle()
        assert realtime.permission._limits == {}
        assert realtime.seats == {}


async def test_a_flood_of_joins_is_refused_with_a_code_of_its_own(autojump_clock: MockClock) -> None:
    async with realtime_node(limits=SMALL) as realtime:
        _, channel, owner = await enter(realtime, "a")
        codes = set()
        for _ in range(40):
            try:
                _, channel, _ = await enter(realtime, "a", owner=owner)
                realtime.leave(channel)
            except JoinRefused as refusal:
                codes.add(refusal.code)
        assert codes == {"rate"}


@pytest.mark.parametrize("name", ["x" * 256, "é" * 128, "\ud800", 7, None, ["a"], {}])
async def test_odd_names_of_events_and_keys_are_refused_and_break_nothing(name: Any, autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        client, channel, _ = await enter(realtime, "a")
        realtime.push(channel, name, {}, ref=1)
        realtime.track(channel, {}, key=name, ref=2)
        with pytest.raises(PublishRefused):
            await realtime.publish("a", name, {})
        await trio.sleep(1)
        realtime.push(channel, "fine", {}, ref=3)
        await settle()

        expected = ["error", "ok" if name is None else "error", "ok"]  # without a key it is the client's own
        assert [status for _, status, _ in client.of("reply")] == expected
        assert client.of("closed") == []
        assert (await realtime.history("a")).missed[-1].event == "fine"


# --- channels of one's own ----------------------------------------------------------------------------------------


def test_a_channel_class_cannot_replace_what_lets_clients_in_and_out() -> None:
    for name in ("init", "handle_cast", "handle_info", "handle_continue", "terminate"):
        with pytest.raises(TypeError, match="handle_message"):
            type("Open", (Channel,), {name: lambda self, *_: None})


async def test_a_channel_takes_what_other_actors_send(autojump_clock: MockClock) -> None:
    class Listening(Channel):
        async def handle_message(self, message: Any) -> Any:
            self.push("heard", message)
            return Stop("normal") if message == "bye" else None

    async with realtime_node() as realtime:
        realtime._classes["wsactors.realtime.channel:Channel"] = Listening
        client, channel, _ = await enter(realtime, "a")
        realtime.node.send(channel, "hello")
        realtime.node.send(channel, "bye")
        await settle()

        assert client.of("push") == [["heard", "hello"], ["heard", "bye"]]
        assert len(client.of("closed")) == 1


async def test_what_was_missed_is_not_given_to_who_may_not_read_any_more(autojump_clock: MockClock) -> None:
    allowed = True
    async with realtime_node(decider=lambda question: allowed) as realtime:
        client, _, owner = await enter(realtime, "a", ADA)
        epoch, _ = client.position
        await realtime.publish("a", "chat", "secret")
        realtime.kick("ada")
        allowed = False
        await settle()
        again = Client()
        await refused(realtime, "a", "unauthorized", ADA, since=Position(epoch, 0), owner=owner, client=again)

        assert again.got == []
