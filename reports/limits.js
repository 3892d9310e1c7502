"use strict";
// Sliders that limit what a network may cost, and the best network within them.

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
    const input = el("input", {
      type: "range",
      id,
      min: 0,
      max: values.length,
      step: 1,
      value: values.length,
      "data-axis": axis,
    });
    const slider = { axis, values, input, output };
    input.addEventListener("input", () => {
      readSlider(slider);
      soon(drawLeft);
    });
    sliders.push(slider);
    $("slider-rows").append(
      el("div", { class: "slider" }, el("label", { for: id }, el("span", {}, AXES[axis].title), output), input),
    );
    readSlider(slider);
  }
  $("sliders").addEventListener("submit", (event) => event.preventDefault());
  $("sliders").addEventListener("reset", (event) => {
    event.preventDefault();
    setLimits(() => Infinity);
  });
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

// What of the budget is not known of a candidate before it is fine-tuned; latency is judged as predicted.
function unjudged(i) {
  const open = Object.keys(D.budget).filter((m) => m !== "latency_ms" && raw(m, i) === null);
  return open.map((m) => ` Whether it keeps the budget's ${lower(D.metrics[m].title)} is not known yet.`);
}

function drawLeft() {
  const candidates = left();
  $("left").textContent =
    `${candidates.length.toLocaleString("en")} of ${ALL.length.toLocaleString("en")} candidates left.`;
  const best = bestOf(candidates);
  $("best").dataset.number = best === null ? "" : D.number[best];
  if (best === null) {
    $("best").textContent = "None of them is complete and inside the study's budget.";
  } else {
    const [up, ...rest] = D.objectives.map((axis) => metricAt(axis, best));
    const words = [up, ...rest].filter((m) => m !== null).map((m) => `${shown(m, best)} ${lower(D.metrics[m].title)}`);
    $("best").replaceChildren(
      "Best: ",
      el(
        "button",
        { type: "button", class: "link", onclick: () => togglePin(best, true) },
        `network ${D.number[best]}`,
      ),
      `, ${words.join(", ")}.`,
      ...unjudged(best),
    );
  }
  drawScatter();
  drawTable();
}
