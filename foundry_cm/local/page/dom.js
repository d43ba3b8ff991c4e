// Making elements. Text is only ever set as text: nothing here, or anywhere else in the page, takes
// HTML, so that nothing that a module says can become a part of the page.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("button", { class: "x", onclick: f, "aria-label": "..." }, "text", child, ...)`. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** An element of a drawing. */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "indeterminate") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (typeof child === "string") element.append(visible(child));
    else if (child !== undefined && child !== null && child !== false) element.append(child);
  }
}

// What shows nothing and changes how the rest is read: control characters, and what turns its direction.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** A text with such characters written out, as JSON writes them. */
export const visible = (text) => text.replace(UNSEEN, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Put other children into an element. */
export function put(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

// The few signs of the page, as paths in a square of 16.
const SIGNS = {
  run: "M5 3.5v9l7-4.5z",
  stop: "M4.5 4.5h7v7h-7z",
  close: "M4 4l8 8M12 4l-8 8",
  more: "M3.5 6l4.5 4.5L12.5 6",
  plus: "M8 3v10M3 8h10",
  image: "M2.5 3.5h11v9h-11zM2.5 11l3-3 2.5 2.5 2-2 3.5 3",
  alert: "M8 2.5l6 10.5H2zM8 6.5v3M8 11.2v.3",
  gear: "M2.5 4.5h6M12 4.5h1.5M2.5 11.5H4M7.5 11.5h6M10.2 2.8v3.4M5.8 9.8v3.4",
  sun: "M8 5a3 3 0 100 6 3 3 0 000-6zM8 1.5v1.6M8 12.9v1.6M1.5 8h1.6M12.9 8h1.6M3.4 3.4l1.1 1.1M11.5 11.5l1.1 1.1M3.4 12.6l1.1-1.1M11.5 4.5l1.1-1.1",
  moon: "M12.8 9.6A5.5 5.5 0 016.4 3.2a5.5 5.5 0 106.4 6.4z",
  help: "M6 6.2a2 2 0 114 .1c0 1.3-2 1.4-2 3M8 11.8v.3",
  down: "M8 3v9M4.5 8.5L8 12l3.5-3.5",
  file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
};

/** A small drawing beside a word; readers of screens are told the word. */
export function sign(name) {
  const filled = name === "run" || name === "stop";
  return svg("svg", { viewBox: "0 0 16 16", width: 14, height: 14, "aria-hidden": "true", class: "sign" },
    svg("path", { d: SIGNS[name], fill: filled ? "currentColor" : "none", stroke: "currentColor",
      "stroke-width": 1.5, "stroke-linecap": "round", "stroke-linejoin": "round" }));
}

/** Tabs with arrow keys: `choose(name)` is told what was chosen; gives the list and a way to set it. */
export function tabs(label, names, choose, controls) {
  const buttons = new Map();
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": label });
  for (const [name, text] of names) {
    const button = h("button", {
      type: "button", role: "tab", class: "tab", "aria-controls": controls, "data-tab": name,
      onclick: () => set(name, true),
    }, text);
    buttons.set(name, button);
    list.append(button);
  }
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const shown = [...buttons.values()].filter((each) => !each.hidden);
    const at = shown.indexOf(document.activeElement);
    const next = shown[(at + step + shown.length) % shown.length];
    next.focus();
    next.click();
    event.preventDefault();
  });
  function set(name, tell) {
    for (const [each, button] of buttons) {
      button.setAttribute("aria-selected", String(each === name));
      button.tabIndex = each === name ? 0 : -1;
    }
    if (tell) choose(name);
  }
  return { list, set, show: (name, yes) => { buttons.get(name).hidden = !yes; } };
}

/** A button that opens a list of commands: `items` are pairs of a word and what it does. */
export function menu(label, items, props = {}) {
  const list = h("div", { class: "menu-list", role: "group", "aria-label": label });
  const box = h("details", { class: "menu" },
    h("summary", { class: "button " + (props.class ?? "") }, label, sign("more")), list);
  box.addEventListener("toggle", () => {
    if (!box.open) return;
    const found = typeof items === "function" ? items() : items;
    put(list, found.map(([text, act, hint]) => h("button", {
      type: "button", class: "menu-item", onclick: () => { box.open = false; act(); },
    }, h("span", {}, text), hint && h("span", { class: "muted" }, hint))));
    list.querySelector("button")?.focus();
  });
  box.addEventListener("keydown", (event) => {
    const all = [...list.querySelectorAll("button")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") { box.open = false; box.firstChild.focus(); event.stopPropagation(); }
    else if (step && box.open) {
      all[(all.indexOf(document.activeElement) + step + all.length) % all.length]?.focus();
      event.preventDefault();
    }
  });
  box.addEventListener("focusout", (event) => {
    if (!box.contains(event.relatedTarget)) box.open = false;
  });
  return box;
}

let open = null;

/** A dialog with a heading; closes by Escape and by its button. Gives what closes it. */
export function dialog(title, ...children) {
  open?.close();
  const box = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" },
    h("div", { class: "head" }, h("h2", { id: "dialog-title" }, title),
      h("button", { type: "button", class: "button bare push", "aria-label": "Close", onclick: () => box.close() }, sign("close"))),
    h("div", { class: "body scroll", tabindex: 0 }, children));
  box.addEventListener("close", () => { box.remove(); open = null; });
  document.body.append(box);
  box.showModal();
  open = box;
  return () => box.close();
}
