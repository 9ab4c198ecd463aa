// Frames in, sound out: WebCodecs decodes, an AudioWorklet plays from a ring.
import { FLAG_DISCONTINUITY } from "./audio_frame.js";
import { JitterAim } from "./jitter.js";
import { LateGate } from "./late.js";

const MOST_UNDECODED = 50;
const START_MS = 3000;

/** Whether this browser, on this page, can play frames itself; otherwise why not: "insecure" or "missing". */
export async function abilities(rate = 48000, channels = 2) {
  if (!window.isSecureContext) return "insecure";
  if (!("AudioDecoder" in window) || !("AudioWorkletNode" in window)) return "missing";
  const config = { codec: "opus", sampleRate: rate, numberOfChannels: channels };
  const { supported } = await AudioDecoder.isConfigSupported(config);
  return supported ? "able" : "missing";
}

export class FramePlayer {
  /** `onHealth` gets what the worklet reports, with the number of late frames; `onDevice` is told that `running` may differ. */
  constructor(joined, onHealth, onDevice) {
    this.joined = joined;
    this.onHealth = onHealth;
    this.onDevice = onDevice;
    this.gate = new LateGate(joined.rate);
    this.aim = new JitterAim();
    this.expected = null;
    this.missing = 0;
  }

  /** Whether the sound device runs. */
  get running() {
    return this.context?.state === "running";
  }

  /** Must be called from a click: browsers let no page make sound unasked. */
  async start(volume) {
    this.context = new AudioContext({ sampleRate: this.joined.rate, latencyHint: "interactive" });
    const resumed = this.context.resume();
    await this.context.audioWorklet.addModule("/js/worklet.js");
    this.ring = new AudioWorkletNode(this.context, "wsactors-ring", { numberOfInputs: 0, outputChannelCount: [2] });
    this.gain = new GainNode(this.context, { gain: volume });
    this.ring.connect(this.gain).connect(this.context.destination);
    this.ring.port.onmessage = ({ data }) => this.report(data);
    this.makeDecoder();
    // Without a sound device some browsers never start a context. Nothing is wrong then but the silence.
    await Promise.race([resumed, new Promise((done) => setTimeout(done, START_MS))]);
    this.context.onstatechange = () => this.onDevice();
  }

  /** Start the sound device again if something has stopped it; to be called from a press. */
  resume() {
    if (this.context && !this.running && this.context.state !== "closed") this.context.resume();
  }

  makeDecoder() {
    this.decoder = new AudioDecoder({ output: (sound) => this.decoded(sound), error: () => this.makeDecoder() });
    this.decoder.configure({
      codec: "opus",
      sampleRate: this.joined.rate,
      numberOfChannels: this.joined.channels,
    });
  }

  take(frame) {
    if (!this.ring || this.context.state === "closed") return;
    const now = performance.now() / 1000;
    if (frame.flags & FLAG_DISCONTINUITY) this.gate.reset();
    const lateness = this.gate.lateness(frame.timestamp, now);
    if (lateness === null) return;
    this.aim.arrived(lateness, now);
    if (this.expected !== null && frame.timestamp > this.expected) this.missing += 1;
    this.expected = frame.timestamp + this.joined.frame;
    if (this.decoder.decodeQueueSize > MOST_UNDECODED) return; // a page that was frozen: do not decode the past
    this.decoder.decode(
      new EncodedAudioChunk({
        type: "key",
        timestamp: Math.round((frame.timestamp * 1e6) / this.joined.rate),
        data: frame.payload,
      }),
    );
  }

  decoded(sound) {
    const left = new Float32Array(sound.numberOfFrames);
    sound.copyTo(left, { planeIndex: 0, format: "f32-planar" });
    let right = left;
    if (sound.numberOfChannels > 1) {
      right = new Float32Array(sound.numberOfFrames);
      sound.copyTo(right, { planeIndex: 1, format: "f32-planar" });
    } else right = left.slice();
    sound.close();
    this.ring.port.postMessage({ left, right, aim: this.aim.seconds }, [left.buffer, right.buffer]);
  }

  report(data) {
    if (data.dropout) this.aim.dropout();
    else this.onHealth({ ...data, late: this.gate.late, missing: this.missing });
  }

  /** After the connection came back: what is in the ring is from before. */
  restart() {
    this.gate.reset();
    this.expected = null;
    this.ring?.port.postMessage({ clear: true });
  }

  set volume(value) {
    if (this.gain) this.gain.gain.setTargetAtTime(value, this.context.currentTime, 0.02);
  }

  async stop() {
    this.decoder?.close();
    this.decoder = null;
    await this.context?.close();
  }
}
