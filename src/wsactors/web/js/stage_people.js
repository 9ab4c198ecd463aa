// The people of a stage on the page: who is on it, whose hand is up, who listens; what one can do with each of them.
import { make, showRows, $ } from "./dom.js";
import { ROLE_NAMES, ROLES } from "./stage_state.js";

const MOST_SHOWN = 200;

export class PeopleView {
  /** `stage`: the state, `act(action, args)`, `hear(person, on)`, `volumeOf(id)`, `setVolume(id, value)`, `isHushed(id)`. */
  constructor(stage) {
    this.stage = stage;
    this.audience = null; // once somebody has asked who it is
    $("everybody").addEventListener("click", () => this.ask());
  }

  clear() {
    this.audience = null;
    for (const id of ["speakers", "hands", "audience"]) $(id).replaceChildren();
  }

  show() {
    const { state } = this.stage;
    const isStage = state.facts.kind === "stage";
    const keyOf = ({ id }) => id;
    const makeRow = (person) => this.makeRow(person);
    const fill = (row, person) => this.fill(row, person);
    showRows($("speakers"), state.speakers, keyOf, makeRow, fill);
    showRows($("hands"), isStage ? state.hands : [], keyOf, makeRow, fill);
    showRows($("audience"), this.audience ?? [], keyOf, makeRow, fill);
    $("hands-part").hidden = $("audience-part").hidden = !isStage;
    $("stage-count").textContent = state.facts.on_stage;
    $("hands-count").textContent = state.facts.hand_count || (state.facts.hands_open ? "nobody" : "not taken now");
    $("audience-count").textContent = state.facts.audience;
    this.showLevels();
  }

  /** Who is heard at this moment. `levelOf(person)`: −dBov, null: they are not heard. */
  showLevels() {
    for (const row of $("speakers").children) {
      const person = this.stage.state.people.get(Number(row.dataset.key));
      const level = person ? this.stage.levelOf(person) : null;
      row.dataset.speaking = level !== null;
      row.querySelector(".fill").style.setProperty("--share", level === null ? 0 : Math.max(0.05, 1 - level / 60));
    }
  }

  /** Ask who listens, a page at a time. */
  async ask() {
    const found = [];
    let after = 0;
    do {
      const page = await this.stage.act("people", { after });
      if (!page) return;
      found.push(...page.people.filter(({ role }) => role === ROLES.AUDIENCE));
      after = page.more;
    } while (after && found.length < MOST_SHOWN);
    this.audience = found;
    this.show();
  }

  // -- one person --

  makeRow({ id }) {
    const face = make("span", { className: "face", "aria-hidden": "true" });
    const words = make("div", {}, make("div", { className: "name", dir: "auto" }), make("div", { className: "tags" }));
    const bar = make("div", { className: "bar" }, make("div", { className: "fill" }));
    const row = make("li", { className: "person" }, make("div", { className: "who" }, face, words), bar);
    const more = make("details", {}, make("summary", { words: "more" }), this.makeListening(id), this.makeModeration(id));
    row.append(more);
    return row;
  }

  makeListening(id) {
    const volume = make("input", { type: "range", min: 0, max: 2, step: 0.01, value: this.stage.volumeOf(id) });
    volume.addEventListener("input", () => this.stage.setVolume(id, Number(volume.value)));
    const hush = make("input", { type: "checkbox", className: "hush" });
    hush.addEventListener("change", () => this.stage.hear(id, !hush.checked));
    return make(
      "div",
      { className: "listening" },
      make("label", { className: "volume" }, "volume ", volume),
      make("label", { className: "switch" }, hush, " do not hear"),
    );
  }

  makeModeration(id) {
    const button = (name, action) => {
      const made = make("button", { type: "button", className: `plain ${name}` });
      made.addEventListener("click", () => this.stage.act(...action(this.personOf(id))));
      return made;
    };
    return make(
      "div",
      { className: "more moderation" },
      button("to-stage", () => ["move", { id, to: "speakers" }]),
      button("invite", () => ["invite", { id }]),
      button("lower", () => ["hand", { id, up: false }]),
      button("to-audience", () => ["move", { id, to: "audience" }]),
      button("silence", (person) => ["server_mute", { id, on: !person.server_muted }]),
      button("priority", (person) => ["priority", { id, on: !person.priority }]),
      button("kick", () => ["kick", { id }]),
    );
  }

  personOf(id) {
    return this.stage.state.people.get(id) ?? this.audience?.find((each) => each.id === id) ?? { id };
  }

  fill(row, person) {
    const { state } = this.stage;
    const isMe = person.id === state.you?.id;
    const role = person.role ?? ROLES.AUDIENCE;
    row.dataset.priority = Boolean(person.priority);
    row.dataset.away = Boolean(person.away);
    row.querySelector(".name").textContent = person.name;
    row.querySelector(".face").textContent = [...person.name][0]?.toUpperCase() ?? "?";
    this.fillTags(row.querySelector(".tags"), person, isMe);
    const listening = row.querySelector(".listening");
    listening.hidden = isMe || role < ROLES.SPEAKER;
    row.querySelector(".hush").checked = this.stage.isHushed(person.id);
    this.fillModeration(row, person, role, isMe);
    row.querySelector("details").hidden = listening.hidden && row.querySelector(".moderation").hidden;
  }

  fillTags(tags, person, isMe) {
    const found = [];
    if (isMe) found.push(["you", ""]);
    if (person.role > ROLES.AUDIENCE) found.push([ROLE_NAMES[person.role], ""]);
    if (person.priority) found.push(["priority", "priority"]);
    if (person.server_muted) found.push(["muted by a moderator", "muted"]);
    else if (person.muted && person.role > ROLES.AUDIENCE) found.push(["muted", "muted"]);
    if (person.hand) found.push(["hand up", ""]);
    if (person.away) found.push(["away", ""]);
    tags.replaceChildren(...found.map(([words, kind]) => make("span", { className: `tag ${kind}`, words })));
  }

  fillModeration(row, person, role, isMe) {
    const { state } = this.stage;
    const part = row.querySelector(".moderation");
    part.hidden = !state.moderates;
    const isStage = state.facts.kind === "stage";
    const listens = isStage && role === ROLES.AUDIENCE;
    const isOther = role < ROLES.MODERATOR && !isMe;
    const show = (name, words, shown) => {
      const button = part.querySelector(`.${name}`);
      button.textContent = words;
      button.hidden = !shown;
    };
    show("to-stage", "to the stage", listens);
    show("invite", "invite", listens);
    show("lower", "lower hand", listens && person.hand);
    show("to-audience", "to the audience", isStage && role === ROLES.SPEAKER);
    show("silence", person.server_muted ? "let speak" : "mute", true);
    show("priority", person.priority ? "no priority" : "priority", role >= ROLES.SPEAKER);
    show("kick", "kick", isOther);
  }
}
