// What is copied: a call as a command, as a request, as a test.

import { h, visible } from "./dom.js";
import { parse, stringify } from "./json.js";
import { current } from "./run.js";

/** Put a text on the clipboard, and say so. */
export async function copyText(text) {
  let said = "Copied";
  try { await navigator.clipboard.writeText(text); } catch { said = "The browser did not let the page copy"; }
  toast(said);
}

let timer = 0;

/** A word at the edge of the page, for a moment. */
export function toast(text) {
  let place = document.getElementById("toast");
  if (!place) document.body.append(place = h("div", { id: "toast", class: "toast", role: "status" }));
  place.textContent = text;
  clearTimeout(timer);
  timer = setTimeout(() => { place.textContent = ""; }, 2000);
}

/** The choices of the menu, for a function and the JSON text of its event. */
export function copyAs(name, text) {
  return [
    ["cm call", () => copyText(asCommand(name, text))],
    ["curl", () => copyText(asCurl(name, text))],
    ["A test", () => copyText(asTest(name, text)), "for tests/test_app.py"],
    ["Event as JSON", () => copyText(text)],
  ];
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
// What shows nothing, or turns what follows around, is written out: a terminal shows what it is given.
const compact = (text) => { try { return visible(stringify(parse(text))); } catch { return text; } };
const word = (name) => (/^[\w.-]+$/.test(name) ? name : quoted(name));

/** The call as `cm call`. */
export function asCommand(name, text) {
  return `cm call ${word(name)} --json ${quoted(compact(text))}`;
}

/** The call as a request to the panel. */
export function asCurl(name, text) {
  const url = `${location.origin}/api/functions/${encodeURIComponent(name)}/invoke`;
  return `curl -sS ${quoted(url)} -H 'Content-Type: application/json' -d ${quoted(compact(text))}`;
}

/** The call as a test of the module; with the result that is shown, where it is of this event. */
export function asTest(name, text) {
  const call = current.call;
  const same = call?.state === "ok" && call.function === name && "result" in call && compact(call.event) === compact(text);
  const result = same ? python(call.result, 4) : null;
  const lines = [
    `def test_${name.replace(/\W/g, "_")}_answers(foundry: Foundry) -> None:`,
    `    event = ${python(parse(text), 4)}`,
    same && result.length < 4000 ? `    assert foundry.call(${python(name)}, event) == ${result}` : `    result = foundry.call(${python(name)}, event)\n    assert result`,
  ];
  return `${lines.join("\n")}\n`;
}

/** A JSON value as Python writes it. */
function python(value, indent = 0) {
  const plain = { true: "True", false: "False", null: "None" };
  if (value === null || typeof value === "boolean") return plain[String(value)];
  if (typeof value === "string") return visible(JSON.stringify(value));
  if (typeof value !== "object") return String(value);
  const list = Array.isArray(value);
  const parts = list ? value.map((each) => python(each, indent + 4)) : Object.entries(value).map(([key, each]) => `${python(key)}: ${python(each, indent + 4)}`);
  const [open, close] = list ? ["[", "]"] : ["{", "}"];
  const line = open + parts.join(", ") + close;
  if (line.length + indent <= 80 && !line.includes("\n")) return line;
  const pad = " ".repeat(indent);
  return `${open}\n${parts.map((each) => `${pad}    ${each},`).join("\n")}\n${pad}${close}`;
}
