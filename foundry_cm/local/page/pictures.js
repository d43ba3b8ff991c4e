// Images: choosing one as a reference, and showing those of a call with the boxes that came back.

import { base64 } from "./api.js";
import { dialog, h, put, svg } from "./dom.js";
import { state } from "./state.js";

const IMAGE = /\.(png|jpe?g|gif|webp|bmp)$/i;

const address = (rid, item) => `/api/data/image?rid=${encodeURIComponent(rid)}&item=${encodeURIComponent(item)}`;

/** Let a person choose an image of the local data, or a file; `chosen` gets the reference. */
export function pick(chosen) {
  const sets = state.data.map((each) => ({ ...each, files: each.files.filter((file) => IMAGE.test(file.path)) })).filter((each) => each.files.length);
  const take = (reference) => { close(); chosen(reference); };
  const file = h("input", { type: "file", accept: "image/*", "aria-label": "Send a file with the call", onchange: async () => {
    if (file.files[0]) take({ kind: "inline", parent: "", item: await base64(file.files[0]) });
  } });
  const close = dialog("Choose an image",
    sets.map((each) => h("section", { class: "pick" },
      h("h3", { class: "mono" }, `data/${each.name}/`, h("span", { class: "kind" }, each.kind.replace("_", " "))),
      h("div", { class: "pictures" }, each.files.slice(0, 200).map((found) => h("button", {
        type: "button", class: "picture",
        onclick: () => take(each.kind === "media_set"
          ? { kind: "media_item", parent: each.rid, item: found.rid }
          : { kind: "dataset_file", parent: each.rid, item: found.path }),
      }, h("img", { src: address(each.rid, found.rid ?? found.path), alt: "", loading: "lazy" }), h("span", { class: "mono" }, found.path)))))),
    !sets.length && h("p", { class: "muted" }, "There is no image in data/ that the module could read."),
    h("section", { class: "pick" }, h("h3", {}, "Or send a file with the call"), file));
}

/** The addresses of the images that an event names, in their order; null for those that cannot be shown. */
function images(event) {
  const found = [];
  const walk = (value) => {
    if (value === null || typeof value !== "object") return;
    if (typeof value.kind === "string" && "parent" in value && typeof value.item === "string") {
      if (value.kind === "inline") found.push({ name: "inline", src: `data:${mediaType(value.item)};base64,${value.item}` });
      else found.push({ name: nameOf(value), src: state.data.some((each) => each.rid === value.parent) ? address(value.parent, value.item) : null });
      return;
    }
    for (const inner of Object.values(value)) walk(inner);
  };
  walk(event);
  return found;
}

function nameOf(reference) {
  const files = state.data.find((each) => each.rid === reference.parent)?.files ?? [];
  return files.find((each) => each.rid === reference.item)?.path ?? reference.item;
}

/** A small picture of what a reference names, with its name; nothing where it names no image that is here. */
export function thumbnail(reference) {
  const [found] = images(reference);
  if (!found?.src || found.src.endsWith("base64,")) return null;
  const picture = h("img", { src: found.src, alt: "", class: "thumbnail" });
  const whole = [picture, h("span", { class: "mono muted" }, found.name)];
  picture.addEventListener("error", () => whole.forEach((each) => each.remove()));
  return whole;
}

/** The media type of an image by the first letters of its base64. */
function mediaType(text) {
  if (text.startsWith("iVBOR")) return "image/png";
  if (text.startsWith("R0lGO")) return "image/gif";
  return text.startsWith("UklGR") ? "image/webp" : "image/jpeg";
}

/** The box of a record, as left, top, right and bottom; null where it has none. */
function boxOf(record) {
  const numbers = (...names) => names.every((name) => typeof record?.[name] === "number") && names.map((name) => record[name]);
  const wide = numbers("x", "y", "width", "height");
  return numbers("left", "top", "right", "bottom") || numbers("x1", "y1", "x2", "y2") || numbers("xmin", "ymin", "xmax", "ymax") ||
    (wide && [wide[0], wide[1], wide[0] + wide[2], wide[1] + wide[3]]) || null;
}

/** The boxes in a part of a result, wherever they lie in it. */
function boxes(value) {
  const found = [];
  const walk = (each) => {
    if (each === null || typeof each !== "object") return;
    const box = Array.isArray(each) ? null : boxOf(each);
    if (box) found.push({ box, label: String(each.label ?? each.name ?? each.class ?? ""), confidence: each.confidence ?? each.score });
    else Object.values(each).forEach(walk);
  };
  walk(value);
  return found;
}

/** The images of a call with their boxes; null where there is nothing to draw. */
export function drawn(event, result) {
  const pictures = images(event);
  if (!pictures.length || !boxes(result).length && !pictures.some((each) => each.src)) return null;
  const parts = Array.isArray(result) ? result : [result];
  return h("div", { class: "drawn" }, pictures.map((picture, n) => {
    const part = parts.length === pictures.length ? parts[n] : result;
    return figure(picture, boxes(part), part);
  }));
}

function figure(picture, found, part) {
  const stage = h("div", { class: "stage" });
  const said = part?.error ? `${part.error}: ${part.message ?? ""}` : `${found.length} ${found.length === 1 ? "object" : "objects"}`;
  const caption = h("figcaption", {}, h("span", { class: "mono" }, picture.name), h("span", { class: "muted" }, said));
  if (!picture.src) put(stage, h("p", { class: "muted" }, "This image is not in data/ of the module."));
  else {
    const image = h("img", { src: picture.src, alt: `${picture.name} with ${said}` });
    image.addEventListener("load", () => stage.append(overlay(image, found)));
    image.addEventListener("error", () => put(stage, h("p", { class: "muted" }, "This image cannot be shown.")));
    stage.append(image);
  }
  return h("figure", {}, stage, caption, found.length > 0 && h("ul", { class: "labels" },
    found.map(({ label, confidence }, n) => h("li", {}, h("span", { class: `swatch c${n % 6}` }), label || "object",
      typeof confidence === "number" && h("span", { class: "muted" }, ` ${(100 * confidence).toFixed(0)} %`)))));
}

function overlay(image, found) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const size = Math.max(width, height) / 40;
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    found.map(({ box: [left, top, right, bottom], label }, n) => svg("g", { class: `c${n % 6}` },
      svg("rect", { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top), "vector-effect": "non-scaling-stroke" }),
      label && svg("text", { x: left + size / 4, y: Math.max(size, top - size / 3), "font-size": size }, label))));
}
