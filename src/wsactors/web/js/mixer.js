// A session of many voices: a player for each track that is heard, its volume, and quiet for whoever has priority.
import { FLAG_LAST, FLAG_PRIORITY, FLAG_VOICE } from "./audio_frame.js";
import { started } from "./player.js";
import { openContext, TrackPlayer } from "./track_player.js";

const MOST_TRACKS = 24;
const IDLE_SECONDS = 20;
const TIDY_MS = 250;
const DUCKED = 0.25;
const DUCK_SECONDS = 0.4;
const SPEAKING_SECONDS = 0.25;

/** How loud the others are while somebody with priority speaks; pure. `until`: track to the moment when that ends. */
export function duckingOf(track, until, now) {
  for (const [other, end] of until) if (other !== track && end > now) return until.get(track) > now ? 1 : DUCKED;
  return 1;
}

export class Mixer {
  /** `volumeOf(track)`: what the listener wants. `onDevice`: told that `running` may differ. */
  constructor(joined, volumeOf, onDevice) {
    this.joined = joined;
    this.volumeOf = volumeOf;
    this.onDevice = onDevice;
    this.players = new Map();
    this.priority = new Map();
    this.spoke = new Map(); // track to { at, level }
    this.ended = new Map();
    this.past = { lost: 0, recovered: 0, played: 0, concealed: 0, underruns: 0 };
  }

  get running() {
    return this.context?.state === "running";
  }

  /** Must be called from a click. */
  async start(volume) {
    const { context, resumed } = await openContext(this.joined.rate);
    this.context = context;
    this.master = new GainNode(context, { gain: volume });
    this.master.connect(context.destination);
    await started(resumed);
    context.onstatechange = () => this.onDevice();
    this.timer = setInterval(() => this.tidy(), TIDY_MS);
  }

  resume() {
    if (this.context && !this.running && this.context.state !== "closed") this.context.resume();
  }

  take(frame) {
    if (!this.master || this.context.state === "closed") return;
    const now = performance.now() / 1000;
    const { track, flags, level } = frame;
    if (flags & FLAG_VOICE) {
      this.spoke.set(track, { at: now, level });
      if (flags & FLAG_PRIORITY) this.givePriority(track, now);
    }
    if (flags & FLAG_LAST) this.ended.set(track, now);
    this.player(track).take(frame);
  }

  /** How loud a track is at this moment, −dBov; null: nobody speaks there. */
  levelOf(track) {
    const spoke = this.spoke.get(track);
    return spoke && performance.now() / 1000 - spoke.at < SPEAKING_SECONDS ? spoke.level : null;
  }

  /** Whether somebody with priority speaks. */
  get isDucking() {
    return this.priority.size > 0;
  }

  /** What the listener wants has changed. */
  refresh() {
    const now = performance.now() / 1000;
    for (const [track, player] of this.players) player.volume = this.volumeOf(track) * duckingOf(track, this.priority, now);
  }

  set volume(value) {
    this.master?.gain.setTargetAtTime(value, this.context.currentTime, 0.02);
  }

  /** After the connection came back. */
  restart() {
    for (const player of this.players.values()) player.restart();
  }

  /** What the node is told of all tracks. */
  told() {
    return [...this.players].map(([track, player]) => player.told(track));
  }

  /** All tracks together, as one is told of in `TrackPlayer`'s health: the worst of what varies, the sum of what counts. */
  get health() {
    const sum = { ...this.past, held: 0, aim: 0, jitter: 0, late: 0, stale: 0 };
    for (const player of this.players.values()) {
      const { counts, delay } = player.buffer;
      const health = player.health ?? {};
      sum.lost += counts.lost;
      sum.recovered += counts.recovered;
      for (const name of ["played", "concealed", "underruns"]) sum[name] += health[name] ?? 0;
      sum.held = Math.max(sum.held, health.isPause ? 0 : (health.held ?? 0));
      sum.aim = Math.max(sum.aim, delay.seconds);
      sum.jitter = Math.max(sum.jitter, delay.jitter);
      sum.late += counts.late;
      sum.stale += counts.stale;
    }
    return sum;
  }

  async stop() {
    clearInterval(this.timer);
    for (const track of [...this.players.keys()]) this.drop(track);
    await this.context?.close();
  }

  // -- inside --

  player(track) {
    const known = this.players.get(track);
    if (known) return known;
    if (this.players.size >= MOST_TRACKS) this.drop(this.longestIdle());
    const player = new TrackPlayer(this.context, this.master, this.joined);
    this.players.set(track, player);
    player.volume = this.volumeOf(track) * duckingOf(track, this.priority, performance.now() / 1000);
    return player;
  }

  longestIdle() {
    return [...this.players].sort(([, a], [, b]) => a.heardAt - b.heardAt)[0][0];
  }

  givePriority(track, now) {
    const isNew = !this.priority.has(track);
    this.priority.set(track, now + DUCK_SECONDS);
    if (isNew) this.refresh();
  }

  tidy() {
    const now = performance.now() / 1000;
    let isOver = false;
    for (const [track, end] of this.priority) if (end <= now) isOver = this.priority.delete(track) || isOver;
    if (isOver) this.refresh();
    for (const [track, player] of this.players) {
      const hasEnded = this.ended.get(track) < now - 1;
      if (hasEnded || player.heardAt < now - IDLE_SECONDS) this.drop(track);
    }
  }

  drop(track) {
    const player = this.players.get(track);
    this.players.delete(track);
    this.spoke.delete(track);
    this.ended.delete(track);
    this.priority.delete(track);
    for (const name of ["lost", "recovered"]) this.past[name] += player.buffer.counts[name];
    for (const name of ["played", "concealed", "underruns"]) this.past[name] += player.health?.[name] ?? 0;
    player.stop();
  }
}
