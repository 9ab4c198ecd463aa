// What is played: two decks and the crossfader between them, from the node's "state" events. Everything is text to this page.
const EMPTY = "empty";
const HEARD = 0.1;

/** Minutes and seconds. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Where a deck of a state event is at timeline frame `frame`, in seconds. */
export function placeOf(deck, stateFrame, frame, rate = 48000) {
  const passed = deck.playing ? ((frame - stateFrame) / rate) * deck.rate : 0;
  const place = deck.position + passed;
  if (deck.loop && deck.duration > 0) return ((place % deck.duration) + deck.duration) % deck.duration;
  return Math.min(Math.max(place, 0), deck.duration);
}

export class Decks {
  constructor(list, fader) {
    this.list = list;
    this.fader = fader;
    this.hide();
  }

  hide() {
    this.state = null;
    this.list.hidden = this.fader.hidden = true;
  }

  /** Take the payload of a state event. */
  show(payload) {
    const decks = Array.isArray(payload?.decks) ? payload.decks.slice(0, 8).map(plain) : [];
    const crossfader = number(payload?.crossfader, NaN);
    this.state = { frame: number(payload?.frame, 0), decks, crossfader };
    while (this.list.children.length > decks.length) this.list.lastElementChild.remove();
    while (this.list.children.length < decks.length) this.list.append(makeRow());
    decks.forEach((deck, index) => fill(this.list.children[index], deck, gainOf(index, crossfader)));
    this.list.hidden = decks.length === 0;
    this.fader.hidden = Number.isNaN(crossfader);
    this.fader.style.setProperty("--at", (Math.min(1, Math.max(-1, crossfader || 0)) + 1) / 2);
    this.tick(this.state.frame);
  }

  /** Timeline frame `frame` is being heard. */
  tick(frame) {
    if (!this.state) return;
    this.state.decks.forEach((deck, index) => {
      const row = this.list.children[index];
      const place = placeOf(deck, this.state.frame, frame);
      const details = [];
      if (deck.duration > 0) details.push(`${clock(place)} / ${clock(deck.duration)}`);
      if (deck.bpm > 0) details.push(`${Math.round(deck.bpm * 10) / 10} bpm`);
      if (deck.duration > 0 && !deck.playing) details.push("stopped");
      row.querySelector(".detail").textContent = details.join(" · ");
      row.querySelector(".fill").style.setProperty("--share", deck.duration > 0 ? place / deck.duration : 0);
    });
  }
}

/** How loud a deck is at a place of the crossfader: equal power. */
function gainOf(index, crossfader) {
  if (Number.isNaN(crossfader) || index > 1) return 1;
  const angle = ((crossfader + 1) / 2) * (Math.PI / 2);
  return index === 0 ? Math.cos(angle) : Math.sin(angle);
}

function plain(deck) {
  return {
    letter: text(deck?.deck).slice(0, 1).toUpperCase(),
    title: text(deck?.title),
    artist: text(deck?.artist),
    playing: deck?.playing === true,
    loop: deck?.loop === true,
    position: number(deck?.position, 0),
    duration: number(deck?.duration, 0),
    rate: number(deck?.rate, 1),
    bpm: number(deck?.bpm, 0),
  };
}

function text(value) {
  return typeof value === "string" ? value : "";
}

function number(value, otherwise) {
  return typeof value === "number" && Number.isFinite(value) ? value : otherwise;
}

function makeRow() {
  const row = document.createElement("li");
  const letter = document.createElement("span");
  letter.className = "letter";
  const words = document.createElement("div");
  for (const part of ["song", "artist", "detail"]) {
    const line = document.createElement("div");
    line.className = part;
    words.append(line);
  }
  const bar = document.createElement("div");
  bar.className = "bar";
  const filled = document.createElement("div");
  filled.className = "fill calm";
  bar.append(filled);
  words.append(bar);
  row.append(letter, words);
  return row;
}

function fill(row, deck, gain) {
  row.querySelector(".letter").textContent = deck.letter;
  row.querySelector(".song").textContent = deck.title || EMPTY;
  row.querySelector(".artist").textContent = deck.artist;
  row.dataset.heard = deck.playing && gain > HEARD;
}
