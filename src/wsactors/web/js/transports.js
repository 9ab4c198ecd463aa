// What carries a client's connections: WebTransport where it can be had, else a WebSocket, and later WebTransport again.
import { WebTransportSocket } from "./webtransport.js";

const PLACE = "/webtransport.json";
const PATIENCE_SECONDS = 2; // a network that blocks UDP says nothing at all
const PLACE_SECONDS = 5;
const SHORT_LIVED_SECONDS = 10;
export const RETURN = { first: 30, longest: 600 };

/** When WebTransport is worth a try. Pure: `now` in seconds comes in. */
export class Choice {
  constructor({ first, longest } = RETURN) {
    this.first = first;
    this.longest = longest;
    this.failures = 0;
    this.notBefore = -Infinity;
    this.since = null;
  }

  allows(now) {
    return now >= this.notBefore;
  }

  worked(now) {
    this.since = now;
  }

  /** It could not be had. */
  failed(now) {
    this.notBefore = now + Math.min(this.longest, this.first * 2 ** this.failures);
    this.failures += 1;
    this.since = null;
  }

  /** A connection has ended: one that broke at once counts as a failure, one that lasted as the opposite. */
  ended(now, isBroken) {
    if (this.since === null) return;
    const lasted = now - this.since;
    this.since = null;
    if (lasted >= SHORT_LIVED_SECONDS) this.failures = 0;
    else if (isBroken) this.failed(now);
  }
}

export class Transports {
  /** `onReturn`: called when WebTransport could be had while a WebSocket is used; the next `open` takes it at once.
   * `options`: place (where the address is told; null: never WebTransport), patience (seconds), retry, now, WebTransport,
   * WebSocket, fetch. */
  constructor(onReturn = () => {}, options = {}) {
    this.onReturn = onReturn;
    this.place = options.place === undefined ? PLACE : options.place;
    this.patience = options.patience ?? PATIENCE_SECONDS;
    this.now = options.now ?? (() => performance.now() / 1000);
    this.choice = new Choice(options.retry);
    this.WebTransport = options.WebTransport === undefined ? globalThis.WebTransport : options.WebTransport;
    this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this.fetch = options.fetch ?? ((...rest) => fetch(...rest));
    this.ready = null;
    this.timer = null;
    this.kind = "";
    this.why = ""; // why it is no WebTransport
  }

  /** A socket to `server` that is open, or opens by itself (`onopen`). */
  async open(server) {
    clearTimeout(this.timer);
    const socket = this.ready?.readyState === 1 ? this.ready : await this.tryWebTransport();
    this.ready = null;
    this.kind = socket ? "webtransport" : "websocket";
    if (socket) return socket;
    this.comeBackLater();
    return new this.WebSocket(server);
  }

  /** The socket that `open` gave has ended. */
  ended(code) {
    clearTimeout(this.timer);
    if (this.kind === "webtransport") this.choice.ended(this.now(), code === null);
  }

  close() {
    clearTimeout(this.timer);
    this.timer = null;
    this.place = null;
    this.ready?.close();
  }

  // -- inside --

  async tryWebTransport() {
    if (this.place === null || !this.choice.allows(this.now())) return null;
    if (!this.WebTransport) {
      this.why = "this browser has no WebTransport";
      return null;
    }
    try {
      const place = await this.found();
      if (!place) return null;
      const { patience: seconds, WebTransport } = this;
      const socket = await WebTransportSocket.open(place, { seconds, WebTransport });
      this.choice.worked(this.now());
      this.why = "";
      return socket;
    } catch (error) {
      this.why = String(error?.message ?? error);
      this.choice.failed(this.now());
      return null;
    }
  }

  /** Where WebTransport is; null: this node has none. */
  async found() {
    const answer = await this.fetch(this.place, { cache: "no-store", signal: AbortSignal.timeout(PLACE_SECONDS * 1000) });
    if (!answer.ok) throw new Error(`${this.place} answered ${answer.status}`);
    const place = await answer.json();
    if (place.url) return place;
    this.why = "this node has no WebTransport";
    this.choice.failed(this.now()); // it may have it after its next start
    return null;
  }

  comeBackLater() {
    if (this.place === null || !this.WebTransport) return;
    const wait = Math.max(1, this.choice.notBefore - this.now());
    this.timer = setTimeout(async () => {
      const socket = await this.tryWebTransport();
      if (this.place === null || this.kind !== "websocket") socket?.close();
      else if (socket) {
        this.ready = socket;
        this.onReturn();
      } else this.comeBackLater();
    }, wait * 1000);
  }
}
