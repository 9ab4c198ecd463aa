// Speaking: a microphone, WebCodecs' encoder, and what of it is sent.
import { levelOf } from "./voice.js";
import { Uplink } from "./uplink.js";

const RATE = 48000;
const CONFIG = {
  codec: "opus",
  sampleRate: RATE,
  numberOfChannels: 1,
  bitrate: 32000,
  opus: { frameDuration: 20000, application: "voip", useinbandfec: true, packetlossperc: 5 },
};
const MOST_UNENCODED = 25;
export const FACTS = { noiseSuppression: true, echoCancellation: true, autoGainControl: true };

/** Why this browser cannot speak; empty: it can. */
export async function cannotSpeak() {
  if (!window.isSecureContext) return "This page came over plain http, and browsers give the microphone only to https pages.";
  if (!navigator.mediaDevices?.getUserMedia) return "This browser gives no microphone to pages.";
  if (!("AudioEncoder" in window)) {
    return "This browser cannot encode Opus (WebCodecs' AudioEncoder is missing), so you can listen here, but not speak.";
  }
  const { supported } = await AudioEncoder.isConfigSupported(CONFIG);
  return supported ? "" : "This browser has WebCodecs, but cannot encode Opus, so you can listen here, but not speak.";
}

export class Microphone {
  /** `send`: takes encoded audio frames. `on`: level(−dBov, voiced), devices(list, id of the present one), lost(reason). */
  constructor(send, on) {
    this.send = send;
    this.on = on;
    this.open = false; // whether one may be heard
    this.facts = { ...FACTS };
    this.device = "";
    this.uplink = new Uplink();
    this.stream = null;
    this.coming = [];
    this.samples = 0;
    this.refresh = () => this.listDevices();
    this.changes = 0;
  }

  /** Ask for the microphone, and begin. `sink`: a node that is played, into which silence goes. */
  async start(context, sink) {
    if (this.node) return;
    this.context = context;
    await context.audioWorklet.addModule("/js/mic_worklet.js");
    await this.use();
    this.node = new AudioWorkletNode(context, "wsactors-capture", { numberOfInputs: 1, numberOfOutputs: 1 });
    this.node.connect(sink); // nothing comes out, but without it nothing would be asked of the node
    this.node.port.onmessage = ({ data }) => this.encode(data);
    this.source?.connect(this.node);
    this.makeEncoder();
    navigator.mediaDevices.addEventListener("devicechange", this.refresh);
  }

  /** Use another device, or other switches, from now on; what is being said goes on. */
  async use({ device = this.device, facts = this.facts } = {}) {
    this.changes += 1;
    const mine = this.changes;
    const audio = { ...facts, channelCount: { ideal: 1 }, sampleRate: { ideal: RATE } };
    if (device) audio.deviceId = { exact: device };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    if (mine !== this.changes) {
      stop(stream); // somebody has chosen again meanwhile
      return;
    }
    [this.device, this.facts] = [device, facts];
    const [track] = stream.getAudioTracks();
    track.onended = () => this.stream === stream && this.lose();
    const source = this.context.createMediaStreamSource(stream);
    if (this.node) source.connect(this.node);
    this.source?.disconnect();
    stop(this.stream);
    [this.stream, this.source] = [stream, source];
    await this.listDevices();
  }

  /** The device is gone: take whichever the system has now. */
  async lose() {
    try {
      await this.use({ device: "" });
      this.on.lost("The microphone is gone; another one is used now.");
    } catch (error) {
      this.on.lost(`The microphone is gone (${error.message}).`);
    }
  }

  async listDevices() {
    const all = await navigator.mediaDevices.enumerateDevices();
    const inputs = all.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId);
    const present = this.stream?.getAudioTracks()[0]?.getSettings().deviceId ?? "";
    this.on.devices(inputs, present);
  }

  makeEncoder() {
    this.coming = [];
    const mine = (this.encoder = new AudioEncoder({
      output: (chunk) => this.encoded(chunk),
      error: () => this.encoder === mine && this.makeEncoder(),
    }));
    mine.configure(CONFIG);
  }

  encode(samples) {
    const timestamp = this.samples;
    this.samples += samples.length;
    const level = levelOf(samples);
    this.on.level(level, this.uplink.detector.voiced);
    if (this.encoder.encodeQueueSize > MOST_UNENCODED) return; // a page that was frozen: nobody wants to hear that now
    this.coming.push({ timestamp, samples: samples.length, level });
    const data = new AudioData({
      format: "f32-planar",
      sampleRate: RATE,
      numberOfFrames: samples.length,
      numberOfChannels: 1,
      timestamp: Math.round((timestamp * 1e6) / RATE),
      data: samples,
    });
    this.encoder.encode(data);
    data.close();
  }

  encoded(chunk) {
    const packet = this.coming.shift();
    if (!packet) return;
    const payload = new Uint8Array(chunk.byteLength);
    chunk.copyTo(payload);
    for (const frame of this.uplink.take({ ...packet, payload }, this.open)) this.send(frame);
  }

  stop() {
    this.changes += 1;
    this.open = false;
    navigator.mediaDevices?.removeEventListener("devicechange", this.refresh);
    stop(this.stream);
    this.source?.disconnect();
    this.node?.port.postMessage("end");
    this.node?.disconnect();
    if (this.encoder && this.encoder.state !== "closed") this.encoder.close();
    this.stream = this.source = this.node = null;
  }
}

function stop(stream) {
  for (const track of stream?.getTracks() ?? []) {
    track.onended = null;
    track.stop();
  }
}
