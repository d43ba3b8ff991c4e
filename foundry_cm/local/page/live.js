// The right edge: replicas, queue and load, calls a second and their p95, and what a start takes.

import { h, put, svg } from "./dom.js";
import { place } from "./editor.js";
import { clock, duration } from "./json.js";
import { on, state } from "./state.js";

const WORDS = {
  starting: "starting", responsive: "responsive", busy: "busy", draining: "draining", dead: "dead, starts again", stopped: "stopped",
};
const MARKS = { starting: "busy", responsive: "ok", busy: "work", draining: "busy", dead: "bad", stopped: "bad" };
// Foundry adds a replica above this load, and takes one away below (both defaults).
const SCALES_AT = 0.75;

const replicas = h("ul", { class: "replicas" });
const meter = h("div", { class: "meter-box" });
const rate = h("figure", { class: "chart" });
const slow = h("figure", { class: "chart" });
const start = h("div", { class: "start" });

function drawReplicas() {
  const { status } = state;
  if (!status) return;
  const scaled = status.scales && h("li", { class: "muted" }, `The scaler wishes ${status.wished}, and ${status.present} ${status.present === 1 ? "is" : "are"} there.`);
  put(replicas, scaled, status.replicas.map((each) => h("li", { class: "replica" },
    h("div", { class: "line" }, h("span", { class: `state ${MARKS[each.state]}` }), h("span", {}, `Replica ${each.replica}`),
      h("span", { class: "muted push" }, WORDS[each.state] ?? each.state)),
    h("div", { class: "line muted small-text" }, `${each.running} of ${status.concurrency} calls`,
      each.starts > 1 && h("span", {}, `${each.starts} starts`), each.pid && h("span", {}, `pid ${each.pid}`)),
    each.died && death(each))));
}

function death(each) {
  const { error, at } = each.died;
  const over = each.state === "responsive" || each.state === "busy";
  return h("div", { class: `death ${over ? "muted" : "bad-text"}` },
    h("p", {}, over ? `Died at ${clock(at)}: ` : "", error.message), error.where && h("p", {}, place(error.where)),
    !over && error.fix && h("p", { class: "plain" }, error.fix));
}

function drawLoad() {
  const { status } = state;
  if (!status) return;
  const part = Math.min(1, status.load);
  const says = `${status.running} of ${status.present * status.concurrency} places taken, load ${status.load.toFixed(2)}`;
  put(meter, h("div", { class: "line spread" }, h("span", {}, "Load"), h("strong", {}, status.load.toFixed(2))),
    svg("svg", { viewBox: "0 0 200 16", class: "meter", role: "img", "aria-label": `${says}; Foundry adds a replica at ${SCALES_AT}`, preserveAspectRatio: "none" },
      svg("rect", { x: 0, y: 4, width: 200, height: 8, class: "ground" }),
      svg("rect", { x: 0, y: 4, width: 200 * part, height: 8, class: part >= SCALES_AT ? "over" : "under" }),
      svg("line", { x1: 200 * SCALES_AT, x2: 200 * SCALES_AT, y1: 0, y2: 16, class: "mark" })),
    h("p", { class: "muted small-text" }, `At ${SCALES_AT} Foundry adds a replica.`),
    h("dl", { class: "pairs" }, h("div", {}, h("dt", {}, "running"), h("dd", {}, String(status.running))), h("div", {}, h("dt", {}, "queued"), h("dd", {}, String(status.queued)))));
}

function drawCharts() {
  const seconds = state.seconds.slice(-120);
  const last = seconds[seconds.length - 1];
  const recent = seconds.slice(-10);
  const perSecond = recent.reduce((sum, each) => sum + each.calls, 0) / Math.max(1, recent.length);
  chart(rate, "Calls a second", perSecond ? perSecond.toFixed(perSecond < 10 ? 1 : 0) : "0", seconds, (each) => each.calls, (each) => each.failed);
  chart(slow, "p95", last?.p95 ? duration(last.p95) : "–", seconds, (each) => each.p95 ?? null, null);
}

/** A small chart of two minutes; bars for counts, of which some failed, and a line for times. */
function chart(figure, name, now, seconds, value, failed) {
  const [width, height] = [240, 40];
  const most = Math.max(1e-9, ...seconds.map((each) => value(each) ?? 0));
  const x = (n) => width - ((seconds.length - n) * width) / 120;
  const y = (each) => height - 2 - ((height - 4) * each) / most;
  let shape;
  if (failed) {
    const bars = (of, kind) => svg("path", { class: kind, d: seconds.map((each, n) => (of(each) ? `M${(x(n) + 1).toFixed(1)} ${height}V${y(of(each)).toFixed(1)}` : "")).join("") });
    shape = [bars(value, "bars"), bars(failed, "bars failed")];
  } else {
    let path = "";
    let joined = false;
    seconds.forEach((each, n) => {
      const here = value(each);
      // A second with none beside it is a point.
      if (here !== null) path += joined ? `L${x(n).toFixed(1)} ${y(here).toFixed(1)}` : `M${(x(n) - 1).toFixed(1)} ${y(here).toFixed(1)}h1`;
      joined = here !== null;
    });
    shape = svg("path", { class: "curve", d: path });
  }
  const top = most > 1e-8 ? (failed ? String(most) : duration(most)) : "";
  put(figure, h("figcaption", { class: "line spread" }, h("span", {}, name), h("strong", {}, now)),
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name}: ${now} now${top ? `, at most ${top} in two minutes` : ""}`, preserveAspectRatio: "none" },
      svg("line", { x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5, class: "base" }), shape),
    h("div", { class: "line spread muted small-text" }, h("span", {}, "2 min"), h("span", {}, top && `max ${top}`)));
}

/** What the last start of the first replica took, split as far as the module tells, and its first call. */
function drawStart() {
  const each = state.status?.replicas.find((one) => one.ready);
  if (!each) return void put(start);
  const all = each.ready * 1000;
  const steps = Object.entries(each.start?.steps ?? {}).map(([name, seconds]) => [name, seconds * 1000]);
  const rest = all - steps.reduce((sum, [, time]) => sum + time, 0);
  // What is left is the start of Python's process, and the way to the first poll.
  const parts = steps.length && rest > 0 ? [...steps, ["other", rest]] : steps;
  const first = each.start?.firstCall;
  put(start, h("h2", {}, "Cold start"),
    h("div", { class: "line spread" }, h("span", {}, "Start to ready"), h("strong", {}, duration(all))),
    parts.length > 0 && h("div", { class: "split", "aria-hidden": "true" }, parts.map(([name, time], n) => {
      const part = h("span", { class: `part ${colour(name, n)}` });
      part.style.flexGrow = time;
      return part;
    })),
    h("dl", { class: "pairs" },
      parts.map(([name, time], n) => h("div", {}, h("dt", {}, h("span", { class: `dot ${colour(name, n)}` }), name), h("dd", {}, duration(time)))),
      typeof first === "number" && h("div", {}, h("dt", {}, "first call"), h("dd", {}, duration(first)))));
}

const colour = (name, n) => (name === "other" ? "s-other" : `s-${n % 4}`);

/** Fill the pane. */
export function fill(pane) {
  on("status", () => { drawReplicas(); drawLoad(); drawStart(); });
  on("seconds", drawCharts);
  drawCharts();
  put(pane, h("div", { class: "head" }, h("h2", {}, "Live")),
    h("div", { class: "scroll live-body", tabindex: 0, role: "region", "aria-label": "Replicas and load" }, replicas, meter, rate, slow, start));
}
