// Waiting, and trying again what did not get through.

import { one, say } from "./dom.js";

const LONGEST = 30; // seconds between two tries
const hurry = new EventTarget(); // "now": whoever waits for another try need not wait any longer
const lost = new Map(); // what does not get through, by the part of the page that wants it

/** Let nobody wait any longer. */
export const hurryUp = () => hurry.dispatchEvent(new Event("now"));

one("connection").querySelector("button").addEventListener("click", hurryUp);
window.addEventListener("online", hurryUp);
document.addEventListener("visibilitychange", () => document.hidden || hurryUp());

/** Wait. It ends sooner when the connection or the reader comes back. Throws the signal's reason. */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      hurry.removeEventListener("now", done);
      signal.removeEventListener("abort", done);
      signal.aborted ? reject(signal.reason) : resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    hurry.addEventListener("now", done);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

/** Wait until the page is looked at. Throws the signal's reason. */
export async function seen(signal) {
  while (document.hidden) await pause(3600, signal);
}

/** Show at the top of the page what does not get through, or that it does again. */
function show() {
  const [text] = lost.values();
  const banner = one("connection");
  if (text && banner.hidden) banner.hidden = false;
  if (text) say(banner.querySelector("p"), text);
  if (!text && !banner.hidden) {
    const held = banner.contains(document.activeElement);
    banner.hidden = true;
    if (held) document.querySelector("main > div:not([hidden]) h1").focus();
  }
}

function forget(part) {
  if (lost.delete(part)) show();
}

/** Give what `work` gives, trying again while its problem may pass. Throws Problem, and the signal's reason. */
export async function insist(part, work, signal, tries = Infinity) {
  try {
    for (let tried = 1; ; tried += 1) {
      try {
        return await work();
      } catch (problem) {
        signal.throwIfAborted();
        if (!problem.passes || tried >= tries) throw problem;
        const seconds = Math.min(problem.after ?? 2 ** (tried - 1), LONGEST);
        lost.set(part, `${problem.message} Trying again …`);
        show();
        await pause(seconds, signal);
      }
    }
  } finally {
    forget(part);
  }
}
