// What all parts of the page share. Text only ever becomes text: nothing that a server or a file says is taken as HTML.

export function el(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== "") made.append(child);
  return made;
}

export function show(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
}

export function say(element, words) {
  element.textContent = words;
  if (element.getAttribute("role") === "alert") element.hidden = !words;
}

// Every answer but a good one comes as an Error whose message is a sentence for the user.
export async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { ...options, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it still running?");
  }
  let told;
  try {
    told = await answer.json();
  } catch {
    throw new Error("The server's answer could not be read; try again.");
  }
  if (!answer.ok) {
    const error = new Error(told.error || "The server could not answer.");
    error.status = answer.status;
    throw error;
  }
  return told;
}

export function post(address, value) {
  return ask(address, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value) });
}

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

export const VERDICTS = { accept: "\u2713 Accepted", warn: "\u26A0 Accepted with warnings", reject: "\u2715 Refused" };

export function badge(decision) {
  const kind = ["positive", "negative"].includes(decision) ? decision : "other";
  const sign = { positive: "\u25B2 ", negative: "\u25BD ", other: "? " }[kind];
  return el("span", { class: `badge ${kind}` }, sign + decision);
}

// What "worth 2 patients" means, where an interval says so.
export function patients(words) {
  return words.some((each) => each.includes("; approximate")) ? el("p", { class: "help" },
    "\u201CWorth 2 patients\u201D: images of one patient resemble each other, so such an interval rests on no more than that many independent patients.") : "";
}

export function table(caption, head, rows) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, at) =>
        at === 0 ? el("th", { scope: "row" }, cell) : el("td", {}, cell)))))));
}

// The prevalence is one for the whole page, and whoever shows what depends on it is told.
let listeners = [];
let meaning = null;
let share = 0.05;
let asked = 0;

export const prevalence = () => share;

export function onMeaning(listener) {
  listeners.push(listener);
  if (meaning) listener(meaning, share);
}

export async function setPrevalence(value) {
  const mine = ++asked;
  const found = await post("api/meaning", { prevalence: value });
  if (mine !== asked) return;
  [meaning, share] = [found, value];
  // One that belongs to what is no longer shown says so, and is not asked again.
  listeners = listeners.filter((listener) => listener(meaning, share) !== false);
}

let fields = 0;

export function prevalenceField(note = "") {
  const id = `prevalence-${++fields}`;
  const input = el("input", { type: "number", id, min: "0.1", max: "99", step: "0.1", value: String(100 * share), "aria-describedby": `${id}-help` });
  const wrong = el("span", { class: "soft", role: "status" });
  input.addEventListener("input", async () => {
    const value = Number(input.value) / 100;
    if (!(value >= 0.001 && value <= 0.99)) return say(wrong, "From 0.1 to 99 %.");
    say(wrong, "");
    try {
      await setPrevalence(value);
    } catch (error) {
      say(wrong, error.message);
    }
  });
  onMeaning((_, now) => { if (document.activeElement !== input) input.value = String(Number((100 * now).toFixed(2))); });
  return el("div", { class: "field" }, el("div", { class: "row" },
    el("label", { for: id }, "How frequent is the finding where you work, in %?"), input, wrong),
  el("p", { class: "help", id: `${id}-help` }, `What a call means depends on it. ${note}`));
}

export function dropping(zone, taken) {
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const files = [...event.dataTransfer.files];
    if (files.length) taken(files);
  });
}

export function tooLarge(file, most) {
  if (file.size === 0) return "The file is empty; choose a DICOM, PNG or JPEG file.";
  return file.size > most ? `The file is too large; at most ${Math.floor(most / 2 ** 20)} MiB are taken.` : "";
}
