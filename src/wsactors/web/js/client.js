// A client of a node for pages: sessions to hear, topics to talk on, over all its connections (docs/protocol.md).
//
//   const client = new Client("wss://radio.example/ws");
//   const lobby = await client.joinTopic("room:lobby", { onMessage: ({ event, payload }) => show(event, payload) });
//   await lobby.publish("said", { text: "hello" });
import { decodeAudio, isAudio } from "./audio_frame.js";
import { Core } from "./core.js";
import { ClientError, Disconnected } from "./errors.js";
import { Membership } from "./membership.js";
import { decode, encode } from "./msgpack.js";
import { Transports } from "./transports.js";

export { ClientError, Disconnected };
const REPLY_SECONDS = 10;
const CONNECT_SECONDS = 10;
const LONGEST_TIMER_MS = 2 ** 31 - 1; // what is longer, browsers take for 0
const BROKEN = 1006;
const NOTHING = () => {};
const MOST_EARLY = 20; // frames that are kept until the word comes that their session has been joined
const EARLY_SECONDS = 1;

/** One joined topic, over all connections. */
class Topic {
  constructor(client, membership, { onMessage = NOTHING, onChange = NOTHING }) {
    this.client = client;
    this.membership = membership;
    this.onMessage = onMessage;
    this.onChange = onChange;
  }

  get name() {
    return this.membership.topic;
  }

  /** Who is there: `keys`, `metas(key)`. */
  get presence() {
    return this.membership.presence;
  }

  /** Send this to everybody; its place in the history, or nothing without `ack`. */
  publish(event, payload = null, { ack = true, echo = null, id = "", timeout } = {}) {
    const message = { t: "publish", topic: this.name, event, payload };
    if (echo !== null) message.echo = echo;
    if (id) message.id = id;
    return this.client.say(message, ack, timeout);
  }

  /** Send this to the client's channel; what that answers, or nothing without `ack`. */
  push(event, payload = null, { ack = true, timeout } = {}) {
    return this.client.say({ t: "push", topic: this.name, event, payload }, ack, timeout);
  }

  /** Be present with `meta`, also after coming back; null: be present no more. */
  track(meta, { timeout } = {}) {
    this.client.check(this.name);
    return this.client.request((options) => this.client.core.track(this.name, meta, options), timeout);
  }

  untrack(options) {
    return this.track(null, options);
  }

  leave() {
    if (!this.client.core.topics.has(this.name)) return Promise.resolve();
    return this.client.request((options) => this.client.core.leaveTopic(this.name, options));
  }
}

/** A client that comes back by itself.
 *
 * `servers`: an address, a list that is tried in turn, or a (maybe async) function that gives the one to try next.
 * `on`: functions that are told, all optional: state("connecting" | "online" | "offline" | "failed", reason),
 * joined(message), left(message), event(message), refused(message), audio(frame), hint(message), measured(seconds).
 * `options`: name, token (a text or a function that gives one), apiKey, retry, rhythm, now (seconds, monotonic), random,
 * transports (for a Transports; without it there are only WebSockets), WebSocket. */
export class Client {
  constructor(servers, on = {}, options = {}) {
    this.servers = servers;
    this.on = on;
    this.token = options.token ?? "";
    this.apiKey = options.apiKey ?? "";
    this.now = options.now ?? (() => performance.now() / 1000);
    const { WebSocket, transports = { place: null } } = options;
    this.transports = new Transports(() => this.change("by WebTransport again"), { WebSocket, now: this.now, ...transports });
    this.core = new Core({ ...options, canRenew: typeof this.token === "function" });
    this.topics = new Map();
    this.tracks = new Map(); // by session: the upper half of its tracks' numbers
    this.early = [];
    this.attempts = 0;
    this.connections = 0;
    this.socket = null;
    this.timer = null;
    this.waiting = null;
    this.failure = null;
    this.breakOff = NOTHING;
    this.closed = false;
    this.connect();
  }

  /** Whether there is a connection at this moment. */
  get online() {
    return this.core.phase === "online";
  }

  /** How long messages take to the node and back: `seconds`, `history`. */
  get latency() {
    return this.core.latency;
  }

  // -- sessions --

  /** The sessions that can be joined. */
  sessions() {
    if (this.core.requests.has("sessions")) return Promise.reject(new ClientError("already waiting for the sessions"));
    return this.request((options) => this.core.ask("sessions", { t: "list" }, options));
  }

  /** Hear a session, on this connection and all that follow; frames come to `on.audio`. */
  join(session, { timeout } = {}) {
    return this.request((options) => this.core.joinSession(session, options), timeout);
  }

  leave(session) {
    return this.request((options) => this.core.leaveSession(session, options));
  }

  /** Do something in a joined session (docs/stage.md); what the node answers. */
  act(session, action, args = {}, { timeout } = {}) {
    return this.request((options) => this.core.act(session, action, args, options), timeout);
  }

  /** Send an audio frame to the session in which one speaks; it may be lost, and is when there is no connection. */
  speak(frame) {
    if (this.online) this.socket?.send(frame);
  }

  /** Tell the node how well tracks are heard (docs/protocol.md). */
  report(tracks) {
    this.core.report(tracks, this.now());
    this.settle();
  }

  // -- topics --

  /** Be a member of a topic, on this connection and all that follow. `options`: params, presence, echo, private, since,
   * timeout, onMessage(message), onChange(topic). */
  async joinTopic(name, options = {}) {
    if (this.core.topics.has(name)) throw new ClientError(`${name} is joined already, or will be`);
    const membership = new Membership(name, options);
    const topic = new Topic(this, membership, options);
    this.topics.set(membership, topic);
    await this.request((more) => this.core.joinTopic(membership, more), options.timeout);
    return topic;
  }

  // -- the connection --

  /** What carries the connection: "webtransport" or "websocket". */
  get transport() {
    return this.transports.kind;
  }

  /** End this connection and make another at once. */
  change(reason) {
    this.core.planned = true;
    this.breakOff(reason);
  }

  /** Seconds that a ping and its answer take. */
  async ping() {
    const nonce = this.core.nextNonce();
    const before = this.now();
    await this.request((options) => this.core.ask(`pong ${nonce}`, { t: "ping", nonce }, options));
    return this.now() - before;
  }

  /** Show a new token on the present connection. */
  authenticate(token) {
    const ref = this.core.nextRef();
    return this.request((options) => this.core.ask(ref, { t: "auth", ref, token }, options));
  }

  /** The network is back, or the page visible again: do not wait any longer. */
  hurry() {
    this.waiting?.();
    this.core.tick(this.now());
    this.settle();
  }

  /** End it. */
  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.waiting?.();
    this.core.giveUp(new Disconnected("closed", "closed"));
    this.transports.close();
    this.socket?.close(1000);
  }

  // -- for topics --

  check(topic) {
    if (!this.core.topics.has(topic)) throw new ClientError(`not_joined: ${topic} is not joined`, "not_joined");
  }

  async say(message, ack, timeout) {
    this.check(message.topic);
    if (!ack) {
      this.core.tell(message);
      this.settle();
      return undefined;
    }
    const ref = this.core.nextRef();
    const { topic } = message;
    return this.request((options) => this.core.ask(ref, { ...message, ref }, { ...options, topic }), timeout);
  }

  request(start, timeout = REPLY_SECONDS) {
    return new Promise((resolve, reject) => {
      if (this.core.phase === "ended" || this.closed) {
        reject(this.failure ?? new Disconnected("closed", "closed"));
        return;
      }
      const settle = (answer) => (answer instanceof Error ? reject(answer) : resolve(answer));
      start({ now: this.now(), timeout, resolve: settle });
      this.settle();
    });
  }

  // -- inside --

  async connect() {
    while (!this.closed) {
      this.attempts += 1;
      this.tell("state", "connecting", "");
      const { code, reason } = await this.connection();
      if (this.closed) return;
      const plan = this.core.disconnected(code, reason, this.now());
      if (plan.wait === null) this.failure = new Disconnected(plan.reason, plan.code);
      this.tell("state", plan.wait === null ? "failed" : "offline", plan.reason);
      this.settle();
      if (plan.wait === null) return;
      await this.pause(plan.wait);
    }
  }

  pause(seconds) {
    return new Promise((done) => {
      const timer = setTimeout(done, seconds * 1000);
      this.waiting = () => {
        clearTimeout(timer);
        done();
      };
    }).finally(() => (this.waiting = null));
  }

  /** One connection, from the first byte to the last. */
  async connection() {
    let socket;
    let token;
    try {
      const server = await this.nextServer();
      token = typeof this.token === "function" ? await this.token() : this.token;
      socket = await this.transports.open(server);
    } catch (error) {
      return { code: null, reason: String(error) };
    }
    return new Promise((ended) => {
      this.socket = socket;
      socket.binaryType = "arraybuffer";
      const patience = setTimeout(() => this.end(socket, ended, null, "no answer"), CONNECT_SECONDS * 1000);
      const opened = () => {
        clearTimeout(patience);
        this.core.connected(this.now(), { token, apiKey: this.apiKey });
        this.settle();
      };
      socket.onopen = opened;
      socket.onmessage = ({ data }) => this.take(socket, ended, data);
      socket.onclose = ({ code, reason }) => {
        clearTimeout(patience);
        this.end(socket, ended, code === BROKEN ? null : code, reason || "the connection is gone");
      };
      this.breakOff = (reason) => this.end(socket, ended, null, reason);
      if (this.closed) socket.close(1000);
      else if (socket.readyState === 1) {
        opened();
        socket.start?.();
      }
    });
  }

  end(socket, ended, code, reason) {
    if (this.socket !== socket) return;
    this.socket = null;
    this.transports.ended(this.core.planned ? 1000 : code);
    socket.onmessage = socket.onopen = socket.onclose = NOTHING;
    socket.close();
    ended({ code, reason });
  }

  async nextServer() {
    if (typeof this.servers === "function") return this.servers();
    return Array.isArray(this.servers) ? this.servers[(this.attempts - 1) % this.servers.length] : this.servers;
  }

  take(socket, ended, data) {
    let frame = null;
    try {
      if (!(data instanceof ArrayBuffer) || data.byteLength === 0) throw new RangeError("expected binary messages");
      if (isAudio(data)) frame = decodeAudio(data);
      else this.core.receive(decode(data), this.now());
    } catch (error) {
      this.end(socket, ended, 1002, `the node broke the protocol: ${error.message}`);
      return;
    }
    if (frame === null) this.settle();
    else {
      this.core.heardFrom(this.now());
      this.hear(frame);
    }
  }

  /** Datagrams wait for nothing: what a session begins with may be there before the word that it has been joined. */
  hear(frame) {
    for (const upper of this.tracks.values()) {
      if (upper === frame.track >>> 16) return this.tell("audio", frame);
    }
    if (this.early.push({ frame, came: this.now() }) > MOST_EARLY) this.early.shift();
  }

  joined(message) {
    this.tracks.set(message.session, message.track >>> 16);
    this.tell("joined", message);
    const early = this.early.splice(0);
    for (const { frame, came } of early) if (this.now() - came < EARLY_SECONDS) this.hear(frame);
  }

  /** After anything was done with the core: act on its events, send its messages, mind its deadline. */
  settle() {
    for (const event of this.core.takeEvents()) {
      try {
        this.happened(event);
      } catch (error) {
        // What a page's own function throws is the page's to see, and disturbs nobody else.
        setTimeout(() => {
          throw error;
        });
      }
    }
    if (this.socket?.readyState === 1) {
      for (const message of this.core.takeOutgoing()) this.socket.send(encode(message));
    }
    clearTimeout(this.timer);
    const { deadline } = this.core;
    if (deadline === null || this.closed) return;
    const wait = Math.min(LONGEST_TIMER_MS, Math.max(0, (deadline - this.now()) * 1000));
    this.timer = setTimeout(() => this.wake(), wait);
  }

  wake() {
    this.core.tick(this.now());
    this.settle();
  }

  happened({ kind, message, membership, reason, seconds }) {
    if (kind === "topic" || kind === "message") this.actOnTopic(membership, message);
    else if (kind === "reconnect") this.breakOff(reason);
    else if (kind === "measured") this.tell("measured", seconds);
    else if (kind === "expiring") this.renew();
    else if (kind === "joined") this.joined(message);
    else if (kind === "online") {
      this.connections += 1;
      this.tell("state", "online", "");
    } else if (kind !== "offline") {
      if (kind === "left") this.tracks.delete(message.session);
      this.tell(kind, message);
    }
  }

  actOnTopic(membership, message) {
    const topic = this.topics.get(membership);
    if (!topic) return;
    if (message) topic.onMessage(message, topic);
    else topic.onChange(topic);
    if (membership.phase === "ended") this.topics.delete(membership);
  }

  async renew() {
    if (typeof this.token !== "function") return;
    try {
      await this.authenticate(await this.token());
    } catch (error) {
      this.tell("refused", { code: error.code ?? "", message: error.message }); // the node ends the connection, and says so
    }
  }

  tell(name, ...details) {
    this.on[name]?.(...details);
  }
}
