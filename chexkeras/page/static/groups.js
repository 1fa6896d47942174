// Rates with their intervals, drawn and in words: of groups of the test images, and of experiments side by side.

import { el, patients, show } from "./common.js";

const NAMES = { auroc: "AUROC", sensitivity: "Sensitivity", specificity: "Specificity" };
const [WIDE, HIGH] = [220, 22];

// What is drawn stands in words beside it, so a reader of the screen is told once.
function bar(rate) {
  if (!rate.drawn) return "";
  const [value, low, high] = rate.drawn.map((share) => 6 + share * (WIDE - 12));
  return el("svg:svg", { class: "bar", viewBox: `0 0 ${WIDE} ${HIGH}`, "aria-hidden": "true" },
    [0, 0.5, 1].map((share) => el("svg:line", { class: "grid", x1: 6 + share * (WIDE - 12), x2: 6 + share * (WIDE - 12), y1: 0, y2: HIGH })),
    el("svg:line", { class: "interval", x1: low, x2: high, y1: HIGH / 2, y2: HIGH / 2 }),
    el("svg:circle", { class: "value", cx: value, cy: HIGH / 2, r: 5 }));
}

const scale = () => el("span", { class: "ends", "aria-hidden": "true" }, ["0", "0.5", "1"].map((words) => el("span", {}, words)));

function measures(id, changed) {
  return el("div", { class: "row" }, el("label", { for: id }, "Measure"),
    el("select", { id, onchange: (event) => changed(event.target.value) }, Object.entries(NAMES).map(([name, words]) => el("option", { value: name }, words))));
}

const cell = (rate) => el("td", {}, el("div", { class: "rate" }, bar(rate), el("span", rate.drawn ? {} : { class: "soft" }, rate.words)));
const heading = (words) => el("th", { scope: "col" }, el("div", { class: "rate" }, scale(), el("span", {}, words)));

function row(words, of, rate) {
  return el("tr", {}, el("th", { scope: "row" }, words), el("td", {}, `${of.positive.toLocaleString("en")} of ${of.images.toLocaleString("en")}`), cell(rate));
}

export function groups(finding) {
  const title = el("h3", { id: "run-groups", tabindex: "-1" }, "Groups");
  const analyses = (finding.subgroups || []).map((each) => ({ ...each, groups: each.groups.filter((group) => group.images) })).filter((each) => each.groups.length);
  if (!analyses.length) return el("div", { class: "card" }, title, el("p", { class: "soft" }, "The test images were not measured by group."));
  const place = el("div");
  function tell(measure) {
    const words = `${NAMES[measure]} of ${finding.finding} by group, test images, 95 % intervals`;
    show(place, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": words },
      el("table", { class: "rates" }, el("caption", {}, words),
        el("thead", {}, el("tr", {}, ["Group", "Positive"].map((name) => el("th", { scope: "col" }, name)), heading(NAMES[measure]))),
        el("tbody", {}, row("All", finding.all, finding.all[measure])),
        analyses.map((analysis) => el("tbody", {},
          el("tr", {}, el("th", { scope: "rowgroup", colspan: "3", class: "group" }, `By ${analysis.column}`,
            el("span", { class: "soft" }, analysis.differ[measure] ? ` \u00B7 do the groups differ? ${analysis.differ[measure]}` : "",
              analysis.unknown ? ` \u00B7 not known of ${analysis.unknown} images` : ""))),
          analysis.groups.map((group) => row(group.level, group, group[measure])))))),
    patients(analyses.flatMap((analysis) => analysis.groups.map((group) => group[measure].words))));
  }
  tell("auroc");
  return el("div", { class: "card" }, title,
    el("p", { class: "soft" }, "Where intervals are wide, groups may differ much and still look alike. Groups without an image are left out."),
    measures("run-groups-measure", tell), place);
}

export function experiments(beside) {
  if (!beside.length) return "";
  const place = el("div");
  function tell(measure) {
    const words = `${beside[0].finding}: ${NAMES[measure]} on the same test images, each run at its own frozen threshold`;
    show(place, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": words },
      el("table", { class: "rates" }, el("caption", {}, words),
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Run"), heading(NAMES[measure]),
          el("th", { scope: "col" }, "AUROC against this run's"))),
        el("tbody", {}, beside.map((each) => el("tr", {}, el("th", { scope: "row" }, each.name), cell(each[measure]),
          el("td", {}, each.difference ? [el("strong", {}, each.verdict), `: difference ${each.difference}`] : "this run")))))));
  }
  tell("auroc");
  return el("div", { class: "card" }, el("h3", { id: "run-experiments", tabindex: "-1" }, "Experiments side by side"), measures("run-beside-measure", tell), place);
}
