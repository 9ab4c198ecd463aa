// The listening page: which sessions there are, and one button each.
import { Client } from "./client.js";
import { Decks } from "./decks.js";
import { abilities, FramePlayer } from "./player.js";
import { showHow } from "./how.js";

const REFRESH_MS = 3000;
const REPORT_MS = 1000;
const RHYTHM = { heartbeat: 5, patience: 7 }; // who listens notices sooner than others that nothing comes
const PATIENCE_MS = 2500;
const NOTES = {
  insecure: [
    "This page came over plain http from another machine. Browsers decode audio themselves only on https pages or on " +
      "localhost (that is where WebCodecs and AudioWorklet live), so the sound below comes from the plain player, " +
      "a few seconds behind.",
    "For the fast way, open the https address that the node printed when it was started with HOST=0.0.0.0.",
  ],
  missing: [
    "This browser cannot decode Opus by itself (WebCodecs or AudioWorklet is missing), so the sound below comes from " +
      "the plain player, a few seconds behind. A newer browser hears it at once.",
  ],
  offline: [
    "The node does not answer. This page goes on trying, and what you were listening to comes back by itself.",
    "If it stays like this, look at the terminal in which the node was started: is it still running, and does it print " +
      "another address?",
  ],
};

const $ = (id) => document.getElementById(id);
let sessions = [];
let current = null; // { name, player | null, joined, plain, lost }
let patience = null;

const decks = new Decks($("decks"), $("fader"));
const client = new Client(
  new URL("/ws", location.href.replace(/^http/, "ws")).href,
  {
    state(text) {
      $("connection").textContent = text;
      $("connection").dataset.state = text;
      if (text === "online") {
        online();
      } else {
        patience ??= setTimeout(() => note("offline"), PATIENCE_MS);
        if (current) state("the connection is gone; trying again");
      }
    },
    joined,
    left,
    event,
    refused: failed,
    audio(frame) {
      if (!current?.joined || current.joined.track !== frame.track) return;
      current.player?.take(frame);
    },
  },
  { name: "page", retry: { attempts: null }, transports: {}, rhythm: RHYTHM },
);
setInterval(refresh, REFRESH_MS);
setInterval(report, REPORT_MS);
addEventListener("online", () => client.hurry()); // the network is back
$("volume").addEventListener("input", () => {
  const volume = Number($("volume").value);
  if (current?.player) current.player.volume = volume;
  $("plain").volume = volume;
});
// Some browsers pause the sound (a call, a changed device) and let only a press start it again.
document.addEventListener("click", () => current?.player?.resume());
abilities().then((able) => able !== "able" && note(able));

function online() {
  clearTimeout(patience);
  patience = null;
  forget("offline");
  refresh();
  if (current) current.lost = false;
  current?.player?.restart(); // the client joins again by itself
  if (current?.plain) playPlain(current);
}

function refresh() {
  if (client.online) client.sessions().then(showSessions).catch(quiet);
}

function report() {
  if (client.online && current?.joined && current.player) client.report(current.player.told(current.joined.track));
}

function hear(name) {
  client.join(name, { timeout: Infinity }).catch(quiet);
}

/** What is refused comes to `failed`, and that the connection is gone, to `state`. */
function quiet() {}

function note(why) {
  if ($("notice").querySelector(`[data-note="${why}"]`)) return;
  for (const text of NOTES[why]) {
    const paragraph = document.createElement("p");
    paragraph.dataset.note = why;
    paragraph.textContent = text;
    $("notice").append(paragraph);
  }
  $("notice").hidden = false;
}

function forget(why) {
  for (const paragraph of $("notice").querySelectorAll(`[data-note="${why}"]`)) paragraph.remove();
  $("notice").hidden = !$("notice").children.length;
}

function state(text) {
  $("player-state").textContent = text;
}

function showSessions(found) {
  sessions = found;
  $("nothing").hidden = found.length > 0;
  const list = $("sessions");
  const rows = new Map([...list.children].map((row) => [row.dataset.name, row]));
  // Rows are kept, not made anew: a button must not vanish under a finger.
  for (const session of found) {
    const row = rows.get(session.name) ?? makeRow(session.name);
    rows.delete(session.name);
    row.querySelector(".title").textContent = session.title || session.name;
    row.querySelector(".detail").textContent = `${session.kind} · ${people(session.listeners)}`;
    const here = current?.name === session.name;
    row.dataset.current = here;
    const button = row.querySelector("button");
    button.textContent = here ? "Leave" : isStage(session) ? "Enter" : "Listen";
    button.dataset.joined = here;
    if (!row.isConnected) list.append(row);
  }
  for (const row of rows.values()) row.remove();
  if (current?.lost && found.some((session) => session.name === current.name)) rejoin();
}

function makeRow(name) {
  const row = document.createElement("li");
  row.dataset.name = name;
  const words = document.createElement("div");
  for (const part of ["title", "detail"]) {
    const line = document.createElement("div");
    line.className = part;
    words.append(line);
  }
  const button = document.createElement("button");
  button.type = "button";
  button.addEventListener("click", () => toggle(name));
  row.append(words, button);
  return row;
}

/** People talk there; they have a page of their own. */
function isStage(session) {
  return session?.kind === "stage" || session?.kind === "voice";
}

function people(count) {
  if (count === 0) return "nobody listening yet";
  return count === 1 ? "1 person listening" : `${count} people listening`;
}

async function toggle(name) {
  const session = sessions.find((each) => each.name === name);
  if (isStage(session)) {
    location.assign(`/stage#session=${encodeURIComponent(name)}`);
    return;
  }
  const before = current;
  if (before) await leave(before);
  if (before?.name === name) return;
  current = { name, player: null, joined: null, plain: false, lost: false };
  $("player").hidden = false;
  $("player-title").textContent = session?.title || name;
  decks.hide();
  $("plain-link").href = listenUrl(name);
  state("joining");
  showSessions(sessions);
  const mine = current;
  try {
    await begin(mine);
  } catch (error) {
    if (current !== mine) return;
    playPlain(mine);
    state(`this browser could not start the fast player (${error.message}); this is the plain one`);
  }
}

async function begin(mine) {
  if ((await abilities()) !== "able") {
    playPlain(mine);
    return;
  }
  showPlain(false);
  // What the node will say in "joined"; if it says otherwise, the player is made anew.
  const player = new FramePlayer({ rate: 48000, channels: 2, frame: 960 }, showHealth, onAir);
  await player.start(Number($("volume").value));
  if (current !== mine) {
    await player.stop();
    return;
  }
  mine.player = player;
  hear(mine.name);
}

function rejoin() {
  current.lost = false;
  if (current.plain) {
    playPlain(current);
    return;
  }
  current.player?.restart();
  hear(current.name);
}

async function leave(mine) {
  current = null;
  if (mine.player) {
    client.leave(mine.name).catch(quiet);
    await mine.player.stop();
  }
  stopPlain();
  decks.hide();
  $("player").hidden = true;
  showSessions(sessions);
}

function joined(message) {
  if (current?.name !== message.session || !current.player) return;
  current.joined = message;
  current.player.joined = message;
  $("player-title").textContent = message.title || message.session;
  current.lost = false;
  refresh();
  onAir();
}

/** Say how it stands with the sound device, which may start or stop at any time. */
function onAir() {
  if (!current?.joined || current.lost) return;
  const running = current.player?.running;
  state(
    running
      ? "on air"
      : "on air, but this browser has not started its sound device: is one connected? Press anywhere to try again.",
  );
}

function left(message) {
  if (current?.name !== message.session || message.reason === "left") return;
  lose(`${message.reason}; it is joined again when it comes back`);
}

function failed(message) {
  if (current && message.session === current.name && message.code === "no_session") {
    lose("waiting for this session to come back");
  } else state(message.message);
}

function lose(text) {
  current.lost = true;
  current.joined = null;
  decks.hide();
  state(text);
}

function event(message) {
  if (current?.name === message.session && message.name === "state") decks.show(message.payload);
}

function showHealth(health) {
  // Levels in decibels: −60 dB and below is empty, full scale is full.
  const share = (peak) => Math.max(0, 1 + Math.log10(Math.max(peak, 1e-6)) / 3);
  $("level-left").style.setProperty("--share", share(health.peaks[0]));
  $("level-right").style.setProperty("--share", share(health.peaks[1]));
  $("buffer").style.setProperty("--share", Math.min(1, health.held / 0.5));
  $("buffer").dataset.low = health.held < health.aim / 3;
  showHow(health, client);
  if (health.at !== null) decks.tick(health.at);
}

function listenUrl(name) {
  return `/listen/${encodeURIComponent(name)}.ogg`;
}

function showPlain(shown) {
  $("plain").hidden = !shown;
  $("meters").hidden = shown;
  $("health").hidden = shown;
  $("volume").parentElement.hidden = shown; // the plain player has its own
}

function stopPlain() {
  const player = $("plain");
  player.pause();
  player.onerror = player.onended = null;
  player.removeAttribute("src");
  player.load(); // only this ends the download
}

function playPlain(mine) {
  mine.plain = true;
  showPlain(true);
  const player = $("plain");
  player.src = listenUrl(mine.name);
  player.volume = Number($("volume").value);
  player.onplaying = () => {
    state("on air, by the plain player");
    refresh();
  };
  player.onended = () => lose("the session ended; it is joined again when it comes back");
  player.onerror = () => {
    if (client.online) state("the plain player cannot play Ogg Opus either; try the address below in VLC or mpv");
  };
  player.play().catch(() => state("press play"));
}
