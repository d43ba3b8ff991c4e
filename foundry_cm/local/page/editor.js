// Places in files as links into a person's editor.

import { h } from "./dom.js";
import { kept, state } from "./state.js";

const EDITORS = {
  vscode: ["VS Code", (file, line) => `vscode://file${slash(file)}:${line}`],
  insiders: ["VS Code Insiders", (file, line) => `vscode-insiders://file${slash(file)}:${line}`],
  cursor: ["Cursor", (file, line) => `cursor://file${slash(file)}:${line}`],
  windsurf: ["Windsurf", (file, line) => `windsurf://file${slash(file)}:${line}`],
  zed: ["Zed", (file, line) => `zed://file${slash(file)}:${line}`],
  pycharm: ["PyCharm", (file, line) => `pycharm://open?file=${encodeURIComponent(decodeURI(slash(file)))}&line=${line}`],
  none: ["No links", null],
};

/** The editors that can be chosen, by their names in the settings. */
export const editors = Object.entries(EDITORS).map(([name, [text]]) => [name, text]);

/** The chosen editor. */
export const editor = () => (Object.hasOwn(EDITORS, kept.get("editor", "vscode")) ? kept.get("editor", "vscode") : "vscode");

// A path of Windows begins with its drive.
const slash = (file) => encodeURI(file.startsWith("/") ? file : `/${file.replaceAll("\\", "/")}`);

/** A place such as `src/app.py:12`, as a link where it can be one. */
export function place(where, base = state.module?.cwd) {
  const match = /^(.+?):(\d+)$/.exec(where);
  const make = EDITORS[editor()][1];
  if (!match || !make || !base) return h("span", { class: "mono" }, where);
  const whole = /^([/\\]|[A-Za-z]:)/.test(match[1]) ? match[1] : `${base}/${match[1]}`;
  return h("a", { class: "mono", href: make(whole, match[2]), title: `Open ${whole} in ${EDITORS[editor()][0]}` }, where);
}

/** The lines of a failure's details; each that begins with a place links it. */
export function withLinks(details) {
  return details.split("\n").flatMap((line, n) => {
    const match = /^(\s*)(\S.*?:\d+)(\s{2}.*|)$/.exec(line);
    return [n ? "\n" : "", ...(match ? [match[1], place(match[2]), match[3]] : [line])];
  });
}
