// Whether somebody speaks, from the loudness of each block of sound: the rule of the node's own detector
// (wsactors.media.vad), in the same words; a test holds the two against each other. Levels are −dBov, 0 to 127.
const RATE = 48000;
const BIN = RATE / 2;
const BINS = 8;
const DEAF = -70;
const VOICE = { margin: 9, quietest: -50, loudest: -30, hysteresis: 4, hangover: 0.3 };

/** −dBov of a block, as it stands in audio frames (RFC 6464). */
export function levelOf(samples) {
  let energy = 0;
  for (const sample of samples) energy += sample * sample;
  const rms = Math.sqrt(energy / Math.max(1, samples.length));
  return rms > 0 ? Math.min(127, Math.max(0, Math.round(-20 * Math.log10(rms)))) : 127;
}

export class VoiceDetector {
  constructor(options = {}) {
    this.options = { ...VOICE, ...options };
    this.hangover = Math.round(this.options.hangover * RATE);
    this.bins = [];
    this.least = 0;
    this.filled = 0;
    this.quiet = 0;
    this.voiced = false;
    this.active = false;
  }

  /** The noise floor, dBov. */
  get floor() {
    let known = DEAF;
    if (this.bins.length > 0) known = Math.min(...this.bins);
    else if (this.filled > 0) known = this.least;
    return Math.max(DEAF, this.filled > 0 ? Math.min(known, this.least) : known);
  }

  /** Loudness in dBov from which on a block is speech. */
  get threshold() {
    const { loudest, quietest, margin } = this.options;
    const floor = this.bins.length > 0 ? this.floor : DEAF;
    return Math.min(loudest, Math.max(quietest, floor + margin));
  }

  /** Take a block of so many samples; whether somebody speaks, the moment after a word included. */
  hear(level, samples) {
    this.voiced = -level >= this.threshold - (this.voiced ? this.options.hysteresis : 0);
    this.learn(-level, samples);
    this.quiet = this.voiced ? 0 : this.quiet + samples;
    this.active = this.voiced || (this.active && this.quiet <= this.hangover);
    return this.active;
  }

  learn(loudness, samples) {
    this.least = this.filled > 0 ? Math.min(this.least, loudness) : loudness;
    this.filled += samples;
    if (this.filled < BIN) return;
    this.bins.push(this.least);
    if (this.bins.length > BINS) this.bins.shift();
    this.filled = 0;
  }
}
