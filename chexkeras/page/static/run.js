// The run: what was measured, what other thresholds would do on validation, groups, experiments, report and model card.

import { el, onMeaning, prevalenceField, show, table } from "./common.js";

const NAMES = { auroc: "AUROC", sensitivity: "Sensitivity", specificity: "Specificity", average_precision: "Average precision" };

export function setUpRun(run) {
  show(document.getElementById("run-content"),
    el("div", { class: "card" }, el("h3", {}, "What it is"), el("dl", {}, Object.entries(run.facts).filter(([, words]) => words).map(([name, words]) => [el("dt", {}, name), el("dd", {}, words)])),
      el("p", {}, run.pages.map((name) => [el("a", { href: `/${name}`, target: "_blank", rel: "noopener" }, name === "report" ? "The report" : "The model card"), " \u00A0 "]))),
    el("div", { class: "card" }, el("h3", {}, "Heat maps"), el("p", {}, run.maps.drawn.length ? `Drawn of ${run.maps.drawn.join(", ")}: these maps passed the checks.` : run.maps.reason)),
    el("div", { class: "card" }, prevalenceField()),
    run.findings.map((finding) => section(finding)),
    run.beside.length ? el("div", { class: "card" }, el("h3", {}, "Experiments side by side"),
      table("On the same test images, each at its own frozen threshold", ["Run", "Finding", "AUROC", "Sensitivity", "Specificity", "AUROC against this run"],
        run.beside.map((each) => [each.name, each.finding, each.auroc, each.sensitivity, each.specificity, each.verdict || "this run"]))) : "");
}

function section(finding) {
  const made = el("div", { class: "card" }, el("h3", {}, finding.finding));
  if (finding.measures) {
    made.append(el("p", {}, `${finding.images}. `), table(`Test results at the frozen threshold ${finding.threshold.toFixed(3)}`, ["Measure", "Value"],
      [...Object.entries(finding.measures).map(([name, words]) => [NAMES[name], words]), ...(finding.calibration ? [["Calibration", finding.calibration]] : [])]));
  }
  if (finding.curve.length) made.append(slider(finding));
  else made.append(el("p", { class: "soft" }, "Validation has one class only: there is no curve to choose from."));
  for (const analysis of finding.subgroups || []) {
    made.append(el("details", {}, el("summary", {}, `Groups by ${analysis.column}`),
      table(`${finding.finding} by ${analysis.column}${analysis.unknown ? `; of ${analysis.unknown} images it is not known` : ""}`, ["Group", "Images", "Positive", "AUROC", "Sensitivity", "Specificity"],
        analysis.groups.map((group) => [group.level, String(group.images), String(group.positive), group.auroc, group.sensitivity, group.specificity]))));
  }
  return made;
}

function slider(finding) {
  const frozen = Math.max(finding.curve.findIndex((point) => point.frozen), 0);
  const id = `point-${finding.finding}`;
  const input = el("input", { type: "range", id, min: 0, max: finding.curve.length - 1, step: 1, value: frozen });
  const told = el("div", { role: "status" });
  const { plot, move } = drawing(finding, frozen);
  let calls = null;
  function tell() {
    const point = finding.curve[input.value];
    input.setAttribute("aria-valuetext", `threshold ${point.threshold.toFixed(3)}`);
    move(Number(input.value));
    show(told, el("dl", {},
      el("dt", {}, "Threshold"), el("dd", {}, `${point.threshold.toFixed(3)}${point.frozen ? ", the frozen one" : ", not the one that is used"}`),
      el("dt", {}, "Sensitivity"), el("dd", {}, point.sensitivity), el("dt", {}, "Specificity"), el("dd", {}, point.specificity),
      el("dt", {}, "Called in 1,000"), el("dd", {}, calls ? `${calls[input.value]} at the frequency set above` : "\u2026")));
  }
  input.addEventListener("input", tell);
  onMeaning((meaning) => { calls = (meaning[finding.finding] || {}).curve; tell(); });
  tell();
  return el("div", {}, el("h4", {}, "Other thresholds, on validation"),
    el("p", { class: "soft" }, "These are optimistic: validation images chose the threshold. The test results above stay those of the frozen threshold, whatever is set here."),
    plot, el("label", { for: id }, "Threshold"), input, told);
}

function drawing(finding, frozen) {
  const [wide, high, left, low] = [640, 280, 44, 52];
  const x = (value) => left + value * (wide - left - 12);
  const y = (value) => high - low - value * (high - low - 14);
  const line = (at, name) => el("svg:polyline", { class: name, points: finding.curve.filter((point) => point.values[at] !== null).map((point) => `${x(point.threshold)},${y(point.values[at])}`).join(" ") });
  const upright = (at, name) => el("svg:line", { class: name, x1: x(finding.curve[at].threshold), x2: x(finding.curve[at].threshold), y1: y(0), y2: y(1) });
  const here = upright(frozen, "here");
  const plot = el("svg:svg", { class: "plot", viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": `Sensitivity falls and specificity rises with the threshold, on validation; ${finding.finding}` },
    [0, 0.5, 1].map((value) => [el("svg:line", { class: "grid", x1: x(0), x2: x(1), y1: y(value), y2: y(value) }),
      el("svg:text", { x: 8, y: y(value) + 4 }, String(value)), el("svg:text", { x: x(value) - 8, y: high - low + 18 }, String(value))]),
    line(0, "sensitivity"), line(1, "specificity"), upright(frozen, "frozen"), here,
    el("svg:text", { x: x(0.02), y: high - 10 }, "threshold; solid: sensitivity, dashed: specificity, dotted: frozen"));
  return { plot, move: (at) => { for (const end of ["x1", "x2"]) here.setAttribute(end, x(finding.curve[at].threshold)); } };
}
