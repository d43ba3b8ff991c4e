// What the module prints: all of it, quickly, with a filter by level, by words and by call.

import { ask } from "./api.js";
import { copyText } from "./copyas.js";
import { h, put, sign } from "./dom.js";
import { clock, parse, pretty } from "./json.js";
import { longList, step } from "./list.js";
import { recall } from "./run.js";
import { on, state } from "./state.js";

const ROW = 20;
const MOST = 100_000;
const LEVELS = ["", "debug", "info", "warning", "error"];
// The places of the fields of a line, as the server sends them.
const [NUMBER, AT, REPLICA, LEVEL, JOB, SURE, TEXT] = [0, 1, 2, 3, 4, 5, 6];

// The time that a module writes before a line; the page has its own beside it.
const DATED = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} /;

let lines = [];
let found = null;
let follow = true;
let job = "";
let level = "";
let words = [];
let filling = false;
// The number of the line that a person has come to; 0 before that.
let mark = 0;

const list = longList(ROW, row, { class: "log-lines mono", tabindex: 0, role: "listbox", "aria-label": "Log lines: Enter shows one in full", id: "log-lines" });
const search = h("input", { type: "search", placeholder: "Search", "aria-label": "Search the logs", id: "log-search", oninput: () => {
  words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  filter();
} });
const levels = h("select", { "aria-label": "Lowest level", onchange: () => { level = levels.value; filter(); } },
  [["", "All lines"], ["info", "Info and above"], ["warning", "Warnings and errors"], ["error", "Errors"]].map(([value, text]) => h("option", { value }, text)));
const count = h("span", { class: "muted count" });
const chip = h("button", { type: "button", class: "button small chip", hidden: true, onclick: () => ofJob("") });
const stick = h("button", { type: "button", class: "button small", "aria-pressed": "true", onclick: () => { setFollow(!follow); if (follow) list.end(); } }, sign("down"), "Follow");
const detail = h("div", { class: "log-detail", role: "region", "aria-label": "A line of the log", hidden: true });

/** Take in lines of the feed. */
export function take(news) {
  const last = lines.length ? lines[lines.length - 1][NUMBER] : 0;
  const fresh = news.lines.filter((each) => each[NUMBER] > last);
  if (!fresh.length && news.lines.length && news.lines[0][NUMBER] < (lines[0]?.[NUMBER] ?? 0)) return restart(news.lines);
  // A server that was started again begins at 1.
  if (!fresh.length && lines.length && news.lines.length) return restart(news.lines);
  lines.push(...fresh);
  if (lines.length > MOST * 1.1) { lines = lines.slice(-MOST); filter(); return; }
  if (found) { for (let n = lines.length - fresh.length; n < lines.length; n++) if (fits(lines[n])) found.push(n); }
  drawn();
  backfill();
}

function restart(news) { lines = [...news]; mark = 0; filter(); backfill(); }

/** Get the older lines, piece by piece, so that the page stays quick meanwhile. */
async function backfill() {
  if (filling) return;
  filling = true;
  try {
    while (lines.length && lines[0][NUMBER] > 1 && lines.length < MOST) {
      const { lines: older } = await ask(`/api/logs?before=${lines[0][NUMBER]}`);
      if (!older.length || older[older.length - 1][NUMBER] >= lines[0][NUMBER]) break;
      const top = list.box.scrollTop;
      lines = older.concat(lines);
      filter();
      if (!follow && !found) list.box.scrollTop = top + older.length * ROW;
      await new Promise((done) => setTimeout(done, 10));
    }
  } catch { /* the server is gone; the feed comes back, and so does this */ } finally { filling = false; }
}

function fits(line) {
  if (job && line[JOB] !== job) return false;
  if (level && LEVELS.indexOf(line[LEVEL]) < LEVELS.indexOf(level)) return false;
  if (!words.length) return true;
  const text = line[TEXT].toLowerCase();
  return words.every((word) => text.includes(word));
}

function filter() {
  found = null;
  if (job || level || words.length) {
    found = [];
    for (let n = 0; n < lines.length; n++) if (fits(lines[n])) found.push(n);
  }
  drawn();
}

function drawn() {
  const many = found ? found.length : lines.length;
  count.textContent = found ? `${many.toLocaleString()} of ${lines.length.toLocaleString()}` : lines.length.toLocaleString();
  list.count(many);
  if (follow) requestAnimationFrame(() => list.end());
}

const at = (n) => lines[found ? found[n] : n];
const size = () => (found ? found.length : lines.length);

/** The place of the line with a number, or of the one that follows it. */
function placeOf(number) {
  let [low, high] = [0, size()];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at(middle)[NUMBER] < number) low = middle + 1; else high = middle;
  }
  return low;
}

/** What a line of JSON says, as a line of a log has it; null for any other. */
function structured(text) {
  if (text[0] !== "{" || text.at(-1) !== "}") return null;
  try {
    const { level, logger, origin, message, traceback } = JSON.parse(text);
    const from = [level, logger ?? origin].filter((each) => typeof each === "string").join(" ");
    return typeof message === "string" && from ? `${from}: ${message}${typeof traceback === "string" ? ` ${traceback.split("\n").at(-1)}` : ""}` : null;
  } catch { return null; }
}

/** A line without what stands beside it: its time, and the call that it names. */
const brief = (line) => {
  const said = structured(line[TEXT]) ?? line[TEXT].replace(DATED, "");
  return line[SURE] ? said.replace(new RegExp(`(?: on)? (?:job ${line[JOB]}|\\[${line[JOB]}\\])`, "g"), "") : said;
};

/** A line in full, one of JSON with its fields below each other and its traceback as such. */
function whole(text) {
  if (!structured(text)) return text;
  const { traceback, ...fields } = parse(text);
  return pretty(fields) + (typeof traceback === "string" ? `\n${traceback}` : "");
}

function row(n) {
  const line = at(n);
  const call = line[JOB] && ofCall(line[JOB]);
  const many = (state.status?.replicas?.length ?? 1) > 1;
  return h("div", { class: `log ${line[LEVEL] ? `l-${line[LEVEL]}` : ""} ${line[REPLICA] < 0 ? "own" : ""}`, role: "option", id: `log-${line[NUMBER]}`,
    "aria-posinset": n + 1, "aria-setsize": size(), "aria-selected": String(line[NUMBER] === mark), onclick: () => { if (!String(getSelection())) go(n, true); } },
    h("span", { class: "muted at" }, clock(line[AT], true)),
    line[REPLICA] < 0 ? h("span", { class: "muted rep" }, "cm") : many && h("span", { class: "muted rep" }, String(line[REPLICA])),
    h("span", { class: "log-text" }, brief(line)),
    call && h("span", { class: `of-call ${line[SURE] ? "" : "guess"}`, title: line[SURE] ? "The line names this call" : "The replica worked on this call alone",
      onclick: (event) => { event.stopPropagation(); show(call); } }, call.function));
}

function show(call) {
  recall(call.id);
  dispatchEvent(new CustomEvent("show-view", { detail: "call" }));
}

const byJob = new Map();
on("calls", () => { byJob.clear(); for (const each of state.calls.values()) if (each.job) byJob.set(each.job, each); list.again(); });
const ofCall = (id) => byJob.get(id);

/** Go to a row; `open` shows its line in full. */
function go(n, open) {
  const line = at(n);
  mark = line[NUMBER];
  setFollow(false);
  list.box.setAttribute("aria-activedescendant", `log-${mark}`);
  list.show(n);
  if (open || !detail.hidden) drawDetail(line);
  if (open) list.show(n);
}

function close() {
  detail.hidden = true;
  list.box.focus();
}

function drawDetail(line) {
  const call = ofCall(line[JOB]);
  const from = line[REPLICA] < 0 ? "cm" : `replica ${line[REPLICA]}`;
  detail.hidden = false;
  put(detail, h("div", { class: "line" }, h("span", { class: "muted" }, `${clock(line[AT], true)} · ${from}`), h("span", { class: "push" }),
    call && [h("button", { type: "button", class: "button small", onclick: () => show(call) }, `Show the call of ${call.function}`),
      h("button", { type: "button", class: "button small", onclick: () => ofJob(call.job) }, "Only its lines")],
    h("button", { type: "button", class: "button small", onclick: () => copyText(line[TEXT]) }, "Copy"),
    h("button", { type: "button", class: "button bare small", "aria-label": "Close the line", onclick: close }, sign("close"))),
  h("pre", {}, whole(line[TEXT])));
}

/** Show the lines of one job alone; of all, where that is empty. */
export function ofJob(id) {
  job = id;
  chip.hidden = !id;
  const call = ofCall(id);
  put(chip, `Call of ${call ? `${call.function}, ${clock(call.at)}` : id.slice(0, 8)}`, sign("close"));
  filter();
}

function setFollow(yes) { follow = yes; stick.setAttribute("aria-pressed", String(yes)); }
list.box.addEventListener("wheel", (event) => { if (event.deltaY < 0) setFollow(false); else if (list.atEnd) setFollow(true); }, { passive: true });
list.box.addEventListener("keydown", (event) => {
  const from = mark ? placeOf(mark) : size();
  const to = step(event.key, from, size(), list.inSight);
  if (to !== undefined) { event.preventDefault(); go(to, false); }
  if (event.key === "End") setFollow(true);
  if (event.key === "Enter" && !event.ctrlKey && !event.metaKey && mark && from < size()) { event.preventDefault(); go(from, true); }
});
for (const each of [list.box, detail]) each.addEventListener("keydown", (event) => { if (event.key === "Escape" && !detail.hidden) close(); });

/** Fill the pane. */
export function fill(pane) {
  put(pane, h("div", { class: "head" }, h("h2", {}, "Logs"), count, chip, h("span", { class: "push" }), levels, search, stick), list.box, detail);
  drawn();
}
