// The part of a client's core that is about being a member: of sessions and topics, over all connections
// (wsactors.client.member_core).
import { Backoff } from "./backoff.js";
import { ClientError, refusal } from "./errors.js";
import { Requests } from "./requests.js";

const REJOIN = { first: 0.5, longest: 10, attempts: null };
const PASSING = new Set(["timeout", "crash", "rate", "overloaded", "internal", "no_session"]);
const MAX_TOPICS = 100;
const utf8 = new TextEncoder();

export class MemberCore {
  constructor(random) {
    this.random = random;
    this.phase = "offline";
    this.version = 2;
    this.requests = new Requests();
    this.topics = new Map();
    this.sessions = new Map();
    this.outgoing = [];
    this.events = [];
    this.ref = 0;
    this.pausedUntil = 0;
    this.rejoins = new Map();
  }

  /** Messages to send, as objects, oldest first. */
  takeOutgoing() {
    return this.outgoing.splice(0);
  }

  /** What has happened: objects with `kind`, oldest first. */
  takeEvents() {
    return this.events.splice(0);
  }

  nextRef() {
    this.ref = (this.ref % 0xffffffff) + 1;
    return this.ref;
  }

  /** Make a request; `resolve` gets the answer, or an Error. `topic`: not before that is joined. */
  ask(key, message, { now, timeout, resolve, topic = "" }) {
    this.requests.add({ key, message, deadline: now + timeout, resolve, topic, survives: false });
    this.flush(now);
  }

  /** Send something on a topic that wants no answer. Throws when that is not joined now. */
  tell(message) {
    if (this.phase !== "online" || !this.isJoined(message.topic)) {
      throw new ClientError(`not_joined: ${message.topic} is not joined at the moment`, "not_joined");
    }
    this.send(message);
  }

  // -- sessions --

  joinSession(name, { now, timeout, resolve }) {
    this.sessions.set(name, { name, backoff: new Backoff(REJOIN, this.random), phase: "wanted", againAt: null });
    const message = { t: "join", session: name };
    this.requests.add({ key: `joined ${name}`, message, deadline: now + timeout, resolve, survives: true }, true);
    this.flush(now);
  }

  leaveSession(name, { now, timeout, resolve }) {
    this.sessions.delete(name);
    this.ask(`left ${name}`, { t: "leave", session: name }, { now, timeout, resolve });
  }

  /** Do something in a session that is joined. */
  act(session, action, args, options) {
    if (this.phase !== "online" || this.sessions.get(session)?.phase !== "joined") {
      options.resolve(new ClientError(`not_joined: ${session} is not joined at the moment`, "not_joined"));
      return;
    }
    const ref = this.nextRef();
    this.ask(ref, { t: "act", ref, session, action, args }, options);
  }

  // -- topics --

  joinTopic(membership, { now, timeout, resolve }) {
    const { topic } = membership;
    this.topics.set(topic, membership);
    this.rejoins.set(topic, new Backoff(REJOIN, this.random));
    const message = { t: "join_topic", topic };
    const key = `topic_joined ${topic}`;
    this.requests.add({ key, message, deadline: now + timeout, resolve, survives: true }, true);
    this.flush(now);
  }

  leaveTopic(topic, { now, timeout, resolve }) {
    const ref = this.nextRef();
    this.endTopic(topic, null);
    this.ask(ref, { t: "leave_topic", ref, topic }, { now, timeout, resolve });
  }

  /** Be present on a topic with `meta`, also after coming back; null: be present no more. */
  track(topic, meta, { now, timeout, resolve }) {
    this.topics.get(topic).meta = meta;
    const ref = this.nextRef();
    const message = meta === null ? { t: "untrack", topic, ref } : { t: "track", topic, meta, ref };
    this.ask(ref, message, { now, timeout, resolve, topic });
  }

  /** What has been seen of each topic, for a hello; not more than about `limit` bytes. */
  positions(limit) {
    const found = {};
    let left = limit;
    let count = 0;
    for (const [topic, { since, phase }] of this.topics) {
      if (!since || phase === "ended") continue;
      left -= utf8.encode(topic).length + utf8.encode(since.epoch).length + 32;
      if (left < 0 || count === MAX_TOPICS) break;
      found[topic] = since;
      count += 1;
    }
    return found;
  }

  // -- what the node says --

  take(message, now) {
    switch (message.t) {
      case "joined": this.takeSessionJoined(message); break;
      case "left":
        this.events.push({ kind: "left", message });
        if (!this.requests.resolve(`left ${message.session}`, message)) this.sessions.delete(message.session);
        break;
      case "topic_joined": this.takeTopicJoined(message, now); break;
      case "topic_left": this.takeTopicLeft(message, now); break;
      case "reply": this.takeReply(message); break;
      case "published": this.takePublished(message); break;
      case "authenticated": this.requests.resolve(message.ref, message); break;
      default: this.takeTopicItem(message);
    }
  }

  /** An error that belongs to a request or a join; false: to none that is known. */
  takeError(error, now) {
    const said = refusal(error);
    const { ref = 0, topic = "", session: name = "", after = 0 } = error;
    if (ref && this.requests.resolve(ref, said)) return true;
    const membership = this.topics.get(topic);
    if (membership?.phase === "joining" && ref === membership.ref) {
      this.joinFailed(membership, error.code, after, said, now);
      return true;
    }
    const session = this.sessions.get(name);
    if (session?.phase === "joining") {
      this.events.push({ kind: "refused", message: error });
      if (this.requests.resolve(`joined ${name}`, said) || !PASSING.has(error.code)) this.sessions.delete(name);
      else {
        session.phase = "wanted";
        session.againAt = now + session.backoff.failed();
      }
      return true;
    }
    return false;
  }

  // -- connections --

  /** These the node joins again by itself. */
  restored(topics) {
    for (const topic of topics) {
      const membership = this.topics.get(topic);
      if (membership) {
        membership.phase = "joining";
        membership.ref = 0;
      }
    }
  }

  loseConnection(error) {
    this.requests.loseConnection(error);
    this.pausedUntil = 0;
    for (const membership of this.topics.values()) {
      membership.loseConnection();
      this.events.push({ kind: "topic", membership });
    }
    for (const session of this.sessions.values()) Object.assign(session, { phase: "wanted", againAt: null });
  }

  giveUp(error) {
    this.requests.fail(error);
    for (const topic of [...this.topics.keys()]) this.endTopic(topic, error);
    this.sessions.clear();
  }

  endTopic(topic, error) {
    const membership = this.topics.get(topic);
    this.topics.delete(topic);
    this.rejoins.delete(topic);
    if (!membership) return;
    membership.end(error);
    this.events.push({ kind: "topic", membership });
    const gone = error ?? new ClientError(`not_joined: ${topic} was left`, "not_joined");
    this.requests.fail(gone, (request) => request.topic === topic);
    this.requests.resolve(`topic_joined ${topic}`, gone);
  }

  /** A request has had no answer in time. */
  expire(request) {
    if (request.message.t === "join_topic") {
      this.endTopic(request.message.topic, null);
      if (this.phase === "online") {
        this.send({ t: "leave_topic", ref: this.nextRef(), topic: request.message.topic });
      }
    } else if (request.message.t === "join") this.sessions.delete(request.message.session);
    request.resolve(new ClientError(`no answer to ${request.message.t} in time`, "no_answer"));
  }

  /** When something that waits can be sent; null: when something else happens. */
  get nextFlush() {
    if (this.pausedUntil) return this.pausedUntil;
    return earliest([...this.topics.values(), ...this.sessions.values()].map((each) => each.againAt));
  }

  /** Send whatever may be sent now. */
  flush(now) {
    if (this.phase !== "online" || now < this.pausedUntil) return;
    this.pausedUntil = 0;
    const due = (each) => each.phase === "wanted" && (each.againAt === null || each.againAt <= now);
    for (const session of this.sessions.values()) {
      if (!due(session)) continue;
      Object.assign(session, { phase: "joining", againAt: null });
      this.send({ t: "join", session: session.name });
    }
    for (const membership of [...this.topics.values()]) if (due(membership)) this.requestJoin(membership);
    for (const request of this.requests.takeSendable((topic) => this.isJoined(topic))) this.send(request.message);
  }

  // -- inside --

  isJoined(topic) {
    return this.topics.get(topic)?.phase === "joined";
  }

  requestJoin(membership) {
    if (this.version >= 2) this.send(membership.join(this.nextRef()));
    else {
      const said = `version: this node speaks version ${this.version}, which knows no topics`;
      this.endTopic(membership.topic, new ClientError(said, "version"));
    }
  }

  joinFailed(membership, code, after, said, now) {
    const { topic } = membership;
    if (this.requests.has(`topic_joined ${topic}`) || !PASSING.has(code)) {
      this.endTopic(topic, said);
      return;
    }
    membership.phase = "wanted";
    membership.againAt = now + Math.max(after, this.rejoins.get(topic).failed());
  }

  takeSessionJoined(message) {
    const session = this.sessions.get(message.session);
    if (session) {
      session.phase = "joined";
      session.backoff.failures = 0;
    }
    this.events.push({ kind: "joined", message });
    this.requests.resolve(`joined ${message.session}`, message);
  }

  takeTopicJoined(message, now) {
    const membership = this.topics.get(message.topic);
    if (membership?.phase !== "joining" || message.ref !== membership.ref) return;
    if (message.ref) membership.tracked = null;
    membership.takeJoined(message);
    membership.joinedAt = now;
    this.events.push({ kind: "topic", membership });
    this.requests.resolve(`topic_joined ${message.topic}`, membership);
    const { meta } = membership;
    if (meta !== null && meta !== membership.tracked && !this.requests.holdsTrack(message.topic)) {
      this.send({ t: "track", topic: message.topic, meta });
      membership.tracked = meta;
    }
    this.flush(now);
  }

  takeTopicLeft({ topic, ref = 0, code = "left", reason = "" }, now) {
    if (ref) {
      this.requests.resolve(ref, null);
      return;
    }
    const membership = this.topics.get(topic);
    if (membership?.phase !== "joined") return;
    if (code !== "crash") {
      this.endTopic(topic, new ClientError(`${code}: ${reason}`, code));
      return;
    }
    const backoff = this.rejoins.get(topic);
    backoff.lasted(now - membership.joinedAt);
    membership.loseConnection();
    membership.againAt = now + backoff.failed();
    this.events.push({ kind: "topic", membership });
  }

  takeReply({ ref, status = "ok", response = null }) {
    const said = new ClientError(`refused: ${JSON.stringify(response)}`, "push", { details: response });
    const request = this.requests.resolve(ref, status === "ok" ? response : said);
    const membership = request && status === "ok" ? this.topics.get(request.topic) : undefined;
    if (membership && request.message.t === "track") membership.tracked = request.message.meta;
    if (membership && request.message.t === "untrack") membership.tracked = null;
  }

  takePublished(message) {
    const request = this.requests.resolve(message.ref, { epoch: message.epoch ?? "", offset: message.offset ?? 0 });
    const membership = request?.message.t === "publish" ? this.topics.get(request.topic) : undefined;
    membership?.takePublished(message, request.message.echo ?? membership.echo);
  }

  takeTopicItem(message) {
    const membership = this.topics.get(message.topic);
    if (membership?.phase !== "joined") return;
    let told = null;
    if (message.t === "message") told = membership.takeMessage(message);
    else if (message.t === "push") told = membership.takePush(message);
    else if (message.t === "presence_state") membership.presence.takeState(message.state ?? {});
    else if (message.t === "presence_diff") membership.presence.takeDiff(message.joins ?? {}, message.leaves ?? {});
    this.events.push({ kind: told ? "message" : "topic", membership, message: told });
  }

  send(message) {
    this.outgoing.push(message);
  }
}

/** The smallest of `times` that are there; null when none is. */
export function earliest(times) {
  let first = null;
  for (const time of times) if (time !== null && (first === null || time < first)) first = time;
  return first;
}
