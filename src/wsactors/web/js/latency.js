// How long a ping and its answer take: rounds of five pings, the slowest and the fastest left out (wsactors.client.latency).
const PINGS = 5;
const ROUNDS = 10;

/** The mean without the largest and the smallest. */
export function trimmedMean(samples) {
  const middle = samples.length > 2 ? [...samples].sort((a, b) => a - b).slice(1, -1) : samples;
  return middle.reduce((sum, each) => sum + each, 0) / middle.length;
}

export class Latency {
  constructor() {
    this.history = [];
    this.samples = [];
    this.nonce = null;
    this.measuring = false;
  }

  /** The mean of the latest rounds, in seconds; null before the first. */
  get seconds() {
    if (!this.history.length) return null;
    return this.history.reduce((sum, each) => sum + each, 0) / this.history.length;
  }

  /** Whether the next ping of a round is to be sent now. */
  get wantsPing() {
    return this.measuring && this.nonce === null;
  }

  /** Begin a round, unless one is going on. */
  start() {
    if (this.measuring) return;
    this.measuring = true;
    this.samples = [];
  }

  /** Give up the round: the connection is gone. */
  stop() {
    this.measuring = false;
    this.nonce = null;
  }

  sent(nonce, now) {
    this.nonce = nonce;
    this.at = now;
  }

  /** The answer to `nonce` came `now`; true when that ends a round. */
  answered(nonce, now) {
    if (!this.measuring || nonce !== this.nonce) return false;
    this.nonce = null;
    this.samples.push(now - this.at);
    if (this.samples.length < PINGS) return false;
    this.history.push(trimmedMean(this.samples));
    if (this.history.length > ROUNDS) this.history.shift();
    this.measuring = false;
    return true;
  }
}
