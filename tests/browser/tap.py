"""A tap on a page's sound: what goes to the loudspeakers is also recorded, inside the page, and handed to the test.

The page knows nothing of it: before its scripts run, ``AudioNode.connect`` is wrapped, so that whatever is connected to a
context's destination also goes to a recorder.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
import trio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.browser.driver import Page

RATE = 48_000
RECORDER_PATH = "/js/test-recorder.js"
RECORDER = """registerProcessor("tap", class extends AudioWorkletProcessor {
  constructor() { super(); this.block = new Int16Array(2 * 128 * 32); this.filled = 0; this.next = null; this.lost = 0; }
  process([[left, right]]) {
    // The audio thread counts what it renders: a part it has skipped shows in the count.
    if (this.next !== null) this.lost += currentFrame - this.next;
    this.next = currentFrame + 128;
    for (let i = 0; i < 128; i += 1) {
      this.block[this.filled++] = Math.round((left ? left[i] : 0) * 32767);
      this.block[this.filled++] = Math.round((right ? right[i] : 0) * 32767);
    }
    if (this.filled === this.block.length) {
      this.port.postMessage({ block: this.block.slice(), lost: this.lost });
      this.filled = 0;
    }
    return true;
  }
});
"""

TAP = """() => {
  window.__pcm = [];
  window.__tapLost = 0;
  if (!window.AudioWorklet) return; // a page that is not trusted
  const addModule = AudioWorklet.prototype.addModule;
  AudioWorklet.prototype.addModule = async function (...rest) {
    await addModule.call(this, "RECORDER_PATH");
    return addModule.apply(this, rest);
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    const context = this.context;
    if (target === context.destination && !context.__tap) {
      const stereo = { channelCount: 2, channelCountMode: "explicit", outputChannelCount: [2] };
      context.__tap = new AudioWorkletNode(context, "tap", stereo);
      context.__tap.port.onmessage = ({ data }) => {
        window.__pcm.push(data.block);
        window.__tapLost = data.lost;
      };
      connect.call(context.__tap, context.destination);
      connect.call(this, context.__tap);
    }
    return connect.call(this, target, ...rest);
  };
}""".replace("RECORDER_PATH", RECORDER_PATH)

DECODED_TAP = """() => {
  window.__pcm = [];
  window.__tapLost = 0;
  const post = MessagePort.prototype.postMessage;
  MessagePort.prototype.postMessage = function (message, ...rest) {
    if (message.left) {
      const both = new Int16Array(message.left.length * 2);
      for (let i = 0; i < message.left.length; i += 1) {
        both[2 * i] = Math.round(message.left[i] * 32767);
        both[2 * i + 1] = Math.round(message.right[i] * 32767);
      }
      window.__pcm.push(both);
    }
    return post.call(this, message, ...rest);
  };
}"""
"""For a browser without a sound device, whose audio thread never starts: what is decoded and handed to that thread."""

_TAKE = """(async () => {
  const blocks = window.__pcm.splice(0);
  const blob = new Blob(blocks);
  const url = await new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(blob);
  });
  return url.slice(url.indexOf(",") + 1);
})()"""


async def tap(page: Page, source: str = TAP) -> None:
    """Record what ``page`` will play; before its address is loaded."""
    await page.add_script(RECORDER_PATH, RECORDER)
    await page.before_load(source)


class Recording:
    """What a page has played since its first sample that was not silent. Sound has the shape (samples, 2), full scale ±1."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._pieces: list[NDArray[np.int16]] = []
        self.size = 0

    def last(self, seconds: float) -> NDArray[np.float64]:
        """The newest ``seconds``, or less. Takes little more time than they need: the node under test plays in this process."""
        wanted, size = round(seconds * RATE), 0
        pieces: list[NDArray[np.int16]] = []
        for piece in reversed(self._pieces):
            if size >= wanted:
                break
            pieces.insert(0, piece)
            size += len(piece)
        if not pieces:
            return np.empty((0, 2))
        return np.concatenate(pieces)[-wanted:] / 32_767

    async def more(self, seconds: float) -> None:
        """Wait for that much more sound."""
        end = self.size + seconds * RATE
        with trio.fail_after(seconds + 90):
            while self.size < end:
                await trio.sleep(0.2)
                text = await self._page.evaluate(_TAKE)
                new = np.frombuffer(base64.b64decode(text or ""), "<i2").reshape(-1, 2)
                if not self.size:
                    loud = np.flatnonzero(np.abs(new).max(axis=1, initial=0) > 32)
                    new = new[loud[0] :] if len(loud) else new[:0]
                self._pieces.append(new)
                self.size += len(new)

    async def next(self, seconds: float) -> NDArray[np.float64]:
        """The next ``seconds`` of sound, once they are there."""
        await self.more(seconds)
        return self.last(seconds)
