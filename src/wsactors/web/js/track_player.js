// One track on its way to the loudspeakers: jitter buffer, WebCodecs' decoder, the audio thread's playout, a gain.
import { JitterBuffer } from "./jitter.js";

const MOST_UNDECODED = 50;
const GLIDE_SECONDS = 0.02;

/** How this page hears things at all: a context with our worklet. Must be made in a click: no page makes sound unasked. */
export async function openContext(rate) {
  const context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
  const resumed = context.resume();
  await context.audioWorklet.addModule("/js/worklet.js");
  return { context, resumed };
}

export class TrackPlayer {
  /** `target`: the node to play to. `joined`: rate and channels. `onHealth`: gets what the playout says, with counters. */
  constructor(context, target, joined, onHealth = () => {}) {
    this.joined = joined;
    this.onHealth = onHealth;
    this.buffer = new JitterBuffer(joined.rate);
    this.coming = []; // what was given to the decoder, and has not come back
    this.health = null;
    this.heardAt = 0;
    this.context = context;
    this.ring = new AudioWorkletNode(context, "wsactors-ring", { numberOfInputs: 0, outputChannelCount: [2] });
    this.gain = new GainNode(context);
    this.ring.connect(this.gain).connect(target);
    this.ring.port.onmessage = ({ data }) => this.report(data);
    this.makeDecoder();
  }

  makeDecoder() {
    this.coming = [];
    const mine = (this.decoder = new AudioDecoder({
      output: (sound) => this.decoded(sound),
      error: () => this.decoder === mine && this.makeDecoder(), // that packet is lost
    }));
    mine.configure({ codec: "opus", sampleRate: this.joined.rate, numberOfChannels: this.joined.channels });
  }

  /** Take a frame of this track. */
  take(frame) {
    const now = performance.now() / 1000;
    this.heardAt = now;
    this.buffer.put(frame, now);
    this.decodeDue(now);
  }

  decodeDue(now = performance.now() / 1000) {
    for (const packet of this.buffer.take(now, (timestamp) => this.untilPlayed(timestamp, now))) {
      if (this.decoder.decodeQueueSize > MOST_UNDECODED) continue; // a page that was frozen: do not decode the past
      this.coming.push(packet);
      const timestamp = Math.round((packet.timestamp * 1e6) / this.joined.rate);
      this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, data: packet.payload }));
    }
  }

  /** Seconds until a sample is played; null: nothing is being played. */
  untilPlayed(timestamp, now) {
    if (!this.health?.playing) return null;
    return (timestamp - this.health.at) / this.joined.rate - (now - this.health.since);
  }

  decoded(sound) {
    // Browsers count their own timestamps, which know of no gaps; sound comes in the order of the packets.
    const packet = this.coming.shift();
    if (packet) {
      const [left, right] = [planeOf(sound, 0), planeOf(sound, Math.min(1, sound.numberOfChannels - 1))];
      const { timestamp, fresh, quiet } = packet;
      const aim = this.buffer.delay.seconds;
      this.ring.port.postMessage({ timestamp, left, right, fresh, quiet, aim }, [left.buffer, right.buffer]);
    }
    sound.close();
  }

  report(data) {
    if (data.dropout) {
      this.buffer.delay.dropout();
      return;
    }
    this.health = { ...data, since: performance.now() / 1000 };
    if (this.buffer.hasGap) this.decodeDue();
    const { counts, delay } = this.buffer;
    this.onHealth({ ...this.health, ...counts, jitter: delay.jitter });
  }

  /** What the node is told of it. */
  told(track) {
    return this.buffer.report(track, this.health);
  }

  /** The connection is another one. What is held is played on: the track's timeline is the same. */
  restart() {
    this.buffer.restart();
  }

  set volume(value) {
    this.gain.gain.setTargetAtTime(value, this.context.currentTime, GLIDE_SECONDS);
  }

  stop() {
    if (this.decoder.state !== "closed") this.decoder.close();
    this.ring.port.onmessage = null;
    this.ring.port.postMessage({ end: true });
    this.ring.disconnect();
    this.gain.disconnect();
  }
}

function planeOf(sound, planeIndex) {
  const plane = new Float32Array(sound.numberOfFrames);
  sound.copyTo(plane, { planeIndex, format: "f32-planar" });
  return plane;
}
