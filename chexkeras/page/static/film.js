// One film: sent, judged, scored, shown. A refused film shows its reasons and no score.

import { VERDICTS, ask, badge, dropping, el, onMeaning, patients, percent, prevalence, prevalenceField, say, show, tooLarge } from "./common.js";
import { viewer } from "./viewer.js";

const at = (id) => document.getElementById(id);
const EXPECTED = { accept: "should be accepted", warn: "should get a warning", reject: "should be refused" };
let latest = 0;
let lastMeaning = null;

export function setUpFilm(run) {
  const input = at("film-file");
  input.addEventListener("change", () => { if (input.files[0]) take(input.files[0], "your film", run); });
  dropping(at("film-drop"), (files) => take(files[0], "your film", run));
  const examples = document.querySelector(".examples");
  for (const [verdict, words] of Object.entries(EXPECTED)) {
    const films = run.examples.filter((example) => example.verdict === verdict);
    if (films.length) examples.append(el("div", { class: "row", role: "group", "aria-label": `Synthetic films that ${words}` }, el("span", {}, `${words}:`),
      films.map((example) => el("button", { type: "button", onclick: () => takeExample(example, run) }, example.words))));
  }
  const shares = run.findings.map((finding) => `${finding.finding} ${finding.prevalence === undefined ? "?" : (100 * finding.prevalence).toFixed(1)} %`);
  show(at("film-prevalence"), prevalenceField(`Among the run's test images it was: ${shares.join(", ")}.`));
  const worth = el("div");
  at("film-prevalence").append(worth);
  onMeaning((meaning) => {
    lastMeaning = meaning;
    show(worth, patients(Object.values(meaning).map((told) => `${told.ppv} ${told.npv}`)));
    for (const place of document.querySelectorAll("#film-findings [data-finding]")) tellMeaning(place, meaning);
  });
}

async function takeExample(example, run) {
  at("film-file").value = "";
  try {
    const answer = await fetch(`api/examples/${example.key}`);
    if (!answer.ok) throw new Error("The example is not there; reload the page.");
    await take(await answer.blob(), `the synthetic film (${example.words})`, run);
  } catch (error) {
    fail(error.message);
  }
}

function fail(words) {
  say(at("film-status"), "");
  at("film-result").hidden = true;
  say(at("film-error"), words);
}

async function take(file, name, run) {
  const mine = ++latest;
  at("film-result").hidden = true;
  say(at("film-error"), "");
  const wrong = tooLarge(file, run.largest_bytes);
  if (wrong) return fail(wrong);
  say(at("film-status"), `Reading and scoring ${name} \u2026`);
  try {
    const began = performance.now();
    const answer = await ask("api/film", { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } });
    // A film that was chosen later is the one that is meant.
    if (mine !== latest) return;
    await present(answer, run, () => mine === latest);
    if (mine !== latest) return;
    say(at("film-status"), `Answered in ${((performance.now() - began) / 1000).toFixed(1)} s: ${VERDICTS[answer.verdict].slice(2).toLowerCase()}.`);
    at("film-verdict").focus({ preventScroll: true });
    at("film-result").scrollIntoView({ block: "start" });
  } catch (error) {
    if (mine === latest) fail(error.message);
  }
}

export function rules(found) {
  return el("ul", {}, found.map((rule) => el("li", {},
    el("strong", {}, `${rule.severity === "reject" ? "Refused" : "Warning"}: `), rule.words,
    rule.found ? `; found ${rule.found}` : "", `.${rule.reason ? ` Why: ${rule.reason.replace(/^PS3/, "DICOM PS3")}.` : ""} `,
    el("span", { class: "soft" }, `Where: ${rule.where}. Rule: ${rule.code}.`))));
}

async function present(answer, run, isLatest) {
  const refused = answer.verdict === "reject";
  show(at("film-verdict"), el("div", { class: `verdict ${answer.verdict}` },
    el("h3", {}, VERDICTS[answer.verdict]), el("p", {}, answer.headline), answer.rules.length ? rules(answer.rules) : "",
    refused ? el("p", { class: "soft" }, "There is no score for this film, here or in any download.") : ""));
  show(at("film-viewer"));
  show(at("film-findings"));
  show(at("film-about"));
  at("film-prevalence").hidden = true;
  at("film-result").hidden = false;
  if (refused) return;
  at("film-prevalence").hidden = false;
  const called = answer.findings.filter((finding) => finding.decision === "positive").map((finding) => finding.finding);
  // Where the film is far from all that the model learnt, that is read before any score.
  const unusual = novelty(answer);
  const far = unusual.classList.contains("far");
  show(at("film-findings"), far ? unusual : "", answer.findings.length > 1 ? el("p", {}, el("strong", {}, `Called positive: ${called.join(", ") || "none"}`), ` (${called.length} of ${answer.findings.length} findings).`) : "",
    answer.findings.map((finding) => card(finding)));
  show(at("film-about"), far ? "" : unusual, about(answer));
  for (const place of at("film-findings").querySelectorAll("[data-finding]")) if (lastMeaning) tellMeaning(place, lastMeaning);
  await viewer(at("film-viewer"), answer, run.maps.reason, isLatest);
}

function scale(score, threshold) {
  const fill = el("div", { class: "fill" });
  fill.style.width = `${100 * score}%`;
  const side = threshold < 0.15 ? "left" : threshold > 0.85 ? "right" : "";
  const [mark, label] = [el("div", { class: "mark" }), el("div", { class: `label ${side}` }, `threshold ${threshold.toFixed(3)}`)];
  for (const each of [mark, label]) each.style.left = `${100 * threshold}%`;
  return el("div", { class: "scale", role: "img", "aria-label": `Score ${score.toFixed(3)} on a scale from 0 to 1, threshold ${threshold.toFixed(3)}` }, fill, mark, label);
}

const PLACES = { positive: "at or above", negative: "below" };

function card(finding) {
  const place = PLACES[finding.decision] || "in the band that the run leaves open around";
  const probability = finding.probability === null
    ? "The score was not recalibrated: read it as a rank, not as a probability."
    : `Calibrated probability ${finding.probability.toFixed(3)} (${finding.basis}).`;
  return el("article", { class: "card", "data-finding": finding.finding, "data-decision": finding.decision },
    el("h3", {}, `${finding.finding} `, badge(finding.decision)),
    el("p", {}, el("strong", {}, `Score ${finding.score.toFixed(3)}`), `, ${place} the frozen threshold ${finding.threshold.toFixed(3)}. ${probability}`),
    scale(finding.score, finding.threshold),
    el("div", { class: "meaning" }));
}

function tellMeaning(place, meaning) {
  const told = meaning[place.dataset.finding];
  const target = place.querySelector(".meaning");
  if (!told || !told.ppv) return show(target, el("p", { class: "soft" }, "The test images cannot tell what this call means."));
  const name = place.dataset.finding;
  const frequent = [`Where ${percent(prevalence())} of films show ${name} (`, el("a", { href: "#film-prevalence" }, "change"), "), "];
  const [ppv, npv] = [["If called positive (PPV)", told.ppv], ["If called negative (NPV)", told.npv]];
  const sentence = { positive: ["of those called positive ", el("strong", {}, told.ppv), " show it (PPV)."],
    negative: ["of those called negative ", el("strong", {}, told.npv), " do not show it (NPV)."] }[place.dataset.decision]
    || ["a call at the threshold alone would mean this; the score is too near to it to be called."];
  const further = { positive: [npv], negative: [ppv] }[place.dataset.decision] || [ppv, npv];
  show(target, el("h4", {}, "What such a call is worth, by the test images"), el("p", {}, frequent, sentence),
    el("dl", {}, [...further, ["Of 1,000 films: with it, and called", told.true_positives], ["With it, and missed", told.false_negatives], ["Without it, and called", told.false_positives]]
      .map(([words, value]) => [el("dt", {}, words), el("dd", {}, value)])));
}

// Three times what all but one in a hundred training images keep to: told where a run could freeze no limit.
const FAR = 3;
const NOT_FOR_IT = "What was measured on the test images need not hold for this film.";

function novelty(answer) {
  const title = el("h3", {}, "How unusual this film is");
  if (answer.novelty === null) return el("article", { class: "card" }, title, el("p", {}, "The run has not learnt what its training images look like, so nothing can be said."));
  const scale = "0 is a usual training image, one in a hundred lies above 1";
  if (answer.novelty_threshold === null) {
    const far = answer.novelty > FAR;
    return el("article", { class: far ? "card far" : "card" }, title, el("p", {}, el("strong", {}, far ? `Far from the training images. ${NOT_FOR_IT}` : ""),
      ` Novelty ${answer.novelty.toFixed(2)}: ${scale}. The run had too few validation images to freeze the number from which on it would warn.`));
  }
  const unlike = answer.novelty > answer.novelty_threshold;
  return el("article", { class: unlike ? "card far" : "card" }, title, el("p", {}, el("strong", {}, unlike ? `Unlike the training images. ${NOT_FOR_IT}` : "Like the training images, as far as the run can tell."),
    ` Novelty ${answer.novelty.toFixed(2)}: ${scale}; the limit is ${answer.novelty_threshold.toFixed(2)}.`));
}

function about(answer) {
  const rows = [["Engine", answer.engine], ["Decoder", answer.decoder], ["Rules", `profile ${answer.profile}`],
    ["Film", `${answer.columns} by ${answer.rows} pixels${answer.pixel_spacing_mm === null ? "" : `, ${answer.pixel_spacing_mm.toFixed(3)} mm`}${answer.turned ? ", turned upright" : ""}`],
    ["View", answer.view || "not stated"], ["Time on the server", `${answer.seconds.toFixed(2)} s to read and score`],
    ["Made by a program", answer.synthetic || "the file does not say so"]];
  return el("article", { class: "card" }, el("h3", {}, "What worked on it"),
    el("dl", {}, rows.map(([name, words]) => [el("dt", {}, name), el("dd", {}, words)])));
}
