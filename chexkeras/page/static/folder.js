// Many films: sent one after the other, in a table that is this browser's alone.

import { VERDICTS, ask, badge, dropping, el, percent, post, prevalence, say, show, tooLarge } from "./common.js";

const at = (id) => document.getElementById(id);
const state = { rows: [], sort: ["score", -1], finding: "", stop: null, running: false };
const FORMULA = /^[=+\-@\t\r]/;
const BUSY_TRIES = 30;

export function setUpFolder(run) {
  state.run = run;
  state.finding = run.findings[0].finding;
  for (const id of ["folder-files", "folder-folder"]) {
    const input = at(id);
    input.addEventListener("change", () => take([...input.files]));
  }
  dropping(at("folder-drop"), take);
  at("folder-stop").addEventListener("click", () => state.stop && state.stop.abort());
}

const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function score(file, signal) {
  const wrong = tooLarge(file, state.run.largest_bytes);
  if (wrong) return { verdict: "reject", rules: [{ code: "not sent", where: "file", words: wrong, severity: "reject" }] };
  for (let tries = 0; ; tries++) {
    try {
      return await ask("api/row", { method: "POST", body: file, headers: { "content-type": "application/octet-stream" }, signal });
    } catch (error) {
      if (error.name === "AbortError" || error.status !== 503 || tries === BUSY_TRIES) throw error;
      await pause(1 + Math.random());
    }
  }
}

async function take(files) {
  if (state.running || !files.length) return;
  state.running = true;
  state.rows = [];
  state.stop = new AbortController();
  say(at("folder-error"), "");
  at("folder-progress").hidden = false;
  const bar = at("folder-progress").querySelector("progress");
  bar.max = files.length;
  let done = 0;
  for (const file of files.sort((one, other) => nameOf(one).localeCompare(nameOf(other)))) {
    if (state.stop.signal.aborted) break;
    say(at("folder-status"), `Film ${done + 1} of ${files.length} \u2026`);
    try {
      state.rows.push({ name: nameOf(file), ...(await score(file, state.stop.signal)) });
    } catch (error) {
      if (error.name === "AbortError") break;
      state.rows.push({ name: nameOf(file), verdict: "error", rules: [], error: error.message });
      say(at("folder-error"), `${nameOf(file)}: ${error.message}`);
    }
    bar.value = ++done;
    if (done === 1 || done % 5 === 0) render();
  }
  at("folder-progress").hidden = true;
  state.running = false;
  const refused = state.rows.filter((row) => row.verdict === "reject").length;
  say(at("folder-status"), `${done} of ${files.length} films read: ${done - refused} scored, ${refused} refused${done < files.length ? "; stopped" : ""}.`);
  render();
  for (const id of ["folder-files", "folder-folder"]) at(id).value = "";
}

const nameOf = (file) => file.webkitRelativePath || file.name;
const finding = (row) => (row.findings || []).find((each) => each.finding === state.finding);
const keys = {
  name: (row) => row.name,
  verdict: (row) => ["accept", "warn", "reject", "error"].indexOf(row.verdict),
  score: (row) => (finding(row) ? finding(row).score : null),
  call: (row) => (finding(row) ? finding(row).decision : null),
  novelty: (row) => row.novelty ?? null,
};

export function sorted(rows, [name, direction], value = keys[name]) {
  return [...rows].sort((one, other) => {
    const [first, second] = [value(one), value(other)];
    // What has no value stands last, whichever way is sorted: a refused film is nowhere among scores.
    if (first === null || second === null) return (first === null) - (second === null);
    return direction * (first < second ? -1 : first > second ? 1 : 0);
  });
}

function render() {
  const place = at("folder-result");
  place.hidden = !state.rows.length;
  const head = [["name", "File"], ["score", "Score"], ["call", "Call"], ["verdict", "Verdict"], ["novelty", "Novelty"]];
  const rows = sorted(state.rows, state.sort);
  // However the table is sorted, the rank is by score: which film would be read first.
  const ranks = new Map(sorted(state.rows.filter(finding), ["score", -1]).map((row, place) => [row, place + 1]));
  const body = rows.map((row) => {
    const found = finding(row);
    const why = row.rules.length ? el("details", {}, el("summary", {}, row.rules.map((rule) => rule.code.replaceAll("_", " ")).join(", ")),
      row.rules.map((rule) => el("p", {}, `${rule.words}${rule.found ? `; found ${rule.found}` : ""}.`))) : row.error ? el("div", { class: "soft" }, row.error) : "";
    return el("tr", { class: row.verdict === "reject" ? "refused" : "" },
      el("td", { class: "number" }, found ? String(ranks.get(row)) : "\u2013"),
      el("th", { scope: "row" }, el("div", { class: "named" }, row.thumbnail ? el("img", { src: row.thumbnail, alt: "" }) : "", row.name)),
      el("td", { class: "number" }, found ? found.score.toFixed(3) : "none"),
      el("td", {}, found ? badge(found.decision) : "none"),
      el("td", {}, row.verdict === "error" ? "Not read" : VERDICTS[row.verdict], why),
      el("td", { class: "number" }, row.novelty === null || row.novelty === undefined ? "" : row.novelty.toFixed(2)));
  });
  const focused = document.activeElement;
  const held = focused && place.contains(focused) ? (focused.id ? `#${focused.id}` : focused.dataset.sort ? `[data-sort="${focused.dataset.sort}"]` : "") : "";
  const picked = el("select", { id: "folder-finding", onchange: (event) => { state.finding = event.target.value; render(); } },
    state.run.findings.map((each) => el("option", { value: each.finding, selected: each.finding === state.finding }, each.finding)));
  show(place,
    el("div", { class: "row" }, state.run.findings.length > 1 ? el("label", {}, "Finding ", picked) : "",
      el("button", { type: "button", onclick: download }, "Download as CSV")),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Worklist" },
      el("table", {}, el("caption", {}, `Worklist for ${state.finding}; refused films have no score`),
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Rank"), head.map(([key, words]) =>
          el("th", { scope: "col", "aria-sort": state.sort[0] === key ? (state.sort[1] > 0 ? "ascending" : "descending") : "none" },
            el("button", { type: "button", "data-sort": key, onclick: () => { state.sort = [key, state.sort[0] === key ? -state.sort[1] : key === "score" ? -1 : 1]; render(); } }, words))))),
        el("tbody", {}, body))),
    waiting());
  const again = held && place.querySelector(held);
  if (again) again.focus();
}

function cell(value) {
  const text = String(value ?? "");
  const safe = FORMULA.test(text) && typeof value !== "number" ? `'${text}` : text;
  return /[",;\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csv(rows) {
  const head = ["file", "verdict", "code", "finding", "score", "threshold", "decision", "novelty", "engine", "decoder", "caution"];
  const caution = "not a medical device";
  const lines = rows.flatMap((row) => {
    const code = row.rules.map((rule) => rule.code).join(" ");
    if (!row.findings) return [[row.name, row.verdict, code, "", "", "", "", "", "", "", caution]];
    return row.findings.map((each) => [row.name, row.verdict, code, each.finding, each.score, each.threshold, each.decision, row.novelty, row.engine, row.decoder, caution]);
  });
  return [head, ...lines].map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
}

function download() {
  const address = URL.createObjectURL(new Blob([csv(sorted(state.rows, state.sort))], { type: "text/csv" }));
  const link = el("a", { href: address, download: "results.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

const queue = { arrivals: 10, reads: 12, readers: 1 };

function waiting() {
  const told = el("p", { role: "status" });
  const fields = [["arrivals", "Films that arrive an hour"], ["reads", "Films that a reader reads an hour"], ["readers", "Readers"]].map(([name, words]) =>
    el("div", {}, el("label", { for: `queue-${name}` }, words),
      el("input", { type: "number", id: `queue-${name}`, min: "1", value: queue[name], oninput: (event) => { queue[name] = Number(event.target.value); estimate(); } })));
  async function estimate() {
    try {
      const found = await post("api/waiting", { finding: state.finding, prevalence: prevalence(), ...queue });
      say(told, found.words);
    } catch (error) {
      say(told, error.message);
    }
  }
  estimate();
  return el("div", { class: "card" }, el("h3", {}, "What reading called films first would do to waiting"),
    el("p", { class: "soft" }, `If ${state.finding} is present in ${percent(prevalence())} of films; change that under One film or The run.`),
    el("div", { class: "controls" }, fields), told);
}
