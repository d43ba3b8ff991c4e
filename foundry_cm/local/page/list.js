// A list of many thousand rows of which only those in sight are elements. Rows are all of one height.

import { h } from "./dom.js";

const BEYOND = 12;

/** Where a key leads from row `at` of `many`, or undefined for one that leads nowhere. */
export function step(key, at, many, page) {
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: many - 1, PageDown: at + page, PageUp: at - page }[key];
  return to === undefined || !many ? undefined : Math.max(0, Math.min(many - 1, to));
}

/**
 * A scrolled list: `draw(n)` makes the element of row n. Gives the box, `count(n)` to say how many rows
 * there are, `again()` to draw them anew, and `show(n)` to bring one into sight.
 */
export function longList(height, draw, props) {
  const rows = h("div", { class: "long-rows" });
  const space = h("div", { class: "long-space" }, rows);
  const box = h("div", { ...props, class: `scroll long ${props.class ?? ""}` }, space);
  let many = 0;
  let first = -1;
  let last = -1;
  let waits = 0;

  function paint(force) {
    waits = 0;
    const from = Math.max(0, Math.floor(box.scrollTop / height) - BEYOND);
    const to = Math.min(many, Math.ceil((box.scrollTop + box.clientHeight) / height) + BEYOND);
    if (!force && from === first && to === last) return;
    [first, last] = [from, to];
    rows.style.transform = `translateY(${from * height}px)`;
    rows.replaceChildren(...Array.from({ length: Math.max(0, to - from) }, (_, n) => draw(from + n)));
  }
  const later = (force) => { if (!waits || force) { cancelAnimationFrame(waits); waits = requestAnimationFrame(() => paint(force)); } };
  box.addEventListener("scroll", () => later(false), { passive: true });
  new ResizeObserver(() => later(true)).observe(box);
  return {
    box,
    count(n) { many = n; space.style.height = `${n * height}px`; later(true); },
    again() { later(true); },
    show(n) {
      const top = n * height;
      if (top < box.scrollTop) box.scrollTop = top;
      else if (top + height > box.scrollTop + box.clientHeight) box.scrollTop = top + height - box.clientHeight;
      paint(true);
    },
    end() { box.scrollTop = many * height; },
    get inSight() { return Math.max(1, Math.floor(box.clientHeight / height) - 1); },
    get atEnd() { return box.scrollTop + box.clientHeight >= many * height - 2 * height; },
  };
}
