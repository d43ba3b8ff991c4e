// The page of a pipeline: its inputs and outputs, and a look into the files of each.

import { ask } from "./api.js";
import { h, put, sign } from "./dom.js";
import { bytes } from "./json.js";
import { on, state } from "./state.js";
import { table } from "./tree.js";

const ROLES = [["input", "Inputs"], ["reference", "References"], ["output", "Outputs"], ["errors", "Refused records"]];
const PHASES = { running: "working", resting: "at rest: nothing new in its inputs", starting: "starting", crashed: "not running", ended: "ended with code 0" };

let alias = "";
let file = "";
// Until a person chooses, records that were refused are shown first.
let byPerson = false;
const list = h("div", { class: "resources scroll" });
const flow = h("div", { class: "flow" });
const files = h("div", { class: "files" });
const look = h("div", { class: "look" });
const title = h("h2", { class: "mono title" });
const about = h("span", { class: "muted" });
const transactions = h("div", { class: "transactions" });
const totals = h("div", { class: "totals" });

const all = () => state.pipeline?.resources ?? [];
const chosen = () => all().find((each) => each.alias === alias);
const number = (count) => count.toLocaleString("en");
const unit = (each, count) => ({ stream: count === 1 ? "record" : "records", media_set: count === 1 ? "item" : "items" }[each.kind] ?? (count === 1 ? "row" : "rows"));

function draw() {
  if (!all().length) return;
  if (!byPerson) {
    const first = (all().find((each) => each.role === "errors" && each.rows) ?? all()[0]).alias;
    if (first !== alias) [alias, file] = [first, ""];
  }
  drawList();
  drawFlow();
  drawTotals();
  drawChosen();
}

function drawList() {
  const focused = list.contains(document.activeElement) && document.activeElement.dataset.alias;
  put(list, ROLES.filter(([role]) => all().some((each) => each.role === role)).map(([role, name]) => [
    h("h3", { class: "pad muted" }, name),
    h("ul", {}, all().filter((each) => each.role === role).map((each) => h("li", {}, h("button", {
      type: "button", class: "function", "data-alias": each.alias, "aria-current": each.alias === alias ? "true" : null, onclick: () => { [alias, file, byPerson] = [each.alias, "", true]; draw(); dispatchEvent(new CustomEvent("show-view", { detail: "call" })); },
    }, h("span", { class: "mono name" }, each.alias),
    h("span", { class: `sig ${role === "errors" && each.rows ? "bad-text" : ""}` }, `${each.kind.replace("_", " ")} · ${number(each.rows)} ${unit(each, each.rows)}`, each.left ? ` · ${number(each.left)} to read` : "")))))]));
  if (focused) list.querySelector(`[data-alias="${CSS.escape(focused)}"]`)?.focus();
}

/** From the inputs through the module to the outputs, in one line. */
function drawFlow() {
  const box = (each) => h("div", { class: `stop ${each.role === "errors" && each.rows ? "bad" : ""}` }, h("span", { class: "mono" }, each.alias), h("strong", {}, number(each.rows)),
    h("span", { class: "muted small-text" }, each.left === null ? unit(each, each.rows) : each.left ? `${number(each.left)} to read` : "all read"));
  const side = (roles) => h("div", { class: "side" }, all().filter((each) => roles.includes(each.role)).map(box));
  put(flow, side(["input", "reference"]), h("span", { class: "arrow", "aria-hidden": "true" }, "→"),
    h("div", { class: `stop module ${state.pipeline.phase}` }, h("strong", {}, state.module.name), h("span", { class: "muted small-text" }, PHASES[state.pipeline.phase])),
    h("span", { class: "arrow", "aria-hidden": "true" }, "→"), side(["output", "errors"]));
}

function drawTotals() {
  const sum = (role, key) => all().filter((each) => each.role === role).reduce((count, each) => count + (each[key] ?? 0), 0);
  const open = all().flatMap((each) => each.transactions).filter((each) => each.status === "OPEN").length;
  const { phase, faults, kills } = state.pipeline;
  const facts = [["read in this run", number(sum("input", "read"))], ["left to read", number(sum("input", "left"))], ["written", number(sum("output", "rows"))],
    ["refused", number(sum("errors", "rows"))], ["open transactions", String(open)]];
  if (kills) facts.push(["killed on purpose", String(kills)]);
  put(totals, h("div", { class: "line" }, h("span", { class: `state ${{ crashed: "bad", running: "work", starting: "busy" }[phase] ?? "ok"}` }), PHASES[phase]),
    h("dl", { class: "pairs" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    faults.length > 0 && h("div", {}, h("h2", {}, "Faults that struck"), h("ul", { class: "mono small-text" }, faults.slice(-20).map((each) => h("li", {}, each)))));
}

function drawChosen() {
  const each = chosen();
  title.textContent = each.alias;
  put(about, `${each.role} · ${each.kind.replace("_", " ")} · ${each.count} ${each.count === 1 ? "file" : "files"}, ${bytes(each.bytes)}`);
  const busy = files.contains(document.activeElement) && document.activeElement.dataset.path;
  // What the module keeps for itself comes last: files with `_` are no part of the table.
  const ordered = [...each.files].sort((a, b) => Number(a.path.startsWith("_")) - Number(b.path.startsWith("_")));
  put(files, ordered.length ? h("ul", {}, ordered.map((one) => h("li", {}, h("button", {
    type: "button", class: "file", "data-path": one.path, "aria-current": one.path === file ? "true" : null, onclick: () => show(one.path),
  }, sign("file"), h("span", { class: "mono name" }, one.path),
  h("span", { class: "muted" }, one.rows ? `${number(one.rows)} ${unit(each, one.rows)}` : bytes(one.bytes)),
  (each.role === "input" || each.role === "reference") && h("span", { class: `badge ${one.isRead ? "ok" : ""}` }, one.isRead ? "read" : "not yet")))))
    : h("p", { class: "muted" }, each.role === "input" || each.role === "reference" ? `Put files into data/${each.alias}/, and the module finds them.` : "Nothing is written yet."));
  if (busy) files.querySelector(`[data-path="${CSS.escape(busy)}"]`)?.focus();
  drawTransactions(each);
  const first = each.files.find((one) => one.rows) ?? each.files[0];
  if (!file && first) show(first.path);
  if (!each.files.length) put(look);
}

function drawTransactions(each) {
  put(transactions, each.transactions.length > 0 && [h("h3", {}, "Transactions"), table(each.transactions.map((one) => ({
    status: one.status, type: one.transactionType, files: one.files, opened: one.createdTime.slice(11, 23), closed: one.closedTime?.slice(11, 23) ?? null,
    by: one.job ? "the build" : "the module", rid: one.rid,
  })), "Transactions")]);
}

async function show(path) {
  file = path;
  for (const each of files.querySelectorAll(".file")) each.toggleAttribute("aria-current", each.dataset.path === path);
  const { rid } = chosen();
  const query = `rid=${encodeURIComponent(rid)}&item=${encodeURIComponent(path)}`;
  try {
    const found = await ask(`/api/data/look?${query}`);
    if (file !== path) return;
    const head = h("h3", { class: "mono" }, path);
    if (found.kind === "image") put(look, head, h("img", { class: "shown", src: `/api/data/image?${query}`, alt: path }));
    else if (found.kind === "rows") put(look, head, h("p", { class: "muted small-text" }, `The first ${found.rows.length} ${found.rows.length === 1 ? "row" : "rows"}`), table(found.rows, path));
    else if (found.kind === "text") put(look, head, h("pre", { class: "json" }, found.text));
    else put(look, head, h("p", { class: "muted" }, `${bytes(found.bytes)} that are no text.`));
  } catch (error) {
    if (file === path) put(look, h("p", { class: "complaint" }, error.told?.message ?? String(error)));
  }
}

/** Fill the panes of the page for a pipeline. */
export function fill(rail, work, live) {
  document.body.classList.add("of-pipeline");
  on("pipeline", draw);
  put(rail, h("div", { class: "head" }, h("h2", {}, "Resources")), list);
  put(work, h("section", { class: "pane", "aria-label": "Pipeline" }, flow,
    h("div", { class: "head" }, title, about),
    h("div", { class: "body scroll resource", tabindex: 0, role: "region", "aria-label": "Files and transactions" }, files, look, transactions)));
  put(live, h("div", { class: "head" }, h("h2", {}, "Live")), h("div", { class: "scroll live-body", tabindex: 0, role: "region", "aria-label": "The run" }, totals));
  put(list, h("p", { class: "muted pad" }, "Waiting for the pipeline"));
}
