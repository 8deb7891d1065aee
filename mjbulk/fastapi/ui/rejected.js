// The rejected rows of one run, by reason, page by page.

import { addressOf, ask, Problem } from "./api.js";
import { make, one, say } from "./dom.js";
import { addRows, rejectedTable } from "./rejected_table.js";
import { insist } from "./retry.js";
import { codeOf, figure, goesOn, rowsOf } from "./words.js";

const LIMIT = 50;
const LOOKS = 5; // at rows that are rejected, and not written down yet

let shown = []; // the rows of the page

/** Show the rejected rows of a run. Gives a function that hears each snapshot of it. */
export function showRejected(id, signal) {
  let afters = [0]; // where this page begins, and those before it
  let code = "";
  let next = null;
  let known = ""; // what the run said when the page was read
  let rejected = 0;
  let looks = 0;
  let reading = false;

  async function read() {
    if (reading) return;
    reading = true;
    let missing = false;
    const wanted = [afters.at(-1), code];
    const query = { after: wanted[0], code, limit: LIMIT };
    try {
      const page = await insist("rejected", () => ask(`${id}/rejections`, { query, signal }), signal);
      signal.throwIfAborted();
      next = page.next;
      missing = page.total < rejected && (looks += 1) < LOOKS;
      showCodes(page.by_code, code);
      showRows(page.rows, afters.length > 1, next !== null);
    } catch (problem) {
      known = ""; // the next snapshot reads again
      if (!(problem instanceof Problem)) return;
      say(one("rejected-none"), problem.message);
      one("rejected-none").hidden = false;
    } finally {
      reading = false;
    }
    const turned = wanted[0] !== afters.at(-1) || wanted[1] !== code;
    if (missing && !turned) setTimeout(() => signal.aborted || read(), 1000);
    if (turned) await read();
  }

  function turn(to) {
    afters = to;
    one("rejected-title").focus();
    read();
  }

  one("code").onchange = () => {
    code = one("code").value;
    afters = [0];
    read();
  };
  one("rejected-after").onclick = () => turn([...afters, next]);
  one("rejected-before").onclick = () => turn(afters.slice(0, -1));
  one("download").href = addressOf(`${id}/rejections.csv`);
  one("code").replaceChildren();
  one("rejected-rows").replaceChildren();
  shown = [];
  one("rejected-some").hidden = true;

  return (run) => {
    one("rejected-some").hidden = !run.rejected;
    one("rejected-none").hidden = run.rejected > 0;
    say(one("rejected-none"), goesOn(run) ? "None so far." : "None.");
    const mark = `${run.rejected} ${goesOn(run)}`; // the last ones are written when the run ends
    if (!run.rejected || mark === known) return;
    known = mark;
    rejected = run.rejected;
    looks = 0;
    if (next === null || !goesOn(run)) read(); // a page that is full does not change
  };
}

/** Show the reasons with their counts, and keep the one that is chosen. */
function showCodes(counts, chosen) {
  const codes = Object.entries(counts);
  const total = codes.reduce((sum, [, count]) => sum + count, 0);
  const choices = [["", `All (${rowsOf(total)})`], ...codes.map(([code, count]) => [code, `${codeOf(code)} (${figure(count)})`])];
  const select = one("code");
  choices.forEach(([value, text], at) => {
    if (!select.options[at]) select.append(make("option"));
    select.options[at].value = value;
    say(select.options[at], text);
  });
  while (select.options.length > choices.length) select.lastElementChild.remove();
  select.value = chosen;
}

/** Show a page of rows. Where it has only grown, what is open stays open. */
function showRows(rows, hasBefore, hasAfter) {
  const grown = shown.length && JSON.stringify(rows.slice(0, shown.length)) === JSON.stringify(shown);
  if (grown) addRows(one("rejected-rows").firstChild, rows.slice(shown.length));
  else one("rejected-rows").replaceChildren(rejectedTable(rows, "Rejected rows"));
  shown = rows;
  one("rejected-pages").hidden = !hasBefore && !hasAfter;
  one("rejected-before").disabled = !hasBefore;
  one("rejected-after").disabled = !hasAfter;
}
