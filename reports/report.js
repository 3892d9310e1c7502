"use strict";
// The page as a whole: progress of the search, theme, controls, start.

function drawHypervolume() {
  const h = D.hypervolume;
  if (!h || !$("hypervolume")) return;
  Plotly.react(
    "hypervolume",
    [
      {
        type: "scatter",
        mode: "lines",
        x: D.number,
        y: h.share.map((v) => v * 100),
        line: { color: css("front"), width: 2, shape: "hv" },
        hovertemplate: "after trial %{x}<br>%{y:.2f} %<extra></extra>",
      },
    ],
    layout({ xaxis: { title: { text: "Trial" } }, yaxis: { title: { text: "Hypervolume (%)" }, rangemode: "tozero" } }),
    { ...CONFIG, displayModeBar: false },
  );
  const point = h.metrics.map((m, k) => `${lower(D.metrics[m].title)} ${format(m, h.reference[k])}`).join(", ");
  const last = h.share.at(-1);
  const settled = h.share.findIndex((v) => v >= 0.99 * last);
  $("hypervolume-text").textContent =
    `Share of the box between the reference point (${point}) and the best value of each objective that the feasible ` +
    `candidates so far dominate, by their search-time estimates. 99 % of the final ${(last * 100).toFixed(1)} % was reached at trial ${D.number[settled]}.`;
}

// ---------------------------------------------------------------- theme and controls

const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = name === "dark" ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", `Use ${name === "dark" ? "light" : "dark"} colours`);
}
const openMethod = () =>
  document.querySelectorAll(".method details").forEach((box) => {
    box.open = true;
  });
function drawFigures() {
  drawScatter();
  drawHypervolume();
}

function fillSelect(id, options, selected, change) {
  $(id).replaceChildren(
    ...options.map(([value, title]) => el("option", { value, selected: value === selected }, title)),
  );
  $(id).addEventListener("change", () => {
    change($(id).value);
    drawScatter();
  });
}

function buildControls() {
  const titles = D.axes.map((axis) => [axis.key, axis.title]);
  fillSelect("x", titles, view.x, (key) => {
    view.x = key;
  });
  fillSelect("y", titles, view.y, (key) => {
    view.y = key;
  });
  fillSelect(
    "colour",
    [
      ["", "State"],
      ...titles,
      ["number", "Trial"],
      ["origin", "Proposed by"],
      ...D.choices.sites.map((site, s) => [`site:${s}`, site]),
    ],
    "",
    (key) => {
      view.colour = key;
    },
  );
  $("log").addEventListener("change", () => {
    view.log = $("log").checked;
    drawScatter();
  });
  $("text").addEventListener("input", () => {
    view.text = $("text").value;
    soon(drawTable);
  });
  for (const state of STATES.filter((s) => ALL.some((i) => stateOf(i) === s))) {
    const box = el("input", { type: "checkbox", checked: true, value: state });
    box.addEventListener("change", () => {
      if (box.checked) view.states.add(state);
      else view.states.delete(state);
      drawTable();
    });
    $("states").append(el("label", { class: "check" }, box, ` ${stateWords[state]}`));
  }
  $("csv").addEventListener("click", download);
  $("unbrush").addEventListener("click", clearBrush);
  $("more").addEventListener("click", () => {
    view.allRows = true;
    drawTable();
  });
  $("theme").addEventListener("click", () => {
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    drawFigures();
  });
  systemDark.addEventListener("change", (event) => {
    setTheme(event.matches ? "dark" : "light");
    drawFigures();
  });
  window.addEventListener("hashchange", () => {
    view.pins = [];
    readHash();
    drawPins();
    drawScatter();
  });
  let before = null; // paper is white
  window.addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme;
    setTheme("light");
    drawFigures();
    openMethod();
  });
  window.addEventListener("afterprint", () => {
    setTheme(before);
    drawFigures();
  });
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
