// A form made from the declared types. Each field reads its part of the event and writes it back, and
// says where it stands (`data-path`), so that an error of the server can be shown beside it.

import { base64 } from "./api.js";
import { h, put, sign } from "./dom.js";
import { bytes, parse, stringify } from "./json.js";
import { blank, complaint, isReference, mismatch, readNumber } from "./types.js";
import { pick, thumbnail } from "./pictures.js";

let count = 0;

/** The fields of an event; `changed(value)` gets the event as it is after each edit. */
export function form(type, value, changed) {
  let now = value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
  const set = (next) => { now = next; changed(next); };
  return h("div", { class: "form" }, recordFields(type, () => now, set, "event"));
}

function recordFields(type, get, set, path) {
  return type.fields.map((each) => {
    const inside = {
      get: () => get()[each.name],
      set: (value) => set({ ...get(), [each.name]: value }),
      path: `${path}.${each.name}`,
    };
    if (each.required) return field(each.name, each.type, inside);
    return leftOut(each, get, set, inside);
  });
}

/** A field that may be left out, with a switch for that. */
function leftOut(each, get, set, inside) {
  const place = h("div", { class: "optional-part" });
  const given = () => Object.hasOwn(get(), each.name);
  const draw = () => put(place, given() ? field(each.name, each.type, inside, true) : null);
  const flip = h("input", { type: "checkbox", class: "switch", role: "switch", checked: given(), onchange: () => {
    if (flip.checked) set({ ...get(), [each.name]: blank(each.type) });
    else { const { [each.name]: _gone, ...rest } = get(); set(rest); }
    draw();
  } });
  draw();
  return h("div", { class: "field" },
    h("label", { class: "line" }, flip, h("span", { class: "mono name" }, each.name), h("span", { class: "kind" }, "may be left out")), place);
}

/** One field with its label; `bare` leaves out the label where one stands beside it already. */
function field(name, type, at, bare = false) {
  if (type.kind === "record") return group(name, type, at, recordPart(type, at), bare);
  if (type.kind === "list") return group(name, type, at, listPart(type, at), bare);
  if (type.kind === "map") return group(name, type, at, mapPart(type, at), bare);
  if (type.kind === "optional") return group(name, type, at, optionalPart(name, type, at), bare);
  const id = `field-${++count}`;
  const { input, wrong } = plain(type, at, id);
  if (bare) input.setAttribute("aria-label", name);
  const label = h("label", { for: id, class: "line" }, h("span", { class: "mono name" }, name), h("span", { class: "kind" }, type.name));
  const line = type.kind === "boolean" && !bare ? h("div", { class: "line spread" }, label, input) : [!bare && label, input];
  return h("div", { class: "field", "data-path": at.path }, line, wrong);
}

function group(name, type, at, content, bare) {
  return h("fieldset", { class: "field group", "data-path": at.path },
    h("legend", { class: bare ? "unseen" : "line" }, h("span", { class: "mono name" }, name), h("span", { class: "kind" }, type.name)),
    content, complaintOf(mismatch(type, at.get())));
}

/** The line that says what is wrong with a field. */
const complaintOf = (text, id) => h("p", { class: "complaint", id, hidden: !text }, text);

function recordPart(type, at) {
  const get = () => (at.get() !== null && typeof at.get() === "object" ? at.get() : {});
  const fields = h("div", { class: "inner" });
  if (!isReference(type)) return put(fields, recordFields(type, get, at.set, at.path));
  const chosen = h("span", { class: "line" });
  const look = () => put(chosen, thumbnail(get()));
  const draw = () => { put(fields, recordFields(type, get, (value) => { at.set(value); look(); }, at.path)); look(); };
  draw();
  const choose = h("button", { type: "button", class: "button small", onclick: () => pick((reference) => { at.set({ ...get(), ...reference }); draw(); }) },
    sign("image"), "Choose an image");
  return [h("div", { class: "line" }, choose, chosen), fields];
}

function listPart(type, at) {
  const box = h("div", { class: "inner" });
  const get = () => (Array.isArray(at.get()) ? at.get() : []);
  const draw = () => put(box,
    get().slice(0, 200).map((_, n) => h("div", { class: "item" },
      field(String(n), type.items, {
        get: () => get()[n],
        set: (value) => at.set(get().map((each, place) => (place === n ? value : each))),
        path: `${at.path}[${n}]`,
      }, !["record", "map", "list"].includes(type.items.kind)),
      h("button", { type: "button", class: "button bare small", "aria-label": `Remove item ${n}`, onclick: () => {
        at.set(get().filter((_each, place) => place !== n)); draw(); add.focus();
      } }, sign("close")))),
    get().length > 200 && h("p", { class: "muted" }, `${get().length - 200} more items: see them as JSON`),
    h("div", { class: "line" }, add, many));
  const add = h("button", { type: "button", class: "button small", onclick: () => {
    at.set([...get(), blank(type.items)]); draw();
    box.querySelector(".item:last-of-type :is(input, textarea, button, select)")?.focus();
  } }, sign("plus"), "Add");
  const many = isReference(type.items) && h("button", { type: "button", class: "button small", onclick: () => pick((reference) => {
    at.set([...get(), reference]); draw(); many.focus();
  }) }, sign("image"), "Add an image");
  draw();
  return box;
}

function mapPart(type, at) {
  const box = h("div", { class: "inner" });
  const entries = () => Object.entries(at.get() !== null && typeof at.get() === "object" ? at.get() : {});
  const write = (pairs) => at.set(Object.fromEntries(pairs));
  const draw = () => put(box,
    entries().map(([key], n) => h("div", { class: "item pair" },
      h("input", { value: key, "aria-label": `Key ${n}`, class: "mono", onchange: (event) => {
        if (entries().some(([other], place) => place !== n && other === event.target.value)) return void event.target.classList.add("wrong");
        write(entries().map(([old, value], place) => [place === n ? event.target.value : old, value])); draw();
      } }),
      field(key, type.values, {
        get: () => entries()[n]?.[1],
        set: (value) => write(entries().map(([old, before], place) => [old, place === n ? value : before])),
        path: `${at.path}.${key}`,
      }, true),
      h("button", { type: "button", class: "button bare small", "aria-label": `Remove ${key}`, onclick: () => { write(entries().filter((_e, place) => place !== n)); draw(); box.querySelector(":scope > .line button").focus(); } }, sign("close")))),
    h("div", { class: "line" }, h("button", { type: "button", class: "button small", onclick: () => {
      let key = "key"; for (let n = 2; entries().some(([other]) => other === key); n++) key = `key ${n}`;
      write([...entries(), [key, blank(type.values)]]); draw();
      box.querySelector(":scope > .item:last-of-type input")?.select();
    } }, sign("plus"), "Add")));
  draw();
  return box;
}

function optionalPart(name, type, at) {
  const box = h("div", { class: "inner" });
  const flip = h("input", { type: "checkbox", class: "switch", role: "switch", checked: at.get() !== null && at.get() !== undefined,
    onchange: () => { at.set(flip.checked ? blank(type.inner) : null); draw(); } });
  const draw = () => put(box, h("label", { class: "line" }, flip, flip.checked ? "has a value" : "null"), flip.checked && field(name, type.inner, at, true));
  draw();
  return box;
}

/** The input of a plain value, and the line that says what is wrong with it. */
function plain(type, at, id) {
  const value = at.get();
  const amiss = mismatch(type, value);
  const wrong = complaintOf(amiss, `${id}-wrong`);
  // What is written and not taken keeps the event from being sent: it would not be what the form shows.
  const told = (input, text) => {
    wrong.textContent = text; wrong.hidden = !text;
    input.classList.toggle("wrong", Boolean(text));
    input.setAttribute("aria-invalid", String(Boolean(text)));
    input.toggleAttribute("data-untaken", Boolean(text));
  };
  const common = { id, "aria-describedby": wrong.id, "aria-invalid": String(Boolean(amiss)) };
  if (type.kind === "boolean") {
    const input = h("input", { ...common, type: "checkbox", class: "switch", role: "switch", checked: value === true, onchange: () => { told(input, ""); at.set(input.checked); } });
    return { input, wrong };
  }
  if (type.kind === "binary") return { input: binary(at, common), wrong };
  if (type.kind === "string") {
    const long = String(value ?? "").length > 60 || /\n/.test(value ?? "");
    const input = h("textarea", { ...common, rows: long ? 4 : 1, class: "text-input", value: value ?? "", spellcheck: "false", oninput: () => { told(input, ""); at.set(input.value); } });
    return { input, wrong };
  }
  if (type.kind === "whole" || type.kind === "number") {
    const input = h("input", { ...common, class: "mono", inputmode: type.kind === "whole" ? "numeric" : "decimal", autocomplete: "off", value: value === undefined ? "" : String(value), oninput: () => {
      const read = readNumber(type, input.value);
      told(input, read.wrong ?? "");
      if (!read.wrong) at.set(read.value);
    } });
    return { input, wrong };
  }
  if (type.kind === "timestamp") return { input: timestamp(at, common, told), wrong };
  if (type.kind === "any") {
    const input = h("textarea", { ...common, rows: 2, class: "mono", spellcheck: "false", value: stringify(value) ?? "null", oninput: () => {
      try { at.set(parse(input.value)); told(input, ""); } catch { told(input, "JSON is wanted"); }
    } });
    return { input, wrong };
  }
  const input = h("input", { ...common, type: type.kind === "date" ? "date" : "text", class: "mono", value: value ?? "", oninput: () => {
    told(input, complaint(type.kind, input.value));
    if (!complaint(type.kind, input.value)) at.set(input.value);
  } });
  return { input, wrong };
}

/** A time as text, which keeps its microseconds, with a picker beside it. */
function timestamp(at, common, told) {
  const input = h("input", { ...common, class: "mono", autocomplete: "off", value: at.get() ?? "", oninput: () => {
    const text = complaint("timestamp", input.value);
    told(input, text);
    if (!text) at.set(input.value);
  } });
  const take = (text) => { input.value = text; input.dispatchEvent(new Event("input")); };
  const picker = h("input", { type: "datetime-local", step: 1, "aria-label": "Pick a time, in UTC", value: String(at.get() ?? "").slice(0, 19), oninput: () => {
    if (picker.value) take(`${picker.value.length === 16 ? `${picker.value}:00` : picker.value}Z`);
  } });
  return h("div", { class: "line times" }, input, picker,
    h("button", { type: "button", class: "button small", onclick: () => take(blank({ kind: "timestamp" })) }, "Now"));
}

/** Bytes, as base64 or from a file. */
function binary(at, common) {
  const size = h("span", { class: "muted" });
  const input = h("input", { ...common, class: "mono", value: at.get() ?? "", oninput: () => { at.set(input.value); count(); } });
  const count = () => { size.textContent = `${bytes(Math.floor(input.value.length * 0.75))} in base64`; };
  const file = h("input", { type: "file", "aria-label": "Take a file", onchange: async () => {
    if (!file.files[0]) return;
    input.value = await base64(file.files[0]);
    at.set(input.value); count();
  } });
  count();
  return h("div", { class: "inner" }, input, h("div", { class: "line" }, file, size));
}

/** Show an error of the server beside the field that it names, as far as there is one. */
export function complain(root, message) {
  for (const each of root.querySelectorAll(".complaint.told")) { each.hidden = true; each.textContent = ""; each.classList.remove("told"); }
  for (const each of root.querySelectorAll(".wrong:not([data-untaken])")) each.classList.remove("wrong");
  const path = /\bevent(?:\.[^\s.[\]]+|\[\d+\])+/.exec(message ?? "")?.[0];
  const field = path && [...root.querySelectorAll("[data-path]")].find((each) => each.dataset.path === path);
  if (!field) return;
  const line = field.querySelector(":scope > .complaint");
  if (line) { line.textContent = message; line.hidden = false; line.classList.add("told"); }
  field.querySelector("input, textarea")?.classList.add("wrong");
}
