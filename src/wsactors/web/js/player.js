// A session that is one track: frames in, sound out.
import { openContext, TrackPlayer } from "./track_player.js";

const START_MS = 3000;

/** Whether this browser, on this page, can play frames itself; otherwise why not: "insecure" or "missing". */
export async function abilities(rate = 48000, channels = 2) {
  if (!window.isSecureContext) return "insecure";
  if (!("AudioDecoder" in window) || !("AudioWorkletNode" in window)) return "missing";
  const config = { codec: "opus", sampleRate: rate, numberOfChannels: channels };
  const { supported } = await AudioDecoder.isConfigSupported(config);
  return supported ? "able" : "missing";
}

/** Wait for the sound device. Without one, some browsers never start a context; nothing is wrong then but the silence. */
export function started(resumed) {
  return Promise.race([resumed, new Promise((done) => setTimeout(done, START_MS))]);
}

export class FramePlayer {
  /** `onHealth` gets what the playout says; `onDevice` is told that `running` may differ. */
  constructor(joined, onHealth, onDevice) {
    this.joined = joined;
    this.onHealth = onHealth;
    this.onDevice = onDevice;
  }

  /** Whether the sound device runs. */
  get running() {
    return this.context?.state === "running";
  }

  /** Must be called from a click: browsers let no page make sound unasked. */
  async start(volume) {
    const { context, resumed } = await openContext(this.joined.rate);
    this.context = context;
    this.track = new TrackPlayer(context, context.destination, this.joined, this.onHealth);
    this.track.volume = volume;
    await started(resumed);
    context.onstatechange = () => this.onDevice();
  }

  /** Start the sound device again if something has stopped it; to be called from a press. */
  resume() {
    if (this.context && !this.running && this.context.state !== "closed") this.context.resume();
  }

  take(frame) {
    if (this.track && this.context.state !== "closed") this.track.take(frame);
  }

  /** What the node is told of how it is heard: a list for a report. */
  told(track) {
    return this.track ? [this.track.told(track)] : [];
  }

  /** After the connection came back. */
  restart() {
    this.track?.restart();
  }

  set volume(value) {
    if (this.track) this.track.volume = value;
  }

  async stop() {
    this.track?.stop();
    await this.context?.close();
  }
}
