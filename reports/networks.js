"use strict";
// Single networks: diagrams, trees, the gallery of the front, and the comparison of what is pinned.

function linesOf(i) {
  const flat = D.lines[i];
  return Array.from({ length: flat.length / 3 }, (_, k) => flat.slice(3 * k, 3 * k + 3));
}

function diagram(i) {
  let y = 0;
  let inside = Infinity; // the depth of what is drawn whole: what it contains is not drawn again
  const uses = [];
  for (const [place, spec, output] of linesOf(i).slice(1)) {
    const depth = D.drawings.depths[place];
    if (depth > inside) continue;
    inside = D.drawings.whole[spec] ? depth : Infinity;
    uses.push(el("use", { href: `#b${spec}`, y }));
    if (D.drawings.boxed[spec]) uses.push(el("use", { href: `#o${output}`, y }));
    y += D.drawings.heights[spec];
  }
  const parts = linesOf(i).filter(([, spec]) => D.drawings.parts[spec]).length;
  return el(
    "svg",
    {
      class: "diagram",
      viewBox: `0 0 ${D.drawings.width} ${y}`,
      role: "img",
      "aria-label": `Diagram of network ${D.number[i]}: ${parts} parts`,
    },
    ...uses,
  );
}

function tree(i) {
  const rows = linesOf(i).map(([place, spec, output]) => [
    D.drawings.places[place],
    D.drawings.specs[spec],
    D.drawings.outputs[output],
  ]);
  const wide = Math.max(...rows.map((row) => row[0].length));
  return rows.map(([place, spec, output]) => `${place.padEnd(wide)}  ${spec}  →  ${output}`).join("\n");
}

const treeDetails = (i) => el("details", {}, el("summary", {}, "Tree"), el("pre", { tabindex: 0 }, tree(i)));

function drawGallery() {
  if (!$("gallery")) return;
  const axis = D.objectives[0];
  const sign = unit(axis).direction === "min" ? 1 : -1;
  const members = [...D.front].sort((a, b) => sign * (at(axis, a) - at(axis, b)));
  $("gallery").replaceChildren(
    ...members.map((i) =>
      el(
        "figure",
        {},
        el(
          "figcaption",
          {},
          el("strong", {}, `Network ${D.number[i]}`),
          ` ${D.objectives.map((o) => (metricAt(o, i) ? shown(metricAt(o, i), i) : "–")).join(", ")}`,
        ),
        diagram(i),
        treeDetails(i),
      ),
    ),
  );
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
  view.pins = match[1]
    .split(",")
    .map((n) => D.number.indexOf(Number(n)))
    .filter((i) => i >= 0)
    .slice(0, MOST_PINS);
}

// One row of the comparison: `cell(i)` gives the text, `note(i)` what stands small beside it.
function compareRow(title, cell, note = () => "") {
  const texts = view.pins.map(cell);
  const differs = new Set(texts).size > 1;
  return el(
    "tr",
    { class: differs ? "differs" : "" },
    el("th", { scope: "row" }, title),
    ...view.pins.map((i, k) => el("td", {}, texts[k], ...(note(i) ? [" ", el("small", {}, note(i))] : []))),
  );
}
function samples(metric, i) {
  const n = D.values[metric].n?.[i];
  return raw(metric, i) === null
    ? ""
    : [provenance(metric, i), n > 1 ? plural(n, "sample") : ""].filter(Boolean).join(", ");
}

function drawPins() {
  const pins = view.pins;
  if (!pins.length) return $("pins").replaceChildren();
  const head = el(
    "tr",
    {},
    el("td"),
    ...pins.map((i) =>
      el(
        "th",
        { scope: "col" },
        el(
          "div",
          { class: "pin-head" },
          el("strong", {}, `Network ${D.number[i]}`),
          el(
            "button",
            {
              type: "button",
              class: "link controls",
              "aria-label": `Unpin network ${D.number[i]}`,
              onclick: () => togglePin(i),
            },
            "unpin",
          ),
        ),
      ),
    ),
  );
  const facts = [
    compareRow("State", (i) => stateWords[stateOf(i)]),
    ...(pins.some((i) => D.strings[D.reason[i]]) ? [compareRow("Reason", (i) => D.strings[D.reason[i]] || "–")] : []),
    ...D.columns
      .filter((m) => pins.some((i) => raw(m, i) !== null))
      .map((m) =>
        compareRow(
          D.metrics[m].title,
          (i) => shown(m, i),
          (i) => samples(m, i),
        ),
      ),
    compareRow("Proposed by", (i) => D.strings[D.origin[i]] || "–"),
    compareRow("Digest", (i) => D.digest[i] || "–"),
  ];
  const drawings = el(
    "tr",
    {},
    el("th", { scope: "row" }, "Diagram"),
    ...pins.map((i) => el("td", {}, diagram(i), treeDetails(i))),
  );
  const option = (s, i) => {
    const k = D.choices.picked[i][s];
    return k === null ? "–" : String(D.choices.options[s][k]);
  };
  const choices = D.choices.sites
    .map((site, s) => [site, s])
    .filter(([, s]) => pins.some((i) => option(s, i) !== "–"))
    .map(([site, s]) => compareRow(site, (i) => option(s, i)));
  $("pins").replaceChildren(
    el(
      "h3",
      {},
      pins.length > 1
        ? `${pins.length} networks compared; what differs is shaded`
        : `Network ${D.number[pins[0]]}, pinned`,
    ),
    el(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Pinned networks" },
      el(
        "table",
        { class: "compare" },
        el("thead", {}, head),
        el("tbody", {}, ...facts),
        el("tbody", {}, drawings),
        el("tbody", { class: "choices" }, ...choices),
      ),
    ),
  );
}
