// npm @supabase/realtime-js against a node: `supabase.mjs http://host:port SCENARIO TOKENS` (or `all`), TOKENS being JSON.

import { createHmac } from "node:crypto";
import { RealtimeClient } from "@supabase/realtime-js";
import { play } from "./scenarios.mjs";
import { WebSocket, first, told } from "./talk.mjs";

const scenarios = { talk, binary, mixed, presence, refuse, private: privately, replay, token, expires, rest, postgres, crash, cut, drain };
let url;
let tokens;

await play(scenarios, (node, json) => {
  url = node.replace("http", "ws") + "/realtime/v1";
  tokens = JSON.parse(json);
});

function connect({ token, ...options } = {}) {
  const quick = { reconnectAfterMs: () => 50, transport: WebSocket, timeout: 30_000 };
  const client = new RealtimeClient(url, { params: { apikey: tokens.anon }, ...quick, ...options });
  if (token) client.setAuth(tokens[token]);
  client.connect();
  return client;
}

/** Subscribe and wait for one of the states; what the client says about an error stands in `error`. */
function subscribe(channel, ...states) {
  const wanted = states.length ? states : ["SUBSCRIBED", "CHANNEL_ERROR", "TIMED_OUT"];
  return first(
    (resolve) => channel.subscribe((state, error) => wanted.includes(state) && resolve({ state, error: error?.message })),
    `subscribing ${channel.topic}`,
  );
}

async function enter(name, { token, config = {}, vsn } = {}) {
  const client = connect({ token, ...(vsn && { vsn }) });
  const channel = client.channel(name, { config });
  const { state, error } = await subscribe(channel);
  if (state !== "SUBSCRIBED") throw new Error(`${state}: ${error}`);
  return channel;
}

function send(channel, event, payload) {
  return channel.send({ type: "broadcast", event, payload });
}

function heard(channel, event, many = 1) {
  const all = [];
  return first(
    (resolve) => channel.on("broadcast", { event }, (message) => all.push(message) === many && resolve(all)),
    event,
  );
}

async function talk(say) {
  const [a, b] = [await enter("talk"), await enter("talk")];
  const chat = heard(b, "chat");
  say({ sent: await send(a, "chat", { text: "hé 😀", list: [1, 2.5, null] }) });
  say({ heard: (await chat)[0] });
  const echo = await enter("talk", { config: { broadcast: { self: true, ack: true } } });
  const own = heard(echo, "mine");
  say({ acked: await send(echo, "mine", { n: 1 }) });
  say({ own: (await own)[0].payload });
  say({ left: await a.unsubscribe() });
}

async function binary(say) {
  const [a, b] = [await enter("binary", { config: { broadcast: { ack: true } } }), await enter("binary")];
  for (const size of [0, 1, 255, 65_536, 1_000_000]) {
    const data = new Uint8Array(size).map((_, index) => index * 7);
    const next = heard(b, `data${size}`);
    const sent = await send(a, `data${size}`, data.buffer);
    const got = new Uint8Array((await next)[0].payload);
    say({ size, sent, same: got.length === size && got.every((byte, index) => byte === data[index]) });
  }
}

async function mixed(say) {
  const [now, old] = [await enter("mixed"), await enter("mixed", { vsn: "1.0.0" })];
  const [bytes, text] = [heard(old, "bytes"), heard(now, "text")];
  await send(now, "bytes", new Uint8Array([1, 2, 3]).buffer);
  await send(old, "text", { from: "1.0.0" });
  say({ bytes: (await bytes)[0].payload, text: (await text)[0].payload });
}

async function presence(say) {
  const eve = connect({ token: "eve" }).channel("presence");
  const seen = () => JSON.stringify(Object.entries(eve.presenceState()).map(([key, metas]) => [key, metas.map((meta) => meta.device).sort()]));
  const until = (wanted) =>
    first((resolve) => {
      const timer = setInterval(() => seen() === wanted && (clearInterval(timer), resolve(wanted)), 5);
    }, `presence ${wanted}`);
  const events = [];
  for (const event of ["join", "leave"]) eve.on("presence", { event }, ({ key }) => events.push([event, key]));
  eve.on("presence", { event: "sync" }, () => {});
  await subscribe(eve);
  const config = { presence: { key: "ada" } };
  const [phone, desk] = [await enter("presence", { token: "ada", config }), await enter("presence", { token: "ada", config })];
  say({ tracked: await phone.track({ device: "phone" }) });
  say({ one: await until('[["ada",["phone"]]]') });
  await desk.track({ device: "desk" });
  say({ two: await until('[["ada",["desk","phone"]]]') });
  await desk.track({ device: "laptop" });
  say({ updated: await until('[["ada",["laptop","phone"]]]') });
  say({ untracked: await phone.untrack() });
  say({ left: await until('[["ada",["laptop"]]]') });
  desk.socket.disconnect();
  say({ none: await until("[]") });
  say({ events });
}

async function refuse(say) {
  say({ private: await subscribe(connect().channel("private:1", { config: { private: true } })) });
  say({ wrong: await subscribe(connect({ token: "wrong" }).channel("talk")) });
  const bad = connect({ params: { apikey: tokens.expired } });
  const error = await first((resolve) => bad.socketAdapter.onError(resolve), "an error");
  say({ refused: Boolean(error) });
  bad.disconnect();
}

async function privately(say) {
  const config = { private: true };
  const [a, b] = [await enter("den", { token: "ada", config }), await enter("den", { token: "eve", config })];
  const [stranger, passer] = [await enter("den"), await enter("den")];
  const [chat, rest, last] = [heard(b, "chat"), heard(b, "rest"), heard(stranger, "last")];
  const all = [];
  for (const channel of [b, stranger]) channel.on("broadcast", { event: "*" }, ({ event }) => all.push(event));
  await send(a, "chat", { secret: true });
  say({ heard: (await chat)[0].payload });
  say({ sent: await a.httpSend("rest", { secret: true }) });
  say({ heard: (await rest)[0].payload });
  await send(passer, "last", {});
  await last;
  say({ all });
  const reason = await subscribe(connect().channel("den", { config }));
  say({ refused: reason.error.split(":")[0] });
  say({ prefixed: (await subscribe(connect().channel("private:den"))).error.split(":")[0] });
}

async function replay(say) {
  const started = Date.now();
  const a = await enter("replay", { token: "ada", config: { private: true, broadcast: { ack: true } } });
  for (let n = 0; n < 5; n++) await send(a, "chat", { n });
  const client = connect({ token: "eve" });
  const channel = client.channel("replay", {
    config: { private: true, broadcast: { replay: { since: started - 1000, limit: 3 } } },
  });
  const chat = heard(channel, "chat", 3);
  await subscribe(channel);
  say({ replayed: (await chat).map(({ payload, meta }) => [payload.n, meta.replayed, typeof meta.id]) });
}

async function token(say) {
  const client = connect({ token: "ada" });
  const channel = client.channel("private:token", { config: { private: true, broadcast: { ack: true } } });
  await subscribe(channel);
  await client.setAuth(tokens.ada2);
  say({ sent: await send(channel, "chat", {}) });
  const said = first((resolve) => channel.on("system", {}, resolve), "a system message");
  await client.setAuth(tokens.expired);
  say({ said: await said });
}

/** A token of ada's that is good for so long from now on. */
function brief(seconds) {
  const body = { exp: Math.ceil(Date.now() / 1000) + seconds, sub: "ada", role: "authenticated" };
  const signed = [{ alg: "HS256", typ: "JWT" }, body].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  return `${signed}.${createHmac("sha256", tokens.secret).update(signed).digest("base64url")}`;
}

/** A token that expires when its channel is joined, and not before: the busier the machine, the longer it has to hold. */
async function expires(say) {
  for (let seconds = 2; ; seconds *= 2) {
    tokens.brief = brief(seconds);
    const client = connect({ token: "brief" });
    const channel = client.channel("expires");
    const said = new Promise((resolve) => channel.on("system", {}, resolve));
    if ((await subscribe(channel)).state === "SUBSCRIBED") return say({ said: await first((resolve) => said.then(resolve), "a system message") });
    client.disconnect();
  }
}

async function rest(say) {
  const b = await enter("rest");
  const client = connect();
  const a = client.channel("rest");
  const [text, data, fallback] = [heard(b, "text/1"), heard(b, "data"), heard(b, "fallback")];
  say({ text: await a.httpSend("text/1", { by: "REST" }) });
  say({ heard: (await text)[0].payload });
  say({ data: await a.httpSend("data", new Uint8Array([1, 255]).buffer) });
  say({ bytes: [...new Uint8Array((await data)[0].payload)] });
  say({ fallback: await send(a, "fallback", { unjoined: true }) });
  say({ heard: (await fallback)[0].payload });
}

async function postgres(say) {
  const channel = connect().channel("postgres");
  const said = first((resolve) => channel.on("system", {}, resolve), "a system message");
  channel.on("postgres_changes", { event: "*", schema: "public", table: "t", filter: "id=eq.1" }, () => {});
  channel.on("postgres_changes", { event: "INSERT", schema: "public" }, () => {});
  say({ subscribed: (await subscribe(channel)).state });
  const { extension, status } = await said;
  say({ extension, status });
}

/** The channel's states from now on, as its callback is told them. */
function following(channel) {
  const states = [];
  channel.subscribe((state) => states.push(state));
  return (wanted) =>
    first((resolve) => {
      const timer = setInterval(() => states.join().endsWith(wanted) && (clearInterval(timer), resolve(states.join())), 5);
    }, wanted);
}

async function crash(say) {
  const channel = connect().channel("room:crash");
  const until = following(channel);
  await until("SUBSCRIBED");
  await send(channel, "crash", {});
  say({ states: await until("SUBSCRIBED,CHANNEL_ERROR,SUBSCRIBED") });
}

async function cut(say) {
  const client = connect();
  const a = client.channel("cut");
  const until = following(a);
  await until("SUBSCRIBED");
  const b = await enter("cut");
  client.socketAdapter.getSocket().conn.terminate();
  say({ states: await until("SUBSCRIBED,CHANNEL_ERROR,SUBSCRIBED") });
  const chat = heard(a, "chat");
  await send(b, "chat", { text: "welcome back" });
  say({ heard: (await chat)[0].payload });
}

async function drain(say) {
  const client = connect({ reconnectAfterMs: () => 60_000 });
  await subscribe(client.channel("drain"));
  const closed = first((resolve) => client.socketAdapter.onClose(resolve), "the close");
  say({ ready: true });
  say({ code: (await closed).code });
  await told();
}
