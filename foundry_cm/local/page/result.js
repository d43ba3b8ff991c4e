// The right half of the work: what became of a call, in the view that suits it.

import { ask } from "./api.js";
import { asCommand, copyText } from "./copyas.js";
import { h, put, sign, tabs, visible } from "./dom.js";
import { place, withLinks } from "./editor.js";
import { bytes, differences, duration, isTable, isVector, pretty, short } from "./json.js";
import { drawn } from "./pictures.js";
import { current } from "./run.js";
import { kept, on, state } from "./state.js";
import { table, tree, vector } from "./tree.js";
import { parse } from "./json.js";

const NAMES = [["tree", "Tree"], ["table", "Table"], ["images", "Images"], ["json", "JSON"], ["compare", "Compare"]];
const body = h("div", { class: "body scroll result-body", id: "result-body", role: "tabpanel", tabindex: 0, "aria-label": "Result" });
const facts = h("div", { class: "facts" });
const heading = h("h2", {}, "Result");
// Which function it is of, where that is not the one that is shown.
const other = h("span", { class: "mono muted other" });
const badge = h("span", { class: "badge", hidden: true });
const views = tabs("Views of the result", NAMES, (name) => { wanted = name; kept.set("result-view", name); draw(); }, "result-body");
const copy = h("button", { type: "button", class: "button small", hidden: true, onclick: () => copyText(pretty(current.call.result)) }, "Copy");

let wanted = kept.get("result-view", "tree");
let clockTimer = 0;
let seen = null;

/** The views that a value can be shown in. */
function possible(call) {
  const has = call?.state === "ok" && "result" in call;
  const value = call?.result;
  return {
    tree: has, json: has, compare: has,
    table: has && (isTable(value) || tablesIn(value).length > 0),
    images: has && String(call.event).includes('"parent"') && drawn(eventOf(call), value) !== null,
  };
}

const eventOf = (call) => { try { return parse(call.event); } catch { return null; } };

/** The lists of records in the fields of a record. */
function tablesIn(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [];
  return Object.entries(value).filter(([, each]) => isTable(each));
}

function draw() {
  const call = current.call;
  clearInterval(clockTimer);
  const can = possible(call);
  for (const [name] of NAMES) views.show(name, Boolean(can[name]));
  const fresh = call !== seen?.call || call?.state !== seen?.state;
  seen = { call, state: call?.state };
  if (fresh && can.images && wanted === "tree") wanted = "images";
  const view = can[wanted] ? wanted : can.table && wanted === "images" ? "table" : "tree";
  views.set(view);
  views.list.hidden = copy.hidden = !can.tree;
  drawBadge(call);
  drawFacts(call);
  if (!call) return void put(body, h("p", { class: "muted empty" }, "Run the function, and its result is here. An earlier one is in the history."));
  if (call.state === "running") return void drawRunning(call);
  if (call.state === "failed") return void put(body, failure(call));
  if (call.tooLarge || call.notKept) return void put(body, tooLarge(call));
  if (view === "compare") return void compare(call);
  put(body, shownAs(view, call));
}

function shownAs(view, call) {
  const value = call.result;
  if (view === "images") return drawn(eventOf(call), value);
  if (view === "json") return h("pre", { class: "json" }, pretty(value));
  if (view === "table") return isTable(value) ? table(value) : tablesIn(value).map(([name, rows]) => [h("h3", { class: "mono" }, name), table(rows, name)]);
  if (isVector(value)) return vector(value);
  return tree(value);
}

function drawBadge(call) {
  other.hidden = !call || call.function === state.name;
  other.textContent = other.hidden ? "" : visible(`of ${call.function}`);
  badge.hidden = !call;
  if (!call) return;
  const cut = call.error?.code === "Cancelled";
  badge.className = `badge ${call.state === "ok" ? "ok" : call.state === "running" ? "" : cut ? "warn" : "bad"}`;
  badge.textContent = call.state === "ok" ? "OK" : call.state === "running" ? "Running" : cut ? "Cancelled" : "Failed";
}

/** Where the time of a call went, and how large it was. */
function drawFacts(call) {
  const about = call?.about;
  if (!about || !about.milliseconds) return void put(facts);
  const { queuedMilliseconds: queue, transferMilliseconds: transfer, milliseconds } = about;
  const parts = [["queue", queue], ["handler", Math.max(0, milliseconds - transfer)], ["transfer", transfer]];
  const all = parts.reduce((sum, [, each]) => sum + each, 0) || 1;
  const bar = h("div", { class: "split", "aria-hidden": "true" }, parts.map(([name, each]) => {
    const part = h("span", { class: `part ${name}` });
    part.style.flexGrow = Math.max(each / all, each > 0 ? 0.004 : 0);
    return part;
  }));
  const most = state.module?.maxBytes ?? 0;
  put(facts,
    h("strong", {}, duration(queue + milliseconds)), bar,
    h("dl", { class: "inline" }, parts.map(([name, each]) => h("div", {}, h("dt", {}, h("span", { class: `dot ${name}` }), name), h("dd", {}, duration(each)))),
      h("div", {}, h("dt", {}, "in"), h("dd", {}, bytes(about.eventBytes))),
      h("div", {}, h("dt", {}, "out"), h("dd", {}, bytes(about.resultBytes))),
      most > 0 && h("div", { class: "muted" }, h("dt", {}, "limit"), h("dd", {}, bytes(most), " each way")),
      about.replica >= 0 && h("div", {}, h("dt", {}, "replica"), h("dd", {}, String(about.replica)))),
    about.jobId && h("button", { type: "button", class: "button bare small", onclick: () => dispatchEvent(new CustomEvent("show-job", { detail: about.jobId })) }, "Logs of this call"));
}

function drawRunning(call) {
  const said = h("span", {});
  const tick = () => {
    const seconds = ((Date.now() - call.at) / 1000).toFixed(1);
    said.textContent = call.replica >= 0 ? `Running on replica ${call.replica}, ${seconds} s` : `Waiting for a replica, ${seconds} s`;
  };
  tick();
  clockTimer = setInterval(tick, 100);
  const items = call.items ? [h("p", { class: "muted" }, `${call.items.length} ${call.items.length === 1 ? "item" : "items"} so far`), streamed(call.items)] : null;
  put(body, h("p", { class: "waiting", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), said), items);
}

/** What has come of a stream; text is put together, and of many items the last are shown. */
function streamed(items) {
  if (items.every((each) => typeof each === "string")) return h("pre", { class: "json" }, items.join(""));
  const last = items.slice(-50);
  return h("ol", { class: "items", start: items.length - last.length + 1 }, last.map((each) => h("li", {}, tree(each))));
}

/** A failed call: what, where, how to mend it, and the frames of one's own code. */
function failure(call) {
  const { message, where, fix, details, code } = call.error ?? { message: "The call failed" };
  return h("div", { class: "failure", role: "alert" },
    h("p", { class: "what" }, message),
    where && h("p", { class: "line" }, h("span", { class: "muted" }, "at"), place(where)),
    fix && h("p", { class: "fix" }, h("strong", {}, "Fix: "), fix),
    details && h("pre", { class: "frames" }, withLinks(details)),
    code && h("p", { class: "muted" }, "Error code ", h("code", {}, code)),
    call.items && [h("h3", {}, "What came before"), streamed(call.items)]);
}

function tooLarge(call) {
  return h("div", {}, h("p", {}, call.tooLarge ? `The result has ${bytes(call.tooLarge)}, too many to show here.` : `The result has ${bytes(call.about?.resultBytes ?? 0)}, more than the history keeps.`),
    h("p", { class: "muted" }, "Write it to a file: ", h("code", { class: "json" }, `${asCommand(call.function, call.event ?? "{}")} > result.json`)));
}

/** The call before this one whose result can be compared with: of the same event, if there is one. */
async function before(call) {
  const all = [...state.calls.values()].filter((each) => each.function === call.function && each.state === "ok");
  const at = all.findIndex((each) => each.id === call.id);
  const earlier = all.slice(0, at < 0 ? all.length : at).reverse().slice(0, 50);
  let other = null;
  for (const each of earlier) {
    const { call: found } = await ask(`/api/calls/${each.id}`);
    if (typeof found.result !== "string") continue;
    if (sameJson(found.event, call.event)) return { call: found, same: true };
    other ??= { call: found, same: false };
  }
  return other;
}

function sameJson(one, other) {
  try { return differences(parse(one), parse(other), 1).length === 0; } catch { return false; }
}

async function compare(call) {
  put(body, h("p", { class: "muted" }, "Looking for the result before"));
  const found = await before(call).catch(() => null);
  if (current.call !== call || views.list.querySelector("[aria-selected=true]").dataset.tab !== "compare") return;
  if (!found) return void put(body, h("p", { class: "muted empty" }, "There is no earlier result of this function to compare with."));
  const changes = differences(parse(found.call.result), call.result);
  const when = new Date(found.call.at * 1000).toLocaleString();
  put(body,
    h("p", {}, changes.length ? `${changes.length === 500 ? "More than 500" : changes.length} ${changes.length === 1 ? "difference" : "differences"}` : "No difference",
      ` from the result of ${when}`, found.same ? ", with the same event" : ", with another event",
      found.call.edit !== (state.status?.edit ?? "") && state.status?.edit ? `, before ${state.status.edit}.` : "."),
    changes.length > 0 && h("div", { class: "table-box scroll", tabindex: 0, role: "region", "aria-label": "Differences" },
      h("table", { class: "changes" }, h("thead", {}, h("tr", {}, ["where", "before", "now"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, changes.map((each) => h("tr", {}, h("td", { class: "mono" }, each.path.replace(/^result\.?/, "") || "result"),
          h("td", { class: "mono old" }, each.kind === "added" ? "" : brief(each.old)),
          h("td", { class: "mono new" }, each.kind === "removed" ? "" : brief(each.now), delta(each))))))));
}

function brief(value) {
  if (isVector(value)) return `${value.length} numbers`;
  if (typeof value === "number") return short(value);
  const text = typeof value === "string" ? value : pretty(value).replace(/\s+/g, " ");
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

function delta({ kind, old, now }) {
  if (kind !== "changed" || typeof old !== "number" || typeof now !== "number") return null;
  return h("span", { class: "muted" }, ` ${now > old ? "+" : ""}${short(+(now - old).toPrecision(4))}`);
}

/** The pane. */
export function pane() {
  on("current", draw);
  on("name", () => drawBadge(current.call));
  on("data", () => { if (current.call?.state === "ok") draw(); });
  draw();
  return h("section", { class: "pane result", "aria-label": "Result" },
    h("div", { class: "head" }, heading, other, badge, h("span", { class: "push" }), views.list, copy), body,
    h("div", { class: "foot facts-foot" }, facts));
}
