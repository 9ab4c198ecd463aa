// Who is on a topic, as the node tells it: one state, then diffs (wsactors.client.presence).
export class PresenceMirror {
  constructor() {
    this.clear();
  }

  clear() {
    this.byKey = new Map();
    this.known = false;
  }

  /** Who is there. */
  get keys() {
    return [...this.byKey.keys()];
  }

  /** The metas of one key's connections; empty when it is not there. */
  metas(key) {
    return [...(this.byKey.get(key)?.values() ?? [])];
  }

  takeState(state) {
    this.clear();
    this.known = true;
    this.add(state);
  }

  /** Joins first, so that a key whose meta changes is there all the time. */
  takeDiff(joins, leaves) {
    this.add(joins);
    for (const [key, metas] of Object.entries(leaves)) {
      const known = this.byKey.get(key);
      if (!known) continue;
      for (const meta of metas) known.delete(meta.phx_ref);
      if (!known.size) this.byKey.delete(key);
    }
  }

  add(state) {
    for (const [key, metas] of Object.entries(state)) {
      if (!metas.length) continue;
      if (!this.byKey.has(key)) this.byKey.set(key, new Map());
      const known = this.byKey.get(key);
      for (const meta of metas) known.set(meta.phx_ref, meta);
    }
  }
}
