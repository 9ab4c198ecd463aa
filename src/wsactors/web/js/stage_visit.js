// One visit to a stage or a voice session: what is heard, what the node tells, and what one does there.
import { $ } from "./dom.js";
import { showHow } from "./how.js";
import { Mixer } from "./mixer.js";
import { Soundboard } from "./soundboard.js";
import { StageMe } from "./stage_me.js";
import { PeopleView } from "./stage_people.js";
import { StageState } from "./stage_state.js";

const REPORT_MS = 1000;
const LEVELS_MS = 100;
const JOINED = { rate: 48000, channels: 2, frame: 960 };
const PASSING = new Set(["no_session", "timeout", "crash", "overloaded", "rate"]);

export class StageVisit {
  /** `onEnd(reason)`: it is over, and not because the visitor wants it. */
  constructor(client, name, onEnd) {
    this.client = client;
    this.name = name;
    this.onEnd = onEnd;
    this.state = new StageState();
    this.volumes = new Map();
    this.hushed = new Set();
    this.track = 0;
    this.isOver = false;
    this.mixer = new Mixer(JOINED, (track) => this.volumeOfTrack(track), () => this.showDevice());
    this.controls = new AbortController();
    this.people = PEOPLE.of(this);
    this.board = BOARD.of(this);
    this.me = new StageMe(this, this.controls.signal);
    const listen = (id, name, then) => $(id).addEventListener(name, then, { signal: this.controls.signal });
    listen("volume", "input", () => (this.mixer.volume = Number($("volume").value)));
    this.timers = [setInterval(() => this.report(), REPORT_MS), setInterval(() => this.showLevels(), LEVELS_MS)];
  }

  /** Must be called from a click. */
  async start() {
    $("stage-title").textContent = this.name;
    this.people.clear();
    this.say("joining");
    await this.mixer.start(Number($("volume").value));
    if (this.isOver) return;
    await this.client.join(this.name, { timeout: Infinity });
  }

  async stop() {
    if (this.isOver) return;
    this.isOver = true;
    this.controls.abort();
    for (const timer of this.timers) clearInterval(timer);
    this.me.stop();
    if (this.client.core.sessions.has(this.name)) this.client.leave(this.name).catch(() => {}); // gone with the connection
    await this.mixer.stop();
  }

  resume() {
    this.mixer.resume();
  }

  // -- what the node says --

  joined(message) {
    this.track = message.track;
    this.mixer.restart();
    $("stage-title").textContent = message.title || message.session;
    for (const id of this.hushed) this.act("hear", { id, on: false });
    this.me.again();
    this.showDevice();
  }

  left({ reason }) {
    if (reason !== "left") this.onEnd(`You are not in ${this.name} any more: ${reason}.`);
  }

  refused({ code, message }) {
    if (this.track === 0 || !PASSING.has(code)) this.onEnd(message);
    else this.say(message);
  }

  event(name, payload) {
    if (name === "stage_clip_failed") this.board.failed(payload);
    else if (!this.state.take(name, payload)) this.catchUp();
    this.show();
  }

  /** Some change was missed: ask for everything. */
  async catchUp() {
    const state = await this.act("state", {});
    if (!state || this.isOver) return;
    this.state.takeState(state);
    this.show();
  }

  audio(frame) {
    // All tracks of a session have the upper half of their number in common.
    if (frame.track >>> 16 === this.track >>> 16 && this.track !== 0) this.mixer.take(frame);
  }

  // -- what one does --

  /** Do something; what goes wrong is shown, and the answer is undefined then. */
  async act(action, args = {}) {
    try {
      const answer = await this.ask(action, args);
      return answer ?? null;
    } catch (error) {
      if (!this.isOver) this.say(error.message.replace(/^\w+: /, ""));
      return undefined;
    }
  }

  ask(action, args = {}) {
    return this.client.act(this.name, action, args);
  }

  hear(id, on) {
    if (on) this.hushed.delete(id);
    else this.hushed.add(id);
    this.mixer.refresh();
    return this.act("hear", { id, on });
  }

  isHushed(id) {
    return this.hushed.has(id);
  }

  volumeOf(id) {
    return this.volumes.get(id) ?? 1;
  }

  setVolume(id, value) {
    this.volumes.set(id, value);
    this.mixer.refresh();
  }

  volumeOfTrack(track) {
    const person = this.state.personOf(track);
    if (!person) return 1;
    return this.hushed.has(person.id) ? 0 : this.volumeOf(person.id);
  }

  // -- what is shown --

  show() {
    const { facts } = this.state;
    $("topic").textContent = facts.topic;
    this.people.show();
    this.board.show();
    this.me.show();
    this.mixer.refresh();
  }

  /** −dBov at which somebody is heard now; null: they are not. */
  levelOf(person) {
    if (person.id === this.state.you?.id) return this.me.level;
    const heard = this.mixer.levelOf(person.track);
    return heard ?? null;
  }

  showLevels() {
    this.people.showLevels();
    const speaking = this.state.speakers.find((person) => person.priority && this.mixer.levelOf(person.track) !== null);
    $("stage").dataset.ducking = Boolean(speaking);
    if (this.mixer.context) showHow(this.mixer.health, this.client);
  }

  report() {
    if (this.client.online && this.mixer.players.size) this.client.report(this.mixer.told());
  }

  showDevice() {
    if (this.mixer.running) this.say("");
    else this.say("This browser has not started its sound device: is one connected? Press anywhere to try again.");
  }

  say(text) {
    $("said").textContent = text;
  }
}

/** Views that live as long as the page: their buttons are there once, and show the present visit. */
class Once {
  constructor(View) {
    this.View = View;
    this.view = null;
  }

  of(stage) {
    this.view ??= new this.View(stage);
    this.view.stage = stage;
    return this.view;
  }
}

const PEOPLE = new Once(PeopleView);
const BOARD = new Once(Soundboard);
