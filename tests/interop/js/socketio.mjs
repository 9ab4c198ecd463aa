// npm socket.io-client against a node: `socketio.mjs http://host:port SCENARIO`, or `all`. A scenario's name ends with what
// it is played on: polling, websocket, or upgrade (from the one to the other, which is what clients do by themselves).

import { io } from "socket.io-client";
import { play } from "./scenarios.mjs";
import { first, told } from "./talk.mjs";

const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
const SIZES = [0, 1, 255, 65_536, 1_000_000];
const everywhere = { talk, refuse, binary, rooms, namespaces, recovery, dismissed, burst, topics, crash };
const scenarios = { drain: (say) => drain(say, "upgrade"), stale: (say) => stale(say, "websocket") };
for (const [name, scenario] of Object.entries(everywhere)) {
  for (const on of Object.keys(TRANSPORTS)) scenarios[`${name} ${on}`] = (say) => scenario(say, on);
}

let url;
await play(scenarios, (node) => {
  url = node;
});

function open(namespace, on, options = {}) {
  return io(url + namespace, { transports: TRANSPORTS[on], forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50, ...options });
}

function once(emitter, event) {
  return first((resolve) => emitter.once(event, (...values) => resolve(values)), event);
}

async function connected(namespace, on, options) {
  const socket = open(namespace, on, options);
  await once(socket, "connect");
  return socket;
}

/** Resolve when `there()` is true: a message is on its way to others while its sender's acknowledgement has arrived. */
function until(there, what) {
  return first((resolve) => {
    const timer = setInterval(() => there() && (clearInterval(timer), resolve()), 5);
  }, what);
}

/** The transport that a socket has come to. */
async function settled(socket, on) {
  const { engine } = socket.io;
  if (on === "upgrade" && engine.transport.name !== "websocket") await once(engine, "upgrade");
  return engine.transport.name;
}

async function talk(say, on) {
  const socket = open("/", on, { auth: { token: "t", more: [1] } });
  const auth = once(socket, "auth");
  await once(socket, "connect");
  say({ auth: await auth });
  say({ transport: await settled(socket, on) });
  const back = once(socket, "message-back");
  socket.emit("message", "hé 😀", 1.5, null, { a: [true] });
  say({ back: await back });
  say({ ack: await new Promise((resolve) => socket.emit("message-with-ack", 1, "2", (...all) => resolve(all))) });
  socket.disconnect();
}

async function refuse(say, on) {
  const [refused] = await once(open("/rooms", on, { auth: { refuse: { code: 17 } } }), "connect_error");
  say({ message: refused.message, data: refused.data });
  const [unknown] = await once(open("/nowhere", on), "connect_error");
  say({ message: unknown.message });
}

async function binary(say, on) {
  const socket = await connected("/", on);
  await settled(socket, on);
  for (const size of SIZES) {
    const data = Buffer.alloc(size, size & 255);
    const answer = await socket.timeout(30_000).emitWithAck("message-with-ack", { at: [data] });
    say({ size, same: Buffer.isBuffer(answer.at[0]) && data.equals(answer.at[0]) });
  }
  const many = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((each) => Buffer.from([each]));
  const back = once(socket, "message-back");
  socket.emit("message", ...many);
  say({ many: (await back).map((each) => each[0]) });
  socket.disconnect();
}

async function rooms(say, on) {
  const [ada, bob, cat] = await Promise.all([0, 1, 2].map(() => connected("/rooms", on)));
  const [a, b] = [`a ${on}`, `b ${on}`];
  await Promise.all([ada.emitWithAck("join", a), bob.emitWithAck("join", b), cat.emitWithAck("join", a), cat.emitWithAck("join", b)]);
  const heard = { ada: [], bob: [], cat: [] };
  for (const [name, socket] of Object.entries({ ada, bob, cat })) socket.on("word", (word) => heard[name].push(word));
  await ada.emitWithAck("say", [a, b], [], "word", "both");
  await ada.emitWithAck("say", [a, b], [b], "word", "not b");
  await ada.emitWithAck("say", [bob.id], [], "word", "to bob");
  await cat.emitWithAck("leave", b);
  await ada.emitWithAck("say", [b], [], "word", "b again");
  await until(() => heard.bob.length === 3 && heard.cat.length === 1, "the words");
  bob.on("asked", (value, answer) => answer(value + 1, Buffer.from([7])));
  const asked = await bob.emitWithAck("ask", 41);
  say({ heard, asked: [asked[0], asked[1][0]] });
  for (const socket of [ada, bob, cat]) socket.disconnect();
}

async function namespaces(say, on) {
  const manager = open("/", on);
  const custom = manager.io.socket("/custom", { auth: { b: 2 } });
  const auths = [once(manager, "auth"), once(custom, "auth")];
  say({ auths: await Promise.all(auths) });
  say({ ids: manager.id !== custom.id });
  custom.disconnect();
  say({ ack: await manager.emitWithAck("message-with-ack", "still here") });
  manager.disconnect();
}

async function recovery(say, on) {
  const socket = await connected("/rooms", on);
  const other = await connected("/rooms", on);
  const heard = [];
  socket.on("word", (...words) => heard.push(words[0]));
  const room = `recovery ${on}`;
  await socket.emitWithAck("join", room);
  await other.emitWithAck("say", [room], [], "word", "before");
  await until(() => heard.length === 1, "the first word");
  const { id } = socket;
  await settled(socket, on);
  const gone = once(socket, "disconnect");
  socket.io.reconnection(false); // it comes back when it has missed something, however long that takes
  cut(socket);
  const [reason] = await gone;
  await other.emitWithAck("say", [room], [], "word", "missed 1");
  await other.emitWithAck("say", [room], [], "word", "missed 2");
  const back = once(socket, "connect");
  socket.connect();
  await back;
  await other.emitWithAck("say", [room], [], "word", "after");
  await until(() => heard.length === 4, "the last word");
  say({ reason, recovered: socket.recovered, sameId: socket.id === id, heard });
  socket.disconnect();
  other.disconnect();
}

/** Break the connection without a word, as a network does. */
function cut(socket) {
  const { transport } = socket.io.engine;
  if (transport.ws) transport.ws.terminate?.() ?? transport.ws.close();
  else socket.io.engine.close();
}

async function stale(say, on) {
  const socket = await connected("/rooms", on);
  await socket.emitWithAck("join", "stale");
  socket.auth = { pid: "made up", offset: "made up" };
  const { id } = socket;
  cut(socket);
  await once(socket, "connect");
  say({ recovered: socket.recovered, sameId: socket.id === id });
  socket.disconnect();
}

async function dismissed(say, on) {
  const socket = await connected("/rooms", on);
  const gone = once(socket, "disconnect");
  socket.emit("leave me");
  say({ reason: (await gone)[0], active: socket.active });
  socket.connect();
  await once(socket, "connect");
  const lost = once(socket, "disconnect");
  socket.emit("leave me", true);
  say({ reason: (await lost)[0] });
  socket.disconnect();
}

async function crash(say, on) {
  const socket = await connected("/rooms", on);
  const gone = once(socket, "disconnect");
  socket.emit("crash");
  say({ reason: (await gone)[0] });
  socket.connect();
  await once(socket, "connect");
  say({ again: (await socket.emitWithAck("join", "x")).includes("x") });
  socket.disconnect();
}

async function burst(say, on) {
  const socket = await connected("/rooms", on);
  const numbers = [];
  const all = first((resolve) => socket.on("burst", (number) => numbers.push(number) === 200 && resolve()), "burst");
  socket.emit("burst", 200);
  await all;
  const echo = await connected("/", on);
  const backs = [];
  const answered = first((resolve) => echo.on("message-back", (number) => backs.push(number) === 500 && resolve()), "backs");
  for (let number = 0; number < 500; number++) echo.emit("message", number);
  await answered;
  say({ burst: numbers.every((number, index) => number === index), backs: backs.every((number, index) => number === index) });
  socket.disconnect();
  echo.disconnect();
}

async function topics(say, on) {
  const [ada, bob] = await Promise.all([0, 1].map(() => connected("/topics", on)));
  const topic = `topic ${on}`;
  const joined = await ada.emitWithAck("subscribe", topic, { params: { name: "ada" } });
  await bob.emitWithAck("subscribe", topic);
  const message = once(ada, "message");
  const published = await bob.emitWithAck("publish", topic, "shout", { a: [1, Buffer.from([2])] });
  const [name, event, payload, about] = await message;
  const presence = once(ada, "presence_diff");
  await bob.emitWithAck("track", topic, { status: "here" });
  const [, diff] = await presence;
  const left = once(ada, "presence_diff");
  await bob.emitWithAck("unsubscribe", topic);
  await left;
  const refused = await bob.emitWithAck("publish", topic, "shout", {});
  const missed = once(bob, "message");
  const again = await bob.emitWithAck("subscribe", topic, { since: { epoch: joined.epoch, offset: 0 } });
  say({
    joined: joined.status, published: published.status, name: name === topic, event, payload: [payload.a[0], payload.a[1][0]],
    offset: about.offset, joins: Object.values(diff.joins)[0][0].status, refused: refused.code,
    recovered: again.recovered, missed: (await missed)[1],
  });
  ada.disconnect();
  bob.disconnect();
}

async function drain(say, on) {
  const socket = await connected("/rooms", on);
  await settled(socket, on);
  const gone = once(socket, "disconnect");
  const tries = once(socket.io, "reconnect_attempt");
  say({ ready: true });
  say({ reason: (await gone)[0], attempt: (await tries)[0] });
  await told();
  socket.disconnect();
}
