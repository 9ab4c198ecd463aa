// The JavaScript side of differential tests: takes traces as JSON on stdin, answers with what the page's modules make of them.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = pathToFileURL(`${process.argv[2]}/`);
const load = (name) => import(new URL(name, folder));
const { Backoff } = await load("backoff.js");
const { Core } = await load("core.js");
const { Latency } = await load("latency.js");
const { Membership } = await load("membership.js");
const { decode, encode } = await load("msgpack.js");

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const buffer = (text) => Uint8Array.from(Buffer.from(text, "hex")).buffer;

function traceOf({ options, numbers, steps }) {
  let next = 0;
  const core = new Core({ ...options, random: () => numbers[next++ % numbers.length] });
  return steps.map((step) => {
    const answers = [];
    const plan = apply(core, step, answers) ?? null;
    const topics = {};
    for (const [name, each] of core.topics) {
      const { phase, since, gaps, received, recovered } = each;
      topics[name] = [phase, since && [since.epoch, since.offset], gaps, received, recovered, each.presence.keys];
    }
    return {
      plan,
      answers,
      topics,
      sent: core.takeOutgoing().map((message) => hex(encode(message))),
      reconnects: core.takeEvents().filter(({ kind }) => kind === "reconnect").length,
      deadline: core.deadline,
      phase: core.phase,
      latency: [...core.latency.history],
    };
  });
}

function apply(core, [what, now, ...rest], answers) {
  const resolve = (answer) => answers.push(answer instanceof Error ? (answer.code ?? "error") : "ok");
  const options = { now, timeout: 10, resolve };
  const [topic, value] = rest;
  switch (what) {
    case "connected": core.connected(now, { token: "t" }); break;
    case "receive": core.receive(decode(buffer(topic)), now); break;
    case "disconnected": return core.disconnected(topic, value, now);
    case "tick": core.tick(now); break;
    case "measure": core.measure(now); break;
    case "join_topic": core.joinTopic(new Membership(topic, { echo: value }), options); break;
    case "leave_topic": core.leaveTopic(topic, options); break;
    case "track": core.track(topic, value, options); break;
    case "join": core.joinSession(topic, options); break;
    case "leave": core.leaveSession(topic, options); break;
    case "publish": {
      const ref = core.nextRef();
      core.ask(ref, { t: "publish", topic, event: "e", payload: value, ref }, { ...options, topic });
      break;
    }
    default: throw new Error(what);
  }
  return undefined;
}

function pausesOf({ retry, numbers, lasted }) {
  let next = 0;
  const backoff = new Backoff(retry, () => numbers[next++]);
  return lasted.map((seconds) => {
    if (seconds !== null) backoff.lasted(seconds);
    return backoff.failed();
  });
}

function latenciesOf(rounds) {
  const latency = new Latency();
  return rounds.map((times) => {
    latency.start();
    times.forEach((seconds, nonce) => {
      latency.sent(nonce, 0);
      latency.answered(nonce, seconds);
    });
    return latency.seconds;
  });
}

const { traces, pauses, latencies, values } = JSON.parse(readFileSync(0, "utf-8"));
process.stdout.write(
  JSON.stringify({
    traces: traces.map(traceOf),
    pauses: pauses.map(pausesOf),
    latencies: latencies.map(latenciesOf),
    values: values.map((text) => hex(encode(decode(buffer(text))))),
  }),
);
