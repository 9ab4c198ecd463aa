// The native protocol, version 1, as a page speaks it: one WebSocket, control messages in msgpack, audio frames in binary.
import { decode, encode } from "./msgpack.js";

const AUDIO = 0x01;
const HEADER_BYTES = 19;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8000;
const PING_MS = 20000;

export const FLAG_DISCONTINUITY = 1;

/** A connection that comes back by itself. `on` has: state(text), message(object), audio(frame). */
export class Connection {
  constructor(url, on) {
    this.url = url;
    this.on = on;
    this.pause = FIRST_PAUSE_MS;
    this.nonce = 0;
    this.open();
    setInterval(() => this.send({ t: "ping", nonce: (this.nonce = (this.nonce + 1) % 0xffffffff) }), PING_MS);
  }

  open() {
    this.greeted = false;
    this.on.state("connecting");
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(encode({ t: "hello", versions: [1], client: "page" }));
    socket.onmessage = ({ data }) => this.take(data);
    socket.onclose = () => {
      this.greeted = false;
      this.on.state("offline");
      // Everybody comes back after a restart of the node, but not everybody in the same moment.
      setTimeout(() => this.open(), this.pause * (0.5 + Math.random()));
      this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
    };
  }

  send(message) {
    if (this.greeted) this.socket.send(encode(message));
  }

  take(data) {
    if (!(data instanceof ArrayBuffer) || data.byteLength === 0) return;
    if (new Uint8Array(data, 0, 1)[0] === AUDIO) {
      this.on.audio(decodeAudio(data));
      return;
    }
    const message = decode(data);
    if (message.t === "welcome") {
      this.greeted = true;
      this.pause = FIRST_PAUSE_MS;
      this.on.state("online");
    } else if (message.t === "ping") {
      this.send({ t: "pong", nonce: message.nonce });
    } else {
      this.on.message(message);
    }
  }
}

function decodeAudio(buffer) {
  if (buffer.byteLength <= HEADER_BYTES) throw new RangeError("an audio frame is cut off");
  const view = new DataView(buffer);
  return {
    flags: view.getUint8(1),
    track: view.getUint32(2),
    sequence: view.getUint32(6),
    timestamp: view.getUint32(10) * 0x100000000 + view.getUint32(14),
    level: view.getUint8(18),
    payload: new Uint8Array(buffer, HEADER_BYTES),
  };
}
