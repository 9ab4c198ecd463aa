// When to try again: exponential back-off with full jitter, the rule of the Python client (wsactors.client.backoff).
export const RETRY = { first: 0.25, longest: 8, attempts: 40, stable: 5 };

export class Backoff {
  /** `retry`: seconds of the first and the longest pause, failures in a row after which it gives up (null: never), seconds
   * after which a connection counts as stable. `random`: gives a number from 0 to 1. */
  constructor(retry, random) {
    this.retry = { ...RETRY, ...retry };
    this.random = random;
    this.failures = 0;
  }

  /** Seconds to wait before the next attempt; null: give up. */
  failed() {
    this.failures += 1;
    const { attempts, longest, first } = this.retry;
    if (attempts !== null && this.failures >= attempts) return null;
    return this.random() * Math.min(longest, first * 2 ** Math.min(this.failures - 1, 60));
  }

  /** A connection that was greeted has ended after `seconds`. */
  lasted(seconds) {
    if (seconds >= this.retry.stable) this.failures = 0;
  }
}
