// Which frames come too late to be heard: the rule of the Python client (wsactors.client.late), in the same words.
// A frame is compared with the shortest way seen. That memory grows by 200 ppm, so that drifting clocks stay acceptable.
const DRIFT = 2e-4;
const NEW_NORMAL_SECONDS = 3;

export class LateGate {
  constructor(rate, limit = 0.45) {
    this.rate = rate;
    this.limit = limit;
    this.late = 0;
    this.reset();
  }

  /** The track's timeline jumped: forget what was learnt. */
  reset() {
    this.shortest = null;
    this.lateSince = null;
  }

  /** How much longer than the shortest way the frame took, in seconds; null when it is too late. */
  lateness(timestamp, now) {
    const way = now - timestamp / this.rate;
    this.shortest = this.shortest === null ? way : Math.min(way, this.shortest + (now - this.updated) * DRIFT);
    this.updated = now;
    const lateness = way - this.shortest;
    if (lateness <= this.limit) {
      this.lateSince = null;
      return lateness;
    }
    if (this.lateSince === null) this.lateSince = now;
    else if (now - this.lateSince > NEW_NORMAL_SECONDS) this.reset();
    this.late += 1;
    return null;
  }
}
