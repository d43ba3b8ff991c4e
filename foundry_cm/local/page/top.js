// The bar at the top: which module, how it is, and what there is to know about it.

import { dialog, h, put, sign } from "./dom.js";
import { place, withLinks } from "./editor.js";
import { settings, help, themeSwitch } from "./settings.js";
import { on, state } from "./state.js";

const PHASES = { ready: ["ok", "Ready"], starting: ["busy", "Starting"], idle: ["ok", "No replica"], crashed: ["bad", "Not running"], ended: ["ok", "Ended"], running: ["work", "Working"], resting: ["ok", "At rest"] };

const phase = h("span", { class: "phase", role: "status" });
const name = h("h1", {}, h("span", { class: "mark", "aria-hidden": "true" }), h("span", { class: "module-name" }));
const facts = h("span", { class: "muted facts-top" });
const findings = h("button", { type: "button", class: "button small findings", hidden: true, onclick: showFindings });
const notices = document.getElementById("notices");
const views = h("div", { class: "views", role: "group", "aria-label": "Views" }, [["call", "Call"], ["history", "History"], ["live", "Live"], ["logs", "Logs"]].map(([view, text]) =>
  h("button", { type: "button", class: "button small", "data-view": view, "aria-pressed": String(view === "call"), onclick: () => showView(view) }, text)));
const OF_PIPELINE = { call: "Pipeline", history: "Resources" };

/** Show one of the views, where not all of them have room. */
export function showView(view) {
  document.body.dataset.view = view;
  for (const each of views.children) each.setAttribute("aria-pressed", String(each.dataset.view === view));
}

function drawPhase() {
  const [mark, text] = state.connected ? PHASES[state.status?.phase ?? state.pipeline?.phase] ?? ["busy", "Starting"] : ["bad", "Not connected"];
  put(phase, h("span", { class: `state ${mark}` }), text);
  const { status, module } = state;
  put(facts, status && module ? `${status.replicas.length} ${status.replicas.length === 1 ? "replica" : "replicas"} · concurrency ${status.concurrency} · cm ${module.version}` : module ? `pipeline · cm ${module.version}` : "");
  document.title = `${mark === "ok" ? "" : `${text} · `}${module?.name ?? "Query panel"}`;
}

function notice(kind, ...content) { return h("div", { class: `notice ${kind}` }, sign("alert"), h("div", { class: "notice-text" }, content)); }

/** What stands in the way now: no connection, a change that is not taken in, replicas that died. */
function drawNotices() {
  const found = [];
  if (!state.connected && state.module) found.push(notice("bad", h("p", {}, "The server does not answer. The page connects again by itself; to start it: ", h("code", {}, state.module.mode === "pipeline" ? "cm run --follow" : "cm serve"))));
  const { status } = state;
  if (state.connected && status) {
    if (status.refused) found.push(notice("warn", told(status.refused), h("p", {}, "The version before this change goes on answering.")));
    const dead = status.replicas.filter((each) => each.died && ["dead", "stopped", "starting"].includes(each.state));
    const reasons = new Map(dead.map((each) => [each.died.error.message + each.died.error.where, each]));
    for (const each of [...reasons.values()].slice(0, 2)) {
      const some = status.phase === "ready" ? `Replica ${each.replica} is lost, the others go on. ` : "";
      const again = each.state === "starting" ? "It starts again. What ended it before:" : "";
      found.push(notice(status.phase === "ready" || again ? "warn" : "bad", (some || again) && h("p", {}, some, again), told(each.died.error)));
    }
  }
  if (state.pipeline?.refused) found.push(notice("warn", told(state.pipeline.refused), h("p", {}, "The version before this change goes on.")));
  if (state.pipeline?.failure) found.push(notice("bad", told(state.pipeline.failure)));
  if (state.connected) found.push(ofChecks());
  for (const text of state.warnings) found.push(notice("warn", h("p", {}, text)));
  put(notices, found);
}

let hidden = "";

/** What `cm check` says will fail, the first of it, until a person has seen it. */
function ofChecks() {
  const errors = (state.findings?.findings ?? []).filter((each) => each.severity === "error");
  const key = JSON.stringify(errors);
  if (!errors.length || key === hidden) return null;
  const more = errors.length > 1 ? ` and ${errors.length - 1} more` : "";
  return notice("warn", h("div", { class: "line" }, h("p", {}, h("strong", {}, "cm check: "), errors[0].message, " ", errors[0].path && place(`${errors[0].path}:${errors[0].line || 1}`, state.module.folder), more),
    h("button", { type: "button", class: "button small", onclick: showFindings }, "Show all"),
    h("button", { type: "button", class: "button small", onclick: () => { hidden = key; drawNotices(); } }, "Hide")));
}

function told(error) {
  return [h("p", {}, error.message, error.where && [" ", place(error.where)]), error.fix && h("p", {}, h("strong", {}, "Fix: "), error.fix),
    error.details && h("pre", { class: "frames" }, withLinks(error.details))];
}

function drawFindings() {
  const shown = state.findings;
  findings.hidden = !shown;
  if (!shown) return;
  const bad = shown.findings.filter((each) => each.severity === "error").length;
  const some = shown.findings.filter((each) => each.severity === "warning").length;
  const text = shown.state === "failed" ? "cm check failed" : bad + some ? `${bad + some} ${bad + some === 1 ? "finding" : "findings"}` : shown.state === "checking" ? "Checking"
    : shown.findings.length ? `${shown.findings.length} ${shown.findings.length === 1 ? "notice" : "notices"}` : "No findings";
  findings.className = `button small findings ${bad || shown.state === "failed" ? "bad" : some ? "warn" : ""}`;
  put(findings, (bad || some || shown.state === "failed") && sign("alert"), text);
}

function showFindings() {
  const { findings: found, why, state: at } = state.findings;
  const order = { error: 0, warning: 1, notice: 2 };
  dialog("What cm check finds",
    why && h("pre", { class: "frames" }, why),
    !found.length && !why && h("p", {}, at === "checking" ? "The checks are running." : "The checks found nothing to mend."),
    h("ul", { class: "finding-list" }, [...found].sort((a, b) => order[a.severity] - order[b.severity]).map((each) => h("li", {},
      h("div", { class: "line" }, h("span", { class: `badge ${{ error: "bad", warning: "warn" }[each.severity] ?? ""}` }, each.severity), h("strong", { class: "mono" }, each.code),
        each.path && place(`${each.path}:${each.line || 1}`, state.module.folder)),
      h("p", {}, each.message), h("p", { class: "muted" }, "Fix: ", each.fix)))));
}

/** Fill the bar. */
export function fill(bar) {
  on("status connected pipeline module", () => { drawPhase(); drawNotices(); });
  on("warnings", drawNotices);
  on("findings", () => { drawFindings(); drawNotices(); });
  on("module", () => {
    name.lastChild.textContent = state.module.name;
    name.title = state.module.folder;
    if (state.module.mode === "pipeline") for (const each of views.children) each.textContent = OF_PIPELINE[each.dataset.view] ?? each.textContent;
  });
  drawPhase();
  put(bar, name, phase, facts, h("span", { class: "push" }), findings, views,
    h("span", { class: "line tools" }, themeSwitch(),
      h("button", { type: "button", class: "button bare", "aria-label": "Settings", title: "Settings", onclick: settings }, sign("gear")),
      h("button", { type: "button", class: "button bare", "aria-label": "Keys", title: "Keys", onclick: help }, sign("help"))));
}
