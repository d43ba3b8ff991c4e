// What a person chooses for themselves: light or dark, the editor, keys. It stays in the browser.

import { dialog, h, put, sign } from "./dom.js";
import { editor, editors } from "./editor.js";
import { kept, tell } from "./state.js";

const THEMES = [["system", "As the system"], ["light", "Light"], ["dark", "Dark"]];

/** Bring the chosen theme about. */
export function applyTheme() {
  const theme = kept.get("theme", "system");
  document.documentElement.style.colorScheme = theme === "system" ? "" : theme;
}

const isDark = () => {
  const theme = kept.get("theme", "system");
  return theme === "system" ? matchMedia("(prefers-color-scheme: dark)").matches : theme === "dark";
};

/** The switch between light and dark. */
export function themeSwitch() {
  const button = h("button", { type: "button", class: "button bare", onclick: () => {
    kept.set("theme", isDark() ? "light" : "dark");
    applyTheme();
    draw();
  } });
  const draw = () => {
    put(button, sign(isDark() ? "sun" : "moon"));
    button.setAttribute("aria-label", isDark() ? "Switch to light" : "Switch to dark");
    button.title = button.getAttribute("aria-label");
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("theme", draw);
  draw();
  return button;
}

function choice(label, all, value, chosen) {
  const select = h("select", { onchange: () => chosen(select.value) }, all.map(([name, text]) => h("option", { value: name }, text)));
  select.value = value;
  return h("label", { class: "setting" }, h("span", {}, label), select);
}

/** The dialog of the settings. */
export function settings() {
  const keys = h("input", { type: "checkbox", class: "switch", role: "switch", checked: kept.get("keys", true), onchange: () => kept.set("keys", keys.checked) });
  dialog("Settings",
    choice("Theme", THEMES, kept.get("theme", "system"), (value) => { kept.set("theme", value); applyTheme(); dispatchEvent(new Event("theme")); }),
    choice("Open files in", editors, editor(), (value) => { kept.set("editor", value); tell("current", "status", "findings"); }),
    h("label", { class: "setting" }, h("span", {}, "Keys of one letter"), keys));
}

const KEYS = [
  ["Ctrl Enter", "run the function"], ["f", "functions"], ["e", "the event"], ["r", "the result"], ["h", "the history"],
  ["/", "search the logs"], ["t", "light or dark"], ["?", "these keys"], ["Esc", "close a menu or dialog"],
];

/** The dialog of the keys. */
export function help() {
  dialog("Keys", h("dl", { class: "keys" }, KEYS.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)))),
    h("p", { class: "muted" }, "The arrow keys choose a tab, a call of the history or a line of the log. Enter makes that call once more, and shows that line in full."));
}
