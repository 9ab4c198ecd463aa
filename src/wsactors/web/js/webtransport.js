// The native protocol over WebTransport (docs/protocol.md): messages on one stream, audio frames as datagrams.
//
// To a client, a connection of this kind looks like a WebSocket that is open: `send`, `close`, `onmessage`, `onclose`.
import { AUDIO, REDUNDANT } from "./audio_frame.js";

export const PROTOCOL = "wsactors-v2";
const BROKEN = 1006;
const MOST_BYTES = 16 * 1024 * 1024;
const DATAGRAMS = 200; // that wait for a page which is busy; then the oldest go
const DATAGRAM_MS = 500;
const NOTHING = () => {};

/** The bytes of a QUIC varint (RFC 9000, 16). */
export function varint(value) {
  if (value < 0x40) return Uint8Array.of(value);
  if (value < 0x4000) return Uint8Array.of(0x40 | (value >> 8), value & 0xff);
  if (value >= 0x40000000) throw new RangeError("too large");
  return Uint8Array.of(0x80 | (value >> 24), (value >> 16) & 0xff, (value >> 8) & 0xff, value & 0xff);
}

/** A message behind its length, as it goes on a stream. */
export function prefixed(message) {
  const head = varint(message.length);
  const bytes = new Uint8Array(head.length + message.length);
  bytes.set(head);
  bytes.set(message, head.length);
  return bytes;
}

/** Takes messages out of a stream, in whatever pieces it comes. */
export class LengthPrefixed {
  constructor(limit = MOST_BYTES) {
    this.limit = limit;
    this.pieces = [];
    this.size = 0;
  }

  /** The messages that `piece` completes, as ArrayBuffers. Throws RangeError for what is too large. */
  feed(piece) {
    this.pieces.push(piece);
    this.size += piece.length;
    const found = [];
    for (let wanted = this.wanted(); wanted !== null && wanted.end <= this.size; wanted = this.wanted()) {
      const bytes = this.join();
      found.push(bytes.slice(wanted.start, wanted.end).buffer);
      this.size -= wanted.end;
      this.pieces = [bytes.subarray(wanted.end)];
    }
    return found;
  }

  /** Where the next message begins and ends; null: not even its length has come. */
  wanted() {
    if (this.size === 0) return null;
    if (this.pieces[0].length < 8) this.join();
    const [bytes] = this.pieces;
    if (bytes.length === 0) return null;
    const start = 1 << (bytes[0] >> 6);
    if (bytes.length < start) return null;
    let length = bytes[0] & 0x3f;
    for (let i = 1; i < start; i += 1) length = length * 256 + bytes[i];
    if (length > this.limit) throw new RangeError(`a message may have ${this.limit} bytes, this one says ${length}`);
    return { start, end: start + length };
  }

  join() {
    if (this.pieces.length === 1) return this.pieces[0];
    const bytes = new Uint8Array(this.size);
    let at = 0;
    for (const piece of this.pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    this.pieces = [bytes];
    return bytes;
  }
}

/** What `/webtransport.json` says, as WebTransport wants it: `url`, and the certificates' digests where no authority vouches. */
export function optionsOf({ hashes = [] }) {
  const options = { protocols: [PROTOCOL], requireUnreliable: true, congestionControl: "low-latency" };
  if (hashes.length > 0) options.serverCertificateHashes = hashes.map(digest);
  return options;
}

function digest(hash) {
  const text = typeof hash === "string" ? hash : hash.value;
  if (/^[0-9a-f]{64}$/i.test(text)) {
    return { algorithm: "sha-256", value: Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16)) };
  }
  return { algorithm: "sha-256", value: Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)) };
}

/** A WebTransport session with the control stream. */
export class WebTransportSocket {
  /** Connect. Rejects when it is not there within `seconds`, or refused. */
  static async open(place, { seconds, WebTransport = globalThis.WebTransport }) {
    const session = new WebTransport(place.url, optionsOf(place));
    session.closed.catch(NOTHING);
    let timer;
    const patience = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("no answer by UDP")), seconds * 1000);
    });
    try {
      await Promise.race([session.ready, patience]);
      const stream = await Promise.race([session.createBidirectionalStream(), patience]);
      return new WebTransportSocket(session, stream);
    } catch (error) {
      session.ready.catch(NOTHING);
      session.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  constructor(session, stream) {
    this.kind = "webtransport";
    this.readyState = 1;
    this.onmessage = this.onclose = NOTHING;
    this.session = session;
    this.control = stream.writable.getWriter();
    const { datagrams } = session;
    datagrams.incomingHighWaterMark = DATAGRAMS;
    datagrams.incomingMaxAge = datagrams.outgoingMaxAge = DATAGRAM_MS;
    this.audio = (datagrams.createWritable?.() ?? datagrams.writable).getWriter();
    this.audio.closed.catch(NOTHING);
    this.control.closed.catch(NOTHING);
    this.incoming = stream.readable;
    session.closed.then(
      ({ closeCode, reason }) => this.end(closeCode || BROKEN, reason),
      (error) => this.end(BROKEN, String(error?.message ?? error)),
    );
  }

  /** Begin to read: whoever has set `onmessage` calls it once. */
  start() {
    this.readMessages();
    this.readAudio();
  }

  /** Send a message, or an audio frame: that goes as a datagram, now or never. */
  send(bytes) {
    if (this.readyState !== 1) return;
    if (bytes[0] !== AUDIO && bytes[0] !== REDUNDANT) this.control.write(prefixed(bytes)).catch(NOTHING);
    else if (this.audio.desiredSize > 0) this.audio.write(bytes).catch(NOTHING);
  }

  close(code = 1000, reason = "") {
    if (this.readyState === 1) this.session.close({ closeCode: code, reason });
    this.end(code, reason);
  }

  // -- inside --

  end(code, reason) {
    if (this.readyState !== 1) return;
    this.readyState = 3;
    this.onclose({ code, reason });
  }

  async readMessages() {
    const reader = this.incoming.getReader();
    const messages = new LengthPrefixed();
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        for (const data of messages.feed(next.value)) this.onmessage({ data });
      }
      this.lost("the node ended the stream");
    } catch (error) {
      this.lost(String(error?.message ?? error));
    }
  }

  async readAudio() {
    const reader = this.session.datagrams.readable.getReader();
    try {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        const { value } = next;
        this.onmessage({ data: value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength) });
      }
    } catch (error) {
      this.lost(String(error?.message ?? error));
    }
  }

  /** Reading has ended. What the node has said about it comes with `closed`, a moment later. */
  lost(reason) {
    setTimeout(() => {
      if (this.readyState !== 1) return;
      this.session.close();
      this.end(BROKEN, reason);
    }, 200);
  }
}
