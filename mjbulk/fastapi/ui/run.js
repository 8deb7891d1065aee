// One run: how far it is, why it waits or has stopped, its rejected rows, and what can be done with it.

import { addressOf, ask, Problem } from "./api.js";
import { announce, make, one, say, sayIf } from "./dom.js";
import { showRejected } from "./rejected.js";
import { hurryUp, insist, pause, seen } from "./retry.js";
import * as words from "./words.js";

const SILENCE = 10; // seconds without the first event after which events do not get through
const LATER = 10; // seconds between two looks at a run that could go on
const OFTEN = 10_000; // milliseconds between two announcements of counts

let run = null; // the newest snapshot
let stopping = false; // it was asked to stop, and goes on
let acting = false;
let looking = new AbortController(); // ends all that reads the run
let quick = 0; // looks that come soon, because something was asked of the run
let announced = 0;

/** Show a run until the signal says that another part of the page is shown. */
export async function showRun(id, signal) {
  run = null;
  stopping = false;
  quick = 0;
  one("run-body").hidden = one("run-problem").hidden = true;
  say(one("run-title"), "Run");
  one("delete").onclick = () => remove(id, signal);
  await look(id, signal);
}

/** Look at a run until the signal says that another part of the page is shown, or the run is being deleted. */
async function look(id, leaving) {
  looking = new AbortController();
  const signal = AbortSignal.any([leaving, looking.signal]);
  const hear = (snapshot) => show(snapshot, rejected);
  const rejected = showRejected(id, signal);
  one("stop").onclick = () => act(id, "stop", "Stopping.", hear, signal);
  one("resume").onclick = () => act(id, "resume", "The run goes on.", hear, signal);
  try {
    await follow(id, hear, signal);
  } catch (problem) {
    if (signal.aborted) return;
    if (!(problem instanceof Problem)) throw problem;
    one("run-body").hidden = problem.status === 404 || run === null;
    sayIf(one("run-problem"), problem.message);
  }
}

/** Call `hear` with snapshots as they come: from events, and by asking wherever those do not get through. */
async function follow(id, hear, signal) {
  for (let empty = 0; ; ) {
    const newest = await insist("run", () => ask(id, { signal }), signal);
    signal.throwIfAborted();
    hear(newest);
    if (words.goesOn(newest)) {
      empty = (await events(id, hear, signal)) ? 0 : empty + 1;
      await pause(empty ? Math.min(2 ** empty, LATER) : 0.5, signal);
    } else {
      await pause(quick > 0 ? 1 : newest.state === "settled" ? 3600 : LATER, signal);
      quick -= 1;
    }
    await seen(signal);
  }
}

/** Hear events until they end, break off, or the page is hidden. Says whether any came. */
function events(id, hear, signal) {
  return new Promise((resolve) => {
    const source = new EventSource(addressOf(`${id}/events`));
    let came = false;
    const end = () => {
      source.close();
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      document.removeEventListener("visibilitychange", end);
      window.removeEventListener("online", end);
      resolve(came);
    };
    const timer = setTimeout(() => came || end(), SILENCE * 1000);
    source.addEventListener("run", (event) => {
      came = true;
      if (!signal.aborted) hear(JSON.parse(event.data));
    });
    source.addEventListener("end", end);
    source.addEventListener("error", end); // the next look tells why, or begins again
    signal.addEventListener("abort", end);
    document.addEventListener("visibilitychange", end);
    window.addEventListener("online", end);
  });
}

function show(newest, rejected) {
  const before = run;
  run = newest;
  if (!words.goesOn(run)) stopping = false;
  one("run-body").hidden = false;
  say(one("run-title"), run.name ?? "Import without a name");
  document.title = `${run.name ?? "Run"} – Imports`;
  showState();
  showCounts();
  showButtons();
  rejected(run);
  tell(before);
}

function showState() {
  const [text, kind] = stopping ? ["Stopping …", "stopped"] : words.stateOf(run);
  one("run-state").dataset.kind = kind;
  say(one("run-state"), text);
  const terms = [words.dateOf(run.created)];
  if (run.list !== null) terms.push(words.listOf(run.list));
  if (run.action !== null) terms.push(words.actionOf(run.action));
  say(one("run-terms"), terms.join(" · "));
  one("run-note").dataset.kind = kind;
  sayIf(one("run-note"), words.noteOf(run));
}

function showCounts() {
  const bar = one("run-progress");
  bar.hidden = !words.goesOn(run);
  bar.max = run.rows || 1;
  bar.value = words.settledOf(run);
  const pace = [];
  if (words.goesOn(run) && run.rate) pace.push(`${words.figure(run.rate)} rows a second`);
  if (words.goesOn(run) && run.eta) pace.push(`about ${words.duration(run.eta)} left`);
  if (run.seconds !== null) pace.push(`${words.goesOn(run) ? "for" : "took"} ${words.duration(run.seconds)}`);
  say(one("run-pace"), pace.join(" · "));
  fillCounts(words.countsOf(run));
  const jobs = Object.entries(run.jobs ?? {}).map(([status, count]) => `${words.figure(count)} ${status}`);
  sayIf(one("run-jobs"), jobs.length ? `Jobs at Mailjet: ${jobs.join(", ")}` : "");
}

/** Fill in the counts; their elements are made again only where there are others than before. */
function fillCounts(counts) {
  const list = one("run-counts");
  if (list.children.length !== counts.length) {
    list.replaceChildren(...counts.map(() => make("div", {}, make("dt"), make("dd"), make("dd", { class: "hint" }))));
  }
  counts.forEach((texts, at) => [...list.children[at].children].forEach((node, part) => say(node, texts[part])));
}

/** Show what can be done now. The focus does not get lost with a button. */
function showButtons() {
  const held = document.activeElement;
  one("stop").hidden = !words.goesOn(run);
  one("stop").disabled = stopping;
  one("resume").hidden = !words.canGoOn(run);
  one("delete").hidden = words.goesOn(run);
  const lost = [one("stop"), one("resume"), one("delete")].includes(held) && (held.hidden || held.disabled);
  if (lost) one("run-title").focus();
}

/** Announce a change of state at once, and counts from time to time. */
function tell(before) {
  const changed = before !== null && before.state !== run.state;
  if (!changed && (!words.goesOn(run) || Date.now() - announced < OFTEN)) return;
  announced = Date.now();
  const done = `${words.figure(run.accepted)} of ${words.rowsOf(run.rows)} accepted, ${words.figure(run.rejected)} rejected`;
  announce(`${words.stateOf(run)[0]}. ${done}.`);
}

async function act(id, verb, said, hear, signal) {
  if (acting) return;
  acting = true; // and not disabled, which would take the focus away
  try {
    one("run-problem").hidden = true;
    const newest = await insist("act", () => ask(`${id}/${verb}`, { method: "POST" }), signal, 5);
    stopping = verb === "stop" && words.goesOn(newest);
    quick = LATER; // another worker may have the run, and hear of it a little later
    announce(said);
    hear(newest);
    hurryUp();
  } catch (problem) {
    if (!signal.aborted) sayIf(one("run-problem"), problem.message);
  } finally {
    acting = false;
  }
}

/** Delete the run. Nothing asks for it meanwhile: a run that is gone is no failure then. */
async function remove(id, signal) {
  if (acting) return;
  say(one("question-text"), `${run.name ?? "The run"}: its counts, its file and its rejected rows are deleted here. \
What Mailjet has stays as it is.`);
  if (!(await confirmed())) return;
  acting = true;
  looking.abort();
  one("run-problem").hidden = true;
  try {
    await insist("act", () => ask(id, { method: "DELETE" }), signal, 5);
    location.hash = "#/";
    announce("The run is deleted.");
  } catch (problem) {
    if (signal.aborted) return;
    look(id, signal);
    sayIf(one("run-problem"), problem.message);
  } finally {
    acting = false;
  }
}

/** Ask the question. Escape means no. */
function confirmed() {
  const dialog = one("question");
  return new Promise((resolve) => {
    dialog.returnValue = "";
    one("question-yes").onclick = () => dialog.close("yes");
    one("question-no").onclick = () => dialog.close("no");
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}
