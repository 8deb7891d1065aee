// The page: "#/" is the form and all runs, "#/runs/ID" is one run.

import { Problem } from "./api.js";
import { one, sayIf } from "./dom.js";
import { prepare } from "./form.js";
import { showRun } from "./run.js";
import { showRuns } from "./runs.js";

let leaving = new AbortController();

/** Show what the address says, and go to its heading, as a browser does with a new page. */
function show(first) {
  leaving.abort();
  one("broken").hidden = true;
  leaving = new AbortController();
  const [, id] = location.hash.match(/^#\/runs\/([0-9A-Za-z]{1,64})$/) ?? [];
  one("home").hidden = Boolean(id);
  one("run").hidden = !id;
  if (!id) document.title = "Imports";
  if (!first) {
    one(id ? "run-title" : "home").closest("main > div").querySelector("h1").focus();
    window.scrollTo(0, 0);
  }
  quietly(id ? showRun(id, leaving.signal) : showRuns(leaving.signal));
}

/** Wait for a part of the page. It is no failure that the reader has left it. */
async function quietly(part) {
  try {
    await part;
  } catch (problem) {
    if (problem instanceof Problem) sayIf(one("broken"), problem.message);
    else if (problem.name !== "AbortError") throw problem;
  }
}

window.addEventListener("hashchange", () => show(false));
quietly(prepare(new AbortController().signal));
show(true);
