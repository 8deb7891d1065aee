// What the page calls things, in plain words.

export const ACTIONS = {
  addforce: [
    "Add and subscribe everyone",
    "People who are not in the list are added. People who have left it are subscribed again, though they chose to leave.",
  ],
  addnoforce: [
    "Add, and respect who has left",
    "People who are not in the list are added. People who have left it stay unsubscribed.",
  ],
  remove: ["Remove from the list", "People are taken off the list. Their contacts and properties stay."],
  unsub: ["Unsubscribe", "People stay in the list as unsubscribed: they get no campaigns of it any more."],
};

export const COUNTS = [
  ["rows", "Read", "Rows that were read from the file"],
  ["accepted", "Accepted", "Mailjet has them"],
  ["rejected", "Rejected", "Refused here or by Mailjet; see below"],
  ["superseded", "Replaced", "A later row of the same person was accepted"],
  ["held", "Held back", "Wait for an earlier row of the same person"],
  ["unknown", "Not known", "Sent, and their outcome is not known"],
  ["not_sent", "Not sent", "Read, and never sent"],
];
const ALWAYS = 3; // of these counts, as many are shown when they are 0 too

const LABELS = {
  delimiter: "Separator in a CSV file",
  encoding: "Encoding of a CSV file",
  timezone: "Time zone",
  date_format: "Form of dates",
  nulls: "Empty cells",
  types: "Types of new properties",
  columns: "Columns to take",
};
const SEPARATORS = { ",": "a comma", ";": "a semicolon", "\\t": "a tab", "|": "a bar" };
const MORE = ", under “More”";
const label = (name) => `“${LABELS[name]}”`;

/** Say what the server says of a parameter as what it is in the form. */
export function inWords(message) {
  return message
    .replace("leave delimiter= out, or ", "")
    .replace(/say delimiter=(\\t|.)/, (_, mark) => `choose ${SEPARATORS[mark] ?? mark} as ${label("delimiter")}${MORE}`)
    .replace(/say encoding=([\w-]*)/, (_, name) => `name ${name || "it"} as ${label("encoding")}${MORE}`)
    .replace(/columns=(\S.*) takes that/, (_, pairs) => `${pairs.replaceAll(",", ", ")} in ${label("columns")}${MORE}, takes that`)
    .replace(/\b(timezone|date_format|nulls|types|columns)=([^\s;,)]*)/g, (_, name, value) => {
      return value ? `${value} in ${label(name)}` : label(name);
    });
}

const number = new Intl.NumberFormat("en");
const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export const figure = (value) => number.format(value);
export const rowsOf = (count) => `${figure(count)} ${count === 1 ? "row" : "rows"}`;
export const dateOf = (text) => moment.format(new Date(text));
export const listOf = (ref) => (typeof ref === "number" ? `List ${ref}` : `List “${ref}”`);
export const actionOf = (word) => (ACTIONS[word] || [word])[0];

/** Give the code of rejected rows in words, if they have none. */
export const codeOf = (code) => (code === "unspecified" ? "no code" : code);

/** Say how long something takes: "3 min". */
export function duration(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Whether a worker has the run. */
export const goesOn = (run) => run.state === "queued" || run.state === "running";

/** Whether the run can go on, though it does not now. */
export const canGoOn = (run) => run.state === "resumable" || run.state === "needs_source";

/** Give the state in words, and the kind that colours it. */
export function stateOf(run) {
  if (run.state === "queued") return ["Queued", "going"];
  if (run.state === "running") return ["Under way", "going"];
  if (canGoOn(run)) return ["Stopped: it can go on", "stopped"];
  if (run.complete) return run.rejected ? ["Done, with rejected rows", "done"] : ["Done", "done"];
  return ["Ended: not all rows have a known outcome", "stopped"];
}

/** Say why the run has stopped, or what it waits for. */
export function noteOf(run) {
  if (run.cause) return `Cause: ${inWords(run.cause)}`;
  const why = goesOn(run) && run.waiting_for ? run.waiting_for : "";
  return why.charAt(0).toUpperCase() + why.slice(1);
}

/** Give the counts that are worth showing: label, figure and explanation. */
export function countsOf(run) {
  return COUNTS.filter(([name], at) => at < ALWAYS || run[name]).map(([name, label, hint]) => [
    label,
    run[name] === null ? "not told" : figure(run[name]),
    name === "unknown" && canGoOn(run) ? "Sent: resume the run to learn their outcome" : hint,
  ]);
}

/** Give how many rows have their outcome. */
export const settledOf = (run) => run.accepted + run.rejected + run.superseded + run.unknown + run.not_sent;
