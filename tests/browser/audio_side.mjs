// The page's audio cores on Node.js: takes questions as JSON on stdin, answers with what they make of them.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = pathToFileURL(`${process.argv[2]}/`);
const load = (name) => import(new URL(name, folder));
const { decodeAudio } = await load("audio_frame.js");
const { JitterBuffer } = await load("jitter.js");
const { duckingOf } = await load("mixer.js");
const { encode } = await load("msgpack.js");
const { StageState } = await load("stage_state.js");
const { Choice } = await load("transports.js");
const { Uplink } = await load("uplink.js");
const { levelOf, VoiceDetector } = await load("voice.js");
const { LengthPrefixed, prefixed } = await load("webtransport.js");
const { Playout } = await load("worklet.js");

const RATE = 48000;
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytes = (text) => Uint8Array.from(Buffer.from(text, "hex"));

/** Frames as they arrive: [hex, now]; `played`: the sample that is heard at time 0, null: nothing is. */
function received({ arrivals, played }) {
  const buffer = new JitterBuffer(RATE);
  const released = [];
  let now = 0;
  for (const [frame, at] of arrivals) {
    now = at;
    if (frame !== null) buffer.put(decodeAudio(bytes(frame).buffer), now);
    const due = (timestamp) => (played === null ? null : (timestamp - played) / RATE - now);
    for (const each of buffer.take(now, due)) released.push([each.timestamp, hex(each.payload), each.fresh, each.quiet, now]);
  }
  return { released, counts: buffer.counts, aim: buffer.delay.seconds, report: hex(encode({ t: "report", tracks: [buffer.report(3, null)] })) };
}

/** What a listener hears whose clock is off by `ppm`: frames of a tone arrive at these times, [number, seconds]. */
function heard({ arrivals, seconds, tone, keeps, quietFrom = null, freshFrom = null, aims = [] }) {
  const playout = new Playout(RATE);
  const [left, right] = [new Float32Array(128), new Float32Array(128)];
  const sound = [];
  let next = 0;
  let [least, most, step, before] = [Infinity, 0, 0, 0];
  for (let quantum = 0; quantum < (seconds * RATE) / 128; quantum += 1) {
    const now = (quantum * 128) / RATE;
    for (const [from, aim] of aims) if (now >= from) playout.aim = aim * RATE;
    for (; next < arrivals.length && arrivals[next][1] <= now; next += 1) {
      const [number] = arrivals[next];
      const block = Float32Array.from({ length: 960 }, (_, i) => 0.5 * Math.sin((2 * Math.PI * tone * (number * 960 + i)) / RATE));
      const facts = { quiet: quietFrom !== null && number === quietFrom, fresh: freshFrom !== null && number === freshFrom };
      playout.put(number * 960, block, block.slice(), facts);
    }
    playout.play(left, right);
    for (const sample of left) {
      if (now > 1) step = Math.max(step, Math.abs(sample - before));
      before = sample;
    }
    if (now > 5) [least, most] = [Math.min(least, playout.average), Math.max(most, playout.average)];
    if (keeps) sound.push(...left);
  }
  return { counts: playout.counts, waits: [least / RATE, most / RATE], step, sound, playing: playout.playing, average: playout.average / RATE };
}

function sent(packets) {
  const uplink = new Uplink();
  return packets.map(([level, payload, open], number) => {
    const packet = { timestamp: number * 960, samples: 960, level, payload: bytes(payload) };
    return uplink.take(packet, open).map(hex);
  });
}

function voices(levels) {
  const detector = new VoiceDetector();
  return levels.map((level) => [detector.hear(level, 960), detector.voiced]);
}

function split(pieces) {
  const reader = new LengthPrefixed(100_000);
  return pieces.map((piece) => {
    try {
      return reader.feed(bytes(piece)).map(hex);
    } catch (error) {
      return error.constructor.name;
    }
  });
}

function choices(steps) {
  const choice = new Choice({ first: 30, longest: 600 });
  return steps.map(([what, now, ...rest]) => choice[what](now, ...rest) ?? null);
}

function stage(events) {
  const state = new StageState();
  return events.map(([name, payload]) => {
    const isNext = state.take(name, payload);
    return {
      isNext,
      topic: state.facts.topic,
      speakers: state.speakers.map(({ id }) => id),
      hands: state.hands.map(({ id }) => id),
      levels: [...state.levels],
      may: [state.maySpeak(false), state.maySpeak(true)],
      track: state.personOf(65537)?.id ?? null,
    };
  });
}

const answers = {
  received,
  heard,
  sent,
  voices,
  split,
  prefixed: (messages) => messages.map((message) => hex(prefixed(bytes(message)))),
  choices,
  stage,
  levels: (blocks) => blocks.map((block) => levelOf(block)),
  ducking: ([until, tracks, now]) => tracks.map((track) => duckingOf(track, new Map(until), now)),
};
const questions = JSON.parse(readFileSync(0, "utf-8"));
process.stdout.write(JSON.stringify(questions.map(([kind, question]) => answers[kind](question))));
