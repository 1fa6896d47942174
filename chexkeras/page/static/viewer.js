// The film: at full resolution or as the model reads it, with zoom, window, inversion and a heat map over it.

import { el, say } from "./common.js";

const AMBER = [255, 176, 0];
const LARGEST_ZOOM = 8;

async function pixels(address) {
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  const grey = new Uint8Array(canvas.width * canvas.height);
  for (let at = 0; at < grey.length; at++) grey[at] = image.data[4 * at];
  return { canvas, context, image, grey };
}

function heat(read) {
  for (let at = 0; at < read.grey.length; at++) {
    read.image.data.set(AMBER, 4 * at);
    read.image.data[4 * at + 3] = read.grey[at];
  }
  read.context.putImageData(read.image, 0, 0);
}

export function whereHighest(grey, width) {
  const highest = grey.indexOf(Math.max(...new Set(grey)));
  const [row, column] = [Math.floor(highest / width), highest % width];
  const third = (at, of, names) => names[Math.min(Math.floor((3 * at) / of), 2)];
  const up = third(row, grey.length / width, ["upper", "middle", "lower"]);
  return `${up} third, ${third(column, width, ["left side", "middle", "right side"])} of the picture`;
}

export async function viewer(place, answer, whyNoMaps, isLatest) {
  const [film, model] = await Promise.all([pixels(answer.film), pixels(answer.model_film)]);
  const maps = await Promise.all(answer.maps.map(async (map) => ({ ...map, read: await pixels(map.picture) })));
  // Its pictures take a while: another film may have been chosen meanwhile, and may have been refused.
  if (!isLatest()) return;
  for (const map of maps) {
    map.where = whereHighest(map.read.grey, map.read.canvas.width);
    heat(map.read);
  }
  const canvas = el("canvas", { role: "img" });
  const view = el("div", { class: "view", tabindex: "0", role: "group",
    "aria-label": "Film. Arrow keys move it, plus and minus zoom, 0 shows all of it." }, canvas);
  const state = { model: false, zoom: 1, x: 0.5, y: 0.5, centre: 128, width: 256, inverted: false, heat: maps.length ? 0.35 : 0, map: 0 };
  const described = el("p", { class: "soft", role: "status" });
  let waiting = false;

  function shade() {
    const table = new Uint8ClampedArray(256);
    for (let grey = 0; grey < 256; grey++) {
      const value = 255 * ((grey - state.centre) / state.width + 0.5);
      table[grey] = state.inverted ? 255 - Math.min(Math.max(value, 0), 255) : value;
    }
    for (const read of [film, model]) {
      for (let at = 0; at < read.grey.length; at++) {
        const value = table[read.grey[at]];
        const to = 4 * at;
        read.image.data[to] = read.image.data[to + 1] = read.image.data[to + 2] = value;
        read.image.data[to + 3] = 255;
      }
      read.context.putImageData(read.image, 0, 0);
    }
    draw();
  }

  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; paint(); });
  }

  function paint() {
    const read = state.model ? model : film;
    const [columns, rows] = [read.canvas.width, read.canvas.height];
    const across = Math.max(Math.round(view.clientWidth * Math.min(window.devicePixelRatio || 1, 2)), 64);
    const tall = Math.min(Math.round((across * rows) / columns), Math.round(across * 1.4));
    [canvas.width, canvas.height] = [across, tall];
    const scale = Math.min(across / columns, tall / rows) * state.zoom;
    const [wide, high] = [columns * scale, rows * scale];
    const left = wide <= across ? (across - wide) / 2 : Math.min(Math.max(across / 2 - state.x * wide, across - wide), 0);
    const top = high <= tall ? (tall - high) / 2 : Math.min(Math.max(tall / 2 - state.y * high, tall - high), 0);
    const context = canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, across, tall);
    context.imageSmoothingEnabled = !state.model && scale < 2;
    context.imageSmoothingQuality = "high";
    context.drawImage(read.canvas, left, top, wide, high);
    if (maps.length && state.heat > 0) {
      context.imageSmoothingEnabled = true;
      context.globalAlpha = state.heat;
      context.drawImage(maps[state.map].read.canvas, left, top, wide, high);
      context.globalAlpha = 1;
    }
    const what = state.model ? `as the model reads it, ${columns} by ${rows} pixels` : `${columns} by ${rows} pixels`;
    const over = maps.length && state.heat > 0 ? `; heat map of ${maps[state.map].finding} over it, highest in the ${maps[state.map].where}` : "";
    canvas.setAttribute("aria-label", `The film ${what}${over}`);
    say(described, `Shown ${what}, ${Math.round(100 * state.zoom)} % of the window's size${state.inverted ? ", inverted" : ""}${over}.`);
  }

  const sliders = {};
  function slider(name, words, low, high, step) {
    const input = el("input", { type: "range", min: low, max: high, step, value: state[name], id: `view-${name}` });
    input.addEventListener("input", () => {
      state[name] = Number(input.value);
      if (name === "centre" || name === "width") shade(); else draw();
    });
    sliders[name] = input;
    return el("div", {}, el("label", { for: `view-${name}` }, words), input);
  }
  function zoomTo(value) {
    state.zoom = Math.min(Math.max(value, 1), LARGEST_ZOOM);
    sliders.zoom.value = state.zoom;
    draw();
  }
  const inverted = el("input", { type: "checkbox", id: "view-inverted", onchange: () => { state.inverted = inverted.checked; shade(); } });
  const choices = [["full", "At full resolution"], ["model", "As the model reads it"]].map(([key, words]) =>
    el("label", {}, el("input", { type: "radio", name: "view-kind", value: key, checked: key === "full",
      onchange: () => { state.model = key === "model"; draw(); } }), ` ${words}`));
  const reset = el("button", { type: "button", onclick: () => {
    Object.assign(state, { zoom: 1, x: 0.5, y: 0.5, centre: 128, width: 256, inverted: false });
    for (const name of ["zoom", "centre", "width"]) sliders[name].value = state[name];
    inverted.checked = false;
    shade();
  } }, "Reset the view");
  const controls = el("div", { class: "controls" }, slider("zoom", "Zoom", 1, LARGEST_ZOOM, 0.1),
    slider("centre", "Window centre (grey value)", 0, 255, 1), slider("width", "Window width (grey values)", 2, 512, 1));
  if (maps.length) controls.append(slider("heat", "Heat map", 0, 1, 0.05));
  const chosen = maps.length > 1 ? el("label", {}, "Heat map of ", el("select", { onchange: (event) => { state.map = Number(event.target.value); draw(); } },
    maps.map((map, at) => el("option", { value: at }, map.finding)))) : null;

  view.addEventListener("keydown", (event) => {
    const step = 0.1 / state.zoom;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves && state.zoom > 1) move(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") zoomTo(state.zoom * 1.25);
    else if (event.key === "-") zoomTo(state.zoom / 1.25);
    else if (event.key === "0") zoomTo(1);
    else return;
    event.preventDefault();
  });
  function move(x, y) {
    state.x = Math.min(Math.max(state.x + x, 0), 1);
    state.y = Math.min(Math.max(state.y + y, 0), 1);
    draw();
  }
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== view) return;
    event.preventDefault();
    zoomTo(state.zoom * (event.deltaY < 0 ? 1.15 : 1 / 1.15));
  }, { passive: false });
  let held = null;
  view.addEventListener("pointerdown", (event) => { held = [event.clientX, event.clientY]; view.setPointerCapture(event.pointerId); });
  view.addEventListener("pointermove", (event) => {
    if (!held) return;
    move((held[0] - event.clientX) / (view.clientWidth * state.zoom), (held[1] - event.clientY) / (view.clientHeight * state.zoom));
    held = [event.clientX, event.clientY];
  });
  for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, () => { held = null; });
  new ResizeObserver(draw).observe(view);

  place.replaceChildren(el("div", { class: "card" }, view, described,
    el("div", { class: "row", role: "radiogroup", "aria-label": "Which picture" }, choices), controls,
    el("div", { class: "row" }, el("label", {}, inverted, " Invert"), chosen, reset),
    el("p", { class: "help" }, maps.length
      ? `Amber marks what the score rests on, in shares of the map's own highest place. ${answer.maps_note}`
      : whyNoMaps || "No heat map.")));
  shade();
}
