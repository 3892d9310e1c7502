"use strict";
// The script of an archfront report. Data comes from the JSON block; text reaches the page only as text nodes.

const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const ALL = D.number.map((_, i) => i);
const ON_FRONT = new Set(D.front);
const AXES = Object.fromEntries(D.axes.map((axis) => [axis.key, axis]));
const COSTS = ["best:latency_ms", "latency_ms", "predicted_latency_ms", "params", "macs", "peak_bytes", "energy_mj"];
const ROWS_AT_FIRST = 200;
const MOST_PINS = 4;

const view = {
  x: D.start.x, y: D.start.y, colour: "", log: false,
  limits: {}, // axis key -> largest value allowed
  text: "", states: new Set(["front", ...D.states]), brush: null, sort: { key: "number", down: false }, allRows: false,
  pins: [],
};

// ---------------------------------------------------------------- helpers

function el(tag, attributes = {}, ...children) {
  const node = tag === "svg" || tag === "use" || tag === "path"
    ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
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
  requestAnimationFrame(() => { due.delete(draw); draw(); });
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
const axisTitle = (axis) => [AXES[axis].title, unit(axis).unit && `(${unit(axis).unit})`].filter(Boolean).join(" ");

function format(metric, value, spread = null) {
  const m = D.metrics[metric];
  const number = value / m.scale;
  const half = (spread ?? 0) / m.scale;
  if (half > 0) {
    const places = Math.min(Math.max(1 - Math.floor(Math.log10(half)), 0), 6);
    const fixed = (v) => v.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
    return `${fixed(number)} ± ${fixed(half)} ${m.unit}`.trim();
  }
  const text = Math.abs(number) < 10 ** m.digits
    ? String(Number(number.toPrecision(m.digits))) : number.toLocaleString("en", { maximumFractionDigits: 0 });
  return `${text} ${m.unit}`.trim();
}
const shown = (metric, i, table = D.values) =>
  raw(metric, i, table) === null ? "–" : format(metric, raw(metric, i, table), spreadOf(metric, i, table));
const stateOf = (i) => (ON_FRONT.has(i) ? "front" : D.states[D.state[i]]);
const stateWords = { front: "on the front", complete: "dominated", infeasible: "outside the budget", failed: "failed" };
const choicesOf = (i) => D.choices.sites
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

const searchText = ALL.map((i) => [
  D.number[i], D.digest[i], stateWords[stateOf(i)], D.strings[D.reason[i]], D.strings[D.origin[i]],
  ...choicesOf(i).map(([site, option]) => `${site}=${option}`),
].join(" ").toLowerCase());

function selection() {
  const words = view.text.toLowerCase().split(/\s+/).filter(Boolean);
  return left().filter((i) => view.states.has(stateOf(i)) && (!view.brush || view.brush.has(i))
    && words.every((word) => searchText[i].includes(word)));
}

// The best candidate in the first objective; one that was measured for it goes before any estimate.
function bestOf(candidates) {
  const axis = D.objectives[0];
  const sign = unit(axis).direction === "min" ? 1 : -1;
  const rank = (i) => [AXES[axis].metrics.indexOf(metricAt(axis, i)), sign * at(axis, i)];
  return candidates
    .filter((i) => D.states[D.state[i]] === "complete" && at(axis, i) !== null)
    .sort((a, b) => rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1])[0] ?? null;
}

// ---------------------------------------------------------------- scatter

const MARKS = {
  front: { symbol: "circle", size: 11, colour: "front", name: "On the front" },
  complete: { symbol: "circle", size: 7, colour: "other", name: "Dominated" },
  infeasible: { symbol: "triangle-down", size: 8, colour: "infeasible", name: "Outside the budget" },
  failed: { symbol: "x-thin", size: 8, colour: "failed", name: "Failed" },
  reference: { symbol: "diamond", size: 10, colour: "reference", name: "Known architecture" },
};

// Whether a point is drawn hollow: one of its values is a prediction, or an estimate that a measurement would replace.
const hollow = (i, table = D.values) => [view.x, view.y].some((axis) => {
  const metric = metricAt(axis, i, table);
  return provenance(metric, i, table) === "predicted" || metric !== AXES[axis].metrics[0];
});

function colouring() {
  if (!view.colour) return null;
  if (view.colour === "number") return { title: "Trial", values: (i) => D.number[i], unit: { scale: 1 } };
  if (view.colour.startsWith("site:")) {
    const site = Number(view.colour.slice(5));
    return { options: D.choices.options[site], values: (i) => D.choices.picked[i][site] };
  }
  if (view.colour === "origin") {
    const used = [...new Set(D.origin)];
    return { options: used.map((s) => D.strings[s]), values: (i) => used.indexOf(D.origin[i]) };
  }
  return { title: axisTitle(view.colour), values: (i) => at(view.colour, i), unit: unit(view.colour) };
}
const optionColour = (option) => (option === null || option < 0 ? css("line") : css(`c${option % 8}`));

function hover(i) {
  const metrics = [...new Set([metricAt(view.x, i), metricAt(view.y, i), ...AXES[view.x].metrics, ...AXES[view.y].metrics])];
  const lines = metrics.filter((m) => m !== null && raw(m, i) !== null)
    .map((m) => `${D.metrics[m].title}: ${shown(m, i)} ${provenance(m, i) && `(${provenance(m, i)})`}`);
  const choices = choicesOf(i).slice(0, 4).map(([site, option]) => `${site} = ${option}`);
  const rest = choicesOf(i).length - choices.length;
  const why = D.strings[D.reason[i]];
  return [`Network ${D.number[i]}, ${stateWords[stateOf(i)]}`, why, ...lines, ...choices, rest > 0 ? `and ${rest} more choices` : ""]
    .filter(Boolean).map((line) => plain(line.length > 70 ? `${line.slice(0, 69)}…` : line)).join("<br>");
}

function markers(points, kind, colours) {
  const mark = MARKS[kind];
  const base = css(mark.colour);
  const marker = {
    symbol: points.map((p) => (p.hollow && mark.symbol !== "x-thin" ? `${mark.symbol}-open` : mark.symbol)),
    size: mark.size, opacity: kind === "complete" ? 0.62 : 1, color: base,
    line: { width: mark.symbol === "x-thin" || points.some((p) => p.hollow) ? 1.6 : 0.5, color: base },
  };
  if (colours && kind !== "reference") {
    marker.opacity = 1;
    if (colours.options) marker.color = points.map((p) => optionColour(colours.values(p.i)));
    else Object.assign(marker, {
      color: points.map((p) => (colours.values(p.i) ?? NaN) / colours.unit.scale), coloraxis: "coloraxis",
    });
    marker.line = { width: marker.line.width, color: marker.color, ...(colours.options ? {} : { coloraxis: "coloraxis" }) };
  }
  return {
    name: mark.name, mode: "markers", type: "scatter", marker,
    x: points.map((p) => p.x / unit(view.x).scale), y: points.map((p) => p.y / unit(view.y).scale),
    customdata: points.map((p) => p.i), text: points.map((p) => p.text), hovertemplate: "%{text}<extra></extra>",
  };
}

function errors(points, axis) {
  const array = points.map((p) => (p.ghost ? 0 : (spreadOf(metricAt(axis, p.i, p.table), p.i, p.table) ?? 0) / unit(axis).scale));
  return { type: "data", array, thickness: 1, width: 3, visible: array.some((v) => v > 0) };
}

// The edge of what the front reaches: a staircase through its points.
function staircase(points) {
  if (!D.objectives.includes(view.x) || !D.objectives.includes(view.y) || view.x === view.y) return [];
  const line = [...points].sort((a, b) => a.x - b.x || a.y - b.y);
  return [{
    name: "front-line", mode: "lines", type: "scatter", hoverinfo: "skip",
    line: { color: css("front"), width: 1.6, shape: unit(view.x).direction === "min" ? "hv" : "vh" },
    x: line.map((p) => p.x / unit(view.x).scale), y: line.map((p) => p.y / unit(view.y).scale),
  }];
}

// Where a candidate stood by its estimates before it was measured, joined to where it stands now.
function ghosts(points) {
  const estimate = (axis, i) => raw(AXES[axis].metrics.at(-1), i);
  return points
    .map((p) => ({ ...p, to: p, x: estimate(view.x, p.i), y: estimate(view.y, p.i), hollow: true, ghost: true }))
    .filter((g) => g.x !== null && g.y !== null && (g.x !== g.to.x || g.y !== g.to.y));
}
function joins(list) {
  const pairs = (key, axis) => list.flatMap((g) => [g[key] / unit(axis).scale, g.to[key] / unit(axis).scale, null]);
  return {
    name: "joins", mode: "lines", type: "scatter", hoverinfo: "skip", line: { color: css("front"), width: 1, dash: "dot" },
    opacity: 0.55, x: pairs("x", view.x), y: pairs("y", view.y),
  };
}

// A line across the plot at `value` of an axis.
function ruler(axis, letter, value, line) {
  const place = value / unit(axis).scale;
  const ends = letter === "x" ? { x0: place, x1: place, y0: 0, y1: 1, yref: "paper" } : { y0: place, y1: place, x0: 0, x1: 1, xref: "paper" };
  return { type: "line", ...ends, line };
}
function rulers() {
  const shapes = [];
  const annotations = [];
  for (const [axis, letter] of [[view.x, "x"], [view.y, "y"]]) {
    const bounds = AXES[axis].metrics.flatMap((metric) => (D.budget[metric] ?? []).filter((b) => b !== null).map((b) => [metric, b]));
    for (const [metric, bound] of bounds) {
      shapes.push(ruler(axis, letter, bound, { color: css("infeasible"), width: 1.4, dash: "dash" }));
      const place = bound / unit(axis).scale;
      const shown = letter === "x" && view.log ? Math.log10(place) : place;
      annotations.push({
        text: `budget ${format(metric, bound)}`, showarrow: false, font: { color: css("infeasible"), size: 12 },
        ...(letter === "x" ? { x: shown, y: 1, yref: "paper", yanchor: "bottom", xanchor: "right" } : { y: shown, x: 0, xref: "paper", xanchor: "left", yanchor: "bottom" }),
      });
    }
    if (axis in view.limits) shapes.push(ruler(axis, letter, view.limits[axis], { color: css("ink"), width: 1 }));
  }
  return { shapes, annotations };
}

function layout(extra = {}) {
  const axis = { gridcolor: css("line"), zeroline: false, linecolor: css("line"), tickcolor: css("line"), automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("soft") },
    hoverlabel: { bgcolor: css("paper"), bordercolor: css("other"), align: "left", font: { color: css("ink"), size: 12.5 } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("other"), activecolor: css("accent") },
    margin: { l: 8, r: 12, t: 34, b: 8 }, ...extra,
    xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis },
  };
}
const CONFIG = {
  displaylogo: false, responsive: true, modeBarButtons: [["zoom2d", "pan2d", "select2d"], ["resetScale2d"]],
};

function scatterPoints() {
  const kinds = { complete: [], infeasible: [], failed: [], front: [] };
  const rail = [];
  let nowhere = 0;
  for (const i of left()) {
    const point = { i, x: at(view.x, i), y: at(view.y, i), hollow: hollow(i), text: hover(i), table: D.values };
    if (point.x !== null && point.y !== null) kinds[stateOf(i)].push(point);
    else if (point.x !== null) rail.push(point);
    else nowhere += 1;
  }
  return { kinds, rail, nowhere };
}

function referencePoints() {
  const table = D.references.values;
  return D.references.name
    .map((name, i) => ({ i, name, x: at(view.x, i, table), y: at(view.y, i, table), hollow: hollow(i, table), table }))
    .filter((p) => p.x !== null && p.y !== null)
    .map((p) => ({ ...p, text: plain(`${p.name}, known architecture`) + `<br>${plain(shown(metricAt(view.x, p.i, table), p.i, table))}, ${plain(shown(metricAt(view.y, p.i, table), p.i, table))}` }));
}

function drawScatter() {
  const { kinds, rail, nowhere } = scatterPoints();
  const colours = colouring();
  const traces = ["complete", "infeasible", "failed"].map((kind) => markers(kinds[kind], kind, colours));
  const moved = ghosts(kinds.front);
  traces.push(joins(moved), { ...markers(moved, "front", null), name: "Estimate", opacity: 0.75, marker: { ...markers(moved, "front", null).marker, size: 6 } });
  const front = markers(kinds.front, "front", colours);
  traces.push(...staircase(kinds.front), { ...front, error_x: { ...errors(kinds.front, view.x), color: css("front") }, error_y: { ...errors(kinds.front, view.y), color: css("front") } });
  const marked = [...view.pins, D.picked].filter((i) => i !== null);
  const rings = kinds.front.concat(kinds.complete, kinds.infeasible, kinds.failed).filter((p) => marked.includes(p.i));
  traces.push({
    ...markers(rings, "front", null), name: "Marked", mode: "markers+text", hoverinfo: "skip", hovertemplate: null,
    text: rings.map((p) => String(D.number[p.i])), textposition: "top left", textfont: { color: css("ink"), size: 13 },
    marker: { symbol: "circle-open", size: 17, color: css("ink"), line: { width: 1.6 } },
  });
  const known = referencePoints();
  traces.push({
    ...markers(known, "reference", null), customdata: known.map(() => null), mode: "markers+text", hovertext: known.map((p) => p.text),
    text: known.map((p) => plain(p.name)), textposition: "bottom right", textfont: { color: css("reference"), size: 12 }, hovertemplate: "%{hovertext}<extra></extra>",
    error_x: { ...errors(known, view.x), color: css("reference") }, error_y: { ...errors(known, view.y), color: css("reference") },
  });
  for (const kind of ["complete", "infeasible", "failed"]) {
    const points = rail.filter((p) => (stateOf(p.i) === "front" ? "complete" : stateOf(p.i)) === kind).map((p) => ({ ...p, y: 0 }));
    traces.push({ ...markers(points, kind, colours), name: `Rail ${kind}`, yaxis: "y2" });
  }
  const needsRail = rail.length > 0;
  Plotly.react("scatter", traces, layout({
    ...rulers(), dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: { title: { text: plain(axisTitle(view.x)) }, type: view.log ? "log" : "linear", anchor: needsRail ? "y2" : "y" },
    yaxis: { title: { text: plain(axisTitle(view.y)) }, domain: [needsRail ? 0.11 : 0, 1], type: "linear" },
    ...(needsRail && {
      yaxis2: { domain: [0, 0.07], range: [-1, 1], tickvals: [0], ticktext: ["none"], fixedrange: true, showgrid: false, zeroline: false, automargin: true },
    }),
    coloraxis: { colorscale: "Cividis", colorbar: { title: { text: plain(colours?.title ?? ""), side: "right" }, thickness: 10, outlinewidth: 0 } },
    uirevision: `${view.x} ${view.y} ${view.log}`,
  }), CONFIG);
  drawLegend(kinds, rail, known, colours, moved);
  describeScatter(kinds, rail, nowhere);
}

function symbol(kind, open, colour = css(MARKS[kind].colour)) {
  const d = { circle: "M6 1.5a4.5 4.5 0 1 0 .01 0z", "triangle-down": "M1 2h10L6 11z", "x-thin": "M2 2l8 8M10 2l-8 8", diamond: "M6 .5L11.5 6 6 11.5 .5 6z" }[MARKS[kind].symbol];
  const fill = open || kind === "failed" ? "none" : colour;
  return el("svg", { width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" },
    el("path", { d, fill, stroke: colour, "stroke-width": 1.6 }));
}

function drawLegend(kinds, rail, known, colours, moved) {
  const item = (mark, text) => el("li", {}, mark, text);
  const items = Object.keys(kinds).reverse()
    .filter((kind) => kinds[kind].length || rail.some((p) => stateOf(p.i) === kind))
    .map((kind) => item(symbol(kind, false), MARKS[kind].name));
  if (known.length) items.push(item(symbol("reference", false), MARKS.reference.name));
  const everything = Object.values(kinds).flat();
  if (everything.some((p) => p.hollow)) items.push(item(symbol("complete", true), "Hollow: predicted or estimated"));
  if (moved.length) items.push(item(el("span", { "aria-hidden": "true" }, "┈"), "From estimate to measurement"));
  if (colours?.options) colours.options.forEach((name, k) => items.push(item(symbol("complete", false, optionColour(k)), String(name))));
  $("legend").replaceChildren(...items);
}

function describeScatter(kinds, rail, nowhere) {
  const counts = [
    [kinds.front.length, "on the front"], [kinds.complete.length, "dominated"],
    [kinds.infeasible.length, "outside the budget"], [kinds.failed.length, "failed"],
  ].filter(([n]) => n).map(([n, words]) => `${n} ${words}`);
  const parts = [counts.length ? `Shown: ${counts.join(", ")}.` : "No candidate has both values."];
  if (rail.length) parts.push(`${plural(rail.length, "candidate")} without a value upwards ${rail.length === 1 ? "stands" : "stand"} on the strip below.`);
  if (nowhere) parts.push(`${plural(nowhere, "candidate")} without a value to the right ${nowhere === 1 ? "is" : "are"} in the table only.`);
  parts.push("Bars are 95 % intervals. Click a point to pin it; pin up to four to compare.");
  $("scatter-text").textContent = parts.join(" ");
}

function listenToScatter() {
  const plot = $("scatter");
  plot.on("plotly_click", (event) => {
    const i = event.points.map((p) => p.customdata).find((c) => c !== null && c !== undefined);
    if (i !== undefined) togglePin(i);
  });
  plot.on("plotly_selected", (event) => {
    if (!event?.range) return; // also fires when a box is cleared
    view.brush = new Set(event.points.map((p) => p.customdata).filter((c) => c !== null && c !== undefined));
    drawTable();
  });
  plot.on("plotly_deselect", clearBrush);
}
function clearBrush() {
  view.brush = null;
  Plotly.restyle("scatter", { selectedpoints: [null] });
  Plotly.relayout("scatter", { selections: [] });
  drawTable();
}

// ---------------------------------------------------------------- sliders

const sliders = []; // {axis, values, input, output}

function buildSliders() {
  const covered = new Set();
  for (const axis of COSTS) {
    if (!(axis in AXES) || AXES[axis].metrics.every((m) => covered.has(m))) continue;
    AXES[axis].metrics.forEach((m) => covered.add(m));
    const values = [...new Set(ALL.map((i) => at(axis, i)).filter((v) => v !== null))].sort((a, b) => a - b);
    if (values.length < 2) continue;
    const id = `limit-${sliders.length}`;
    const output = el("output", { for: id });
    const input = el("input", { type: "range", id, min: 0, max: values.length, step: 1, value: values.length, "data-axis": axis });
    const slider = { axis, values, input, output };
    input.addEventListener("input", () => { readSlider(slider); soon(drawLeft); });
    sliders.push(slider);
    $("slider-rows").append(el("div", { class: "slider" }, el("label", { for: id }, el("span", {}, AXES[axis].title), output), input));
    readSlider(slider);
  }
  $("sliders").addEventListener("submit", (event) => event.preventDefault());
  $("sliders").addEventListener("reset", (event) => { event.preventDefault(); setLimits(() => Infinity); });
  const bounds = (axis) => Math.min(...AXES[axis].metrics.map((m) => D.budget[m]?.[1] ?? Infinity));
  $("study-budget").hidden = sliders.every(({ axis }) => bounds(axis) === Infinity);
  $("study-budget").addEventListener("click", () => setLimits(bounds));
}

// The right end means no limit; every other position is the value of one candidate.
function readSlider({ axis, values, input, output }) {
  const position = Number(input.value);
  if (position === values.length) delete view.limits[axis];
  else view.limits[axis] = values[position];
  output.textContent = axis in view.limits ? `≤ ${format(AXES[axis].metrics[0], view.limits[axis])}` : "any";
  input.setAttribute("aria-valuetext", output.textContent);
}
function setLimits(bound) {
  for (const slider of sliders) {
    const fitting = slider.values.filter((v) => v <= bound(slider.axis)).length;
    slider.input.value = fitting === slider.values.length ? fitting : Math.max(fitting - 1, 0);
    readSlider(slider);
  }
  drawLeft();
}

function drawLeft() {
  const candidates = left();
  $("left").textContent = `${candidates.length.toLocaleString("en")} of ${ALL.length.toLocaleString("en")} candidates left.`;
  const best = bestOf(candidates);
  $("best").dataset.number = best === null ? "" : D.number[best];
  if (best === null) {
    $("best").textContent = "None of them is complete and inside the study's budget.";
  } else {
    const [up, ...rest] = D.objectives.map((axis) => metricAt(axis, best));
    const words = [up, ...rest].filter((m) => m !== null).map((m) => `${shown(m, best)} ${lower(D.metrics[m].title)}`);
    $("best").replaceChildren("Best: ", el("button", { type: "button", class: "link", onclick: () => togglePin(best, true) }, `network ${D.number[best]}`),
      `, ${words.join(", ")}.`);
  }
  drawScatter();
  drawTable();
}

// ---------------------------------------------------------------- table

const COLUMNS = [
  { key: "number", title: "Network", value: (i) => D.number[i], text: (i) => String(D.number[i]) },
  { key: "state", title: "State", value: (i) => stateOf(i), text: (i) => stateWords[stateOf(i)] },
  ...D.columns.map((name) => D.metrics[name]).map((m) => ({ key: m.name, title: m.title, number: true, value: (i) => raw(m.name, i), text: (i) => shown(m.name, i) })),
  { key: "origin", title: "Proposed by", value: (i) => D.strings[D.origin[i]], text: (i) => D.strings[D.origin[i]] },
  { key: "seconds", title: "Seconds", number: true, value: (i) => D.seconds[i], text: (i) => (D.seconds[i] === null ? "–" : D.seconds[i].toFixed(1)) },
  { key: "reason", title: "Reason", wide: true, value: (i) => D.strings[D.reason[i]], text: (i) => D.strings[D.reason[i]] },
];

function sorted(candidates) {
  const { key, down } = view.sort;
  const { value } = COLUMNS.find((column) => column.key === key);
  const empty = (v) => v === null || v === "";
  const order = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
  return [...candidates].sort((i, j) => {
    const [a, b] = [value(i), value(j)];
    if (empty(a) || empty(b)) return empty(a) - empty(b) || i - j; // what is not known comes last either way
    return (down ? -1 : 1) * order(a, b) || i - j;
  });
}

function drawTable() {
  const candidates = sorted(selection());
  const rows = view.allRows ? candidates : candidates.slice(0, ROWS_AT_FIRST);
  $("table").tHead.replaceChildren(el("tr", {}, ...COLUMNS.map((column) => el("th", {
    scope: "col", class: column.number ? "number" : "",
    "aria-sort": view.sort.key === column.key ? (view.sort.down ? "descending" : "ascending") : null,
  }, el("button", { type: "button", "data-key": column.key, onclick: () => sortBy(column.key) }, column.title)))));
  $("table").tBodies[0].replaceChildren(...rows.map((i) => el("tr", { class: i === D.picked ? "picked" : "", "data-number": D.number[i] },
    el("th", { scope: "row" }, el("button", { type: "button", class: "link", "aria-label": `Pin network ${D.number[i]}`, onclick: () => togglePin(i) }, String(D.number[i]))),
    ...COLUMNS.slice(1).map((column) => el("td", { class: column.number ? "number" : column.wide ? "wide" : "" }, column.text(i))))));
  $("shown").textContent = `${plural(candidates.length, "candidate")} of ${ALL.length.toLocaleString("en")}`
    + (rows.length < candidates.length ? `, the first ${rows.length} of them below.` : ".");
  $("more").hidden = rows.length === candidates.length;
  $("unbrush").hidden = view.brush === null;
}
function sortBy(key) {
  const column = COLUMNS.find((c) => c.key === key);
  const fresh = Boolean(column.number) && D.metrics[key]?.direction === "max";
  view.sort = view.sort.key === key ? { key, down: !view.sort.down } : { key, down: fresh };
  drawTable();
  document.querySelector(`#table thead button[data-key="${CSS.escape(key)}"]`).focus();
}

function csv() {
  const names = D.columns;
  const head = ["number", "state", "front", "origin", "reason", "digest", "seconds",
    ...names.flatMap((m) => [m, `${m}.provenance`, `${m}.spread`, `${m}.samples`]), ...D.choices.sites];
  const row = (i) => {
    const chosen = new Map(choicesOf(i));
    return [D.number[i], D.states[D.state[i]], ON_FRONT.has(i), D.strings[D.origin[i]], D.strings[D.reason[i]], D.digest[i], D.seconds[i],
      ...names.flatMap((m) => [raw(m, i), raw(m, i) === null ? null : provenance(m, i), spreadOf(m, i), D.values[m].n?.[i]]),
      ...D.choices.sites.map((site) => chosen.get(site))];
  };
  return [head, ...sorted(selection()).map(row)].map((cells) => cells.map(csvCell).join(",")).join("\r\n") + "\r\n";
}
// Spreadsheets run text that starts like a formula: a quote in front keeps it text.
function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}
function download() {
  const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  el("a", { href: url, download: "candidates.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// ---------------------------------------------------------------- diagrams and pins

function linesOf(i) {
  const flat = D.lines[i];
  return Array.from({ length: flat.length / 3 }, (_, k) => flat.slice(3 * k, 3 * k + 3));
}

function diagram(i) {
  let y = 0;
  const uses = [];
  for (const [, spec, output] of linesOf(i).slice(1)) {
    uses.push(el("use", { href: `#b${spec}`, y }));
    if (D.drawings.parts[spec]) uses.push(el("use", { href: `#o${output}`, y }));
    y += D.drawings.heights[spec];
  }
  const parts = linesOf(i).filter(([, spec]) => D.drawings.parts[spec]).length;
  return el("svg", { class: "diagram", viewBox: `0 0 ${D.drawings.width} ${y}`, role: "img", "aria-label": `Diagram of network ${D.number[i]}: ${parts} parts` }, ...uses);
}

function tree(i) {
  const rows = linesOf(i).map(([place, spec, output]) => [D.drawings.places[place], D.drawings.specs[spec], D.drawings.outputs[output]]);
  const wide = Math.max(...rows.map((row) => row[0].length));
  return rows.map(([place, spec, output]) => `${place.padEnd(wide)}  ${spec}  →  ${output}`).join("\n");
}

const treeDetails = (i) => el("details", {}, el("summary", {}, "Tree"), el("pre", { tabindex: 0 }, tree(i)));

function drawGallery() {
  if (!$("gallery")) return;
  const axis = D.objectives[0];
  const sign = unit(axis).direction === "min" ? 1 : -1;
  const members = [...D.front].sort((a, b) => sign * (at(axis, a) - at(axis, b)));
  $("gallery").replaceChildren(...members.map((i) => el("figure", {},
    el("figcaption", {}, el("strong", {}, `Network ${D.number[i]}`), ` ${D.objectives.map((o) => (metricAt(o, i) ? shown(metricAt(o, i), i) : "–")).join(", ")}`),
    diagram(i), treeDetails(i))));
}

function togglePin(i, keep = false) {
  if (!view.pins.includes(i)) view.pins = [...view.pins, i].slice(-MOST_PINS);
  else if (!keep) view.pins = view.pins.filter((p) => p !== i);
  const hash = view.pins.length ? `#sel=${view.pins.map((p) => D.number[p]).join(",")}` : " ";
  history.replaceState(null, "", hash === " " ? location.pathname + location.search : hash);
  drawPins();
  drawScatter();
}
function readHash() {
  const match = /^#sel=([\d,]+)$/.exec(location.hash);
  if (!match) return;
  view.pins = match[1].split(",").map((n) => D.number.indexOf(Number(n))).filter((i) => i >= 0).slice(0, MOST_PINS);
}

// One row of the comparison: `cell(i)` gives the text, `note(i)` what stands small beside it.
function compareRow(title, cell, note = () => "") {
  const texts = view.pins.map(cell);
  const differs = new Set(texts).size > 1;
  return el("tr", { class: differs ? "differs" : "" }, el("th", { scope: "row" }, title),
    ...view.pins.map((i, k) => el("td", {}, texts[k], ...(note(i) ? [" ", el("small", {}, note(i))] : []))));
}
function samples(metric, i) {
  const n = D.values[metric].n?.[i];
  return raw(metric, i) === null ? "" : [provenance(metric, i), n > 1 ? plural(n, "sample") : ""].filter(Boolean).join(", ");
}

function drawPins() {
  const pins = view.pins;
  if (!pins.length) return $("pins").replaceChildren();
  const head = el("tr", {}, el("td"), ...pins.map((i) => el("th", { scope: "col" }, el("div", { class: "pin-head" }, el("strong", {}, `Network ${D.number[i]}`),
    el("button", { type: "button", class: "link controls", "aria-label": `Unpin network ${D.number[i]}`, onclick: () => togglePin(i) }, "unpin")))));
  const facts = [
    compareRow("State", (i) => stateWords[stateOf(i)]),
    ...(pins.some((i) => D.strings[D.reason[i]]) ? [compareRow("Reason", (i) => D.strings[D.reason[i]] || "–")] : []),
    ...D.columns.filter((m) => pins.some((i) => raw(m, i) !== null))
      .map((m) => compareRow(D.metrics[m].title, (i) => shown(m, i), (i) => samples(m, i))),
    compareRow("Proposed by", (i) => D.strings[D.origin[i]] || "–"),
    compareRow("Digest", (i) => D.digest[i] || "–"),
  ];
  const drawings = el("tr", {}, el("th", { scope: "row" }, "Diagram"), ...pins.map((i) => el("td", {}, diagram(i), treeDetails(i))));
  const option = (s, i) => { const k = D.choices.picked[i][s]; return k === null ? "–" : String(D.choices.options[s][k]); };
  const choices = D.choices.sites.map((site, s) => [site, s]).filter(([, s]) => pins.some((i) => option(s, i) !== "–"))
    .map(([site, s]) => compareRow(site, (i) => option(s, i)));
  $("pins").replaceChildren(
    el("h3", {}, pins.length > 1 ? `${pins.length} networks compared; what differs is shaded` : `Network ${D.number[pins[0]]}, pinned`),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Pinned networks" },
      el("table", { class: "compare" }, el("thead", {}, head), el("tbody", {}, ...facts), el("tbody", {}, drawings), el("tbody", { class: "choices" }, ...choices))));
}

// ---------------------------------------------------------------- hypervolume

function drawHypervolume() {
  const h = D.hypervolume;
  if (!h || !$("hypervolume")) return;
  Plotly.react("hypervolume", [{
    type: "scatter", mode: "lines", x: D.number, y: h.share.map((v) => v * 100), line: { color: css("front"), width: 2, shape: "hv" },
    hovertemplate: "after trial %{x}<br>%{y:.2f} %<extra></extra>",
  }], layout({ xaxis: { title: { text: "Trial" } }, yaxis: { title: { text: "Hypervolume (%)" }, rangemode: "tozero" } }), { ...CONFIG, displayModeBar: false });
  const point = h.metrics.map((m, k) => `${lower(D.metrics[m].title)} ${format(m, h.reference[k])}`).join(", ");
  const last = h.share.at(-1);
  const settled = h.share.findIndex((v) => v >= 0.99 * last);
  $("hypervolume-text").textContent = `Share of the box between the reference point (${point}) and the best value of each objective that the feasible `
    + `candidates so far dominate, by their search-time estimates. 99 % of the final ${(last * 100).toFixed(1)} % was reached at trial ${D.number[settled]}.`;
}

// ---------------------------------------------------------------- theme and controls

const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = name === "dark" ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", `Use ${name === "dark" ? "light" : "dark"} colours`);
}
function drawFigures() {
  drawScatter();
  drawHypervolume();
}

function fillSelect(id, options, selected, change) {
  $(id).replaceChildren(...options.map(([value, title]) => el("option", { value, selected: value === selected }, title)));
  $(id).addEventListener("change", () => { change($(id).value); drawScatter(); });
}

function buildControls() {
  const titles = D.axes.map((axis) => [axis.key, axis.title]);
  fillSelect("x", titles, view.x, (key) => { view.x = key; });
  fillSelect("y", titles, view.y, (key) => { view.y = key; });
  fillSelect("colour", [["", "State"], ...titles, ["number", "Trial"], ["origin", "Proposed by"],
    ...D.choices.sites.map((site, s) => [`site:${s}`, site])], "", (key) => { view.colour = key; });
  $("log").addEventListener("change", () => { view.log = $("log").checked; drawScatter(); });
  $("text").addEventListener("input", () => { view.text = $("text").value; soon(drawTable); });
  for (const state of ["front", "complete", "infeasible", "failed"].filter((s) => ALL.some((i) => stateOf(i) === s))) {
    const box = el("input", { type: "checkbox", checked: true, value: state });
    box.addEventListener("change", () => { if (box.checked) view.states.add(state); else view.states.delete(state); drawTable(); });
    $("states").append(el("label", { class: "check" }, box, ` ${stateWords[state]}`));
  }
  $("csv").addEventListener("click", download);
  $("unbrush").addEventListener("click", clearBrush);
  $("more").addEventListener("click", () => { view.allRows = true; drawTable(); });
  $("theme").addEventListener("click", () => { setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); drawFigures(); });
  systemDark.addEventListener("change", (event) => { setTheme(event.matches ? "dark" : "light"); drawFigures(); });
  window.addEventListener("hashchange", () => { view.pins = []; readHash(); drawPins(); drawScatter(); });
  let before = null; // paper is white
  window.addEventListener("beforeprint", () => { before = document.documentElement.dataset.theme; setTheme("light"); drawFigures(); });
  window.addEventListener("afterprint", () => { setTheme(before); drawFigures(); });
}

setTheme(systemDark.matches ? "dark" : "light");
readHash();
buildControls();
buildSliders();
drawLeft();
drawPins();
drawGallery();
drawHypervolume();
listenToScatter();
document.documentElement.dataset.ready = "true";
