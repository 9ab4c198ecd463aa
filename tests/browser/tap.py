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
TAP = """() => {
  window.__pcm = [];
  window.__tapLost = () => 0;
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    const context = this.context;
    if (target === context.destination && !context.__tap) {
      // Large blocks: the recorder runs on the page's own thread and must not miss one.
      const tap = context.createScriptProcessor(16384, 2, 2);
      context.__tap = tap;
      let first = null, last = null, count = 0;
      // Blocks missed all the same when that thread was held up: they fit between the first and the last, but did not come.
      window.__tapLost = () => Math.max(0, Math.round(((last - first) * context.sampleRate) / 16384) - (count - 1));
      tap.onaudioprocess = (event) => {
        if (first === null) first = event.playbackTime;
        last = event.playbackTime;
        count += 1;
        const input = event.inputBuffer;
        const both = new Int16Array(input.length * 2);
        const left = input.getChannelData(0), right = input.getChannelData(1);
        for (let i = 0; i < input.length; i += 1) {
          both[2 * i] = Math.round(left[i] * 32767);
          both[2 * i + 1] = Math.round(right[i] * 32767);
        }
        window.__pcm.push(both);
      };
      connect.call(tap, context.destination);
      connect.call(this, tap);
    }
    return connect.call(this, target, ...rest);
  };
}"""

DECODED_TAP = """() => {
  window.__pcm = [];
  window.__tapLost = () => 0;
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


class Recording:
    """What a page has played since its first sample that was not silent."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._pieces: list[NDArray[np.float64]] = []
        self._size = 0

    @property
    def sound(self) -> NDArray[np.float64]:
        """Shape (samples, 2), full scale ±1."""
        return np.concatenate(self._pieces) if self._pieces else np.empty((0, 2))

    async def more(self, seconds: float) -> NDArray[np.float64]:
        """Wait for that much more sound; returns it."""
        start = self._size
        with trio.fail_after(seconds + 30):
            while self._size < start + seconds * RATE:
                await trio.sleep(0.2)
                text = await self._page.evaluate(_TAKE)
                new = np.frombuffer(base64.b64decode(text or ""), "<i2").astype(np.float64).reshape(-1, 2) / 32_767
                if not self._size:
                    loud = np.flatnonzero(np.abs(new).max(axis=1, initial=0) > 1e-3)
                    new = new[loud[0] :] if len(loud) else new[:0]
                self._pieces.append(new)
                self._size += len(new)
        return self.sound[start:]
