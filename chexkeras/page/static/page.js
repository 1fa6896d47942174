// The page: which part is shown, and what the run says of itself at the top.

import { ask, el, say, setPrevalence, show, prevalence } from "./common.js";
import { setUpFilm } from "./film.js";
import { setUpFolder } from "./folder.js";
import { setUpRun } from "./run.js";

const PARTS = ["film", "folder", "run"];

function part() {
  const [wanted] = location.hash.slice(1).split("-");
  // The skip link leads to the part that is shown.
  if (wanted === "main") return;
  const chosen = PARTS.includes(wanted) ? wanted : "film";
  for (const name of PARTS) document.getElementById(name).hidden = name !== chosen;
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.hash === `#${chosen}`) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  // A place within a part, a heading or a field: it was hidden when the browser looked for it.
  const heading = location.hash.includes("-") && document.getElementById(location.hash.slice(1));
  if (heading) {
    heading.scrollIntoView();
    (heading.querySelector("input") || heading).focus({ preventScroll: true });
  }
}

// A film that misses its place must not make the browser leave the page and open the file.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
window.addEventListener("hashchange", part);
part();

try {
  const run = await ask("api/run");
  document.title = `${run.name}: try a run`;
  say(document.getElementById("name"), run.name);
  say(document.getElementById("summary"), `${run.findings.map((finding) => finding.finding).join(", ")}: a chest film in, a verdict, a score and where it comes from out.`);
  const cautions = document.getElementById("cautions");
  say(cautions.querySelector("summary"), run.cautions.length ? `Cautions on this run (${run.cautions.length})` : "Cautions on this run");
  show(cautions.querySelector("ul"), (run.cautions.length ? run.cautions : ["The run names none. That does not make its scores right."]).map((words) => el("li", {}, words)));
  setUpFilm(run);
  setUpFolder(run);
  setUpRun(run);
  await setPrevalence(prevalence());
  document.body.dataset.ready = "yes";
} catch (error) {
  say(document.getElementById("problem"), error.message);
}
