// msgpack, the part of it that the native protocol uses. Bounded: nesting, lengths, one value and nothing after it.
const MAX_DEPTH = 40;
const utf8Out = new TextEncoder();
const utf8In = new TextDecoder("utf-8", { fatal: true });

/** The bytes of null, booleans, numbers, texts, Uint8Arrays, arrays and maps. Throws for what the protocol cannot carry. */
export function encode(value) {
  const writer = new Writer();
  writer.value(value, 0);
  return writer.bytes();
}

class Writer {
  constructor() {
    this.buffer = new Uint8Array(256);
    this.view = new DataView(this.buffer.buffer);
    this.at = 0;
  }

  bytes() {
    return this.buffer.slice(0, this.at);
  }

  room(size) {
    const at = this.at;
    this.at += size;
    if (this.at > this.buffer.length) {
      const grown = new Uint8Array(Math.max(this.at, 2 * this.buffer.length));
      grown.set(this.buffer.subarray(0, at));
      this.buffer = grown;
      this.view = new DataView(grown.buffer);
    }
    return at;
  }

  byte(value) {
    const at = this.room(1);
    this.buffer[at] = value;
  }

  raw(bytes) {
    const at = this.room(bytes.length);
    this.buffer.set(bytes, at);
  }

  value(value, depth) {
    if (depth > MAX_DEPTH) throw new RangeError("nested too deep");
    if (value === null || value === undefined) this.byte(0xc0);
    else if (value === true || value === false) this.byte(value ? 0xc3 : 0xc2);
    else if (typeof value === "number") this.number(value);
    else if (typeof value === "string") this.text(value);
    else if (value instanceof Uint8Array) this.binary(value);
    else if (Array.isArray(value)) {
      this.head(value.length, 0x90, 16, [null, 0xdc, 0xdd]);
      for (const each of value) this.value(each, depth + 1);
    } else if (typeof value === "object") this.map(value, depth);
    else throw new TypeError(`cannot encode ${typeof value}`);
  }

  map(value, depth) {
    const entries = Object.entries(value).filter(([, each]) => each !== undefined);
    this.head(entries.length, 0x80, 16, [null, 0xde, 0xdf]);
    for (const [key, each] of entries) {
      this.text(key);
      this.value(each, depth + 1);
    }
  }

  text(value) {
    if (value.isWellFormed?.() === false) throw new RangeError("a text holds a lone surrogate");
    const bytes = utf8Out.encode(value);
    this.head(bytes.length, 0xa0, 32, [0xd9, 0xda, 0xdb]);
    this.raw(bytes);
  }

  binary(value) {
    this.head(value.length, 0, 0, [0xc4, 0xc5, 0xc6]);
    this.raw(value);
  }

  number(value) {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) this.integer(value);
    else if (Number.isFinite(value)) {
      this.byte(0xcb);
      const at = this.room(8);
      this.view.setFloat64(at, value);
    } else throw new RangeError("numbers must be finite");
  }

  integer(value) {
    if (value >= 0) this.unsigned(value);
    else if (value >= -32) this.byte(value + 256);
    else if (value >= -0x80) this.sized(0xd0, 1, (at) => this.view.setInt8(at, value));
    else if (value >= -0x8000) this.sized(0xd1, 2, (at) => this.view.setInt16(at, value));
    else if (value >= -0x80000000) this.sized(0xd2, 4, (at) => this.view.setInt32(at, value));
    else this.sized(0xd3, 8, (at) => this.view.setBigInt64(at, BigInt(value)));
  }

  unsigned(value) {
    if (value < 0x80) this.byte(value);
    else if (value < 0x100) this.sized(0xcc, 1, (at) => this.view.setUint8(at, value));
    else if (value < 0x10000) this.sized(0xcd, 2, (at) => this.view.setUint16(at, value));
    else if (value < 0x100000000) this.sized(0xce, 4, (at) => this.view.setUint32(at, value));
    else this.sized(0xcf, 8, (at) => this.view.setBigUint64(at, BigInt(value)));
  }

  sized(code, size, write) {
    this.byte(code);
    write(this.room(size));
  }

  head(length, small, limit, [one, two, four]) {
    if (length < limit) this.byte(small | length);
    else if (one !== null && length < 0x100) this.sized(one, 1, (at) => this.view.setUint8(at, length));
    else if (length < 0x10000) this.sized(two, 2, (at) => this.view.setUint16(at, length));
    else this.sized(four, 4, (at) => this.view.setUint32(at, length));
  }
}

/** The one value in `buffer` (an ArrayBuffer). Maps become objects without a prototype, binary Uint8Arrays of that buffer. */
export function decode(buffer) {
  const reader = new Reader(buffer);
  const value = reader.value(0);
  if (reader.at !== buffer.byteLength) throw new RangeError("bytes after the value");
  return value;
}

class Reader {
  constructor(buffer) {
    this.view = new DataView(buffer);
    this.at = 0;
  }

  take(size) {
    const at = this.at;
    if (at + size > this.view.byteLength) throw new RangeError("the value is cut off");
    this.at += size;
    return at;
  }

  value(depth) {
    if (depth > MAX_DEPTH) throw new RangeError("nested too deep");
    const code = this.view.getUint8(this.take(1));
    if (code < 0x80) return code;
    if (code < 0x90) return this.map(code & 15, depth);
    if (code < 0xa0) return this.array(code & 15, depth);
    if (code < 0xc0) return this.text(code & 31);
    if (code >= 0xe0) return code - 256;
    switch (code) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return this.bytes(this.view.getUint8(this.take(1)));
      case 0xc5: return this.bytes(this.view.getUint16(this.take(2)));
      case 0xc6: return this.bytes(this.view.getUint32(this.take(4)));
      case 0xca: return this.view.getFloat32(this.take(4));
      case 0xcb: return this.view.getFloat64(this.take(8));
      case 0xcc: return this.view.getUint8(this.take(1));
      case 0xcd: return this.view.getUint16(this.take(2));
      case 0xce: return this.view.getUint32(this.take(4));
      case 0xcf: return Number(this.view.getBigUint64(this.take(8)));
      case 0xd0: return this.view.getInt8(this.take(1));
      case 0xd1: return this.view.getInt16(this.take(2));
      case 0xd2: return this.view.getInt32(this.take(4));
      case 0xd3: return Number(this.view.getBigInt64(this.take(8)));
      case 0xd9: return this.text(this.view.getUint8(this.take(1)));
      case 0xda: return this.text(this.view.getUint16(this.take(2)));
      case 0xdb: return this.text(this.view.getUint32(this.take(4)));
      case 0xdc: return this.array(this.view.getUint16(this.take(2)), depth);
      case 0xdd: return this.array(this.view.getUint32(this.take(4)), depth);
      case 0xde: return this.map(this.view.getUint16(this.take(2)), depth);
      case 0xdf: return this.map(this.view.getUint32(this.take(4)), depth);
      default: throw new RangeError(`unknown type ${code}`);
    }
  }

  bytes(length) {
    return new Uint8Array(this.view.buffer, this.take(length), length);
  }

  text(length) {
    return utf8In.decode(this.bytes(length));
  }

  array(length, depth) {
    if (length > this.view.byteLength - this.at) throw new RangeError("the value is cut off");
    const found = [];
    for (let i = 0; i < length; i += 1) found.push(this.value(depth + 1));
    return found;
  }

  map(length, depth) {
    const found = Object.create(null);
    for (let i = 0; i < length; i += 1) {
      const key = this.value(depth + 1);
      if (typeof key !== "string") throw new RangeError("a key is no text");
      found[key] = this.value(depth + 1);
    }
    return found;
  }
}
