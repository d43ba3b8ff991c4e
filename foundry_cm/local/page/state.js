// What the page knows. Parts of the page say what they want to hear of, and are told when it changes.

const listeners = new Map();

export const state = {
  module: null,
  connected: false,
  status: null,
  functions: [],
  warnings: [],
  // The name of the function that is shown.
  name: "",
  events: [],
  data: [],
  // Summaries by id, the oldest first.
  calls: new Map(),
  seconds: [],
  findings: null,
  pipeline: null,
};

/** Call `act` whenever one of these parts of the state has changed. */
export function on(parts, act) {
  for (const part of parts.split(" ")) {
    if (!listeners.has(part)) listeners.set(part, []);
    listeners.get(part).push(act);
  }
}

/** Change parts of the state, and tell who listens; each is told once. */
export function set(changes) {
  Object.assign(state, changes);
  tell(...Object.keys(changes));
}

/** Say that parts of the state have changed in place. */
export function tell(...parts) {
  for (const act of new Set(parts.flatMap((part) => listeners.get(part) ?? []))) act();
}

/** The function that is shown. */
export const shown = () => state.functions.find((each) => each.name === state.name);

// What a person has chosen stays in the browser; where it keeps nothing, the page works all the same.
export const kept = {
  get(key, fallback) {
    try { return JSON.parse(localStorage.getItem(`cm.${key}`)) ?? fallback; } catch { return fallback; }
  },
  set(key, value) {
    try { localStorage.setItem(`cm.${key}`, JSON.stringify(value)); } catch { /* full, or switched off */ }
  },
};
