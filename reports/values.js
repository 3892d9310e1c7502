"use strict";
// The study as the page sees it: values, words, and what the reader has chosen to look at.
// Text reaches the page only as text nodes, never as HTML.

const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const ALL = D.number.map((_, i) => i);
const ON_FRONT = new Set(D.front);
const ESTIMATED = new Set(D.estimated); // the front by estimates, where nothing was measured to be on the front
const STATES = ["front", "estimated", ...D.states];
const AXES = Object.fromEntries(D.axes.map((axis) => [axis.key, axis]));
const COSTS = ["best:latency_ms", "latency_ms", "predicted_latency_ms", "params", "macs", "peak_bytes", "energy_mj"];
const ROWS_AT_FIRST = 200;
const MOST_PINS = 4;

const view = {
  x: D.start.x,
  y: D.start.y,
  colour: "",
  log: false,
  limits: {}, // axis key -> largest value allowed
  text: "",
  states: new Set(STATES),
  brush: null,
  sort: { key: "number", down: false },
  allRows: false,
  pins: [],
};

// ---------------------------------------------------------------- helpers

function el(tag, attributes = {}, ...children) {
  const node =
    tag === "svg" || tag === "use" || tag === "path"
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const lower = (title) => (title.startsWith("FLOPs") ? title : title[0].toLowerCase() + title.slice(1));
// Runs `draw` once before the next frame, however often it is asked for until then: sliders fire faster than plots draw.
const due = new Set();
function soon(draw) {
  if (due.has(draw)) return;
  due.add(draw);
  requestAnimationFrame(() => {
    due.delete(draw);
    draw();
  });
}
// Plotly reads a little HTML in its labels: names must not become any.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

// ---------------------------------------------------------------- values

const raw = (metric, i, table = D.values) => (metric in table ? table[metric].v[i] : null);
const spreadOf = (metric, i, table = D.values) => table[metric]?.s?.[i] ?? null;
const provenance = (metric, i, table = D.values) =>
  ({ e: "exact", m: "measured", p: "predicted" })[table[metric]?.p[i]] ?? "";

// The metric that an axis shows for a candidate: the first that is known, measured before estimated.
const metricAt = (axis, i, table = D.values) => AXES[axis].metrics.find((m) => raw(m, i, table) !== null) ?? null;
function at(axis, i, table = D.values) {
  const metric = metricAt(axis, i, table);
  return metric === null ? null : raw(metric, i, table);
}
const unit = (axis) => D.metrics[AXES[axis].metrics[0]];
// No share lies below 0 or above 100 %.
const inside = (metric, value) => (D.metrics[metric].unit === "%" ? Math.min(Math.max(value, 0), 1) : value);
const axisTitle = (axis) => [AXES[axis].title, unit(axis).unit && `(${unit(axis).unit})`].filter(Boolean).join(" ");

function format(metric, value, spread = null) {
  const m = D.metrics[metric];
  const number = value / m.scale;
  const half = (spread ?? 0) / m.scale;
  if (half > 0) {
    const places = Math.min(Math.max(1 - Math.floor(Math.log10(half)), 0), 6);
    const fixed = (v, n = places) => v.toLocaleString("en", { minimumFractionDigits: n, maximumFractionDigits: n });
    const ends = [value - spread, value + spread].map((v) => inside(metric, v));
    if (ends[0] !== value - spread || ends[1] !== value + spread) {
      const [low, high] = ends.map((v) => fixed(v / m.scale, v === 0 || v === 1 ? 0 : places));
      return `${fixed(number)} ${m.unit} (${low} to ${high})`;
    }
    return `${fixed(number)} ± ${fixed(half)} ${m.unit}`.trim();
  }
  const text =
    Math.abs(number) < 10 ** m.digits
      ? String(Number(number.toPrecision(m.digits)))
      : number.toLocaleString("en", { maximumFractionDigits: 0 });
  return `${text} ${m.unit}`.trim();
}
const shown = (metric, i, table = D.values) =>
  raw(metric, i, table) === null ? "–" : format(metric, raw(metric, i, table), spreadOf(metric, i, table));
const stateOf = (i) => (ON_FRONT.has(i) ? "front" : ESTIMATED.has(i) ? "estimated" : D.states[D.state[i]]);
const stateWords = {
  front: "on the front",
  estimated: "on the estimated front",
  complete: "dominated",
  infeasible: "outside the budget",
  failed: "failed",
};
const choicesOf = (i) =>
  D.choices.sites
    .map((site, s) => [site, D.choices.picked[i][s]])
    .filter(([, option]) => option !== null)
    .map(([site, option]) => [site, D.choices.options[D.choices.sites.indexOf(site)][option]]);

// ---------------------------------------------------------------- what is left

function withinLimits(i) {
  return Object.entries(view.limits).every(([axis, limit]) => {
    const value = at(axis, i);
    return value !== null && value <= limit;
  });
}
const left = () => ALL.filter(withinLimits);

const searchText = ALL.map((i) =>
  [
    D.number[i],
    D.digest[i],
    stateWords[stateOf(i)],
    D.strings[D.reason[i]],
    D.strings[D.origin[i]],
    ...choicesOf(i).map(([site, option]) => `${site}=${option}`),
  ]
    .join(" ")
    .toLowerCase(),
);

function selection() {
  const words = view.text.toLowerCase().split(/\s+/).filter(Boolean);
  return left().filter(
    (i) =>
      view.states.has(stateOf(i)) &&
      (!view.brush || view.brush.has(i)) &&
      words.every((word) => searchText[i].includes(word)),
  );
}

// The best candidate in the first objective; one that was measured for it goes before any estimate, and of equal ones
// that which is best in the next objective.
function bestOf(candidates) {
  const first = D.objectives[0];
  const worth = (axis, i) => (at(axis, i) === null ? Infinity : unit(axis).direction === "min" ? at(axis, i) : -at(axis, i));
  const rank = (i) => [AXES[first].metrics.indexOf(metricAt(first, i)), ...D.objectives.map((axis) => worth(axis, i))];
  const order = (a, b) => a.map((value, k) => value - b[k]).find((difference) => difference) ?? 0;
  return (
    candidates
      .filter((i) => D.states[D.state[i]] === "complete" && at(first, i) !== null)
      .sort((a, b) => order(rank(a), rank(b)))[0] ?? null
  );
}
