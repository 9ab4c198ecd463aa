// What of a microphone's packets is sent, and with which numbers. Pure: packets in, audio frames out.
//
// While somebody speaks, everything goes, beginning with what was just before the first loud packet. Silence is not sent: a
// few packets marked as such tell the node that a stretch is over. Timestamps count the microphone's samples all the time, so
// that they show how long a pause was.
import { encodeUplink, FLAG_DISCONTINUITY, FLAG_SILENCE, FLAG_VOICE, MAX_DATAGRAM } from "./audio_frame.js";
import { VoiceDetector } from "./voice.js";

const BEFORE = 2; // packets that are sent late, when the next one turns out to be speech
const ENDINGS = 3; // packets marked as silence: one of them will arrive
const HEADER_BYTES = 19;
const QUIETEST = 127;
const SILENT_PACKET = Uint8Array.of(0xf8, 0xff, 0xfe); // 20 ms of digital silence, mono, as libopus codes it

export class Uplink {
  constructor(detector = new VoiceDetector()) {
    this.detector = detector;
    this.sequence = 0;
    this.held = [];
    this.endings = 0;
    this.isSending = false;
    this.sent = 0;
  }

  /** The frames to send because a packet was encoded: `{ timestamp, samples, level, payload }`. `open`: one may be heard. */
  take(packet, open) {
    const speaks = this.detector.hear(packet.level, packet.samples) && open;
    if (packet.payload.length > MAX_DATAGRAM - HEADER_BYTES) return [];
    if (speaks) return this.speak(packet);
    // What was heard while one may not be heard is never sent, not even as the end of a word.
    const heard = open ? packet : { ...packet, level: QUIETEST, payload: SILENT_PACKET };
    if (this.endings > 0) {
      this.endings -= 1;
      return [this.frame(heard, FLAG_SILENCE)];
    }
    this.isSending = false;
    if (open) this.held.push(packet);
    else this.held = [];
    if (this.held.length > BEFORE) this.held.shift();
    return [];
  }

  speak(packet) {
    const found = [];
    let flags = this.isSending ? 0 : FLAG_DISCONTINUITY;
    for (const each of this.held) {
      found.push(this.frame(each, flags));
      flags = 0;
    }
    this.held = [];
    this.isSending = true;
    this.endings = ENDINGS;
    found.push(this.frame(packet, flags | (this.detector.voiced ? FLAG_VOICE : 0)));
    return found;
  }

  frame({ timestamp, payload, level }, flags) {
    const { sequence } = this;
    this.sequence = (this.sequence + 1) % 0x100000000;
    this.sent += 1;
    return encodeUplink({ sequence, timestamp, payload, level, flags });
  }
}
