// A table of rejected rows. On a narrow page each row is a card.

import { clipped, make } from "./dom.js";
import { figure } from "./words.js";

const MOST = 100; // cells of a row that are shown
const HEADS = ["Row", "Address", "Column", "Why", "Whole row"];

/** Add rows to a table. */
export const addRows = (table, rows) => table.tBodies[0].append(...rows.map(lineOf));

/** Make the table. The roles are said too, because a table that is laid out as cards loses them. */
export function rejectedTable(rows, caption) {
  const heads = HEADS.map((head) => make("th", { scope: "col", role: "columnheader" }, head));
  return make(
    "table",
    { role: "table", class: "rejected" },
    make("caption", { class: "unseen" }, caption),
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)),
    make("tbody", { role: "rowgroup" }, ...rows.map(lineOf)),
  );
}

function lineOf(row) {
  const why = make("span", {}, clipped(row.message), " ", make("code", { class: "quiet" }, row.code === "unspecified" ? "" : row.code));
  const origin = row.origin === "mjbulk" ? "" : " (Mailjet)";
  const contents = [row.row === null ? "" : figure(row.row), row.email, row.field, why, given(row.data)];
  if (origin) why.append(origin);
  const cells = contents.map((content, at) => {
    const shown = content instanceof Node ? content : clipped(content ?? "");
    return make("td", { role: "cell", "data-label": HEADS[at], class: "foreign" }, shown);
  });
  return make("tr", { role: "row" }, ...cells);
}

/** Give what opens and shows the cells of a row: they are made when it is opened. */
function given(data) {
  const cells = Object.entries(data ?? {});
  if (!cells.length) return "";
  const list = make("dl", { class: "cells" });
  const whole = make("details", {}, make("summary", {}, "Show"), list);
  const fill = () => {
    for (const [name, value] of cells.slice(0, MOST)) {
      list.append(make("dt", {}, clipped(name)), make("dd", {}, value === null ? "–" : clipped(value)));
    }
    if (cells.length > MOST) list.append(make("dt", {}, `and ${figure(cells.length - MOST)} more`));
  };
  whole.addEventListener("toggle", fill, { once: true });
  return whole;
}
