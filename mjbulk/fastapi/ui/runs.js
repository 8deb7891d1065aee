// The runs of the tenant, the newest first.

import { ask } from "./api.js";
import { make, one, say, sayIf } from "./dom.js";
import { insist, pause, seen } from "./retry.js";
import { actionOf, dateOf, duration, figure, goesOn, listOf, noteOf, rowsOf, settledOf, stateOf } from "./words.js";

const LIMIT = 20;
const SOON = 2; // seconds until the next look while something goes on
const LATER = 15;

const items = new Map(); // elements by run_id: one that is focused stays
let befores = []; // where the pages before this one end

/** Show the runs until the signal says that another part of the page is shown. */
export async function showRuns(signal) {
  befores = [];
  one("runs-older").onclick = () => turn(() => befores.push(one("runs-older").dataset.next));
  one("runs-newer").onclick = () => turn(() => befores.pop());
  let again = new AbortController();

  function turn(how) {
    how();
    again.abort();
    one("runs-title").focus();
  }

  while (!signal.aborted) {
    again = new AbortController();
    try {
      await look(AbortSignal.any([signal, again.signal]));
    } catch (problem) {
      if (!again.signal.aborted) throw problem;
    }
  }
}

/** Look at one page of runs again and again. Throws the signal's reason, and Problem. */
async function look(signal) {
  for (;;) {
    const query = { limit: LIMIT, before: befores.at(-1) };
    const page = await insist("runs", () => ask("", { query }), signal);
    signal.throwIfAborted();
    if (!page.runs.length && befores.length) befores = []; // what was here is deleted
    else show(page);
    await pause(page.runs.some(goesOn) ? SOON : LATER, signal);
    await seen(signal);
  }
}

function show({ runs, next }) {
  one("no-runs").hidden = runs.length > 0;
  const shown = new Set(runs.map((run) => run.run_id));
  for (const [id, item] of items) {
    if (!shown.has(id)) {
      item.remove();
      items.delete(id);
    }
  }
  runs.forEach((run, at) => {
    if (!items.has(run.run_id)) items.set(run.run_id, newItem(run));
    const item = items.get(run.run_id);
    if (one("runs").children[at] !== item) one("runs").insertBefore(item, one("runs").children[at] ?? null);
    fill(item, run);
  });
  one("runs-pages").hidden = !next && !befores.length;
  one("runs-older").disabled = !next;
  one("runs-older").dataset.next = next ?? "";
  one("runs-newer").disabled = !befores.length;
}

function newItem(run) {
  const link = make("a", { href: `#/runs/${run.run_id}`, class: "foreign" }, run.name ?? "Import without a name");
  const terms = [dateOf(run.created)];
  if (run.list !== null) terms.push(listOf(run.list));
  if (run.action !== null) terms.push(actionOf(run.action));
  return make(
    "li",
    {},
    make("p", { class: "bar" }, link, make("strong", { class: "state" })),
    make("p", { class: "hint" }, terms.join(" · ")),
    make("p", { class: "figures" }),
    make("progress", { "aria-label": "Rows that have their outcome, of those that were read", hidden: true }),
    make("p", { class: "notice", hidden: true }),
  );
}

function fill(item, run) {
  const [text, kind] = stateOf(run);
  const state = item.querySelector(".state");
  state.dataset.kind = kind;
  say(state, text);
  say(item.querySelector(".figures"), figures(run));
  const bar = item.querySelector("progress");
  bar.hidden = !goesOn(run);
  bar.max = run.rows || 1;
  bar.value = settledOf(run);
  item.querySelector(".notice").dataset.kind = kind;
  sayIf(item.querySelector(".notice"), noteOf(run));
}

function figures(run) {
  const parts = [rowsOf(run.rows), `${figure(run.accepted)} accepted`, `${figure(run.rejected)} rejected`];
  if (run.unknown) parts.push(`${figure(run.unknown)} not known`);
  if (goesOn(run) && run.eta) parts.push(`about ${duration(run.eta)} left`);
  return parts.join(", ");
}
