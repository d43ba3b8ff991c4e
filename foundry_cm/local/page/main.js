// Puts the parts together, and hears of what happens.

import { ask, follow } from "./api.js";
import * as live from "./live.js";
import * as logs from "./logs.js";
import * as pipeline from "./pipeline.js";
import * as rail from "./rail.js";
import * as request from "./request.js";
import * as result from "./result.js";
import { applyTheme, help } from "./settings.js";
import { kept, set, shown, state } from "./state.js";
import * as top from "./top.js";

const place = (id) => document.getElementById(id);
const KEPT_SECONDS = 300;

function build() {
  if (state.module?.mode === "pipeline") return pipeline.fill(place("rail"), place("work"), place("live"));
  rail.fill(place("rail"));
  place("work").append(request.pane(), result.pane());
  live.fill(place("live"));
}

async function readFunctions() {
  const { functions, warnings } = await ask("/api/functions");
  const before = JSON.stringify(shown()?.schema);
  set({ functions, warnings });
  const wanted = state.name || decodeURIComponent(location.hash.slice(1)) || kept.get("function", "");
  const name = functions.some((each) => each.name === wanted) ? wanted : functions[0]?.name;
  // A function whose types are the same keeps the event that somebody is writing.
  if (name && (name !== state.name || JSON.stringify(shown()?.schema) !== before)) await request.show(name);
}

async function readAround() {
  const [module, events, data] = await Promise.all([ask("/api/module"), ask("/api/events"), ask("/api/data")]);
  // Another start of the server: what the page has of the one before is not its own.
  if (state.module && state.module.began !== module.began) set({ seconds: [] });
  set({ module, events: events.events, data: data.data });
}

const hear = {
  status: (status) => set({ status }),
  functions: () => readFunctions().catch(() => {}),
  findings: (findings) => set({ findings }),
  pipeline: (pipeline) => set({ pipeline }),
  load: ({ seconds }) => set({ seconds: [...state.seconds, ...seconds.filter((each) => each.at > (state.seconds.at(-1)?.at ?? 0))].slice(-KEPT_SECONDS) }),
  logs: logs.take,
  calls: ({ all, calls }) => {
    const known = all ? new Map() : state.calls;
    for (const call of calls) known.set(call.id, call);
    set({ calls: known });
  },
};

applyTheme();
top.fill(place("top"));
logs.fill(place("logs"));
await readAround().catch(() => {});
build();
follow((topic, value) => hear[topic](value), (connected) => {
  if (connected && !state.connected) readAround().catch(() => {});
  set({ connected });
});

addEventListener("show-view", (event) => top.showView(event.detail));
addEventListener("show-job", (event) => { logs.ofJob(event.detail); if (innerWidth < 1280) top.showView("logs"); });

addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); request.start(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || !kept.get("keys", true)) return;
  if (event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
  const act = KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
});

const go = (view, selector) => { top.showView(view); document.querySelector(selector)?.focus(); };
const KEYS = {
  f: () => go(innerWidth < 860 ? "history" : "call", ".function"),
  e: () => go("call", "#event-form:not([hidden]) :is(input, textarea, select), .json-body:not([hidden]) .editor"),
  r: () => go("call", "#result-body"),
  h: () => go(innerWidth < 860 ? "history" : "call", "#history-list"),
  "/": () => go(innerWidth < 1280 ? "logs" : "call", "#log-search"),
  t: () => document.querySelector(".tools button").click(),
  "?": help,
};
