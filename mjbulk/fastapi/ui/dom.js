// Elements of the page. Text is text: nothing that comes from a file or the server is ever read as HTML.

const LONGEST = 300; // characters of a text from a file that are shown

/** Give an element of index.html. */
export const one = (id) => document.getElementById(id);

/** Make an element. An attribute that is false, null or undefined is left out. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Set a text, if it has changed: what is selected or being read out stays. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Show a text, or hide its element if there is none. */
export function sayIf(node, text) {
  node.hidden = !text;
  say(node, text || "");
}

/** Give a text of somebody else's, cut where it would fill the page. */
export function clipped(text) {
  const whole = typeof text === "string" ? text : JSON.stringify(text);
  return whole.length > LONGEST ? `${whole.slice(0, LONGEST)}…` : whole;
}

/** Tell those who do not see the page what has happened. */
export function announce(text) {
  one("said").textContent = "";
  setTimeout(() => (one("said").textContent = text), 50);
}

/** Go to a heading, as a reader would. */
export function goTo(node) {
  node.focus({ preventScroll: true });
  node.scrollIntoView({ block: "nearest" });
}
