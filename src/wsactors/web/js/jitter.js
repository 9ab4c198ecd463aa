// How much sound to keep in hand. Pure: fed with how late frames come and when the ring ran dry, asked for an aim.
const LEAST = 0.06;
const MOST = 0.6;
const MARGIN = 0.03;
const FORGET_PER_SECOND = 0.004;
const STEP_AFTER_DROPOUT = 0.06;

export class JitterAim {
  constructor(start = 0.12) {
    this.worst = start - MARGIN;
    this.updated = null;
  }

  /** A frame came `lateness` seconds later than the fastest one. */
  arrived(lateness, now) {
    const elapsed = this.updated === null ? 0 : now - this.updated;
    this.updated = now;
    this.worst = Math.max(lateness, this.worst - elapsed * FORGET_PER_SECOND);
  }

  /** The ring ran dry: what was kept was not enough. */
  dropout() {
    this.worst = Math.min(MOST, this.seconds + STEP_AFTER_DROPOUT) - MARGIN;
  }

  /** Seconds of sound to keep in hand. */
  get seconds() {
    return Math.min(MOST, Math.max(LEAST, this.worst + MARGIN));
  }
}
