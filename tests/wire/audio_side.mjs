// The JavaScript side of a differential test: frames as hex on stdin, what the page's module makes of them on stdout.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { decodeAudio, encodeUplink, packetSamples } = await import(pathToFileURL(process.argv[2]));
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytes = (text) => Uint8Array.from(Buffer.from(text, "hex"));

function decoded(text) {
  try {
    const { payload, copies, ...rest } = decodeAudio(bytes(text).buffer);
    return { ...rest, payload: hex(payload), copies: copies.map((each) => [hex(each.payload), each.distance]) };
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

const { frames, uplinks, packets } = JSON.parse(readFileSync(0, "utf-8"));
process.stdout.write(
  JSON.stringify({
    frames: frames.map(decoded),
    uplinks: uplinks.map(({ payload, ...rest }) => hex(encodeUplink({ ...rest, payload: bytes(payload) }))),
    packets: packets.map((text) => packetSamples(bytes(text))),
  }),
);
