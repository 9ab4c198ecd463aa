// The client's side of the native protocol without a socket or a clock: messages and `now` in, messages and events out
// (wsactors.client.core, in the same words; a test holds the two against each other).
import { Backoff } from "./backoff.js";
import { Disconnected, refusal } from "./errors.js";
import { Latency } from "./latency.js";
import { earliest, MemberCore } from "./member_core.js";

const VERSIONS = [2, 1];
const UNAUTHORIZED = 4401;
const GIVEN_UP = { 1002: "protocol", 4403: "kicked", 4409: "replaced", 4426: "version" };
const HELLO_BYTES = 12 * 1024;
/** Seconds of silence after which the node is asked whether it is there, in which it must answer, between measurements. */
export const RHYTHM = { heartbeat: 20, patience: 10, latency: 60 };

export class Core extends MemberCore {
  /** `options`: name, retry (null: never), rhythm, canRenew (whether another token can be had), random. */
  constructor({ name = "", retry = {}, rhythm = {}, canRenew = false, random = Math.random } = {}) {
    super(random);
    this.name = name;
    this.latency = new Latency();
    this.welcome = null;
    this.retry = retry;
    this.rhythm = { ...RHYTHM, ...rhythm };
    this.canRenew = canRenew;
    this.backoff = new Backoff(retry ?? {}, random);
    this.since = 0;
    this.heard = 0;
    this.asked = null;
    this.nonce = 0;
    this.roundAt = null;
    this.drainAt = null;
    this.planned = false;
    this.hinted = null;
    this.resumeUntil = 0;
    this.lastError = null;
    this.probe = null;
  }

  // -- the connection --

  /** A WebSocket to a node is open: greet it. */
  connected(now, { token = "", apiKey = "" } = {}) {
    this.phase = "greeting";
    this.version = VERSIONS[0];
    this.since = this.heard = now;
    this.asked = this.drainAt = this.lastError = this.probe = null;
    this.planned = false;
    const hello = { t: "hello", versions: VERSIONS, client: this.name };
    if (token) hello.token = token;
    if (apiKey) hello.api_key = apiKey;
    const resume = this.welcome?.resume ?? "";
    if (resume && now < this.resumeUntil) {
      hello.resume = resume;
      hello.topics = this.positions(HELLO_BYTES);
    }
    this.send(hello);
  }

  /** Take a control message from the node. */
  receive(message, now) {
    this.heardFrom(now);
    switch (message.t) {
      case "welcome": this.takeWelcome(message, now); break;
      case "ping": this.send({ t: "pong", nonce: message.nonce }); break;
      case "pong": this.takePong(message, now); break;
      case "error": this.takeAnyError(message, now); break;
      case "hint": this.takeHint(message, now); break;
      case "event": case "expiring": this.events.push({ kind: message.t, message }); break;
      case "probe": this.probe = { nonce: message.nonce, at: now }; break;
      case "sessions": this.requests.resolve("sessions", message.sessions); break;
      default: this.take(message, now);
    }
  }

  /** Anything has come, also sound. */
  heardFrom(now) {
    this.heard = now;
    this.asked = null;
  }

  /** The connection has ended with a close code (null: it broke, or was not made): { wait, code, reason }. */
  disconnected(code, reason, now) {
    if (this.phase === "online") {
      this.backoff.lasted(now - this.since);
      this.resumeUntil = now + (this.welcome?.resume_for ?? 0);
    }
    this.phase = "offline";
    this.outgoing = [];
    this.latency.stop();
    this.roundAt = null;
    const plan = this.plan(code, reason, now);
    this.drainAt = this.hinted = null;
    this.planned = false;
    const error = new Disconnected(plan.reason, plan.code);
    this.events.push({ kind: "offline", plan });
    if (plan.wait === null) {
      this.phase = "ended";
      this.giveUp(error);
    } else this.loseConnection(error);
    return plan;
  }

  /** Do what time asks for. */
  tick(now) {
    for (const request of this.requests.expired(now)) this.expire(request);
    const { patience, heartbeat } = this.rhythm;
    if (this.phase === "greeting" && now - this.since >= patience) this.leave("the node does not greet");
    if (this.phase !== "online") return;
    if (this.asked !== null && now - this.asked >= patience) this.leave("the node does not answer");
    else if (this.asked === null && now - this.heard >= heartbeat) {
      this.asked = now;
      this.send({ t: "ping", nonce: this.nextNonce() });
    }
    if (this.drainAt !== null && now >= this.drainAt) {
      this.drainAt = null;
      this.planned = true;
      this.leave("the node stops");
    }
    if (this.roundAt !== null && now >= this.roundAt) this.measure(now);
    this.flush(now);
  }

  /** When `tick` is to be called at the latest; null: not before something else happens. */
  get deadline() {
    const found = [this.requests.deadline];
    const { patience, heartbeat } = this.rhythm;
    if (this.phase === "greeting") found.push(this.since + patience);
    else if (this.phase === "online") {
      found.push(this.asked === null ? this.heard + heartbeat : this.asked + patience);
      found.push(this.drainAt, this.roundAt, this.nextFlush);
    }
    return earliest(found);
  }

  /** Begin to measure the latency, unless that is going on. */
  measure(now) {
    if (this.phase !== "online") return;
    this.roundAt = null;
    this.latency.start();
    this.pingForLatency(now);
  }

  /** Tell how well tracks are heard, if the node understands that. */
  report(tracks, now) {
    if (this.phase !== "online" || this.version < 2 || !tracks.length) return;
    const { probe } = this;
    this.send({ t: "report", tracks, ...(probe ? { probe: probe.nonce, held: Math.max(0, now - probe.at) } : {}) });
  }

  nextNonce() {
    this.nonce = (this.nonce % 0xffffffff) + 1;
    return this.nonce;
  }

  // -- inside --

  takeWelcome(message, now) {
    this.phase = "online";
    this.version = message.version;
    this.since = now;
    this.welcome = message;
    this.events.push({ kind: "online", message });
    this.restored(message.resumed ?? []);
    this.flush(now);
    if (this.rhythm.latency !== null) this.measure(now);
  }

  takePong({ nonce }, now) {
    if (this.latency.answered(nonce, now)) {
      this.events.push({ kind: "measured", seconds: this.latency.history.at(-1) });
      this.roundAt = this.rhythm.latency === null ? null : now + this.rhythm.latency;
    }
    this.requests.resolve(`pong ${nonce}`, null);
    this.pingForLatency(now);
  }

  takeAnyError(error, now) {
    if (this.phase === "online" && this.takeError(error, now)) return;
    this.lastError = error;
    this.events.push({ kind: "refused", message: error });
    const named = error.session ? [`joined ${error.session}`, `left ${error.session}`] : null;
    const about = ({ key }) => typeof key === "string" && (named === null || named.includes(key));
    this.requests.fail(refusal(error), about);
  }

  takeHint(message, now) {
    const { hint, after = 0, within = 0 } = message;
    this.events.push({ kind: "hint", message });
    if (hint === "drain") this.drainAt = now + after + this.random() * within;
    else if (hint === "reconnect") this.hinted = { after, within };
    else if (hint === "slow_down") this.pausedUntil = Math.max(this.pausedUntil, now + after);
  }

  pingForLatency(now) {
    if (!this.latency.wantsPing) return;
    const nonce = this.nextNonce();
    this.latency.sent(nonce, now);
    this.send({ t: "ping", nonce });
  }

  leave(reason) {
    this.events.push({ kind: "reconnect", reason });
  }

  plan(code, text, now) {
    const said = this.lastError;
    const reason = said?.message ?? text;
    const word = GIVEN_UP[code] ?? said?.code ?? "";
    if (code in GIVEN_UP || (code === UNAUTHORIZED && !this.canRenew) || this.retry === null) {
      return { wait: null, code: word, reason };
    }
    if (this.planned || this.drainAt !== null) {
      return { wait: Math.max(0, (this.drainAt ?? now) - now), code: word, reason };
    }
    const wait = this.backoff.failed();
    if (wait === null) {
      const { failures } = this.backoff;
      return { wait: null, code: "connection_failed", reason: `gave up after ${failures} attempts: ${reason}` };
    }
    const { hinted } = this;
    return { wait: hinted ? hinted.after + this.random() * hinted.within : wait, code: word, reason };
  }
}
