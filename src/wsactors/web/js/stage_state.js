// A stage as its node tells of it (docs/stage.md): everything once, then what has changed. Pure.
export const ROLES = { AUDIENCE: 1, SPEAKER: 2, MODERATOR: 3 };
export const ROLE_NAMES = ["", "audience", "speaker", "moderator"];
export const QUIETEST = 127;
const FACTS = ["kind", "topic", "hands_open", "audience", "on_stage", "hands", "hand_count", "version"];

export class StageState {
  constructor() {
    this.clear();
  }

  clear() {
    this.facts = { kind: "stage", topic: "", hands_open: true, audience: 0, on_stage: 0, hands: [], hand_count: 0, version: 0 };
    this.people = new Map();
    this.you = null;
    this.board = 0;
    this.clips = [];
    this.levels = new Map(); // person to −dBov
  }

  /** Take an event. False: something was missed, and the whole state is to be asked for (`act` "state"). */
  take(name, payload) {
    if (name === "stage_state") this.takeState(payload);
    else if (name === "stage_you") this.you = payload;
    else if (name === "stage_clips") this.clips = payload.clips ?? [];
    else if (name === "stage_change") return this.takeChange(payload);
    return true;
  }

  takeState(payload) {
    this.takeFacts(payload);
    this.people = new Map((payload.people ?? []).map((person) => [person.id, person]));
    this.levels.clear();
    this.you = payload.you ?? this.you;
    this.board = payload.board ?? 0;
  }

  takeChange(payload) {
    const isNext = payload.from === this.facts.version;
    this.takeFacts(payload);
    for (const person of payload.people ?? []) this.people.set(person.id, person);
    for (const id of payload.gone ?? []) {
      this.people.delete(id);
      this.levels.delete(id);
    }
    for (const [id, level] of payload.levels ?? []) this.levels.set(id, level);
    return isNext;
  }

  takeFacts(payload) {
    for (const name of FACTS) if (payload[name] !== undefined) this.facts[name] = payload[name];
  }

  // -- what it is like --

  /** Those who may speak: moderators first, then as they came. */
  get speakers() {
    const found = [...this.people.values()].filter(({ role }) => role >= ROLES.SPEAKER);
    return found.sort((a, b) => b.role - a.role);
  }

  /** Those whose hand is up, the first one first. */
  get hands() {
    return this.facts.hands.map((id) => this.people.get(id)).filter((person) => person?.hand);
  }

  /** Whose voice has that track; undefined: nobody's that is told of. */
  personOf(track) {
    for (const person of this.people.values()) if (person.track === track) return person;
    return undefined;
  }

  get role() {
    return this.you?.role ?? ROLES.AUDIENCE;
  }

  get moderates() {
    return this.role === ROLES.MODERATOR;
  }

  get onStage() {
    return this.role >= ROLES.SPEAKER;
  }

  /** Whether a key is to be held while one speaks. */
  get pushes() {
    return Boolean(this.you?.push_to_talk || this.you?.must_push);
  }

  /** Whether what the microphone hears is to be sent; `talking`: the key is held. */
  maySpeak(talking) {
    const { you } = this;
    return Boolean(you && this.onStage && !you.muted && !you.server_muted && (!this.pushes || talking));
  }
}
