// The audio thread's side: decoded sound by its place on the track's timeline, played at the pace of the device.
//
// Playing starts when enough is held. A hole that was lost is filled by going on with the last period of the sound, fading; a
// pause is silence. When nothing comes at all, the same happens for a moment, then playing stops until enough is held again.
// The device's clock and the sender's differ by some hundred parts per million: what is held is kept near the aim by reading
// up to 0.4 % faster or slower (cubic interpolation), so the sound never jumps. Only far from the aim, after the network has
// changed or stalled, some periods of the sound are left out or repeated. After a pause it begins at the aim again.
const RING_SECONDS = 2;
const FADE = 128;
const BLEND = 240;
const REPORT_QUANTA = 16;
const BEND_FROM_SECONDS = 0.008;
const BEND_UNTIL_SECONDS = 0.002;
const MOST_BEND = 0.004;
const BEND_PER_SECOND_OFF = 0.1;
const BEND_SMOOTHING = 0.02;
const LEAP_ABOVE_SECONDS = 0.08;
const LEAP_BELOW_SECONDS = 0.04;
const [SHORTEST_LEAP, LONGEST_LEAP] = [0.01, 0.03];
const LEAP_QUANTA = 40; // between two
const WINDOW_QUANTA = 190; // half a second
const HALF_FRAME_SECONDS = 0.01;
const MOST_TO_BEGIN = 0.25; // seconds: who waits for more hears silence for too long
const GUESSED_SECONDS = 0.08; // in a row, fading; silence follows
const HEAP_QUANTA = 3;
const [SHORTEST_PERIOD, LONGEST_PERIOD] = [1 / 400, 1 / 60];

/** Pure: sound in, sound out. Timestamps are samples of the track's timeline. */
export class Playout {
  constructor(rate) {
    this.rate = rate;
    this.size = RING_SECONDS * rate;
    this.left = new Float32Array(this.size);
    this.right = new Float32Array(this.size);
    this.aim = 0.09 * rate;
    this.counts = { underruns: 0, played: 0, concealed: 0, cut: 0, leaps: 0 };
    this.clear();
  }

  clear() {
    this.spans = []; // { start, end, fresh, quiet }: what is in the ring, in order; the first one is being played
    this.at = null; // the place that is heard
    this.real = 0; // where the sound ends that is not guessed
    this.average = 0;
    this.peak = this.newPeak = this.age = 0;
    this.playing = false;
    this.bending = false;
    this.bend = 0;
    this.fade = 0;
    this.guessed = 0; // samples guessed in a row
    this.starved = false; // whether the guess goes beyond everything that has come
    this.waited = 0; // blocks since sound came, before playing
    this.rested = 0; // blocks since the last leap
  }

  /** Samples of sound at hand. */
  get held() {
    return this.spans.length === 0 || this.at === null ? 0 : Math.max(0, this.real - this.at);
  }

  /** Whether what is being played is the silence after a word, or nothing. */
  get isPause() {
    return this.spans.length === 0 || (this.spans.length === 1 && this.spans[0].quiet && this.at >= this.real);
  }

  /** Sound that begins at `timestamp`. `fresh`: the sound begins anew; `quiet`: nothing may follow for a while. */
  put(timestamp, left, right, { fresh = false, quiet = false } = {}) {
    const length = left.length;
    const end = timestamp + length;
    if (this.at === null || Math.abs(timestamp - this.at) > this.size - 2 * length) this.clear();
    if (this.spans.length === 0) this.at = this.real = timestamp;
    else if (this.playing && fresh && (this.isPause || end <= this.at)) this.anchor(timestamp, quiet ? length / 2 : -length / 2);
    const start = this.playing ? Math.max(timestamp, Math.ceil(this.at)) : timestamp;
    this.counts.cut += Math.min(length, start - timestamp);
    this.waited = 0;
    if (start >= end) return;
    this.write(start, end, left, right, start - timestamp);
    this.extend(start, end, fresh, quiet);
  }

  /** Begin anew: have `timestamp` played when the aim has been waited. The frame before a word comes with the word. */
  anchor(timestamp, later) {
    this.at = Math.max(Math.round(timestamp - this.aim - later), Math.min(Math.ceil(this.real), timestamp));
    if (timestamp < this.real) this.at = Math.round(timestamp - this.aim); // the timeline itself jumped back
    this.spans = [{ start: this.at, end: this.at, fresh: false, quiet: true }];
    this.real = this.at;
    this.average = this.aim;
    this.peak = this.newPeak = this.age = 0;
    this.bend = 0;
    this.starved = false;
    this.guessed = 0;
  }

  write(start, end, left, right, skip) {
    // Where a guess is heard already, the sound comes in softly.
    const blend = this.starved ? Math.max(0, Math.min(BLEND, this.spans[0].end - start)) : 0;
    for (let i = 0; i < end - start; i += 1) {
      const at = (start + i) % this.size;
      const share = i < blend ? (i + 1) / (blend + 1) : 1;
      this.left[at] = share * left[skip + i] + (1 - share) * this.left[at];
      this.right[at] = share * right[skip + i] + (1 - share) * this.right[at];
    }
  }

  extend(start, end, fresh, quiet) {
    const last = this.spans.at(-1);
    if (last && start < last.start) return; // the time of what is there has come
    const follows = last && start <= last.end;
    if (!follows) this.spans.push({ start, end, fresh, quiet });
    else {
      if (this.starved) this.counts.concealed -= last.end - start; // guessed, but not heard
      last.end = this.starved ? end : Math.max(last.end, end); // a guess that went farther ends here
      last.quiet = quiet;
    }
    if (follows && this.starved) this.guessed = 0;
    this.starved = false;
    this.real = Math.max(this.real, end);
    this.newPeak = Math.max(this.newPeak, this.real - this.at);
  }

  /** The next `left.length` samples. True: there was nothing to play where there should have been. */
  play(left, right) {
    left.fill(0);
    right.fill(0);
    const count = left.length;
    if (!this.playing && !this.begin(count)) return false;
    this.leapIfFar();
    const step = 1 + this.nextBend();
    const before = this.counts.underruns;
    this.provide(Math.ceil(count * step) + 3);
    if (this.playing) {
      if (!this.isPause) this.counts.played += count;
      if (this.bend === 0 && Number.isInteger(this.at)) this.copy(left, right, count);
      else this.interpolate(left, right, count, this.bend === 0 ? this.straighten(count) : step);
      if (this.fade > 0) this.fadeIn(left, right, count);
    }
    return this.counts.underruns > before;
  }

  /** Begin once enough is there; what came in one heap, such as the past that a join begins with, is not all waited for. */
  begin(count) {
    const first = this.spans[0];
    if (!first) return false;
    const last = this.spans.at(-1);
    this.waited += 1;
    const wanted = Math.min(this.aim, MOST_TO_BEGIN * this.rate) + count;
    const enough = this.real - first.start >= wanted || last.quiet;
    if (!enough || this.waited < HEAP_QUANTA) return false;
    this.at = Math.max(first.start, Math.min(last.start, Math.round(this.real - this.aim - count)));
    while (this.spans.length > 1 && this.spans[0].end <= this.at) this.spans.shift();
    this.at = Math.max(this.at, this.spans[0].start);
    this.playing = true;
    this.average = this.real - this.at;
    this.peak = this.newPeak = this.age = 0;
    this.fade = FADE;
    return true;
  }

  /** Have `count` samples from here on in the ring, whatever they are. */
  provide(count) {
    while (this.playing && this.spans[0].end < this.at + count) {
      const [first, next] = this.spans;
      const missing = Math.ceil(this.at + count - first.end);
      if (next) this.bridge(first, next);
      else if (first.quiet) this.fill(missing, true);
      else if (this.guessed + missing > GUESSED_SECONDS * this.rate) this.stop();
      else {
        if (!this.starved) this.counts.underruns += 1;
        this.starved = true;
        this.fill(missing + BLEND, false); // so much more that what comes can come in softly
      }
    }
  }

  /** Fill the hole between two spans, and make them one. */
  bridge(first, next) {
    const isPause = next.fresh || first.quiet;
    this.fill(next.start - first.end, isPause);
    if (!isPause) this.soften(next.start);
    this.guessed = 0;
    this.spans.splice(0, 2, { ...next, start: first.start });
  }

  /** Nothing comes: go on where the sound ended, once there is enough again. */
  stop() {
    this.at = this.real;
    this.spans = [];
    this.playing = this.starved = false;
    this.guessed = 0;
  }

  /** Lengthen the first span by `count` samples: silence, or a guess. */
  fill(count, isPause) {
    const first = this.spans[0];
    if (isPause) {
      for (let i = 0; i < count; i += 1) {
        const at = (first.end + i) % this.size;
        this.left[at] = this.right[at] = 0;
      }
    } else {
      this.guess(first.end, count);
      this.counts.concealed += count;
    }
    first.end += count;
  }

  /** Go on with the last period of the sound, getting quieter until there is nothing. */
  guess(start, count) {
    if (this.guessed === 0) this.period = this.findPeriod(start);
    for (let i = start; i < start + count; i += 1) this.goOn(i, 0);
  }

  /** One more guessed sample at `place`, below `share` of what is there. */
  goOn(place, share) {
    const at = place % this.size;
    const from = (place - this.period + this.size) % this.size;
    // The period before was quieter already than the one that is repeated.
    const most = GUESSED_SECONDS * this.rate;
    const left = Math.max(0, most - this.guessed);
    const gain = left === 0 ? 0 : left / Math.min(most, left + this.period);
    this.left[at] = share * this.left[at] + (1 - share) * gain * this.left[from];
    this.right[at] = share * this.right[at] + (1 - share) * gain * this.right[from];
    this.guessed += 1;
  }

  /** The length in samples after which the sound before `end` is most like itself. */
  findPeriod(end) {
    const [least, most] = [Math.round(this.rate * SHORTEST_PERIOD), Math.round(this.rate * LONGEST_PERIOD)];
    return likest(least, most, (period) => this.likeness(end - most, end - most - period, most));
  }

  /** How much the `count` samples from two places on are alike. */
  likeness(one, other, count) {
    let [product, energy] = [0, 1e-9];
    for (let i = 0; i < count; i += 6) {
      const there = this.left[(other + i + this.size) % this.size];
      product += this.left[(one + i + this.size) % this.size] * there;
      energy += there * there;
    }
    return product / Math.sqrt(energy);
  }

  /** Let the sound that begins at `start`, behind a guess, come in softly: the guess goes on below it for a moment. */
  soften(start) {
    for (let i = 0; i < BLEND; i += 1) this.goOn(start + i, (i + 1) / (BLEND + 1));
  }

  /** Far from the aim: go on at another place, where the sound is most like it is here. */
  leapIfFar() {
    this.rested += 1;
    const off = this.average - this.aim;
    const isLong = off > LEAP_ABOVE_SECONDS * this.rate;
    if (this.rested < LEAP_QUANTA || this.isPause || this.guessed > 0) return;
    if (!isLong && off > -LEAP_BELOW_SECONDS * this.rate) return;
    const [first] = this.spans;
    const here = Math.floor(this.at);
    const room = Math.floor(isLong ? first.end - here - 2 * BLEND : here - first.start);
    const most = Math.min(room, Math.round(LONGEST_LEAP * this.rate), Math.round(Math.abs(off)));
    const least = Math.round(SHORTEST_LEAP * this.rate);
    if (most < least || first.end - here < 2 * BLEND) return;
    const sign = isLong ? 1 : -1;
    this.leap(here, sign * likest(least, most, (way) => this.likeness(here, here + sign * way, 2 * BLEND)));
  }

  leap(here, way) {
    for (let i = 0; i < BLEND; i += 1) {
      const [to, from] = [(here + way + i + this.size) % this.size, (here + i) % this.size];
      const share = (i + 1) / (BLEND + 1);
      this.left[to] = share * this.left[to] + (1 - share) * this.left[from];
      this.right[to] = share * this.right[to] + (1 - share) * this.right[from];
    }
    this.at += way;
    this.average -= way;
    this.peak -= way;
    this.newPeak = Math.max(0, this.newPeak - way);
    this.rested = 0;
    this.counts.leaps += 1;
  }

  /** What is held right after sound has come, at its best, is what counts: when nothing comes, it gets less by itself. */
  follow() {
    this.age += 1;
    if (this.age >= WINDOW_QUANTA) [this.peak, this.newPeak, this.age] = [this.newPeak, 0, 0];
    const best = Math.max(this.peak, this.newPeak);
    if (best > 0) this.average += (best - HALF_FRAME_SECONDS * this.rate - this.average) * 0.005;
  }

  nextBend() {
    if (this.isPause) return (this.bend = 0);
    this.follow();
    const off = (this.average - this.aim) / this.rate;
    if (Math.abs(off) > BEND_FROM_SECONDS) this.bending = true;
    else if (Math.abs(off) < BEND_UNTIL_SECONDS) this.bending = false;
    const goal = this.bending ? Math.max(-MOST_BEND, Math.min(MOST_BEND, off * BEND_PER_SECOND_OFF)) : 0;
    this.bend += (goal - this.bend) * BEND_SMOOTHING;
    if (!this.bending && Math.abs(this.bend) < 1e-6) this.bend = 0;
    return this.bend;
  }

  copy(left, right, count) {
    for (let i = 0; i < count; i += 1) {
      const at = (this.at + i) % this.size;
      left[i] = this.left[at];
      right[i] = this.right[at];
    }
    this.at += count;
  }

  interpolate(left, right, count, step) {
    for (let i = 0; i < count; i += 1) {
      const whole = Math.floor(this.at);
      const part = this.at - whole;
      left[i] = this.cubic(this.left, whole, part);
      right[i] = this.cubic(this.right, whole, part);
      this.at += step;
    }
    const nearest = Math.round(this.at);
    if (Math.abs(this.at - nearest) < 1e-6) this.at = nearest;
  }

  /** The pace that brings the place back to a whole sample at the end of this block. */
  straighten(count) {
    return (Math.ceil(this.at + count) - this.at) / count;
  }

  cubic(ring, whole, part) {
    const a = ring[(whole - 1 + this.size) % this.size];
    const b = ring[whole % this.size];
    const c = ring[(whole + 1) % this.size];
    const d = ring[(whole + 2) % this.size];
    return b + 0.5 * part * (c - a + part * (2 * a - 5 * b + 4 * c - d + part * (3 * (b - c) + d - a)));
  }

  fadeIn(left, right, count) {
    for (let i = 0; i < count && this.fade > 0; i += 1, this.fade -= 1) {
      const gain = 1 - this.fade / FADE;
      left[i] *= gain;
      right[i] *= gain;
    }
  }
}

/** The whole number from `least` to `most` with the highest `score`, if that changes slowly. */
function likest(least, most, score) {
  const bestOf = (from, to, step) => {
    let [best, found] = [-Infinity, from];
    for (let each = from; each <= to; each += step) {
      const reached = score(each);
      if (reached > best) [best, found] = [reached, each];
    }
    return found;
  };
  const about = bestOf(least, most, 4);
  return bestOf(Math.max(least, about - 3), Math.min(most, about + 3), 1);
}

/** The processor: one track. Takes sound and the aim as messages, tells how it stands and of dropouts. */
class Ring extends (globalThis.AudioWorkletProcessor ?? Object) {
  constructor() {
    super();
    this.playout = new Playout(sampleRate);
    this.quanta = 0;
    this.peaks = [0, 0];
    this.spare = new Float32Array(128);
    this.isOver = false;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  take({ aim, clear, end, timestamp, left, right, fresh, quiet }) {
    if (end) this.isOver = true;
    if (aim !== undefined) this.playout.aim = aim * sampleRate;
    if (clear) this.playout.clear();
    if (left) this.playout.put(timestamp, left, right, { fresh, quiet });
  }

  process(_inputs, [[left, right = this.spare]]) {
    if (this.playout.play(left, right)) this.port.postMessage({ dropout: true });
    for (let i = 0; i < left.length; i += 1) {
      this.peaks[0] = Math.max(this.peaks[0], Math.abs(left[i]));
      this.peaks[1] = Math.max(this.peaks[1], Math.abs(right[i]));
    }
    this.quanta += 1;
    if (this.quanta % REPORT_QUANTA === 0) this.report();
    return !this.isOver;
  }

  report() {
    const { at, held, aim, playing, isPause, counts } = this.playout;
    const seconds = { held: held / sampleRate, aim: aim / sampleRate };
    this.port.postMessage({ at, ...seconds, playing, isPause, ...counts, peaks: this.peaks });
    this.peaks = [0, 0];
  }
}

if (globalThis.registerProcessor) registerProcessor("wsactors-ring", Ring);
