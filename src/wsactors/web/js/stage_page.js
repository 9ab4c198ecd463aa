// The stage page: which sessions of people there are, and one of them, with everything that one can do in it.
import { Client } from "./client.js";
import { make, showRows, $ } from "./dom.js";
import { abilities } from "./player.js";
import { StageVisit } from "./stage_visit.js";

const REFRESH_MS = 3000;
const PATIENCE_MS = 2500;
const RHYTHM = { heartbeat: 5, patience: 7 }; // who listens notices sooner than others that nothing comes
const TOKEN = "wsactors-token";
const NOTES = {
  insecure: "This page came over plain http from another machine: browsers play and record live sound only on https pages.",
  missing: "This browser cannot decode Opus by itself (WebCodecs or AudioWorklet is missing). A newer one can.",
  offline: "The node does not answer. This page goes on trying, and takes you back to where you were.",
};
const KINDS = ["stage", "voice"];

let visit = null;
let patience = null;
const client = new Client(
  new URL("/ws", location.href.replace(/^http/, "ws")).href,
  {
    state: (text, reason) => showConnection(text, reason),
    joined: (message) => mine(message)?.joined(message),
    left: (message) => mine(message)?.left(message),
    event: (message) => mine(message)?.event(message.name, message.payload),
    refused: (message) => (mine(message) ? visit.refused(message) : note("refused", message.message)),
    audio: (frame) => visit?.audio(frame),
  },
  { name: "stage", token: () => sessionStorage.getItem(TOKEN) ?? "", retry: { attempts: null }, transports: {}, rhythm: RHYTHM },
);

setInterval(refresh, REFRESH_MS);
addEventListener("online", () => client.hurry());
addEventListener("hashchange", follow);
document.addEventListener("click", () => visit?.resume());
$("leave").addEventListener("click", () => leave());
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $("token").value.trim());
  location.reload();
});
abilities().then((able) => able !== "able" && note(able, NOTES[able]));
follow();

function mine({ session }) {
  return visit?.name === session ? visit : null;
}

function showConnection(text, reason) {
  $("connection").textContent = text;
  $("connection").dataset.state = text === "failed" ? "offline" : text;
  if (text === "online") {
    clearTimeout(patience);
    patience = null;
    forget("offline");
    refresh();
  } else if (text === "failed") note("refused", reason);
  else patience ??= setTimeout(() => note("offline", NOTES.offline), PATIENCE_MS);
}

function refresh() {
  if (client.online && !visit) client.sessions().then(showSessions).catch(() => {}); // the connection went, which `state` tells
}

function showSessions(found) {
  const stages = found.filter(({ kind }) => KINDS.includes(kind));
  $("nothing").hidden = stages.length > 0;
  showRows($("sessions"), stages, ({ name }) => name, makeRow, (row, { name, title, kind, listeners }) => {
    row.querySelector(".title").textContent = title || name;
    row.querySelector(".detail").textContent = `${kind} · ${listeners} here`;
    row.dataset.current = wanted() === name;
  });
}

function makeRow({ name }) {
  const button = make("button", { type: "button", words: "Join" });
  button.addEventListener("click", () => enter(name));
  const words = make("div", {}, make("div", { className: "title", dir: "auto" }), make("div", { className: "detail" }));
  return make("li", {}, words, button);
}

/** The session that the address names: shown first, but joined only by a press, as sound needs one. */
function wanted() {
  return new URLSearchParams(location.hash.slice(1)).get("session") ?? "";
}

function follow() {
  if (visit && visit.name !== wanted()) leave();
  refresh();
}

async function enter(name) {
  if (visit) return;
  visit = new StageVisit(client, name, (reason) => leave(reason));
  location.hash = `session=${encodeURIComponent(name)}`;
  $("lobby").hidden = true;
  $("stage").hidden = false;
  forget("left");
  forget("refused");
  try {
    await visit.start();
  } catch (error) {
    leave(error.message);
  }
}

function leave(reason = "") {
  const before = visit;
  visit = null;
  before?.stop();
  history.replaceState(null, "", location.pathname);
  $("stage").hidden = true;
  $("lobby").hidden = false;
  if (reason) note("left", reason);
  refresh();
}

function note(why, text) {
  forget(why);
  $("notice").append(make("p", { "data-note": why, words: text }));
  $("notice").hidden = false;
}

function forget(why) {
  for (const paragraph of $("notice").querySelectorAll(`[data-note="${why}"]`)) paragraph.remove();
  $("notice").hidden = !$("notice").children.length;
}
