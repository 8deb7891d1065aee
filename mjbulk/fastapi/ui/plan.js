// What a check of a file has found.

import { clipped, make } from "./dom.js";
import { rejectedTable } from "./rejected_table.js";
import { codeOf, figure, inWords, rowsOf } from "./words.js";

const MOST = 50; // names or findings that are listed

/** Show a plan. Gives the words of the button that starts the import, and whether it may be started. */
export function showPlan(body, plan, createsProperties) {
  const sent = plan.rows - plan.rejected - plan.superseded;
  const refused = createsProperties ? [] : [...plan.unknown_properties, ...plan.new_properties];
  const created = createsProperties ? [...plan.unknown_properties, ...plan.new_properties] : [];
  body.replaceChildren(
    make("p", {}, `${rowsOf(plan.rows)} in the file. ${figure(sent)} would be sent, ${figure(plan.rejected)} rejected.`),
    ...unknown(refused),
    ...columns("These columns become new properties at Mailjet:", created, "notice"),
    ...notes(plan),
    ...findings(plan.findings),
    ...rejected(plan),
  );
  return [`Import ${rowsOf(sent)}`, !refused.length && sent > 0];
}

function unknown(names) {
  const next = "So the file cannot be imported. Name the columns to take under “More”, or correct the file.";
  const [list] = columns(`Mailjet has no property for these columns. ${next}`, names, "notice bad");
  return list ? [list] : [];
}

function columns(text, names, kind) {
  if (!names.length) return [];
  const shown = names.slice(0, MOST).map((name) => make("li", {}, make("code", { class: "foreign" }, clipped(name))));
  if (names.length > MOST) shown.push(make("li", {}, `and ${figure(names.length - MOST)} more`));
  return [make("div", { class: kind }, make("p", {}, text), make("ul", {}, ...shown))];
}

function notes(plan) {
  const texts = [];
  if (plan.superseded) texts.push(`${rowsOf(plan.superseded)} would be replaced by a later row of the same person.`);
  if (plan.recurring) texts.push(`${rowsOf(plan.recurring)} are of people who come more than once. The last row counts.`);
  const shown = texts.map((text) => make("p", {}, text));
  if (plan.forced) {
    const people = plan.forced === 1 ? "1 person" : `${figure(plan.forced)} people`;
    const text = `${people} would be subscribed, also those of them who have left the list.`;
    shown.unshift(make("p", { class: "notice" }, text));
  }
  return shown;
}

function findings(found) {
  if (!found.length) return [];
  const shown = found.slice(0, MOST).map(({ column, message, count, first_row: first }) => {
    const where = column === null ? "" : `Column “${clipped(column)}”: `;
    const rows = first === null ? "" : ` (${rowsOf(count)}, the first is row ${figure(first)})`;
    return make("li", { class: "foreign" }, where, clipped(inWords(message)), rows);
  });
  return [make("h4", {}, "What may surprise you"), make("ul", {}, ...shown)];
}

function rejected(plan) {
  if (!plan.rejected) return [];
  const codes = Object.entries(plan.by_code).map(([code, count]) => {
    return make("li", {}, make("code", {}, codeOf(code)), `: ${rowsOf(count)}`);
  });
  const shown = plan.rejections.length;
  const part = shown < plan.rejected ? [make("p", { class: "hint" }, `The first ${shown} of them:`)] : [];
  return [
    make("h4", {}, "Rows that would be rejected"),
    make("ul", {}, ...codes),
    ...part,
    rejectedTable(plan.rejections, "Rows that would be rejected"),
  ];
}
