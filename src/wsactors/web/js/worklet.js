// The audio thread's side: a ring of decoded sound, played at the pace of the device.
//
// Playing starts when the ring holds the aim, and stops when it runs dry. The device's clock and the node's differ by some
// parts per million; when the ring drifts away from its aim, it is read up to 0.4 % faster or slower (cubic interpolation),
// so the sound never jumps. Near the aim it is copied sample by sample.
const RING_SECONDS = 2;
const FADE_SAMPLES = 128;
const REPORT_QUANTA = 24;
const TOO_MUCH_SECONDS = 0.1;
const TOO_LITTLE_SECONDS = -0.03;
const MOST_BEND = 0.004;
const BEND_PER_SECOND_OFF = 0.05;

class Ring extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = RING_SECONDS * sampleRate;
    this.left = new Float32Array(this.size);
    this.right = new Float32Array(this.size);
    this.clear();
    this.aim = 0.12 * sampleRate;
    this.underruns = 0;
    this.quanta = 0;
    this.peaks = [0, 0];
    this.port.onmessage = ({ data }) => this.take(data);
  }

  clear() {
    this.written = 0;
    this.read = 0;
    this.average = 0;
    this.playing = false;
    this.bending = false;
    this.fade = 0;
  }

  get held() {
    return this.written - this.read;
  }

  take(data) {
    if (data.aim !== undefined) this.aim = data.aim * sampleRate;
    if (data.clear) this.clear();
    if (!data.left) return;
    const { left, right } = data;
    // Never more than the ring: what would overwrite unheard sound pushes the oldest out.
    if (this.held + left.length > this.size) this.read = this.written + left.length - this.size;
    for (let i = 0; i < left.length; i += 1) {
      const at = (this.written + i) % this.size;
      this.left[at] = left[i];
      this.right[at] = right[i];
    }
    this.written += left.length;
  }

  process(_inputs, [[left, right]]) {
    const count = left.length;
    if (!this.playing && this.held >= this.aim + count) {
      this.playing = true;
      this.average = this.held;
      this.fade = FADE_SAMPLES;
    }
    if (this.playing) this.play(left, right ?? left, count);
    this.report(left, right ?? left);
    return true;
  }

  play(left, right, count) {
    this.average += (this.held - this.average) * 0.005;
    const off = (this.average - this.aim) / sampleRate;
    // Hysteresis: rarely begin to bend, then go on until the aim is nearly met.
    if (off > TOO_MUCH_SECONDS || off < TOO_LITTLE_SECONDS) this.bending = true;
    else if (Math.abs(off) < -TOO_LITTLE_SECONDS / 6) this.bending = false;
    const bend = this.bending ? Math.max(-MOST_BEND, Math.min(MOST_BEND, off * BEND_PER_SECOND_OFF)) : 0;
    const step = 1 + bend;
    if (this.held < count * step + 3) {
      this.runDry(left, right);
      return;
    }
    if (bend === 0 && Number.isInteger(this.read)) this.copy(left, right, count);
    else this.bent(left, right, count, bend === 0 ? this.straighten(count) : step);
    if (this.fade > 0) this.fadeIn(left, right, count);
  }

  copy(left, right, count) {
    for (let i = 0; i < count; i += 1) {
      const at = (this.read + i) % this.size;
      left[i] = this.left[at];
      right[i] = this.right[at];
    }
    this.read += count;
  }

  bent(left, right, count, step) {
    for (let i = 0; i < count; i += 1) {
      const whole = Math.floor(this.read);
      const part = this.read - whole;
      left[i] = this.cubic(this.left, whole, part);
      right[i] = this.cubic(this.right, whole, part);
      this.read += step;
    }
    const nearest = Math.round(this.read);
    if (Math.abs(this.read - nearest) < 1e-6) this.read = nearest;
  }

  /** The pace that brings the place in the ring back to a whole sample at the end of this block. */
  straighten(count) {
    return (Math.ceil(this.read + count) - this.read) / count;
  }

  cubic(ring, whole, part) {
    const a = ring[(whole - 1 + this.size) % this.size];
    const b = ring[whole % this.size];
    const c = ring[(whole + 1) % this.size];
    const d = ring[(whole + 2) % this.size];
    return b + 0.5 * part * (c - a + part * (2 * a - 5 * b + 4 * c - d + part * (3 * (b - c) + d - a)));
  }

  fadeIn(left, right, count) {
    for (let i = 0; i < count && this.fade > 0; i += 1, this.fade -= 1) {
      const gain = 1 - this.fade / FADE_SAMPLES;
      left[i] *= gain;
      right[i] *= gain;
    }
  }

  runDry(left, right) {
    // Play what is there, fading out, then wait for the aim.
    const rest = Math.max(0, Math.min(left.length, Math.floor(this.held)));
    this.read = Math.floor(this.read);
    this.copy(left, right, rest);
    for (let i = 0; i < rest; i += 1) {
      left[i] *= 1 - i / rest;
      right[i] *= 1 - i / rest;
    }
    left.fill(0, rest);
    right.fill(0, rest);
    this.playing = false;
    this.underruns += 1;
    this.port.postMessage({ dropout: true });
  }

  report(left, right) {
    for (let i = 0; i < left.length; i += 1) {
      this.peaks[0] = Math.max(this.peaks[0], Math.abs(left[i]));
      this.peaks[1] = Math.max(this.peaks[1], Math.abs(right[i]));
    }
    this.quanta += 1;
    if (this.quanta % REPORT_QUANTA) return;
    this.port.postMessage({
      held: this.held / sampleRate,
      aim: this.aim / sampleRate,
      playing: this.playing,
      underruns: this.underruns,
      peaks: this.peaks,
    });
    this.peaks = [0, 0];
  }
}

registerProcessor("wsactors-ring", Ring);
