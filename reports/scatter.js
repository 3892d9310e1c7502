"use strict";
// The scatter plot of all candidates, with its legend and its description in words.

const MARKS = {
  front: { symbol: "circle", size: 11, colour: "front", name: "On the front" },
  estimated: { symbol: "circle", size: 10, colour: "front", name: "On the estimated front" },
  complete: { symbol: "circle", size: 7, colour: "other", name: "Dominated" },
  infeasible: { symbol: "triangle-down", size: 8, colour: "infeasible", name: "Outside the budget" },
  failed: { symbol: "x-thin", size: 8, colour: "failed", name: "Failed" },
  reference: { symbol: "diamond", size: 10, colour: "reference", name: "Known architecture" },
  ring: { symbol: "circle", size: 17, colour: "ink", name: "Marked" },
};

// Whether a point is drawn hollow: one of its values is a prediction, or an estimate that a measurement would replace.
const hollow = (i, table = D.values) =>
  [view.x, view.y].some((axis) => {
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
  const metrics = [
    ...new Set([metricAt(view.x, i), metricAt(view.y, i), ...AXES[view.x].metrics, ...AXES[view.y].metrics]),
  ];
  const lines = metrics
    .filter((m) => m !== null && raw(m, i) !== null)
    .map((m) => `${D.metrics[m].title}: ${shown(m, i)} ${provenance(m, i) && `(${provenance(m, i)})`}`);
  const choices = choicesOf(i)
    .slice(0, 4)
    .map(([site, option]) => `${site} = ${option}`);
  const rest = choicesOf(i).length - choices.length;
  const why = D.strings[D.reason[i]];
  return [
    `Network ${D.number[i]}, ${stateWords[stateOf(i)]}`,
    why,
    ...lines,
    ...choices,
    rest > 0 ? `and ${plural(rest, "more choice")}` : "",
  ]
    .filter(Boolean)
    .map((line) => plain(line.length > 70 ? `${line.slice(0, 69)}…` : line))
    .join("<br>");
}

function markers(points, kind, colours) {
  const mark = MARKS[kind];
  const base = css(mark.colour);
  const marker = {
    symbol: points.map((p) => (p.hollow && mark.symbol !== "x-thin" ? `${mark.symbol}-open` : mark.symbol)),
    size: mark.size,
    opacity: kind === "complete" ? 0.62 : 1,
    color: base,
    line: { width: mark.symbol === "x-thin" || points.some((p) => p.hollow) ? 1.6 : 0.5, color: base },
  };
  if (colours && kind !== "reference") {
    marker.opacity = 1;
    if (colours.options) marker.color = points.map((p) => optionColour(colours.values(p.i)));
    else {
      marker.color = points.map((p) => (colours.values(p.i) ?? NaN) / colours.unit.scale);
      marker.coloraxis = marker.line.coloraxis = "coloraxis";
    }
    marker.line.color = marker.color;
  }
  return {
    name: mark.name,
    mode: "markers",
    type: "scatter",
    marker,
    x: points.map((p) => p.x / unit(view.x).scale),
    y: points.map((p) => p.y / unit(view.y).scale),
    customdata: points.map((p) => p.i),
    text: points.map((p) => p.text),
    hovertemplate: "%{text}<extra></extra>",
  };
}

function errors(points, axis) {
  const reach = (p, sign) => {
    const metric = metricAt(axis, p.i, p.table);
    const value = raw(metric, p.i, p.table);
    const spread = p.ghost ? 0 : (spreadOf(metric, p.i, p.table) ?? 0);
    return (sign * (inside(metric, value + sign * spread) - value)) / unit(axis).scale;
  };
  const [array, arrayminus] = [1, -1].map((sign) => points.map((p) => reach(p, sign)));
  const visible = [...array, ...arrayminus].some((v) => v > 0);
  return { type: "data", symmetric: false, array, arrayminus, thickness: 1, width: 3, visible };
}

// The edge of what the front reaches: a staircase through its points.
function staircase(points, dash = "solid") {
  if (!D.objectives.includes(view.x) || !D.objectives.includes(view.y) || view.x === view.y) return [];
  const line = [...points].sort((a, b) => a.x - b.x || a.y - b.y);
  return [
    {
      name: "front-line",
      mode: "lines",
      type: "scatter",
      hoverinfo: "skip",
      line: { color: css("front"), width: 1.6, dash, shape: unit(view.x).direction === "min" ? "hv" : "vh" },
      x: line.map((p) => p.x / unit(view.x).scale),
      y: line.map((p) => p.y / unit(view.y).scale),
    },
  ];
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
    name: "joins",
    mode: "lines",
    type: "scatter",
    hoverinfo: "skip",
    line: { color: css("front"), width: 1, dash: "dot" },
    opacity: 0.55,
    x: pairs("x", view.x),
    y: pairs("y", view.y),
  };
}

// A line across the plot at `value` of an axis.
function ruler(axis, letter, value, line) {
  const place = value / unit(axis).scale;
  const ends =
    letter === "x"
      ? { x0: place, x1: place, y0: 0, y1: 1, yref: "paper" }
      : { y0: place, y1: place, x0: 0, x1: 1, xref: "paper" };
  return { type: "line", ...ends, line };
}
// Budget and slider limits; a budget far outside the picture is left out rather than squeezing the picture.
function rulers(points) {
  const shapes = [];
  const annotations = [];
  const outside = [];
  for (const [axis, letter] of [
    [view.x, "x"],
    [view.y, "y"],
  ]) {
    const values = points.map((p) => p[letter]).filter((v) => v !== null);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const far = 0.5 * (high - low || high);
    const bounds = AXES[axis].metrics.flatMap((metric) =>
      (D.budget[metric] ?? []).filter((b) => b !== null).map((b) => [metric, b]),
    );
    for (const [metric, bound] of bounds) {
      if (values.length && (bound > high + far || bound < low - far)) {
        outside.push(`The budget of ${format(metric, bound)} ${lower(AXES[axis].title)} lies outside the picture.`);
        continue;
      }
      shapes.push(ruler(axis, letter, bound, { color: css("infeasible"), width: 1.4, dash: "dash" }));
      const place = bound / unit(axis).scale;
      annotations.push({
        text: `budget ${format(metric, bound)}`,
        showarrow: false,
        font: { color: css("infeasible"), size: 12 },
        yanchor: "bottom",
        ...(letter === "x"
          ? { x: view.log ? Math.log10(place) : place, y: 0.01, yref: "y domain", xanchor: "right", textangle: -90 }
          : { x: 0, y: place, xref: "paper", xanchor: "left" }),
      });
    }
    if (axis in view.limits) shapes.push(ruler(axis, letter, view.limits[axis], { color: css("ink"), width: 1 }));
  }
  return { shapes, annotations, outside };
}

function layout(extra = {}) {
  const axis = {
    gridcolor: css("line"),
    zeroline: false,
    linecolor: css("line"),
    tickcolor: css("line"),
    automargin: true,
  };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    showlegend: false,
    hovermode: "closest",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("soft") },
    hoverlabel: {
      bgcolor: css("paper"),
      bordercolor: css("other"),
      align: "left",
      font: { color: css("ink"), size: 12.5 },
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("other"), activecolor: css("accent") },
    margin: { l: 8, r: 12, t: 34, b: 8 },
    ...extra,
    xaxis: { ...axis, ...extra.xaxis },
    yaxis: { ...axis, ...extra.yaxis },
  };
}
const CONFIG = {
  displaylogo: false,
  responsive: true,
  modeBarButtons: [["zoom2d", "pan2d", "select2d"], ["resetScale2d"]],
};

function scatterPoints() {
  const kinds = { complete: [], infeasible: [], failed: [], estimated: [], front: [] };
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
  const value = (axis, i) => plain(shown(metricAt(axis, i, table), i, table));
  return D.references.name
    .map((name, i) => ({ i, name, x: at(view.x, i, table), y: at(view.y, i, table), table }))
    .filter((p) => p.x !== null)
    .map((p) => ({
      ...p,
      hollow: p.y !== null && hollow(p.i, table),
      text: `${plain(p.name)}, known architecture<br>${value(view.x, p.i)}${p.y === null ? "" : `, ${value(view.y, p.i)}`}`,
    }));
}

function withErrors(trace, points, colour) {
  return {
    ...trace,
    error_x: { ...errors(points, view.x), color: css(colour) },
    error_y: { ...errors(points, view.y), color: css(colour) },
  };
}

function frontTraces(front, colours) {
  const moved = ghosts(front);
  const estimates = markers(moved, "front", null);
  estimates.marker.size = 6;
  return [
    joins(moved),
    { ...estimates, name: "Estimate", opacity: 0.75 },
    ...staircase(front),
    withErrors(markers(front, "front", colours), front, "front"),
  ];
}

// Rings and numbers at the exported network and at what is pinned.
function ringTrace(points) {
  const ringed = points.filter((p) => p.i === D.picked || view.pins.includes(p.i));
  return {
    ...markers(ringed, "ring", null),
    mode: "markers+text",
    hoverinfo: "skip",
    hovertemplate: null,
    text: ringed.map((p) => String(D.number[p.i])),
    textposition: "top left",
    textfont: { color: css("ink"), size: 13 },
    marker: { symbol: "circle-open", size: MARKS.ring.size, color: css("ink"), line: { width: 1.6 } },
  };
}

// Published networks; those without a value upwards (they are measured, not trained) stand on the strip.
function referenceTraces(known, everything) {
  const strip = known.filter((p) => p.y === null).map((p) => ({ ...p, y: 0 }));
  return [
    referenceTrace(known.filter((p) => p.y !== null), everything),
    { ...referenceTrace(strip, everything), name: "Rail known", yaxis: "y2", cliponaxis: false },
  ];
}

function referenceTrace(known, everything) {
  const places = everything.map((p) => p.x);
  const middle = (Math.min(...places) + Math.max(...places)) / 2;
  const trace = {
    ...markers(known, "reference", null),
    mode: "markers+text",
    customdata: known.map(() => null),
    text: known.map((p) => plain(p.name)),
    textfont: { color: css("reference"), size: 12 },
    textposition: known.map((p) => `${p.y === 0 ? "top" : "bottom"} ${p.x > middle ? "left" : "right"}`),
    hovertext: known.map((p) => p.text),
    hovertemplate: "%{hovertext}<extra></extra>",
  };
  return withErrors(trace, known, "reference");
}

// What has no value upwards stands on a strip below the plot.
function railTraces(rail, colours) {
  return ["complete", "infeasible", "failed"].map((kind) => {
    const points = rail.filter((p) => D.states[D.state[p.i]] === kind).map((p) => ({ ...p, y: 0 }));
    return { ...markers(points, kind, colours), name: `Rail ${kind}`, yaxis: "y2" };
  });
}

function drawScatter() {
  const { kinds, rail, nowhere } = scatterPoints();
  const colours = colouring();
  const known = referencePoints();
  const plotted = Object.values(kinds).flat();
  const strip = rail.length > 0 || known.some((p) => p.y === null);
  const { shapes, annotations, outside } = rulers([...plotted, ...rail, ...known]);
  const traces = [
    ...["complete", "infeasible", "failed"].map((kind) => markers(kinds[kind], kind, colours)),
    ...(kinds.estimated.length ? staircase(kinds.estimated, "dot") : []),
    markers(kinds.estimated, "estimated", colours),
    ...frontTraces(kinds.front, colours),
    ringTrace(plotted),
    ...referenceTraces(known, [...plotted, ...rail, ...known]),
    ...railTraces(rail, colours),
  ];
  Plotly.react(
    "scatter",
    traces,
    layout({
      shapes,
      annotations,
      dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
      xaxis: {
        title: { text: plain(axisTitle(view.x)) },
        type: view.log ? "log" : "linear",
        anchor: strip ? "y2" : "y",
      },
      yaxis: { title: { text: plain(axisTitle(view.y)) }, domain: [strip ? 0.11 : 0, 1] },
      yaxis2: {
        domain: [0, 0.07],
        range: [-1, 1],
        tickvals: [0],
        ticktext: ["none"],
        visible: strip,
        fixedrange: true,
        showgrid: false,
        zeroline: false,
        automargin: true,
      },
      coloraxis: {
        colorscale: "Cividis",
        colorbar: { title: { text: plain(colours?.title ?? ""), side: "right" }, thickness: 10, outlinewidth: 0 },
      },
      uirevision: `${view.x} ${view.y} ${view.log}`,
    }),
    CONFIG,
  );
  drawLegend(kinds, rail, known, colours);
  describeScatter(kinds, rail, known, nowhere, outside);
}

const OUTLINES = {
  circle: "M6 1.5a4.5 4.5 0 1 0 .01 0z",
  "triangle-down": "M1 2h10L6 11z",
  "x-thin": "M2 2l8 8M10 2l-8 8",
  diamond: "M6 .5L11.5 6 6 11.5 .5 6z",
};
function symbol(kind, open, colour = css(MARKS[kind].colour)) {
  const d = OUTLINES[MARKS[kind].symbol];
  const fill = open || kind === "failed" ? "none" : colour;
  return el(
    "svg",
    { width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" },
    el("path", { d, fill, stroke: colour, "stroke-width": 1.6 }),
  );
}

function drawLegend(kinds, rail, known, colours) {
  const item = (mark, text) => el("li", {}, mark, text);
  const items = Object.keys(kinds)
    .reverse()
    .filter((kind) => kinds[kind].length || rail.some((p) => stateOf(p.i) === kind))
    .map((kind) => item(symbol(kind, false), MARKS[kind].name));
  if (known.length) items.push(item(symbol("reference", false), MARKS.reference.name));
  const everything = Object.values(kinds).flat();
  if (everything.some((p) => p.hollow)) items.push(item(symbol("complete", true), "Hollow: predicted or estimated"));
  if (ghosts(kinds.front).length)
    items.push(item(el("span", { "aria-hidden": "true" }, "┈"), "From estimate to measurement"));
  if (view.pins.length || D.picked !== null) items.push(item(symbol("ring", true), "Ring: exported or pinned"));
  if (colours?.options)
    colours.options.forEach((name, k) => items.push(item(symbol("complete", false, optionColour(k)), String(name))));
  $("legend").replaceChildren(...items);
}

function describeScatter(kinds, rail, known, nowhere, outside) {
  const counts = STATES.filter((state) => kinds[state].length).map(
    (state) => `${kinds[state].length} ${stateWords[state]}`,
  );
  const parts = [counts.length ? `Shown: ${counts.join(", ")}.` : "No candidate has both values."];
  if (kinds.estimated.length)
    parts.push("No network was measured to be on the front: the dotted line is the front by the estimates of the search.");
  if (rail.length)
    parts.push(
      `${plural(rail.length, "candidate")} without a value upwards ${rail.length === 1 ? "stands" : "stand"} on the strip below.`,
    );
  const strip = known.filter((p) => p.y === null).length;
  if (strip)
    parts.push(
      `${plural(strip, "known architecture")} on the strip below: measured on the same device, but not trained here.`,
    );
  if (nowhere)
    parts.push(
      `${plural(nowhere, "candidate")} without a value to the right ${nowhere === 1 ? "is" : "are"} in the table only.`,
    );
  parts.push(...outside);
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
