// The audio thread's side of the microphone: its sound in blocks of 20 ms, one channel.
const BLOCK_SECONDS = 0.02;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(Math.round(BLOCK_SECONDS * sampleRate));
    this.filled = 0;
    this.isOver = false;
    this.port.onmessage = () => (this.isOver = true);
  }

  process([channels]) {
    const first = channels[0];
    const count = first ? first.length : 128; // without a source, time goes on all the same
    for (let i = 0; i < count; i += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.filled] = channels.length > 0 ? sum / channels.length : 0;
      this.filled += 1;
      if (this.filled === this.block.length) {
        const full = this.block.slice();
        this.port.postMessage(full, [full.buffer]);
        this.filled = 0;
      }
    }
    return !this.isOver;
  }
}

registerProcessor("wsactors-capture", Capture);
