// The form: a file is checked first, and imported when its reader has seen what would be sent.

import { ask, Problem, upload } from "./api.js";
import { announce, goTo, make, one, say } from "./dom.js";
import { showPlan } from "./plan.js";
import { insist } from "./retry.js";
import { ACTIONS, figure, inWords, listOf } from "./words.js";

const TRIES = 5; // for an upload whose answer does not come
const FIELDS = { list: "list-text", upload: "file", source: "file", columns: "columns", types: "types" }; // by code
const NAMED = /(?:^|say )(columns|delimiter|encoding|timezone|date_format|nulls|types)=/; // a message about a field
const PLAIN = ["delimiter", "encoding", "timezone", "date_format", "nulls"]; // fields that are sent as they are

let options = { lists: null, actions: [], max_upload: Infinity };
let key = null; // names the import, so that a second try of the same one is no second import
let going = null; // stops the upload that goes on

/** Ask what is allowed here, and prepare the form for it. */
export async function prepare(signal) {
  const zones = Intl.supportedValuesOf?.("timeZone") ?? [];
  one("timezones").append(...zones.map((zone) => make("option", { value: zone })));
  listen();
  options = await insist("options", () => ask("options"), signal);
  one("types-field").hidden = !options.create_properties;
  showLists();
  showActions();
}

function listen() {
  one("form").addEventListener("submit", (event) => {
    event.preventDefault();
    check();
  });
  one("form").addEventListener("input", forget);
  one("list-choice").addEventListener("change", showActions);
  one("import").addEventListener("click", start);
  one("cancel").addEventListener("click", () => going?.abort(new DOMException("cancelled", "AbortError")));
}

/** Drop what was checked: the form says something else now. */
function forget() {
  key = null;
  one("plan").hidden = true;
  clearProblem();
}

function showLists() {
  const lists = options.lists;
  if (lists === null) return;
  const several = lists.length > 1;
  one("list-field").hidden = !several;
  one("list-text").hidden = one("list-hint").hidden = true;
  one("list-choice").hidden = !several;
  one("list-field").querySelector("label").htmlFor = "list-choice";
  one("list-choice").replaceChildren(...lists.map(({ list }) => make("option", { value: list }, listOf(list))));
  one("list-only").hidden = several;
  if (lists.length === 1) say(one("list-only"), `The rows go into ${listOf(lists[0].list).replace("List", "list")}.`);
}

/** Show what may be done with the people of the chosen list; what is usual for it is chosen. */
function showActions() {
  const chosen = options.lists?.find(({ list }) => String(list) === one("list-choice").value);
  const words = [...new Set([...(chosen ? [chosen.action] : []), ...options.actions])];
  const choices = words.map((word, at) => {
    const [label, hint] = ACTIONS[word] || [word, ""];
    const input = make("input", { type: "radio", name: "action", value: word, checked: at === 0 });
    input.setAttribute("aria-describedby", `action-${word}`);
    const about = make("span", { id: `action-${word}`, class: "hint" }, hint);
    return make("div", { class: "choice" }, make("label", {}, input, make("span", {}, label)), about);
  });
  one("actions").replaceChildren(one("actions").querySelector("legend"), ...choices);
}

/** Give what the form says, as the server wants it. Throws Problem. */
function asked() {
  const choice = one("list-choice");
  const list = options.lists === null ? one("list-text").value.trim() : choice.value;
  if (!list) throw new Problem(422, { code: "list", message: "Say which list the rows go into." });
  const action = one("actions").querySelector("input:checked")?.value;
  const plain = Object.fromEntries(PLAIN.map((id) => [id, one(id).value.trim()]));
  return { list, action, ...plain, types: types(), columns: columns() };
}

const columns = () => pairs("columns", "a column, an equals sign and a property", true);
const types = () => (options.create_properties ? pairs("types", "a property, an equals sign and a type", false) : "");

/** Give the lines of a field in one line. Throws Problem for one that is not `what`; some need no equals sign. */
function pairs(id, what, short) {
  const lines = one(id).value.split("\n").filter((line) => line.trim());
  return lines
    .map((line) => {
      const [name, word, ...more] = line.split("=").map((part) => part.trim());
      if (!name || word === "" || (!short && word === undefined) || more.length || line.includes(",")) {
        const message = `“${line.trim()}” is not ${what}. A comma cannot be in it.`;
        throw new Problem(422, { code: id, message });
      }
      return word === undefined ? name : `${name}=${word}`;
    })
    .join(",");
}

function chosenFile() {
  const file = one("file").files[0];
  if (!file) throw new Problem(422, { code: "upload.file", message: "Choose a file first." });
  if (file.size > options.max_upload) {
    const message = `The file has ${figure(file.size)} bytes. At most ${figure(options.max_upload)} are taken.`;
    throw new Problem(413, { code: "upload.size", message });
  }
  return file;
}

async function check() {
  const plan = await send("plan", "Checking");
  if (!plan) return;
  const [label, allowed] = showPlan(one("plan-body"), plan, options.create_properties);
  say(one("import"), label);
  one("import").hidden = !allowed;
  one("plan").hidden = false;
  goTo(one("plan-title"));
}

async function start() {
  key ??= Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const run = await send("", "Importing", key);
  if (!run) return;
  one("form").reset();
  forget();
  showActions();
  location.hash = `#/runs/${run.run_id}`;
}

/** Send the file. Gives null where that failed: then the form says why. */
async function send(path, doing, name = null) {
  clearProblem();
  if (going) return null;
  going = new AbortController();
  const { signal } = going;
  try {
    const query = asked();
    const file = chosenFile();
    busy(true);
    const progress = (sent, total) => showSent(doing, file.name, sent, total);
    progress(0, file.size);
    const once = async () => {
      await readable(file);
      return upload(path, { query, file, key: name, progress, signal });
    };
    return await insist("upload", once, signal, TRIES);
  } catch (problem) {
    if (problem.name === "AbortError") announce("Cancelled.");
    else showProblem(problem);
    return null;
  } finally {
    going = null;
    busy(false);
  }
}

/** Make sure that the file is still what was chosen: a browser refuses to read one that has changed. */
async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    const message = "The file cannot be read: it has changed since you chose it, or is gone. Choose it again.";
    throw new Problem(422, { code: "upload.file", message });
  }
}

/** Keep the form as it is while a file is sent. */
function busy(is) {
  one("check").disabled = one("import").disabled = is;
  for (const field of one("form").querySelectorAll("input, select, textarea")) field.disabled = is;
  const held = document.activeElement;
  const lost = held === document.body || one("sending").contains(held);
  one("sending").hidden = !is;
  if (is) one("sending-text").focus(); // not the button: the key that has sent the form may still be held
  else if (lost) one("check").focus();
}

function showSent(doing, name, sent, total) {
  const bar = one("sending").querySelector("progress");
  const all = sent >= total;
  say(one("sending-text"), all ? `${doing} ${name} …` : `Uploading ${name} …`);
  bar.max = total || 1;
  if (all) bar.removeAttribute("value");
  else bar.value = sent;
}

function showProblem(problem) {
  const box = one("refused");
  const where = problem.column === null ? "" : `Column “${problem.column}”: `;
  const kept = problem.passes ? " You can try again: nothing is imported twice." : "";
  box.replaceChildren(make("p", {}, where, inWords(problem.message), kept));
  if (problem.code) box.append(make("p", { class: "hint" }, "Code: ", make("code", {}, problem.code)));
  box.hidden = false;
  const id = NAMED.exec(problem.message)?.[1] ?? FIELDS[problem.code.split(".")[0]];
  const field = id === "list-text" && options.lists !== null ? one("list-choice") : id && one(id);
  if (field) field.setAttribute("aria-invalid", "true");
  if (field) one("more").open ||= one("more").contains(field);
  goTo(box);
}

function clearProblem() {
  one("refused").hidden = true;
  for (const field of one("form").querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}
