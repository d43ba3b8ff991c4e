// A value as a tree that opens where one looks, as a table that sorts, and a vector as a plot.

import { h, put, svg } from "./dom.js";
import { kindOf, isVector, pretty, short } from "./json.js";

const PIECE = 100;
const LONGEST_TEXT = 2000;

/** A value as a tree; what is near the top is open, as far as it is not too much. */
export function tree(value) {
  const budget = { left: 150 };
  return h("div", { class: "tree mono" }, node(null, value, budget, 0));
}

function node(key, value, budget, depth) {
  const kind = kindOf(value);
  const name = key === null ? null : h("span", { class: typeof key === "number" ? "index" : "key" }, String(key));
  if (isVector(value)) return h("div", { class: "leaf" }, name, vector(value));
  const size = kind === "list" ? value.length : kind === "object" ? Object.keys(value).length : 0;
  if (!size) return h("div", { class: "leaf" }, name, plainValue(value, kind));
  budget.left -= Math.min(size, PIECE);
  const box = h("details", { class: "branch", open: depth < 1 || (depth < 6 && budget.left > 0) },
    h("summary", {}, name, h("span", { class: "muted" }, kind === "list" ? `${size} ${size === 1 ? "item" : "items"}` : preview(value))));
  const fillIn = () => {
    if (box.childElementCount > 1) return;
    const entries = kind === "list" ? value.map((each, n) => [n, each]) : Object.entries(value);
    const inside = h("div", { class: "inside" });
    let shown = 0;
    const more = () => {
      inside.querySelector(":scope > .button")?.remove();
      inside.append(...entries.slice(shown, shown + PIECE).map(([name, each]) => node(name, each, budget, depth + 1)));
      shown = Math.min(entries.length, shown + PIECE);
      if (shown < entries.length) inside.append(h("button", { type: "button", class: "button small", onclick: more }, `${entries.length - shown} more`));
    };
    more();
    box.append(inside);
  };
  if (box.open) fillIn();
  box.addEventListener("toggle", fillIn);
  return box;
}

/** The first fields of a record in one line. */
function preview(value) {
  const parts = Object.entries(value).slice(0, 4).map(([key, each]) => {
    const kind = kindOf(each);
    return kind === "list" ? `${key} [${each.length}]` : kind === "object" ? `${key} {…}` : `${key} ${String(each).slice(0, 24)}`;
  });
  return parts.join(" · ");
}

function plainValue(value, kind) {
  if (kind === "list") return h("span", { class: "muted" }, "[]");
  if (kind === "object") return h("span", { class: "muted" }, "{}");
  if (kind !== "string") return h("span", { class: kind === "number" ? "v-number" : "v-word" }, String(value));
  if (value.length <= LONGEST_TEXT) return h("span", { class: "v-string" }, value || "“”");
  const text = h("span", { class: "v-string" }, value.slice(0, LONGEST_TEXT));
  const more = h("button", { type: "button", class: "button small", onclick: () => { put(text, value.slice(0, 1e6)); more.remove(); } }, `${value.length - LONGEST_TEXT} more characters`);
  return h("span", {}, text, " ", more);
}

/** A vector as its dimension and a small plot. */
export function vector(value, small = false) {
  const [low, high] = value.reduce(([least, most], each) => [Math.min(least, each), Math.max(most, each)], [Infinity, -Infinity]);
  const norm = Math.sqrt(value.reduce((sum, each) => sum + each * each, 0));
  const says = `${value.length} numbers from ${short(low)} to ${short(high)}, length ${short(norm)}`;
  return h("span", { class: "vector" },
    h("span", { class: "v-number", title: says }, small ? `[${value.length}]` : `${value.length} numbers`),
    plot(value, low, high, says, small ? 90 : 240),
    !small && h("span", { class: "muted" }, `${short(low)} … ${short(high)} · |v| ${short(norm)}`));
}

function plot(value, low, high, says, width) {
  const height = 26;
  const span = Math.max(high, 0) - Math.min(low, 0) || 1;
  const y = (each) => (height * (Math.max(high, 0) - each)) / span;
  // One line for each place: as many numbers as there are columns, the one farthest from 0 of its group.
  const columns = Math.min(value.length, width);
  let path = "";
  for (let n = 0; n < columns; n++) {
    const group = value.slice(Math.floor((n * value.length) / columns), Math.max(Math.floor(((n + 1) * value.length) / columns), Math.floor((n * value.length) / columns) + 1));
    const peak = group.reduce((most, each) => (Math.abs(each) > Math.abs(most) ? each : most), 0);
    const x = ((n + 0.5) * width) / columns;
    path += `M${x.toFixed(1)} ${y(0).toFixed(1)}V${y(peak).toFixed(1)}`;
  }
  return svg("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": says },
    svg("path", { d: path, stroke: "currentColor", "stroke-width": Math.max(0.8, Math.min(4, (0.7 * width) / columns)), fill: "none" }));
}

/** A list of records as a table; a click on a heading sorts by that column. */
export function table(rows, label = "Result as a table") {
  const names = [...new Set(rows.slice(0, 1000).flatMap((row) => Object.keys(row)))];
  let order = rows.map((_, n) => n);
  let by = null;
  let up = true;
  let shown = 2 * PIECE;
  const body = h("tbody");
  const more = h("button", { type: "button", class: "button small", onclick: () => { shown += 5 * PIECE; draw(); } });
  const draw = () => {
    put(body, order.slice(0, shown).map((n) => h("tr", {}, h("td", { class: "muted index" }, String(n)), names.map((name) => cell(rows[n][name])))));
    more.hidden = shown >= rows.length;
    more.textContent = `${rows.length - shown} more rows`;
  };
  const heads = names.map((name) => h("th", { scope: "col" }, h("button", { type: "button", onclick: () => {
    up = by === name ? !up : true;
    by = name;
    order.sort((a, b) => compare(rows[a][name], rows[b][name]) * (up ? 1 : -1) || a - b);
    heads.forEach((head, n) => head.setAttribute("aria-sort", names[n] === name ? (up ? "ascending" : "descending") : "none"));
    draw();
  } }, name)));
  draw();
  return h("div", { class: "table-box scroll", tabindex: 0, role: "region", "aria-label": label },
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "index" }, "#"), heads)), body), more);
}

function cell(value) {
  if (value === undefined) return h("td", { class: "muted" }, "–");
  if (isVector(value)) return h("td", {}, vector(value, true));
  const kind = kindOf(value);
  if (kind === "list" || kind === "object") {
    const text = pretty(value).replace(/\s+/g, " ");
    return h("td", { class: "muted", title: text.slice(0, 1000) }, text.slice(0, 80));
  }
  const style = { number: "v-number right", string: "", boolean: "v-word", null: "muted" }[kind];
  return h("td", { class: style, title: kind === "string" && value.length > 60 ? value.slice(0, 1000) : null }, String(value).slice(0, 300));
}

function compare(a, b) {
  const rank = (value) => (value === undefined || value === null ? 2 : typeof value === "number" || typeof value === "bigint" ? 0 : 1);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (rank(a) === 0) return a < b ? -1 : Number(a > b);
  return rank(a) === 2 ? 0 : String(typeof a === "object" ? JSON.stringify(a) : a).localeCompare(String(typeof b === "object" ? JSON.stringify(b) : b), undefined, { numeric: true });
}
