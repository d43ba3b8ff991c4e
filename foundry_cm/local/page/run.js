// A call on its way: queued, running, streaming, answered. The result pane shows what this says.

import { ask, Refused, watch } from "./api.js";
import { state, set, tell } from "./state.js";
import { parse } from "./json.js";

let control = null;

/** The call that the result pane shows, or null: its event, and result, error or items so far. */
export const current = { call: null };

/** Whether a call that was made here has not ended. */
export const isRunning = () => control !== null;

/** Give up the call that runs. */
export const cancel = () => control?.abort();

/** Call a function with the JSON text of an event, and show what becomes of it. */
export async function run(name, text) {
  if (control) return;
  control = new AbortController();
  const call = { function: name, event: text, at: Date.now(), state: "running", id: null, items: null, live: true };
  current.call = call;
  state.refused = null;
  tell("running", "current", "refused");
  try {
    await watch(name, text, (news) => take(call, news), control.signal);
    if (call.state === "running") fail(call, { code: "Gone", message: "The server went away before the answer" });
  } catch (error) {
    if (error instanceof Refused) fail(call, error.told);
    else if (error.name === "AbortError") fail(call, { code: "Cancelled", message: "You cancelled the call. The replica may still work on it." });
    else fail(call, { code: "Gone", message: "The server went away before the answer" });
  } finally {
    control = null;
    tell("running", "current");
  }
}

function fail(call, error) {
  Object.assign(call, { state: "failed", error });
  set({ refused: error });
}

function take(call, news) {
  if (news.call) call.id = news.call;
  if (news.started !== undefined) call.replica = news.started;
  if ("item" in news) (call.items ??= []).push(news.item);
  const { result: _result, ...about } = news;
  if (news.about || "milliseconds" in about) call.about = news.about ?? about;
  if (news.error) fail(call, news.error);
  if ("result" in news) Object.assign(call, { state: "ok", result: news.result });
  if (news.tooLarge) Object.assign(call, { state: "ok", tooLarge: news.tooLarge });
  tell("current");
}

/** Show a call of the history. */
export async function recall(id) {
  try {
    const { call } = await ask(`/api/calls/${encodeURIComponent(id)}`);
    // What is as a call begins is left out.
    const about = { jobId: call.job ?? "", replica: call.replica ?? -1, milliseconds: call.milliseconds ?? 0, queuedMilliseconds: call.queued ?? 0,
      transferMilliseconds: call.transfer ?? 0, eventBytes: call.event_bytes ?? 0, resultBytes: call.result_bytes ?? 0, call: call.id };
    const result = typeof call.result === "string" ? { result: parse(call.result) } : {};
    current.call = { id, function: call.function, event: call.event ?? null, at: call.at * 1000, state: call.state ?? "running",
      error: call.error, about, edit: call.edit, notKept: call.state === "ok" && typeof call.result !== "string", ...result };
  } catch (error) {
    current.call = { id, function: "", event: null, state: "failed", error: error.told ?? { message: String(error) } };
  }
  tell("current");
  return current.call;
}
