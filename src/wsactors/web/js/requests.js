// Requests that wait: for a connection, for their topic, for their answer (wsactors.client.requests).
export class Requests {
  constructor() {
    this.waiting = new Map();
    this.unsent = new Map();
  }

  has(key) {
    return this.waiting.has(key);
  }

  /** `request`: key, message, deadline, resolve, topic (held back until it is joined), survives (made again by itself). */
  add(request, isSent = false) {
    this.waiting.set(request.key, request);
    if (!isSent) this.unsent.set(request.key, request);
  }

  /** Hand over an answer, or an Error; undefined when nobody waits for it. */
  resolve(key, answer) {
    const request = this.waiting.get(key);
    this.waiting.delete(key);
    this.unsent.delete(key);
    request?.resolve(answer);
    return request;
  }

  /** Those whose time is over; they wait no more, but have not been resolved. */
  expired(now) {
    const found = [...this.waiting.values()].filter((request) => request.deadline <= now);
    for (const { key } of found) {
      this.waiting.delete(key);
      this.unsent.delete(key);
    }
    return found;
  }

  fail(error, of = () => true) {
    for (const request of [...this.waiting.values()]) if (of(request)) this.resolve(request.key, error);
  }

  /** Fail what was sent and is not made again by itself. */
  loseConnection(error) {
    this.fail(error, (request) => !this.unsent.has(request.key) && !request.survives);
  }

  /** Those to send now; what waits for its topic does not hold up the others. */
  takeSendable(isJoined) {
    const found = [...this.unsent.values()].filter(({ topic }) => !topic || isJoined(topic));
    for (const { key } of found) this.unsent.delete(key);
    return found;
  }

  /** Whether a change of presence on `topic` is yet to be sent. */
  holdsTrack(topic) {
    const tracks = ["track", "untrack"];
    return [...this.unsent.values()].some((each) => each.topic === topic && tracks.includes(each.message.t));
  }

  get deadline() {
    let first = null;
    for (const { deadline } of this.waiting.values()) if (first === null || deadline < first) first = deadline;
    return first;
  }
}
