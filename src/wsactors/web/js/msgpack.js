// msgpack, the part of it that the native protocol uses. Bounded: nesting, lengths, one value and nothing after it.
const MAX_DEPTH = 12;
const utf8Out = new TextEncoder();
const utf8In = new TextDecoder("utf-8", { fatal: true });

/** The bytes of a map of texts, integers, booleans, null, arrays and maps. */
export function encode(value) {
  const bytes = [];
  write(value, bytes);
  return Uint8Array.from(bytes);
}

function write(value, out) {
  if (value === null || value === undefined) out.push(0xc0);
  else if (value === true || value === false) out.push(value ? 0xc3 : 0xc2);
  else if (Number.isInteger(value) && value >= 0) writeUnsigned(value, out);
  else if (typeof value === "string") {
    const text = utf8Out.encode(value);
    writeHead(text.length, 0xa0, 32, [0xd9, 0xda, 0xdb], out);
    out.push(...text);
  } else if (Array.isArray(value)) {
    writeHead(value.length, 0x90, 16, [null, 0xdc, 0xdd], out);
    for (const each of value) write(each, out);
  } else if (typeof value === "object") {
    const entries = Object.entries(value);
    writeHead(entries.length, 0x80, 16, [null, 0xde, 0xdf], out);
    for (const [key, each] of entries) {
      write(key, out);
      write(each, out);
    }
  } else throw new TypeError(`cannot encode ${typeof value}`);
}

function writeUnsigned(value, out) {
  if (value < 0x80) out.push(value);
  else if (value < 0x100) out.push(0xcc, value);
  else if (value < 0x10000) out.push(0xcd, value >> 8, value & 0xff);
  else if (value < 0x100000000) out.push(0xce, value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
  else throw new RangeError("integer too large");
}

function writeHead(length, small, limit, [one, two, four], out) {
  if (length < limit) out.push(small | length);
  else if (one !== null && length < 0x100) out.push(one, length);
  else if (length < 0x10000) out.push(two, length >> 8, length & 0xff);
  else out.push(four, length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff);
}

/** The one value in `buffer` (an ArrayBuffer). Maps become objects without a prototype. */
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
