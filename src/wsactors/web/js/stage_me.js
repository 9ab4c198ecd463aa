// One's own part in a stage: hand, invitation, microphone, push-to-talk, and what only moderators do.
import { make, $ } from "./dom.js";
import { cannotSpeak, Microphone } from "./microphone.js";
import { ROLE_NAMES } from "./stage_state.js";

const TALK_KEY = " ";
const SWITCHES = { noise: "noiseSuppression", echo: "echoCancellation", gain: "autoGainControl" };

export class StageMe {
  constructor(stage, signal) {
    this.stage = stage;
    this.microphone = null;
    this.talking = false;
    this.heard = 127;
    this.voiced = false;
    this.why = null; // why this browser cannot speak; null: not known yet
    for (const id of ["me-name", "me-role", "mic-state"]) $(id).textContent = "";
    this.topic = $("topic-text").value = ""; // as the field has shown it; anything else in there is yet to be sent
    const listen = (id, name, then) => $(id).addEventListener(name, then, { signal });
    const press = (id, then) => listen(id, "click", then);
    press("hand", () => stage.act("hand", { up: !stage.state.you?.hand }));
    press("mute", () => this.toggle());
    press("accept", () => this.accept());
    press("decline", () => stage.act("decline"));
    press("stand-down", () => stage.act("stand_down"));
    press("end", () => confirm("End this session for everybody?") && stage.act("end"));
    listen("push-to-talk", "change", () => stage.act("push_to_talk", { on: $("push-to-talk").checked }));
    listen("hands-open", "change", () => stage.act("hands", { open: $("hands-open").checked }));
    listen("topic-form", "submit", (event) => this.setTopic(event));
    listen("devices", "change", () => this.use({ device: $("devices").value }));
    for (const id of Object.keys(SWITCHES)) listen(id, "change", () => this.use({}));
    this.listenToKeys(signal);
    cannotSpeak().then((why) => {
      this.why = why;
      if (!signal.aborted) this.show();
    });
  }

  listenToKeys(signal) {
    const button = $("talk");
    const listen = (target, name, then) => target.addEventListener(name, then, { signal });
    listen(button, "pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      this.talk(true);
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) listen(button, name, () => this.talk(false));
    listen(window, "blur", () => this.talk(false));
    listen(document, "visibilitychange", () => document.hidden && this.talk(false));
    for (const name of ["keydown", "keyup"]) {
      listen(document, name, (event) => {
        if (event.key !== TALK_KEY || !this.stage.state.pushes || isTyping(event.target)) return;
        event.preventDefault(); // the space bar talks now, and presses no button
        if (!event.repeat) this.talk(name === "keydown");
      });
    }
  }

  /** The session was joined, maybe once more: what it does not keep is told again. */
  again() {
    if (this.talking) this.stage.act("talk", { on: true });
  }

  stop() {
    this.talking = false;
    this.microphone?.stop();
    this.microphone = null;
  }

  /** −dBov at which one is heard oneself; null: one is not. */
  get level() {
    return this.isOpen && this.voiced ? this.heard : null;
  }

  get isOpen() {
    return this.microphone?.open ?? false;
  }

  // -- speaking --

  async accept() {
    if ((await this.openMicrophone()) || this.why) await this.stage.act("accept");
  }

  async toggle() {
    const { state } = this.stage;
    if (this.microphone && !state.you?.muted) {
      await this.stage.act("mute", { on: true });
      return;
    }
    if ((await this.openMicrophone()) && state.you?.muted) await this.stage.act("mute", { on: false });
    this.show();
  }

  /** Whether there is a microphone now. */
  async openMicrophone() {
    if (this.microphone || this.why) return !this.why;
    const { client, mixer } = this.stage;
    const microphone = new Microphone((frame) => client.speak(frame), {
      level: (level, voiced) => this.showLevel(level, voiced),
      devices: (list, present) => this.showDevices(list, present),
      lost: (text) => this.say(text),
    });
    microphone.facts = this.facts;
    try {
      await microphone.start(mixer.context, mixer.master);
    } catch (error) {
      microphone.stop();
      this.say(`No microphone: ${error.message}`);
      return false;
    }
    if (this.stage.isOver) {
      microphone.stop();
      return false;
    }
    this.microphone = microphone;
    this.say("");
    this.show();
    return true;
  }

  async use(choice) {
    try {
      await this.microphone?.use({ ...choice, facts: this.facts });
    } catch (error) {
      this.say(`That does not work with this microphone: ${error.message}`);
    }
  }

  get facts() {
    return Object.fromEntries(Object.entries(SWITCHES).map(([id, fact]) => [fact, $(id).checked]));
  }

  talk(on) {
    if (this.talking === on || (on && !this.stage.state.onStage)) return;
    this.talking = on;
    this.stage.act("talk", { on });
    this.show();
  }

  async setTopic(event) {
    event.preventDefault();
    this.topic = $("topic-text").value;
    await this.stage.act("topic", { text: this.topic });
  }

  // -- what is shown --

  show() {
    const { state } = this.stage;
    const { you, facts, onStage, moderates } = state;
    if (this.microphone) this.microphone.open = state.maySpeak(this.talking);
    if (!you) return;
    const isStage = facts.kind === "stage";
    $("me-name").textContent = you.name;
    $("me-role").textContent = ROLE_NAMES[you.role ?? 1];
    $("invitation").hidden = !you.invited;
    this.showHand(isStage && !onStage, you);
    this.showSpeaking(you, onStage, isStage && you.role === 2);
    $("moderation").hidden = !moderates;
    $("hands-open-part").hidden = !isStage;
    $("hands-open").checked = facts.hands_open;
    this.showTopic(facts.topic);
  }

  /** In the field, unless somebody is changing it: news come while one writes, and while one presses the button. */
  showTopic(topic) {
    const field = $("topic-text");
    if (field.value === this.topic) field.value = topic;
    this.topic = topic;
  }

  showHand(shown, you) {
    const hand = $("hand");
    hand.hidden = !shown;
    hand.textContent = you.hand ? "Lower hand" : "Raise hand";
    hand.setAttribute("aria-pressed", Boolean(you.hand));
  }

  showSpeaking(you, onStage, mayStandDown) {
    const mute = $("mute");
    const isOn = Boolean(this.microphone) && !you.muted;
    mute.hidden = !onStage;
    mute.disabled = Boolean(this.why);
    mute.textContent = isOn ? "Mute" : "Unmute";
    mute.setAttribute("aria-pressed", !isOn);
    $("stand-down").hidden = !mayStandDown;
    $("talk").hidden = !(onStage && this.stage.state.pushes && this.microphone);
    $("talk").setAttribute("aria-pressed", this.talking);
    $("push-to-talk").checked = this.stage.state.pushes;
    $("push-to-talk").disabled = Boolean(you.must_push);
    $("mic-meter").hidden = !(onStage && this.microphone);
    if (this.why) this.say(onStage ? this.why : "");
    else if (you.server_muted) this.say("A moderator has muted you.");
    else if (onStage && !this.microphone) this.say("Your microphone is off.");
    else if ($("mic-state").textContent.match(/^(A moderator has|Your microphone)/)) this.say("");
  }

  showLevel(level, voiced) {
    this.heard = level;
    this.voiced = voiced;
    $("mic-level").style.setProperty("--share", Math.max(0, 1 - level / 60));
  }

  showDevices(list, present) {
    const options = list.map(({ deviceId, label }, number) =>
      make("option", { value: deviceId, words: label || `microphone ${number + 1}`, selected: deviceId === present }),
    );
    $("devices").replaceChildren(...options);
  }

  say(text) {
    $("mic-state").textContent = text;
  }
}

function isTyping(target) {
  if (target instanceof HTMLInputElement) return !["checkbox", "file"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}
