"use strict";
// The table of all candidates, and its download.

const COLUMNS = [
  { key: "number", title: "Network", value: (i) => D.number[i], text: (i) => String(D.number[i]) },
  { key: "state", title: "State", value: (i) => stateOf(i), text: (i) => stateWords[stateOf(i)] },
  ...D.columns
    .map((name) => D.metrics[name])
    .map((m) => ({
      key: m.name,
      title: m.title,
      number: true,
      value: (i) => raw(m.name, i),
      text: (i) => shown(m.name, i),
    })),
  { key: "origin", title: "Proposed by", value: (i) => D.strings[D.origin[i]], text: (i) => D.strings[D.origin[i]] },
  {
    key: "seconds",
    title: "Seconds",
    number: true,
    value: (i) => D.seconds[i],
    text: (i) => (D.seconds[i] === null ? "–" : D.seconds[i].toFixed(1)),
  },
  {
    key: "reason",
    title: "Reason",
    wide: true,
    value: (i) => D.strings[D.reason[i]],
    text: (i) => D.strings[D.reason[i]],
  },
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
  $("table").tHead.replaceChildren(
    el(
      "tr",
      {},
      ...COLUMNS.map((column) =>
        el(
          "th",
          {
            scope: "col",
            class: column.number ? "number" : "",
            "aria-sort": view.sort.key === column.key ? (view.sort.down ? "descending" : "ascending") : null,
          },
          el("button", { type: "button", "data-key": column.key, onclick: () => sortBy(column.key) }, column.title),
        ),
      ),
    ),
  );
  $("table").tBodies[0].replaceChildren(
    ...rows.map((i) =>
      el(
        "tr",
        { class: i === D.picked ? "picked" : "", "data-number": D.number[i] },
        el(
          "th",
          { scope: "row" },
          el(
            "button",
            { type: "button", class: "link", "aria-label": `Pin network ${D.number[i]}`, onclick: () => togglePin(i) },
            String(D.number[i]),
          ),
        ),
        ...COLUMNS.slice(1).map((column) =>
          el("td", { class: column.number ? "number" : column.wide ? "wide" : "" }, column.text(i)),
        ),
      ),
    ),
  );
  $("shown").textContent =
    `${plural(candidates.length, "candidate")} of ${ALL.length.toLocaleString("en")}` +
    (rows.length < candidates.length ? `, the first ${rows.length} of them below.` : ".");
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
  const head = [
    "number",
    "state",
    "front",
    "origin",
    "reason",
    "digest",
    "seconds",
    ...names.flatMap((m) => [m, `${m}.provenance`, `${m}.spread`, `${m}.samples`]),
    ...D.choices.sites,
  ];
  const row = (i) => {
    const chosen = new Map(choicesOf(i));
    return [
      D.number[i],
      D.states[D.state[i]],
      ON_FRONT.has(i),
      D.strings[D.origin[i]],
      D.strings[D.reason[i]],
      D.digest[i],
      D.seconds[i],
      ...names.flatMap((m) => [
        raw(m, i),
        raw(m, i) === null ? null : provenance(m, i),
        spreadOf(m, i),
        D.values[m].n?.[i],
      ]),
      ...D.choices.sites.map((site) => chosen.get(site)),
    ];
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
