// The soundboard: clips that are played to everybody. Files go up in pieces, each an answered request.
import { make, showRows, $ } from "./dom.js";

const PIECE = 12 * 1024;
const MOST_BYTES = 10_000_000;

export class Soundboard {
  /** `stage`: the state, `act(action, args)`, `ask(action, args)`: the same, but what goes wrong is raised. */
  constructor(stage) {
    this.stage = stage;
    $("upload").addEventListener("change", () => this.choose());
  }

  show() {
    const { clips, you, moderates } = this.stage.state;
    showRows(
      $("clips"),
      clips,
      ({ clip }) => clip,
      ({ clip }) => this.makeRow(clip),
      (row, { name, seconds, by }) => {
        row.querySelector(".play").textContent = name;
        row.querySelector(".play").title = `${seconds} s`;
        row.querySelector(".delete").setAttribute("aria-label", `delete ${name}`);
        row.querySelector(".delete").hidden = !moderates && by !== you?.id;
      },
    );
  }

  makeRow(clip) {
    const play = make("button", { type: "button", className: "plain play", dir: "auto" });
    const remove = make("button", { type: "button", className: "plain delete", words: "×" });
    play.addEventListener("click", () => this.stage.act("play", { clip }));
    remove.addEventListener("click", () => this.stage.act("delete", { clip }));
    return make("li", {}, play, remove);
  }

  failed({ error }) {
    this.say(`The sound was not taken: ${error}`);
  }

  async choose() {
    const [file] = $("upload").files;
    $("upload").value = "";
    if (!file) return;
    try {
      await this.upload(file);
      this.say("It is being looked at, and here in a moment.");
    } catch (error) {
      this.say(error.message);
    }
  }

  async upload(file) {
    if (file.size > MOST_BYTES) throw new Error("That file is too large.");
    const bytes = new Uint8Array(await file.arrayBuffer());
    const name = file.name.replace(/\.[^.]*$/, "");
    for (let at = 0; at < bytes.length || at === 0; ) {
      const data = bytes.slice(at, at + PIECE);
      at = await this.piece({ name, size: bytes.length, at, data });
      this.say(`uploading: ${Math.round((100 * at) / bytes.length)} %`);
    }
  }

  /** Send one piece, as soon as the node takes more; how much it has now. */
  async piece(args) {
    for (let tries = 0; ; tries += 1) {
      try {
        return (await this.stage.ask("upload", args)).at;
      } catch (error) {
        // A node takes so many requests a second, and says when it wants the next.
        if (error.code !== "rate" || args.at === 0 || tries > 20) throw error;
        await new Promise((done) => setTimeout(done, 1000 * Math.max(0.3, error.after)));
      }
    }
  }

  say(text) {
    $("clips-state").textContent = text;
  }
}
