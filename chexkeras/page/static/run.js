// The run: what it is, what was measured, what other thresholds would do on validation, report and model card.

import { el, onMeaning, patients, prevalenceField, say, show, table } from "./common.js";
import { experiments, groups } from "./groups.js";

const NAMES = { auroc: "AUROC", sensitivity: "Sensitivity", specificity: "Specificity", average_precision: "Average precision" };
const PAGES = { report: "the report", "model-card": "the model card" };

export function setUpRun(run) {
  const chosen = el("div");
  const finding = el("select", { id: "run-finding", onchange: () => tell(finding.value) },
    run.findings.map((each) => el("option", { value: each.finding }, each.finding)));
  function tell(name) {
    const found = run.findings.find((each) => each.finding === name);
    show(chosen, results(found), thresholds(found), groups(found),
      experiments(run.beside.filter((each) => each.finding === name)));
  }
  show(document.getElementById("run-content"),
    el("nav", { class: "inside", "aria-label": "Parts of The run" }, [["what", "What it is"], ["results", "Results"], ["thresholds", "Other thresholds"],
      ["groups", "Groups"], ...(run.beside.length ? [["experiments", "Experiments"]] : []), ...(run.pages.length ? [["reading", "Report and model card"]] : [])]
      .map(([name, words]) => el("a", { href: `#run-${name}` }, words))),
    el("div", { class: "card" }, el("h3", { id: "run-what" }, "What it is"),
      el("dl", {}, [...Object.entries(run.facts), ["Heat maps", run.maps.drawn.length ? `Drawn of ${run.maps.drawn.join(", ")}: these maps passed the checks.` : run.maps.reason]]
        .filter(([, words]) => words).map(([name, words]) => [el("dt", {}, name), el("dd", {}, words)]))),
    run.findings.length > 1 ? overview(run) : "",
    el("div", { class: "card" }, run.findings.length > 1 ? el("div", { class: "row" }, el("label", { for: "run-finding" }, "Look closer at"), finding) : "", prevalenceField()),
    chosen, run.pages.length ? reading(run.pages) : "");
  tell(run.findings[0].finding);
}

function overview(run) {
  return el("div", { class: "card" }, table("All findings, on the test images at their frozen thresholds", ["Finding", "Threshold", "AUROC", "Sensitivity", "Specificity"],
    run.findings.map((each) => [each.finding, each.threshold.toFixed(3), ...(each.measures ? ["auroc", "sensitivity", "specificity"].map((name) => each.measures[name]) : ["", "", ""])])));
}

function results(finding) {
  const made = el("div", { class: "card" }, el("h3", { id: "run-results", tabindex: "-1" }, `${finding.finding}: results`));
  if (!finding.measures) return made.append(el("p", {}, "It was not measured on test images.")), made;
  made.append(el("p", {}, `${finding.images}. Threshold of ${finding.rule}.`), finding.note ? el("p", { class: "soft" }, finding.note) : "",
    table(`${finding.finding}: test results at the frozen threshold ${finding.threshold.toFixed(3)}`, ["Measure", "Value"],
      [...Object.entries(finding.measures).map(([name, words]) => [NAMES[name], words]), ...(finding.calibration ? [["Calibration", finding.calibration]] : [])]),
    patients(Object.values(finding.measures)));
  return made;
}

function thresholds(finding) {
  const title = el("h3", { id: "run-thresholds", tabindex: "-1" }, "Other thresholds, on validation");
  if (!finding.curve.length) return el("div", { class: "card" }, title, el("p", { class: "soft" }, "Validation has one class only: there is no curve to choose from."));
  const frozen = Math.max(finding.curve.findIndex((point) => point.frozen), 0);
  const input = el("input", { type: "range", id: "run-threshold", min: 0, max: finding.curve.length - 1, step: 1, value: frozen });
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
  onMeaning((meaning) => {
    calls = (meaning[finding.finding] || {}).curve;
    tell();
    return input.isConnected;
  });
  tell();
  return el("div", { class: "card" }, title,
    el("p", { class: "soft" }, "Validation images chose the threshold, so these are optimistic. The test results above stay those of the frozen threshold, whatever is set here."),
    el("div", { class: "columns" }, plot, el("div", {}, el("label", { for: "run-threshold" }, "Threshold"), input, told)));
}

function drawing(finding, frozen) {
  // On a small screen a smaller drawing, so that its numbers stay readable.
  const [wide, high, left, low] = [window.innerWidth < 480 ? 330 : 640, 250, 40, 26];
  const x = (value) => left + value * (wide - left - 12);
  const y = (value) => high - low - value * (high - low - 14);
  const line = (at, name) => el("svg:polyline", { class: name, points: finding.curve.filter((point) => point.values[at] !== null).map((point) => `${x(point.threshold)},${y(point.values[at])}`).join(" ") });
  const upright = (at, name) => el("svg:line", { class: name, x1: x(finding.curve[at].threshold), x2: x(finding.curve[at].threshold), y1: y(0), y2: y(1) });
  const here = upright(frozen, "here");
  const plot = el("svg:svg", { class: "plot", viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": `Sensitivity falls and specificity rises with the threshold, on validation; ${finding.finding}` },
    [0, 0.5, 1].map((value) => [el("svg:line", { class: "grid", x1: x(0), x2: x(1), y1: y(value), y2: y(value) }),
      el("svg:text", { x: 8, y: y(value) + 4 }, String(value)), el("svg:text", { x: x(value) - 8, y: high - low + 18 }, String(value))]),
    line(0, "sensitivity"), line(1, "specificity"), here, upright(frozen, "frozen"));
  const figure = el("figure", {}, plot, el("figcaption", {}, "Across: threshold. Solid line: sensitivity; dashed: specificity; dotted upright: the frozen threshold."));
  return { plot: figure, move: (at) => { for (const end of ["x1", "x2"]) here.setAttribute(end, x(finding.curve[at].threshold)); } };
}

// Whatever stands in these files is shown in a frame that runs nothing and reaches nothing.
function reading(names) {
  const place = el("div");
  const status = el("p", { class: "status", role: "status" });
  const buttons = names.map((name) => el("button", { type: "button", "aria-expanded": "false", "data-page": name, onclick: () => open(name) }, `Read ${PAGES[name]} here`));
  let shown = "";
  function mark(name) {
    shown = name;
    for (const button of buttons) button.setAttribute("aria-expanded", String(button.dataset.page === name));
  }
  async function open(name) {
    show(place);
    if (shown === name) return mark(""), say(status, "");
    mark(name);
    say(status, "Being written; its figures take some seconds \u2026");
    try {
      const answer = await fetch(name, { cache: "no-store" });
      if (!answer.ok) throw new Error((await answer.json()).error);
      if (shown !== name) return;
      show(place, el("iframe", { class: "reading", sandbox: true, src: name, title: PAGES[name] }));
      say(status, `${PAGES[name]} is below.`.replace("the", "The"));
      status.scrollIntoView({ block: "start" });
    } catch (error) {
      if (shown === name) say(status, error.message || "The server does not answer. Is it still running?");
    }
  }
  return el("div", { class: "card" }, el("h3", { id: "run-reading", tabindex: "-1" }, "Report and model card"),
    el("p", { class: "soft" }, "Written from the run's files alone. What only an author can state is left open in them."),
    el("div", { class: "row" }, buttons, names.map((name) => el("a", { href: name, target: "_blank", rel: "noopener" }, `${PAGES[name]} in a window of its own`.replace("the", "The")))),
    status, place);
}
