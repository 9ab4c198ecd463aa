// How well sound is heard, in words and numbers: for whoever wonders why it is as it is. A page shows what it has a place for.
import { $ } from "./dom.js";

const ms = (seconds) => `${Math.round(seconds * 1000)} ms`;
const NAMES = { webtransport: "WebTransport", websocket: "WebSocket" };

/** Show what a track's playout says (`TrackPlayer`), or a mixer of all its tracks, and how its client is connected. */
export function showHow(health, client) {
  const share = health.played > 0 ? health.concealed / health.played : 0;
  put("buffer", ms(health.held));
  put("target", ms(health.aim));
  put("underruns", health.underruns);
  put("leaps", health.leaps);
  put("late", health.late + health.stale);
  put("missing", health.lost);
  put("recovered", health.recovered);
  put("concealed", `${(share * 100).toFixed(1)} %`);
  put("jitter", `${(health.jitter * 1000).toFixed(1)} ms`);
  const { seconds } = client.latency;
  put("latency", seconds === null ? "–" : ms(seconds));
  put("transport", client.online ? NAMES[client.transport] : "–", client.transports.why);
}

function put(name, text, title = "") {
  const place = $(`health-${name}`);
  if (!place) return;
  place.textContent = text;
  place.title = title;
}
