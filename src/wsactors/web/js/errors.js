/** What can go wrong for a client of a node; `code` is for programs. */
export class ClientError extends Error {
  constructor(message, code = "", { after = 0, details = null } = {}) {
    super(message);
    this.name = "ClientError";
    this.code = code;
    this.after = after;
    this.details = details;
  }
}

/** The connection is gone, or could not be made: `connection_failed`, or what the node said last. */
export class Disconnected extends Error {
  constructor(message, code = "") {
    super(message);
    this.name = "Disconnected";
    this.code = code;
  }
}

export function refusal({ code, message, after = 0, details = null }) {
  return new ClientError(`${code}: ${message}`, code, { after, details });
}
