// Foundry's data types, as the SDK posts them, in the words of a form.

const WHOLE = { byte: 8, short: 16, integer: 32, long: 64 };
const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$/;
const DECIMAL = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/;

/** What kind of field a type is, with the types inside of it. */
export function describe(type) {
  const kind = type?.type ?? "unknown";
  if (kind === "list" || kind === "set") {
    const inner = type[kind] ?? {};
    return { kind: "list", name: kind, items: describe(inner.elementsType ?? inner.elementTypes) };
  }
  if (kind === "map") return { kind: "map", name: "map", keys: describe(type.map.keysType), values: describe(type.map.valuesType) };
  if (kind === "optionalType") {
    const inner = describe(type.optionalType.wrappedType);
    return { kind: "optional", name: `${inner.name} or null`, inner };
  }
  if (kind === "anonymousCustomType") {
    const fields = Object.entries(type.anonymousCustomType.fields ?? {});
    if (!fields.length) return { kind: "any", name: "any value" };
    return { kind: "record", name: "record", fields: fields.map(([name, inner]) => ({ name, type: describe(inner), required: true })) };
  }
  if (kind in WHOLE) return { kind: "whole", name: kind, bits: WHOLE[kind] };
  if (kind === "float" || kind === "double") return { kind: "number", name: kind };
  if (["boolean", "string", "date", "timestamp", "decimal", "binary"].includes(kind)) return { kind, name: kind };
  return { kind: "any", name: "any value" };
}

/** The inputs of a function as one record; none where it declares no inputs. */
export function inputs(schema) {
  const fields = (schema?.inputs ?? []).map((each) => ({
    name: each.name, type: describe(each.dataType), required: each.required !== false,
  }));
  return { kind: "record", name: "event", fields };
}

/** A value to begin with. */
export function blank(type) {
  switch (type.kind) {
    case "list": return [];
    case "map": return {};
    case "record": return Object.fromEntries(type.fields.filter((each) => each.required).map((each) => [each.name, blank(each.type)]));
    case "whole": case "number": return 0;
    case "boolean": return false;
    case "date": return new Date().toISOString().slice(0, 10);
    case "timestamp": return new Date().toISOString().replace(/\.\d+Z$/, "Z");
    case "decimal": return "0";
    case "optional": case "any": return null;
    default: return "";
  }
}

/** The number in a text, or what is wrong with it as a text. */
export function readNumber(type, text) {
  const trimmed = text.trim();
  if (type.kind === "whole") {
    if (!/^-?\d+$/.test(trimmed)) return { wrong: "a whole number is wanted" };
    const value = BigInt(trimmed);
    const bound = 1n << BigInt(type.bits - 1);
    if (value < -bound || value >= bound) return { wrong: `too large for ${type.bits} bits` };
    return { value: Number.isSafeInteger(Number(value)) ? Number(value) : value };
  }
  if (!/^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(trimmed) || !Number.isFinite(Number(trimmed))) return { wrong: "a number is wanted" };
  return { value: Number(trimmed) };
}

/** What is wrong with a text of a kind; nothing where it will do. */
export function complaint(kind, text) {
  if (kind === "timestamp" && !TIMESTAMP.test(text)) return "a time such as 2026-01-31T12:00:00Z is wanted";
  if (kind === "decimal" && !DECIMAL.test(text)) return "a decimal number is wanted";
  if (kind === "date" && !/^\d{4}-\d{2}-\d{2}$/.test(text)) return "a date such as 2026-01-31 is wanted";
  return "";
}

/** What is wrong with a value of the event for its type; nothing where it will do, or is JSON of any kind. */
export function mismatch(type, value) {
  if (value === undefined) return "it is missing";
  const is = (kind) => typeof value === kind;
  switch (type.kind) {
    case "list": return Array.isArray(value) ? "" : "a list is wanted";
    case "map": case "record": return value !== null && is("object") && !Array.isArray(value) ? "" : `a ${type.kind} is wanted`;
    case "whole": case "number": return is("number") || is("bigint") ? readNumber(type, String(value)).wrong ?? "" : type.kind === "whole" ? "a whole number is wanted" : "a number is wanted";
    case "boolean": return is("boolean") ? "" : "true or false is wanted";
    case "optional": case "any": return "";
    default: return complaint(type.kind, is("string") ? value : "") || (is("string") ? "" : "a text is wanted");
  }
}

/** Whether a record says where an image is, as the YOLO example's does. */
export function isReference(type) {
  const names = type.kind === "record" ? type.fields.map((each) => each.name).sort().join() : "";
  return names === "item,kind,parent";
}
