// The left half of the work: the function that is shown, its event as a form and as JSON, and what is
// done with that. There is one event; the two views are of it, and an edit in one is seen in the other.

import { ask, Refused } from "./api.js";
import { copyAs } from "./copyas.js";
import { dialog, h, menu, put, sign, tabs } from "./dom.js";
import { complain, form } from "./form.js";
import { bytes, parse, pretty } from "./json.js";
import { cancel, isRunning, run } from "./run.js";
import { kept, on, shown, state, set } from "./state.js";
import { inputs } from "./types.js";

/** The event that is shown: its JSON text, and its value as long as the text is JSON. */
export const event = { text: "{}", value: {}, wrong: "" };

let view = "form";
const fields = h("div", { class: "body scroll", id: "event-form", role: "tabpanel" });
const text = h("textarea", { class: "mono editor", spellcheck: "false", "aria-label": "The event as JSON", autocomplete: "off" });
const wrong = h("p", { class: "complaint", role: "status" });
const json = h("div", { class: "body json-body", id: "event-json", role: "tabpanel", hidden: true }, text, wrong);
const size = h("span", { class: "muted size" });
const runButton = h("button", { type: "button", class: "button main", onclick: () => (isRunning() ? cancel() : start()) });
const chooser = h("select", { class: "narrow-only", "aria-label": "Function", onchange: () => show(chooser.value) });
const title = h("h2", { class: "mono title" });
const notes = h("ul", { class: "warnings" });
const views = tabs("Views of the event", [["form", "Form"], ["json", "JSON"]], choose, "event-form event-json");

/** Put an event into both views. */
export function load(value) {
  event.value = value;
  event.text = pretty(value);
  event.wrong = "";
  state.refused = null;
  text.value = event.text;
  drawForm();
  drawState();
}

/** Show a function, with the event that a person had for it, or a sample. */
export async function show(name) {
  set({ name });
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  const draft = kept.get(draftKey(), null);
  const own = state.events.includes(`${name}.json`) ? `${name}.json` : null;
  if (typeof draft === "string" && reads(draft)) return load(parse(draft));
  if (own) { try { return load(await ask(`/api/events/${own}`)); } catch { /* gone, or no JSON: the sample will do */ } }
  load(shown()?.sampleEvent ?? {});
}

/** Call the function with the event as it is. */
export function start() {
  if (event.wrong || !shown()) return void (view === "json" ? text : fields).focus?.();
  const untaken = view === "form" && fields.querySelector("[data-untaken]");
  if (untaken) return void untaken.focus();
  complain(fields, "");
  run(state.name, event.text);
}

function reads(given) { try { parse(given); return true; } catch { return false; } }
const draftKey = () => `draft.${state.module?.folder}.${state.name}`;

function choose(name) {
  view = name;
  fields.hidden = name !== "form";
  json.hidden = name !== "json";
  views.set(name);
  kept.set("event-view", name);
  if (name === "form") drawForm();
}

function drawForm() {
  const each = shown();
  if (!each) return void put(fields, empty());
  if (event.wrong) return void put(fields, h("p", { class: "muted" }, "The event is not JSON now. Mend it in the JSON view, and the form is back."));
  const type = inputs(each.schema);
  if (!type.fields.length) {
    return void put(fields, h("p", { class: "muted" }, "This function declares no inputs, so there is no form. The JSON view takes any event."));
  }
  put(fields, form(type, event.value, (value) => {
    event.value = value;
    event.text = pretty(value);
    text.value = event.text;
    changed();
  }));
  complain(fields, state.refused?.message);
}

function empty() {
  const phase = state.status?.phase;
  const why = phase === "crashed" ? "The module is not running. The reason is above." : phase === "ready" ? "The module declares no functions." : "Waiting for the module to declare its functions.";
  return h("p", { class: "muted empty" }, why);
}

text.addEventListener("input", () => {
  event.text = text.value;
  try { event.value = parse(text.value); event.wrong = ""; } catch (error) { event.wrong = String(error.message); }
  changed();
});

function changed() {
  state.refused = null;
  kept.set(draftKey(), event.text);
  drawState();
}

function drawState() {
  wrong.textContent = event.wrong;
  text.classList.toggle("wrong", Boolean(event.wrong));
  const length = new TextEncoder().encode(event.text).length;
  const most = state.module?.maxBytes ?? 0;
  put(size, `${bytes(length)} of ${bytes(most)}`);
  size.classList.toggle("over", length > most);
  drawRun();
}

function drawHead() {
  const each = shown();
  title.textContent = each?.name ?? "No function";
  title.title = each?.signature ?? "";
  put(chooser, state.functions.map(({ name }) => h("option", { value: name }, name)));
  chooser.value = state.name;
  chooser.hidden = state.functions.length < 2;
  put(notes, (each?.warnings ?? []).map((warning) => h("li", {}, sign("alert"), warning.replace(`${each.name}: `, ""))));
  notes.hidden = !each?.warnings.length;
}

function drawRun() {
  put(runButton, isRunning() ? [sign("stop"), "Cancel"] : [sign("run"), "Run"], h("kbd", {}, /Mac/.test(navigator.platform) ? "⌘↵" : "Ctrl ↵"));
  runButton.disabled = !shown() || (Boolean(event.wrong) && !isRunning());
}

/** The choices of the menu of events: samples, and the files of `events/`. */
function events() {
  const each = shown();
  if (!each) return [];
  const file = (name) => [`events/${name}`, async () => load(await ask(`/api/events/${encodeURIComponent(name)}`))];
  const own = state.events.filter((name) => name.startsWith(each.name));
  return [
    ["Sample event", () => load(each.sampleEvent), "from the types"],
    ["Edge event", () => load(each.edgeEvent), "extreme values"],
    ...own.map(file), ...state.events.filter((name) => !own.includes(name)).map(file),
  ];
}

function saveAs() {
  const name = h("input", { class: "mono", value: free(), "aria-label": "Name of the file in events/", autocomplete: "off" });
  const said = h("p", { class: "complaint", role: "alert" });
  const save = async (replace) => {
    try {
      const path = `/api/events/${encodeURIComponent(name.value)}${replace ? "?replace=true" : ""}`;
      await ask(path, { method: "PUT", body: event.text });
      set({ events: (await ask("/api/events")).events });
      close();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      put(said, error.told.message, ". ", error.told.fix ?? "");
      over.hidden = error.told.code !== "Exists";
    }
  };
  const over = h("button", { type: "button", class: "button", hidden: true, onclick: () => save(true) }, "Replace it");
  const close = dialog("Save as event",
    h("p", {}, "It becomes a file in events/. ", h("code", {}, `events/${state.name}.json`), " is what ", h("code", {}, `cm call ${state.name}`), " sends."),
    h("div", { class: "line" }, h("span", { class: "mono" }, "events/"), name),
    said,
    h("div", { class: "line" }, h("button", { type: "button", class: "button main", onclick: () => save(false) }, "Save"), over));
  name.addEventListener("keydown", (press) => { if (press.key === "Enter") save(false); });
  name.select();
}

/** A name that no file in `events/` has. */
function free() {
  if (!state.events.includes(`${state.name}.json`)) return `${state.name}.json`;
  let n = 2;
  while (state.events.includes(`${state.name}-${n}.json`)) n++;
  return `${state.name}-${n}.json`;
}

/** The pane. */
export function pane() {
  on("functions name events", () => { drawHead(); drawRun(); });
  on("functions status", () => { if (!shown()) drawForm(); drawRun(); });
  on("running", drawRun);
  on("refused", () => complain(fields, state.refused?.message));
  on("module", drawState);
  on("data", () => { if (!fields.contains(document.activeElement)) drawForm(); });
  drawHead(); drawRun();
  choose(kept.get("event-view", "form"));
  return h("section", { class: "pane request", "aria-label": "Event" },
    h("div", { class: "head" }, title, chooser, h("span", { class: "push" }), views.list),
    notes, fields, json,
    h("div", { class: "foot" }, runButton, size, h("span", { class: "push" }),
      menu("Event", events, { class: "small" }),
      h("button", { type: "button", class: "button small", onclick: saveAs }, "Save as event"),
      menu("Copy as", () => copyAs(state.name, event.text), { class: "small" })));
}
