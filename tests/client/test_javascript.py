"""The page's client and this package's are one: given the same, their cores do the same."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import attrs
import msgpack
import pytest

from wsactors.client.backoff import Backoff, Retry
from wsactors.client.core import Core, Reconnect, Rhythm
from wsactors.client.errors import ClientError, Disconnected
from wsactors.client.latency import PINGS, Latency
from wsactors.client.membership import Membership
from wsactors.wire import native

HERE = Path(__file__).parent
MODULES = HERE.parents[1] / "src" / "wsactors" / "web" / "js"
TOPICS = ("a", "b", "ü")
TRACES, STEPS = 100, 60


@attrs.define
class Tracer:
    """Drives a core by chance, as a node, a network and a program would, and writes down what it did."""

    chance: random.Random
    core: Core
    now: float = 100.0
    steps: list[Any] = attrs.field(factory=list)
    seen: list[Any] = attrs.field(factory=list)
    sent: list[Any] = attrs.field(factory=list)

    def step(self, what: str, *rest: Any) -> None:
        self.now += self.chance.choice([0.0, 0.001, 0.1, 0.5, 3.0, 12.0])
        answers: list[str] = []

        def resolve(answer: Any) -> None:
            answers.append(answer.code if isinstance(answer, ClientError | Disconnected) else "ok")

        plan = self.apply(what, rest, {"now": self.now, "timeout": 10.0, "resolve": resolve})
        self.steps.append([what, self.now, *(each.hex() if isinstance(each, bytes) else each for each in rest)])
        self.sent = [native.decode_client(data) for data in self.core.take_outgoing()]
        self.seen.append(
            {
                "plan": None if plan is None else attrs.asdict(plan),
                "answers": answers,
                "topics": {name: self.told(each) for name, each in self.core.topics.items()},
                "sent": list(self.sent),
                "reconnects": sum(isinstance(event, Reconnect) for event in self.core.take_events()),
                "deadline": self.core.deadline,
                "phase": self.core.phase,
                "latency": list(self.core.latency.history),
            }
        )

    def told(self, each: Membership) -> list[Any]:
        since = None if each.since is None else [each.since.epoch, each.since.offset]
        return [each.phase, since, each.gaps, each.received, each.recovered, list(each.presence.keys)]

    def apply(self, what: str, rest: tuple[Any, ...], options: Any) -> Any:
        core = self.core
        match what, *rest:
            case "connected", *_:
                core.connected(self.now, token="t")
            case "receive", data:
                core.receive(data, self.now)
            case "disconnected", code, reason:
                return core.disconnected(code, reason, self.now)
            case "tick", *_:
                core.tick(self.now)
            case "measure", *_:
                core.measure(self.now)
            case "join_topic", topic, echo:
                core.join_topic(Membership(topic, echo=echo), **options)
            case "leave_topic", topic:
                core.leave_topic(topic, **options)
            case "track", topic, meta:
                core.track(topic, meta, **options)
            case "join", session:
                core.join_session(session, **options)
            case "leave", session:
                core.leave_session(session, **options)
            case "publish", topic, value:
                ref = core.next_ref()
                core.ask(ref, native.Publish(topic, "e", value, ref), topic=topic, **options)
        return None

    def run(self) -> None:
        """One life."""
        while len(self.steps) < STEPS and self.core.phase != "ended":
            answer = self.answer()
            if answer is not None and self.chance.random() < 0.8:
                self.step("receive", native.encode(answer))
            else:
                self.step(*self.choose())

    def choose(self) -> tuple[Any, ...]:
        chance, core = self.chance, self.core
        free = [topic for topic in TOPICS if topic not in core.topics]
        mine = [topic for topic in TOPICS if topic in core.topics]
        found: list[tuple[Any, ...]] = [("tick",), ("measure",)]
        if core.phase == "offline":
            found += [("connected",)] * 4 + [("disconnected", None, "nobody there")]
        else:
            found += [("disconnected", chance.choice([None, None, 1000, 1012, 4401]), "gone")]
        found += [("join_topic", topic, chance.random() < 0.5) for topic in free]
        for topic in mine:
            found += [("publish", topic, chance.randrange(9)), ("leave_topic", topic)]
            found += [("track", topic, {"n": chance.randrange(9)}), ("track", topic, None)]
        if ("joined", "s") not in core.requests:
            found.append(("join", "s"))
        if ("left", "s") not in core.requests:
            found.append(("leave", "s"))
        if core.phase == "online":
            found += [("receive", native.encode(message)) for message in self.spontaneous()]
        return chance.choice(found)

    def answer(self) -> Any:
        """What a node says to one of the messages sent last."""
        chance = self.chance
        if not self.sent or self.core.phase == "offline":
            return None
        asked = self.sent.pop(0)
        refused = native.Error(
            chance.choice(["rate", "unauthorized", "timeout"]), "no", "", getattr(asked, "ref", 0), after=0.5
        )
        match asked:
            case native.Hello(topics=topics, resume=resume):
                kept = tuple(topics)[:1] if resume and chance.random() < 0.7 else None
                return native.Welcome(2, "n", resume="r", resume_for=chance.choice([5.0, 60.0]), resumed=kept)
            case native.JoinTopic(ref, topic, since=since):
                if chance.random() < 0.3:
                    return attrs.evolve(refused, topic=topic)
                recovered = None if since is None else chance.random() < 0.5
                missed = chance.randrange(3) if recovered else 0
                return native.TopicJoined(ref, topic, chance.choice("xy"), 10 + missed, recovered, missed)
            case native.Join(session):
                bad = native.Error(chance.choice(["no_session", "too_many"]), "no", session)
                return chance.choice([native.Joined(session, 1), bad])
            case native.Leave(session):
                return native.Left(session)
            case native.LeaveTopic(ref, topic):
                return native.TopicLeft(topic, ref)
            case native.Publish(ref=ref):
                return chance.choice([native.Published(ref, "x", chance.randrange(1, 20)), refused])
            case native.Track(ref=ref) | native.Untrack(ref=ref) if ref:
                return chance.choice([native.Reply(ref), native.Reply(ref, "error", {"reason": "no"})])
            case native.Ping(nonce):
                return native.Pong(nonce)
        return None

    def spontaneous(self) -> list[Any]:
        chance = self.chance
        topic = chance.choice(TOPICS)
        metas: dict[str, list[dict[str, native.Plain]]] = {chance.choice("pq"): [{"phx_ref": chance.choice("12")}]}
        return [
            native.Message(topic, "e", 1, chance.choice("xy"), chance.randrange(20)),
            native.Message(topic, "e", 2, "x", chance.randrange(20)),
            native.TopicJoined(0, topic, "x", 3, True, 1),
            native.Push(topic, "e", None),
            native.PresenceState(topic, metas),
            native.PresenceDiff(topic, metas, {}),
            native.PresenceDiff(topic, {}, metas),
            native.TopicLeft(topic, 0, chance.choice(["crash", "crash", "ended"]), "why"),
            native.Left("s", "over"),
            native.Hint(chance.choice(["reconnect", "drain", "slow_down"]), 2.0, 3.0),
            native.Error(chance.choice(["expired", "internal"]), "no"),
            native.Ping(1),
        ]


def make_trace(seed: int) -> tuple[dict[str, Any], list[Any]]:
    chance = random.Random(seed)
    numbers = [chance.random() for _ in range(97)]
    drawn = iter(numbers * 100)
    retry = chance.choice([None, Retry(), Retry(first=1.0, longest=4.0, attempts=6, stable=2.0)])
    rhythm = Rhythm(heartbeat=4.0, patience=2.0, latency=chance.choice([None, 5.0]))
    can_renew = chance.random() < 0.5
    core = Core(name="x", retry=retry, rhythm=rhythm, can_renew=can_renew, random=lambda: next(drawn))
    tracer = Tracer(chance, core)
    tracer.run()
    options = {
        "name": "x",
        "retry": None if retry is None else attrs.asdict(retry),
        "rhythm": attrs.asdict(rhythm),
        "canRenew": can_renew,
    }
    return {"options": options, "numbers": numbers, "steps": tracer.steps}, tracer.seen


VALUES: list[Any] = [
    None, True, 0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53 - 1, -1, -32, -33, -128, -129, -32_768,
    -32_769, -(2**31), -(2**31) - 1, -(2**53) + 1, 0.5, -1e300, 5e-324, "", "é" * 20, "x" * 300, "x" * 70_000, b"",
    b"\x00" * 300, b"\xff" * 70_000, [1] * 20, [[]] * 300, [0.5] * 70_000, {"a": {"b": [b"c", None]}},
    {str(n): n for n in range(40)},
]  # fmt: skip


@pytest.fixture(scope="module")
def both() -> Any:
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        pytest.skip("no node here: `apt-get install nodejs`")
    chance = random.Random(7)
    pauses = [
        {
            "retry": attrs.asdict(retry),
            "numbers": [chance.random() for _ in range(30)],
            "lasted": [chance.choice([None, 1.0, 5.0, 50.0]) for _ in range(30)],
        }
        for retry in (Retry(), Retry(attempts=None), Retry(first=0.01, longest=0.05, attempts=9, stable=2.0))
    ]
    latencies = [[[chance.random() for _ in range(PINGS)] for _ in range(14)] for _ in range(5)]
    traces = [make_trace(seed) for seed in range(TRACES)]
    question = {
        "traces": [trace for trace, _ in traces],
        "pauses": pauses,
        "latencies": latencies,
        "values": [msgpack.packb(value).hex() for value in VALUES],
    }
    done = subprocess.run(
        [node, str(HERE / "js_side.mjs"), str(MODULES)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return question, json.loads(done.stdout), [seen for _, seen in traces]


def test_pauses_are_the_same(both: Any) -> None:
    question, answer, _ = both
    for asked, theirs in zip(question["pauses"], answer["pauses"], strict=True):
        numbers = iter(asked["numbers"])
        backoff = Backoff(Retry(**asked["retry"]), numbers.__next__)
        ours = []
        for seconds in asked["lasted"]:
            if seconds is not None:
                backoff.lasted(seconds)
            ours.append(backoff.failed())
        assert theirs == ours


def test_latencies_are_the_same(both: Any) -> None:
    question, answer, _ = both
    for rounds, theirs in zip(question["latencies"], answer["latencies"], strict=True):
        latency, ours = Latency(), []
        for times in rounds:
            latency.start()
            for nonce, seconds in enumerate(times):
                latency.sent(nonce, 0.0)
                latency.answered(nonce, seconds)
            ours.append(latency.seconds)
        assert theirs == pytest.approx(ours)


def test_every_life_is_the_same(both: Any) -> None:
    _, answer, seen = both
    kinds: set[str] = set()
    for number, (theirs, ours) in enumerate(zip(answer["traces"], seen, strict=True)):
        for step, (their, our) in enumerate(zip(theirs, ours, strict=True)):
            their["sent"] = [native.decode_client(bytes.fromhex(data)) for data in their["sent"]]
            their["latency"] = pytest.approx(their["latency"])
            kinds |= {message.KIND for message in our["sent"]}
            assert our == their, f"trace {number}, step {step}"
    assert kinds >= {
        "hello",
        "join_topic",
        "leave_topic",
        "publish",
        "track",
        "untrack",
        "join",
        "leave",
        "ping",
        "pong",
    }


def test_the_lives_that_are_compared_are_eventful(both: Any) -> None:
    """A comparison of nothing would be passed, too."""
    _, _, seen = both
    steps = [step for trace in seen for step in trace]
    assert any(step["plan"] and step["plan"]["code"] == "connection_failed" for step in steps)
    assert any(step["reconnects"] for step in steps)
    assert any(step["latency"] for step in steps)
    topics = [topic for step in steps for topic in step["topics"].values()]
    assert {recovered for _, _, _, _, recovered, _ in topics} == {None, True, False}
    assert any(gaps for _, _, gaps, _, _, _ in topics)
    resumed = [
        message for step in steps for message in step["sent"] if isinstance(message, native.Hello) and message.topics
    ]
    assert len(resumed) > 10


def test_what_their_codec_writes_ours_reads(both: Any) -> None:
    _, answer, _ = both
    for value, theirs in zip(VALUES, answer["values"], strict=True):
        assert msgpack.unpackb(bytes.fromhex(theirs)) == value


EARLY = """
const { Client } = await import(process.argv[1]);
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex")).buffer;
const [welcome, joined, ...frames] = process.argv.slice(2).map(bytes);
const heard = [];
class Socket {
  constructor() {
    this.sent = 0;
    setTimeout(() => { this.readyState = 1; this.onopen(); });
  }
  send() {
    const answers = this.sent++ === 0 ? [welcome] : [...frames, joined];
    for (const data of answers) setTimeout(() => this.onmessage({ data }));
  }
  close() {}
}
const note = (what) => {
  if (heard.push(what) < 5) return;
  console.log(JSON.stringify(heard));
  process.exit(0);
};
const told = {
  audio: ({ sequence }) => note(sequence),
  joined: () => note("joined"),
  state: (text) => { if (text === "online") client.join("main"); },
};
const client = new Client("ws://x/ws", told, { WebSocket: Socket, rhythm: { latency: null } });
"""


def test_a_page_hears_what_a_session_begins_with_though_it_comes_before_the_word() -> None:
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        pytest.skip("no node here: `apt-get install nodejs`")
    track = 0x12340000
    frames = [native.encode_audio(track + 1, number, number * 960, b"said") for number in range(4)]
    other = native.encode_audio(7, 99, 0, b"stray")
    said = [
        native.encode(native.Welcome(2, "node")),
        native.encode(native.Joined("main", track)),
        other,
        *frames,
    ]
    done = subprocess.run(
        [node, "--input-type=module", "-e", EARLY, str(MODULES / "client.js"), *(data.hex() for data in said)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["joined", 0, 1, 2, 3]
