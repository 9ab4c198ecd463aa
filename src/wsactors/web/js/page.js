// The listening page: which sessions there are, and one button each.
import { abilities, FramePlayer } from "./player.js";
import { Connection } from "./protocol.js";

const REFRESH_MS = 3000;
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
};

const $ = (id) => document.getElementById(id);
let sessions = [];
let current = null; // { name, player | null, joined }

const connection = new Connection(new URL("/ws", location.href.replace(/^http/, "ws")).href, {
  state(text) {
    $("connection").textContent = text;
    $("connection").dataset.state = text;
    if (text !== "online") {
      if (current?.player) state("the connection is gone; trying again");
      return;
    }
    connection.send({ t: "list" });
    if (current?.player) {
      current.player.restart();
      connection.send({ t: "join", session: current.name });
    }
  },
  message(message) {
    if (message.t === "sessions") showSessions(message.sessions);
    else if (message.t === "joined") joined(message);
    else if (message.t === "left") left(message);
    else if (message.t === "event") event(message);
    else if (message.t === "error") state(message.message);
  },
  audio(frame) {
    if (current?.joined?.track === frame.track) current.player?.take(frame);
  },
});
setInterval(() => connection.send({ t: "list" }), REFRESH_MS);
$("volume").addEventListener("input", () => {
  const volume = Number($("volume").value);
  if (current?.player) current.player.volume = volume;
  $("plain").volume = volume;
});
abilities().then((able) => able !== "able" && note(able));

function note(why) {
  const paragraphs = NOTES[why].map((text) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    return paragraph;
  });
  $("notice").replaceChildren(...paragraphs);
  $("notice").hidden = false;
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
    button.textContent = here ? "Leave" : "Listen";
    button.dataset.joined = here;
    if (!row.isConnected) list.append(row);
  }
  for (const row of rows.values()) row.remove();
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

function people(count) {
  return count === 1 ? "1 person listening" : `${count} people listening`;
}

async function toggle(name) {
  const before = current;
  if (before) await leave(before);
  if (before?.name === name) return;
  const session = sessions.find((each) => each.name === name);
  current = { name, player: null, joined: null };
  $("player").hidden = false;
  $("player-title").textContent = session?.title || name;
  $("decks").hidden = true;
  $("plain-link").href = listenUrl(name);
  state("joining");
  showSessions(sessions);
  const mine = current;
  try {
    await begin(mine);
  } catch (error) {
    state(`this browser could not start the sound: ${error.message}`);
  }
}

async function begin(mine) {
  const volume = Number($("volume").value);
  if ((await abilities()) !== "able") {
    playPlain(mine.name, volume);
    return;
  }
  showPlain(false);
  // What the node will say in "joined"; if it says otherwise, the player is made anew.
  const player = new FramePlayer({ rate: 48000, channels: 2, frame: 960 }, showHealth);
  const running = await player.start(volume);
  if (current !== mine) {
    await player.stop();
    return;
  }
  mine.player = player;
  mine.silent = !running;
  connection.send({ t: "join", session: mine.name });
}

async function leave(mine) {
  current = null;
  if (mine.player) {
    connection.send({ t: "leave", session: mine.name });
    await mine.player.stop();
  }
  stopPlain();
  $("player").hidden = true;
  showSessions(sessions);
}

function joined(message) {
  if (current?.name !== message.session || !current.player) return;
  current.joined = message;
  current.player.joined = message;
  $("player-title").textContent = message.title || message.session;
  connection.send({ t: "list" });
  state(current.silent ? "on air, but this browser has not started its sound device: is one connected?" : "on air");
}

function left(message) {
  if (current?.name !== message.session || message.reason === "left") return;
  state(`the session ended: ${message.reason}`);
}

function event(message) {
  if (current?.name !== message.session || !Array.isArray(message.payload?.decks)) return;
  const rows = message.payload.decks.slice(0, 8).map((deck) => {
    const row = document.createElement("li");
    row.textContent = [deck?.title, deck?.artist].filter((text) => typeof text === "string" && text).join(" – ") || "empty";
    return row;
  });
  $("decks").replaceChildren(...rows);
  $("decks").hidden = rows.length === 0;
}

function showHealth(health) {
  // Levels in decibels: −60 dB and below is empty, full scale is full.
  const share = (peak) => Math.max(0, 1 + Math.log10(Math.max(peak, 1e-6)) / 3);
  $("level-left").style.setProperty("--share", share(health.peaks[0]));
  $("level-right").style.setProperty("--share", share(health.peaks[1]));
  $("buffer").style.setProperty("--share", Math.min(1, health.held / 0.5));
  $("health-buffer").textContent = `${Math.round(health.held * 1000)} ms`;
  $("health-target").textContent = `${Math.round(health.aim * 1000)} ms`;
  $("health-underruns").textContent = health.underruns;
  $("health-late").textContent = health.late;
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
  player.onerror = null;
  player.removeAttribute("src");
  player.load(); // only this ends the download
}

function playPlain(name, volume) {
  showPlain(true);
  const player = $("plain");
  player.src = listenUrl(name);
  player.volume = volume;
  player.onplaying = () => {
    state("on air, by the plain player");
    connection.send({ t: "list" });
  };
  player.onerror = () => state("the plain player cannot play Ogg Opus either; try the address below in VLC or mpv");
  player.play().catch(() => state("press play"));
}
