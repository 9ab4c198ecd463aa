// The receiving end of one track: frames in as they come, packets out in their order, and counters for the node.
//
// What comes in order goes to the decoder at once; behind a gap, frames wait until the missing one would have to be played.
// Copies in later frames (kind 2) fill gaps. What to do about the rest is the playout's business (worklet.js), which knows
// by the timestamps how much is missing. Pure: `now` in seconds, and when sound is due, come in.
import { FLAG_DISCONTINUITY, FLAG_LAST, FLAG_SILENCE, packetSamples } from "./audio_frame.js";
import { ArrivalDelay } from "./delay.js";
import { LateGate } from "./late.js";

const LEAP = 1500; // frames: a sequence that is farther away belongs to a stream that was begun anew
const REMEMBERED = 512;
const MOST_WAITING = 256;
const LEAD_SECONDS = 0.025; // to decode a packet and bring its sound to the audio thread
const U32 = 0x100000000;

const signed = (difference) => (difference % U32 + U32 + U32 / 2) % U32 - U32 / 2;

export class JitterBuffer {
  constructor(rate = 48000, options = {}) {
    this.rate = rate;
    this.delay = new ArrivalDelay(options);
    this.gate = new LateGate(rate);
    this.counts = { received: 0, lost: 0, recovered: 0, late: 0, runs: 0, duplicates: 0, stale: 0 };
    this.sequence = 0;
    this.restart();
  }

  /** The connection is another one: frames come another way, and may begin anywhere. */
  restart() {
    this.gate.reset();
    this.delay.reset();
    this.top = null; // the number of the newest sequence, which does not wrap
    this.next = null;
    this.seen = new Set();
    this.waiting = new Map();
    this.wasLost = false;
  }

  /** Whether frames wait for one that is missing. */
  get hasGap() {
    return this.waiting.size > 0;
  }

  /** Take a frame that came `now`. False: it was no use. */
  put(frame, now) {
    const samples = packetSamples(frame.payload);
    if (samples === 0) return false;
    if (frame.flags & FLAG_DISCONTINUITY) this.gate.reset();
    if (this.gate.lateness(frame.timestamp, now) === null) {
      this.counts.stale += 1;
      return false;
    }
    const number = this.place(frame);
    if (this.seen.has(number)) {
      this.counts.duplicates += 1;
      return false;
    }
    this.remember(number);
    this.counts.received += 1;
    // The frame before a word was sent late on purpose, together with the word's first one; it says little about the way.
    if (!(frame.flags & FLAG_DISCONTINUITY)) this.delay.arrived(frame.timestamp / this.rate, now);
    const kept = this.keep(number, { timestamp: frame.timestamp, samples, payload: frame.payload, flags: frame.flags }, now);
    // The node sends copies to who loses frames, and only then: they are worth waiting for.
    this.delay.bringsCopies(Math.max(0, ...frame.copies.map((copy) => this.keepCopy(number, frame, copy, now))));
    return kept;
  }

  /** What to decode now, in order. `due(timestamp)`: seconds until that sample is played; null when that is not known. */
  take(now, due) {
    const found = [];
    while (this.waiting.size > 0) {
      const item = this.waiting.get(this.next);
      // A copy is not used while the frame itself may still come: then nothing was lost.
      if (item && (!item.isCopy || this.mustGoOn(now, due))) {
        this.waiting.delete(this.next);
        this.pass(item.isCopy);
        if (item.isCopy) this.counts.recovered += 1;
        this.end = item.timestamp + item.samples;
        found.push(this.told(item));
      } else if (!item && this.mustGoOn(now, due)) this.pass(true);
      else break;
    }
    return found;
  }

  /** What the node is told of this track (docs/protocol.md); `playout`: what worklet.js last said. */
  report(track, playout) {
    const { received, lost, recovered, late, runs } = this.counts;
    return {
      track,
      highest: this.sequence,
      received,
      lost,
      recovered,
      late,
      runs,
      played: playout?.played ?? 0,
      concealed: playout?.concealed ?? 0,
      jitter: this.delay.jitter * 1000,
      buffer: (playout?.held ?? 0) * 1000,
      heard: Math.max(0, Math.round(playout?.at ?? 0)),
    };
  }

  // -- inside --

  place({ sequence }) {
    let step = this.top === null ? 0 : signed(sequence - this.sequence);
    if (this.top === null || Math.abs(step) > LEAP) {
      this.waiting.clear();
      this.seen.clear();
      this.top = this.top === null ? 0 : this.top + 1;
      this.next = this.top;
      this.sequence = sequence;
      step = 0;
    } else if (step > 0) {
      this.top += step;
      this.sequence = sequence;
      step = 0;
    }
    return this.top + step;
  }

  remember(number) {
    this.seen.add(number);
    if (this.seen.size > REMEMBERED) for (const each of this.seen) if (each < this.top - REMEMBERED / 2) this.seen.delete(each);
  }

  keep(number, item, now) {
    if (number < this.next) {
      // Its turn is over: it was counted as lost, and is not one that came.
      this.counts.received -= 1;
      this.counts.late += 1;
      return false;
    }
    this.waiting.set(number, { ...item, since: now, isCopy: false });
    if (this.waiting.size > MOST_WAITING) this.skipTo(Math.min(...this.waiting.keys()));
    return true;
  }

  /** Seconds between the copy's own time and now. */
  keepCopy(number, frame, { payload, distance }, now) {
    const at = number - distance;
    const samples = packetSamples(payload);
    const timestamp = frame.timestamp - distance * samples;
    if (samples > 0 && timestamp >= 0 && at >= this.next && !this.seen.has(at) && !this.waiting.has(at))
      this.waiting.set(at, { timestamp, samples, payload, flags: 0, since: now, isCopy: true });
    return (distance * samples) / this.rate;
  }

  /** Whether the next frame is not waited for any longer. */
  mustGoOn(now, due) {
    const behind = this.waiting.get(Math.min(...this.waiting.keys()));
    const left = this.end === undefined ? null : due(this.end);
    if (left !== null) return left <= LEAD_SECONDS || behind.flags & FLAG_DISCONTINUITY ? true : false;
    return now - behind.since >= this.delay.seconds / 2;
  }

  skipTo(number) {
    while (this.next < number) this.pass(true);
  }

  pass(isLost) {
    this.next += 1;
    if (isLost) {
      this.counts.lost += 1;
      if (!this.wasLost) this.counts.runs += 1;
    }
    this.wasLost = isLost;
  }

  told({ timestamp, samples, payload, flags }) {
    return {
      timestamp,
      samples,
      payload,
      fresh: (flags & FLAG_DISCONTINUITY) !== 0,
      quiet: (flags & (FLAG_SILENCE | FLAG_LAST)) !== 0,
    };
  }
}
