// One topic as its member sees it: what has been seen, what was missed (wsactors.client.membership).
import { PresenceMirror } from "./presence.js";

const MOST_OWN = 1000;

export class Membership {
  /** `options`: params, presence, echo, private, since ({ epoch, offset }). */
  constructor(topic, options = {}) {
    this.topic = topic;
    this.params = options.params ?? null;
    this.wantsPresence = options.presence ?? true;
    this.echo = options.echo ?? false;
    this.private = options.private ?? false;
    this.since = options.since ?? null;
    this.phase = "wanted";
    this.ref = 0;
    this.joinedAt = 0;
    this.againAt = null;
    this.meta = null;
    this.tracked = null;
    this.presence = new PresenceMirror();
    this.response = null;
    this.recovered = null;
    this.gaps = 0;
    this.received = 0;
    this.error = null;
    this.own = new Set();
    this.target = null;
    this.missed = 0;
    this.afterGap = false;
  }

  /** The request to be made a member, again if need be. */
  join(ref) {
    this.phase = "joining";
    this.ref = ref;
    this.againAt = null;
    const request = { t: "join_topic", ref, topic: this.topic };
    if (this.params !== null) request.params = this.params;
    if (this.since) request.since = this.since;
    if (!this.wantsPresence) request.presence = false;
    if (this.echo) request.echo = true;
    if (this.private) request.private = true;
    return request;
  }

  takeJoined({ epoch = "", offset = 0, recovered = null, missed = 0, response = null }) {
    this.phase = "joined";
    this.ref = 0;
    this.againAt = null;
    this.response = response;
    this.recovered = recovered;
    if (recovered === false) this.lose();
    this.target = { epoch, offset };
    this.missed = missed;
    if (!missed) this.see(this.target);
  }

  /** What to tell of a message; null when it is an own one that comes back as missed. */
  takeMessage({ event, payload = null, epoch = "", offset = 0, id = "", at = 0 }) {
    const own = this.own.has(offset) && this.since?.epoch === epoch;
    if (this.missed) {
      this.missed -= 1;
      if (!this.missed) this.see(this.target);
      else if (this.recovered) this.see({ epoch, offset });
    } else if (offset) {
      if (this.since && epoch !== this.since.epoch) this.lose(); // the topic was restarted, and its history with it
      this.see({ epoch, offset });
    }
    return own ? null : this.told({ event, payload, offset, epoch, id, at, direct: false });
  }

  takePush({ event, payload = null }) {
    return this.told({ event, payload, offset: 0, epoch: "", id: "", at: 0, direct: true });
  }

  /** An own publication has its place: not to be delivered again as missed. */
  takePublished({ offset = 0 }, echo) {
    if (!echo && offset && this.own.size < MOST_OWN) this.own.add(offset);
  }

  loseConnection() {
    if (this.phase === "joining" || this.phase === "joined") this.phase = "wanted";
    this.ref = 0;
    this.presence.known = false;
  }

  end(error) {
    this.phase = "ended";
    this.error = error;
    this.againAt = null;
    this.presence.clear();
  }

  see(position) {
    const before = this.since;
    if (before && before.epoch === position.epoch) {
      this.since = { epoch: position.epoch, offset: Math.max(before.offset, position.offset) };
      for (const offset of this.own) if (offset <= this.since.offset) this.own.delete(offset);
    } else {
      if (before) this.own.clear();
      this.since = { epoch: position.epoch, offset: position.offset };
    }
  }

  lose() {
    this.gaps += 1;
    this.afterGap = true;
  }

  told(message) {
    this.received += 1;
    message.afterGap = this.afterGap;
    this.afterGap = false;
    return message;
  }
}
