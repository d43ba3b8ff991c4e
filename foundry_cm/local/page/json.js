// JSON whose whole numbers keep all their digits, and how values and sizes are written.

/** The value of a JSON text. A whole number that JavaScript would round becomes a BigInt. */
export function parse(text) {
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_key, value, context) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
      ? BigInt(context.source) : value);
}

/** The JSON text of a value. */
export function stringify(value, indent) {
  return JSON.stringify(value, (_key, each) =>
    typeof each === "bigint" ? (JSON.rawJSON ? JSON.rawJSON(String(each)) : Number(each)) : each, indent);
}

/** A JSON text with line ends, where lists of plain values keep to one line. */
export function pretty(value, indent = "") {
  const more = indent + "  ";
  if (Array.isArray(value)) {
    if (!value.length) return "[]";
    if (value.every((each) => each === null || typeof each !== "object")) {
      const line = `[${value.map((each) => stringify(each)).join(", ")}]`;
      if (line.length <= 100 || value.length > 16) return line;
    }
    return `[\n${value.map((each) => more + pretty(each, more)).join(",\n")}\n${indent}]`;
  }
  if (value !== null && typeof value === "object") {
    const keys = Object.keys(value);
    if (!keys.length) return "{}";
    return `{\n${keys.map((key) => `${more}${JSON.stringify(key)}: ${pretty(value[key], more)}`).join(",\n")}\n${indent}}`;
  }
  return stringify(value);
}

/** What kind of JSON value it is. */
export function kindOf(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return "list";
  if (typeof value === "bigint") return "number";
  return typeof value;
}

/** Whether a list is a vector: many numbers and nothing else. */
export function isVector(value) {
  return Array.isArray(value) && value.length >= 16 && value.every((each) => typeof each === "number");
}

/** Whether a list is one of records, and not empty. */
export function isTable(value) {
  return Array.isArray(value) && value.length > 0 &&
    value.every((each) => each !== null && typeof each === "object" && !Array.isArray(each));
}

/** Where two values differ, as paths with both sides; at most so many. */
export function differences(before, after, most = 500) {
  const found = [];
  const walk = (old, now, path) => {
    if (found.length >= most || Object.is(old, now)) return;
    const kinds = [kindOf(old), kindOf(now)];
    if (kinds[0] === kinds[1] && (kinds[0] === "list" || kinds[0] === "object")) {
      const keys = kinds[0] === "list"
        ? Array.from({ length: Math.max(old.length, now.length) }, (_, at) => at)
        : [...new Set([...Object.keys(old), ...Object.keys(now)])];
      for (const key of keys) {
        const place = kinds[0] === "list" ? `${path}[${key}]` : `${path}.${key}`;
        const has = (value) => (kinds[0] === "list" ? key < value.length : Object.hasOwn(value, key));
        if (!has(old)) found.push({ path: place, kind: "added", now: now[key] });
        else if (!has(now)) found.push({ path: place, kind: "removed", old: old[key] });
        else walk(old[key], now[key], place);
        if (found.length >= most) return;
      }
      return;
    }
    found.push({ path, kind: "changed", old, now });
  };
  walk(before, after, "result");
  return found;
}

/** A size as people read it. */
export function bytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1e6) return `${(count / 1e3).toFixed(count < 1e4 ? 1 : 0)} kB`;
  return `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} MB`;
}

/** A time as people read it. */
export function duration(milliseconds) {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 1000) return `${milliseconds.toFixed(0)} ms`;
  return `${(milliseconds / 1000).toFixed(milliseconds < 10000 ? 2 : 1)} s`;
}

/** A number, short: for the marks of a vector and for cells. */
export function short(value) {
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 1e-4 && Math.abs(value) < 1e6 ? String(+value.toPrecision(6)) : value.toExponential(3);
}

/** The time of day of seconds since the epoch. */
export function clock(seconds, parts = false) {
  const date = new Date(seconds * 1000);
  const text = date.toTimeString().slice(0, 8);
  return parts ? `${text}.${String(date.getMilliseconds()).padStart(3, "0")}` : text;
}
