// Requests to the server. What goes wrong with them is a Problem, which says whether another try may help.

const BASE = new URL("..", import.meta.url);
const PATIENCE = 30_000; // milliseconds for an answer without an upload
const PASSING = [0, 408, 425, 429]; // 0: no answer came
const WORDS = {
  0: "The server does not answer.",
  401: "You are signed out. Sign in to the application again, then reload this page.",
  403: "You may not do this.",
  404: "There is no such run. It may have been deleted.",
  413: "The file is larger than the server takes.",
};
const STRANGE = "The answer is not from this page's server: you may be signed out, or a network may want you to sign in.";

/** What was refused, or did not get through. */
export class Problem extends Error {
  constructor(status, detail = {}, after = null) {
    super(detail.message || WORDS[status] || `The server has a problem (${status}).`);
    this.status = status;
    this.code = detail.code || "";
    this.column = detail.column ?? null;
    this.row = detail.row ?? null;
    this.passes = PASSING.includes(status) || status >= 500;
    this.after = after;
  }
}

/** Give the address of something of this tenant's. */
export function addressOf(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Give what an answer says. Throws Problem for any but a good one. */
function judge(status, text, after) {
  const data = read(text);
  if (status >= 200 && status < 300) {
    if (status !== 204 && data === null) throw new Problem(200, { message: STRANGE });
    return data;
  }
  const detail = data?.detail;
  const said = typeof detail === "object" && !Array.isArray(detail) ? (detail ?? {}) : {};
  throw new Problem(status, said, Number(after) || null);
}

/** Ask the server; a signal ends it. Throws Problem. */
export async function ask(path, { query, method = "GET", signal } = {}) {
  const ends = [AbortSignal.timeout(PATIENCE), signal].filter(Boolean);
  const how = { method, headers: { "X-Mjbulk": "1" }, redirect: "manual", signal: AbortSignal.any(ends) };
  let answer, text;
  try {
    answer = await fetch(addressOf(path, query), how);
    text = await answer.text();
  } catch {
    throw new Problem(0);
  }
  if (answer.type === "opaqueredirect") throw new Problem(200, { message: STRANGE });
  return judge(answer.status, text, answer.headers.get("Retry-After"));
}

/** Send a file. `progress` hears how many of its bytes have left. Throws Problem, and the signal's reason. */
export function upload(path, { query, file, key, progress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch cannot tell how much has left
    const form = new FormData();
    form.append("file", file);
    const abort = () => request.abort();
    request.open("POST", addressOf(path, query));
    request.setRequestHeader("X-Mjbulk", "1");
    if (key) request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = (event) => progress(event.loaded, event.total);
    request.onload = () => {
      try {
        resolve(judge(request.status, request.responseText, request.getResponseHeader("Retry-After")));
      } catch (problem) {
        reject(problem);
      }
    };
    request.onerror = () => reject(new Problem(0));
    request.onabort = () => reject(signal.reason);
    request.onloadend = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort);
    request.send(form);
  });
}
