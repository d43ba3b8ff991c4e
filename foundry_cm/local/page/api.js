// Talking to the server: requests, and the feed of what happens, which comes back by itself.

import { parse } from "./json.js";

/** What the server says when it refuses: `message`, `where`, `fix`, `details`, `code`. */
export class Refused extends Error {
  constructor(told) { super(told.message); this.told = told; }
}

/** What the server sends back; raises `Refused` where there is none. */
async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ code: "Gone", message: "The server does not answer", fix: "Start it again: cm serve" });
  }
}

/** The JSON answer to a request; raises `Refused`. */
export async function ask(path, options = {}) {
  const response = await reach(path, options);
  const answer = parse(await response.text());
  if (!response.ok) throw new Refused(answer.error ?? { message: response.statusText });
  return answer;
}

// A larger result is no pleasure in a page; `cm call` writes it to a file.
const LARGEST = 4_000_000;

/** Call a function; `tell` gets each piece of news. Ends when the call has. */
export async function watch(name, text, tell, signal) {
  const path = `/api/functions/${encodeURIComponent(name)}/invoke?most=${LARGEST}`;
  const response = await reach(path, { method: "POST", body: text, signal, headers: { Accept: "application/x-ndjson" } });
  if (!response.ok) throw new Refused(parse(await response.text()).error);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = value.split("\n");
    rest.push(lines.shift());
    for (const line of lines) {
      // The parts of a large line are joined once, when it has ended.
      const whole = rest.join("");
      rest = [line];
      if (whole) tell(parse(whole));
    }
  }
}

const TOPICS = ["status", "functions", "calls", "load", "logs", "findings", "pipeline"];
const SILENT_MS = 6000;

/** Follow what happens: `hear(topic, value)`, and `connected(yes)` when that changes. */
export function follow(hear, connected) {
  let source = null;
  let heard = 0;
  let again = 0;
  const close = () => { source?.close(); source = null; };
  const open = () => {
    close();
    clearTimeout(again);
    source = new EventSource("/api/live");
    heard = Date.now();
    source.onopen = () => { heard = Date.now(); connected(true); };
    // The browser tries again after some failures and not after others, so we do in all cases.
    source.onerror = () => { close(); connected(false); again = setTimeout(open, 1000); };
    const beat = () => { heard = Date.now(); };
    source.addEventListener("beat", beat);
    for (const topic of TOPICS) {
      source.addEventListener(topic, (event) => { beat(); hear(topic, parse(event.data)); });
    }
  };
  setInterval(() => {
    if (source && Date.now() - heard > SILENT_MS) { connected(false); open(); }
  }, 1000);
  // A browser has six connections to a server: a tab that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); clearTimeout(again); } else if (!source) open();
  });
  open();
}

/** The base64 of a file. */
export function base64(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(String(reader.result).split(",", 2)[1] ?? "");
    reader.onerror = failed;
    reader.readAsDataURL(file);
  });
}
