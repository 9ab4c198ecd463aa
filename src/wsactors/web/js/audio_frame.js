// The audio frame of the native protocol: 19 bytes of header, then one Opus packet, maybe behind copies of earlier ones.
export const AUDIO = 0x01;
export const REDUNDANT = 0x02;
export const FLAG_DISCONTINUITY = 0x01;
export const FLAG_SILENCE = 0x02;
export const FLAG_LAST = 0x04;
export const FLAG_VOICE = 0x08;
export const FLAG_PRIORITY = 0x10;
export const MAX_DATAGRAM = 1150;
const UPLINK_FLAGS = FLAG_DISCONTINUITY | FLAG_SILENCE | FLAG_VOICE;
const KNOWN_FLAGS = 0x7f;
const HEADER_BYTES = 19;
const MAX_PAYLOAD = 4000;
const MAX_COPIES = 3;
const QUIETEST = 127;

/** Whether a message of the native protocol is an audio frame, by its first byte. */
export const isAudio = (buffer) => [AUDIO, REDUNDANT].includes(new Uint8Array(buffer, 0, 1)[0]);

/** The frame in an ArrayBuffer. Throws RangeError when it is none. `role` is 0 none, 1 audience, 2 speaker, 3 moderator. */
export function decodeAudio(buffer) {
  if (buffer.byteLength <= HEADER_BYTES) throw new RangeError("an audio frame is cut off");
  const view = new DataView(buffer);
  const [kind, flags, level] = [view.getUint8(0), view.getUint8(1), view.getUint8(18)];
  const timestamp = view.getUint32(10) * 0x100000000 + view.getUint32(14);
  if (!isAudio(buffer) || flags & ~KNOWN_FLAGS || level > QUIETEST || timestamp > Number.MAX_SAFE_INTEGER)
    throw new RangeError("an audio frame has an unknown kind or flags, or a value out of range");
  const { at, copies } = kind === REDUNDANT ? copiesIn(buffer, view) : { at: HEADER_BYTES, copies: [] };
  const payload = new Uint8Array(buffer, at);
  if (payload.length === 0 || payload.length > MAX_PAYLOAD) throw new RangeError("an audio frame's payload has a wrong length");
  return {
    flags,
    role: (flags >> 5) & 3,
    track: view.getUint32(2),
    sequence: view.getUint32(6),
    timestamp,
    level,
    payload,
    copies, // {payload, distance}: payloads of the frames with sequence - distance once more
  };
}

function copiesIn(buffer, view) {
  const copies = [];
  let at = HEADER_BYTES;
  for (let more = true; more; ) {
    const start = at + 2;
    if (buffer.byteLength < start || copies.length === MAX_COPIES) throw new RangeError("a copy's length is missing, or there are too many");
    const word = view.getUint16(at);
    const size = word & 0x7ff;
    at = start + size;
    if (size === 0 || buffer.byteLength <= at) throw new RangeError("the copy in an audio frame has a wrong length");
    copies.push({ payload: new Uint8Array(buffer, start, size), distance: (word >> 12) + 1 });
    more = (word & 0x800) !== 0;
  }
  return { at, copies };
}

/** The bytes of a frame that a speaker sends; its track is the server's business. */
export function encodeUplink({ sequence, timestamp, payload, level = QUIETEST, flags = 0 }) {
  if (payload.length === 0 || payload.length > MAX_DATAGRAM - HEADER_BYTES) throw new RangeError("too much for a datagram");
  if (flags & ~UPLINK_FLAGS || level < 0 || level > QUIETEST || !Number.isSafeInteger(timestamp) || timestamp < 0)
    throw new RangeError("timestamp, level or flags out of range");
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, AUDIO);
  view.setUint8(1, flags);
  view.setUint32(6, sequence % 0x100000000);
  view.setUint32(10, Math.floor(timestamp / 0x100000000));
  view.setUint32(14, timestamp % 0x100000000);
  view.setUint8(18, level);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

const CELT = [120, 240, 480, 960];
const SILK = [480, 960, 1920, 2880];
const FRAME_SAMPLES = [...SILK, ...SILK, ...SILK, 480, 960, 480, 960, ...CELT, ...CELT, ...CELT, ...CELT];

/** How many samples at 48 kHz an Opus packet lasts (RFC 6716, 3.1); 0: it does not say, or more than 120 ms. */
export function packetSamples(packet) {
  if (packet.length === 0) return 0;
  const frame = FRAME_SAMPLES[packet[0] >> 3];
  const code = packet[0] & 3;
  if (code < 3) return code === 0 ? frame : 2 * frame;
  const samples = packet.length > 1 ? (packet[1] & 0x3f) * frame : 0;
  return samples > 5760 ? 0 : samples;
}
