// The left edge: the functions, and below them the calls that were made.

import { ask } from "./api.js";
import { dialog, h, put, sign } from "./dom.js";
import { clock, duration } from "./json.js";
import { longList, step } from "./list.js";
import { load, show } from "./request.js";
import { current, recall, run } from "./run.js";
import { on, state } from "./state.js";
import { parse } from "./json.js";

const ROW = 40;
let calls = [];
let chosen = null;

const functions = h("ul", { class: "functions" });
const only = h("input", { type: "search", placeholder: "Filter history", "aria-label": "Filter the history", oninput: () => sort() });
const none = h("p", { class: "muted pad" }, "Calls are listed here, and kept when cm serve ends.");
const list = longList(ROW, row, { class: "history", role: "listbox", tabindex: 0, "aria-label": "Calls, the newest first", id: "history-list" });
const count = h("span", { class: "muted" });

function drawFunctions() {
  put(functions, state.functions.map((each) => h("li", {}, h("button", {
    type: "button", class: "function", "aria-current": each.name === state.name ? "true" : null, onclick: () => { showCall(); show(each.name); }, title: each.signature,
  }, h("span", { class: "mono name" }, each.name), h("span", { class: "mono sig" }, each.signature.slice(each.name.length)),
  each.warnings.length > 0 && h("span", { class: "flag", title: each.warnings.join("\n") }, sign("alert"), h("span", { class: "unseen" }, `${each.warnings.length} warnings`))))));
  functions.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

function sort() {
  const words = only.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  calls = [...state.calls.values()].reverse();
  if (words.length) calls = calls.filter((each) => words.every((word) => `${each.function} ${each.state} ${each.error} ${each.sent} ${each.edit} ${each.job}`.toLowerCase().includes(word)));
  none.hidden = state.calls.size > 0;
  list.box.hidden = !state.calls.size;
  count.textContent = words.length ? `${calls.length} of ${state.calls.size}` : state.calls.size ? String(state.calls.size) : "";
  list.count(calls.length);
}

function row(n) {
  const call = calls[n];
  const mark = { ok: "ok", failed: "bad", running: "busy" }[call.state ?? "running"];
  const today = new Date(call.at * 1000).toDateString() === new Date().toDateString();
  return h("div", { class: "call", role: "option", id: `call-${n}`, "aria-posinset": n + 1, "aria-setsize": calls.length, "aria-selected": String(chosen === call.id), onclick: () => open(n) },
    h("span", { class: `state ${mark}` }, h("span", { class: "unseen" }, mark === "ok" ? "answered" : mark === "bad" ? "failed" : "running")),
    h("span", { class: "mono name" }, call.function),
    h("span", { class: "muted time", title: new Date(call.at * 1000).toLocaleString() }, today ? clock(call.at) : new Date(call.at * 1000).toLocaleDateString(undefined, { day: "numeric", month: "short" })),
    h("span", { class: `said ${mark === "bad" ? "bad-text" : "muted"}` }, call.error || values(call.sent)),
    h("span", { class: "muted took" }, call.state === "running" ? "…" : duration((call.milliseconds ?? 0) + (call.queued ?? 0))));
}

/** The beginning of an event without the names of its fields, which all calls of a function share. */
const values = (sent) => sent.replace(/"[^"]*"\s*:\s*/g, "").replace(/[{}[\]"]/g, "").trim();

/** Leave the view of the history, where there is no room for both. */
const showCall = () => { if (document.body.dataset.view === "history") dispatchEvent(new CustomEvent("show-view", { detail: "call" })); };

async function open(n) {
  if (!calls[n]) return;
  chosen = calls[n].id;
  list.box.setAttribute("aria-activedescendant", `call-${n}`);
  list.show(n);
  const call = await recall(chosen);
  showCall();
  if (state.name !== call.function && state.functions.some((each) => each.name === call.function)) await show(call.function);
  if (typeof call.event === "string") { try { load(parse(call.event)); } catch { /* kept as it was sent, which was no JSON */ } }
}

list.box.addEventListener("keydown", (event) => {
  const at = calls.findIndex((each) => each.id === chosen);
  const to = step(event.key, at, calls.length, list.inSight);
  if (to !== undefined) { event.preventDefault(); if (to !== at) open(to); }
  if (event.key === "Enter" && calls[at]) { event.preventDefault(); again(); }
});

/** Make the call that is shown once more. */
export function again() {
  const call = current.call;
  if (call && typeof call.event === "string") run(call.function, call.event);
}

function forget() {
  const close = dialog("Clear the history", h("p", {}, `${state.calls.size} calls and the file that keeps them are removed.`),
    h("button", { type: "button", class: "button main", onclick: async () => { await ask("/api/calls", { method: "DELETE" }); close(); } }, "Clear it"));
}

/** Fill the pane. */
export function fill(pane) {
  on("functions name", drawFunctions);
  on("calls", sort);
  on("current", () => { if (current.call?.live) { chosen = current.call.id; list.again(); } });
  drawFunctions();
  sort();
  put(pane,
    h("div", { class: "head" }, h("h2", {}, "Functions")),
    functions,
    h("div", { class: "head history-head" }, h("h2", {}, "History"), count, h("span", { class: "push" }),
      h("button", { type: "button", class: "button small", onclick: again, title: "Make the call that is shown once more" }, "Re-run"),
      h("button", { type: "button", class: "button bare small", onclick: forget }, "Clear")),
    h("div", { class: "pad" }, only), none, list.box);
}
