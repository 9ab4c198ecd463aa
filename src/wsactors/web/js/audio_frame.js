// The audio frame of the native protocol: 19 bytes of header, then one Opus packet.
export const AUDIO = 0x01;
export const FLAG_DISCONTINUITY = 1;
const HEADER_BYTES = 19;

export function decodeAudio(buffer) {
  if (buffer.byteLength <= HEADER_BYTES) throw new RangeError("an audio frame is cut off");
  const view = new DataView(buffer);
  return {
    flags: view.getUint8(1),
    track: view.getUint32(2),
    sequence: view.getUint32(6),
    timestamp: view.getUint32(10) * 0x100000000 + view.getUint32(14),
    level: view.getUint8(18),
    payload: new Uint8Array(buffer, HEADER_BYTES),
  };
}
