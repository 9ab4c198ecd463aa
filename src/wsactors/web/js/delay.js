// How long the frames of a track are on their way, and how long sound must wait so that nearly all have come.
// Pure: the way of a frame is its arrival minus its timestamp; only differences mean anything.
//
// The shortest way of the last seconds is the base. How much longer a frame took goes into a histogram that forgets; what
// nearly all frames stay below is the aim, as WebRTC's NetEq has it. A steadily drifting clock moves the base along.
const BUCKET = 0.002;
const WINDOW_SECONDS = 10;
const QUANTILE = 0.985;
const MEMORY = 500;
const STEP_AFTER_DROPOUT = 0.03;
const FORGET_PER_SECOND = 0.002;
const REACH_FOR = 100; // frames for which copies are waited for after the last one that reached so far back
export const DELAY = { least: 0.05, most: 0.4, start: 0.12, margin: 0.03 };

export class ArrivalDelay {
  /** `options`, in seconds: least, most, start (before anything is known), margin (decoding, and the page's own hesitations). */
  constructor(options = {}) {
    this.options = { ...DELAY, ...options };
    this.counts = new Float64Array(Math.round(this.options.most / BUCKET) + 1);
    this.counts[this.bucket(this.options.start - this.options.margin)] = 20;
    this.extra = 0;
    this.reach = 0;
    this.reachFor = 0;
    this.jitter = 0;
    this.reset();
  }

  /** Frames come another way from now on: what it costs is not known, what it varies is taken to be the same. */
  reset() {
    this.minima = []; // [second, shortest way in it], newest last
    this.transit = null;
    this.updated = null;
  }

  /** A frame that begins at `seconds` of its timeline came `now`: seconds that it took longer than the shortest way. */
  arrived(seconds, now) {
    const way = now - seconds;
    const second = Math.floor(now);
    if (this.minima.at(-1)?.[0] === second) this.minima.at(-1)[1] = Math.min(way, this.minima.at(-1)[1]);
    else this.minima.push([second, way]);
    while (this.minima.length > 1 && this.minima[0][0] < second - WINDOW_SECONDS) this.minima.shift();
    const lateness = way - Math.min(...this.minima.map(([, shortest]) => shortest));
    this.count(lateness);
    if (this.transit !== null) this.jitter += (Math.abs(way - this.transit) - this.jitter) / 16; // RFC 3550, 6.4.1
    this.transit = way;
    if (this.updated !== null) this.extra = Math.max(0, this.extra - (now - this.updated) * FORGET_PER_SECOND);
    this.updated = now;
    return lateness;
  }

  /** A frame's copies come `seconds` after what they are of; 0: it brings none. */
  bringsCopies(seconds) {
    this.reachFor -= 1;
    if (seconds >= this.reach || this.reachFor <= 0) this.reach = seconds;
    if (seconds === this.reach) this.reachFor = REACH_FOR;
  }

  /** There was nothing to play: what was waited was not enough. */
  dropout() {
    this.extra = Math.min(this.options.most, this.extra + STEP_AFTER_DROPOUT);
  }

  /** Seconds that sound should wait. */
  get seconds() {
    const { least, most, margin } = this.options;
    return Math.min(most, Math.max(least, this.quantile() + margin + this.extra) + this.reach);
  }

  count(lateness) {
    const keep = 1 - 1 / MEMORY;
    for (let i = 0; i < this.counts.length; i += 1) this.counts[i] *= keep;
    this.counts[this.bucket(lateness)] += 1;
  }

  quantile() {
    let room = (1 - QUANTILE) * this.counts.reduce((sum, each) => sum + each, 0);
    let at = this.counts.length - 1;
    while (at > 0 && this.counts[at] <= room) {
      room -= this.counts[at];
      at -= 1;
    }
    return (at + 1) * BUCKET;
  }

  bucket(seconds) {
    return Math.min(this.counts.length - 1, Math.max(0, Math.floor(seconds / BUCKET)));
  }
}
