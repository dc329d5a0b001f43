// What every view needs: typed arrays out of bytes, colors, axes, a frame with title, notes and errors.

// Similar lightness, neighbors far apart in hue also without red or green, contrast of 3 to white; the colors of the
// pictures in Python.
const UNIT_COLORS = [
  "#4269d0", "#d57c1c", "#2a9d6f", "#c8377a", "#8a5bd1", "#7a6a14", "#1f9bb5", "#d1495b",
  "#5b8c2a", "#a0522d", "#d36bc6", "#44607a", "#aa9300", "#3a3ea8", "#00806b", "#8f2d56",
];

// After so many units the colors come darker, each time in another order; on a dark ground lighter, and each as much more
// as its contrast to that needs.
const COLOR_TURNS = [[0, 0], [0, 0.2], [0, 0.6]];
const DARK_COLOR_TURNS = [[255, 0.1], [255, 0.3], [255, 0.5]];
const COLOR_SHIFT = 5;
// Relative luminance that has a contrast of 3 to the lightest of dark grounds, #1e1e1e.
const DARK_LUMINANCE = 0.14;
const LIGHTER = 0.02;

// Set by `frame` before it draws.
let isOnDark = false;
const colorsMade = new Map();

export function unitColor(index) {
  const key = isOnDark ? -1 - index : index;
  if (!colorsMade.has(key)) colorsMade.set(key, makeUnitColor(index));
  return colorsMade.get(key);
}

function makeUnitColor(index) {
  const turn = Math.floor(index / UNIT_COLORS.length);
  const color = UNIT_COLORS[(index + COLOR_SHIFT * turn) % UNIT_COLORS.length];
  const turns = isOnDark ? DARK_COLOR_TURNS : COLOR_TURNS;
  const [target, share] = turns[turn % turns.length];
  const parts = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  const mixed = (by) => parts.map((value) => Math.round(value + by * (target - value)));
  let by = share;
  while (isOnDark && luminance(mixed(by)) < DARK_LUMINANCE) by += LIGHTER;
  return "#" + mixed(by).map((value) => value.toString(16).padStart(2, "0")).join("");
}

// Relative luminance of red, green and blue, as WCAG defines it.
function luminance(parts) {
  const [red, green, blue] = parts.map((part) => (part <= 10 ? part / 3294 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

const ARRAYS = {
  float64: Float64Array, float32: Float32Array, int32: Int32Array, int16: Int16Array, uint8: Uint8Array,
};

// Replaces every packed array by a typed one with a `shape`.
export function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
  if (value.dtype && value.data && value.shape) {
    const { buffer, byteOffset, byteLength } = value.data;
    const array = new ARRAYS[value.dtype](buffer.slice(byteOffset, byteOffset + byteLength));
    array.shape = value.shape;
    return array;
  }
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, unpack(entry)]));
}

// Jupyter takes the keys of whatever has the focus for its own (x cuts the cell) unless that element itself forbids it.
function keepKeys(node) {
  if (["BUTTON", "INPUT", "SELECT"].includes(node.tagName) || node.hasAttribute("tabindex")) {
    node.setAttribute("data-lm-suppress-shortcuts", "true");
  }
}

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  keepKeys(node);
  node.append(...children);
  return node;
}

export function makeSvg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  keepKeys(node);
  node.append(...children);
  return node;
}

// At most about `count` round numbers from low to high.
export function ticks(low, high, count = 6) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const rough = span / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10);
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) {
    found.push(Number((index * step).toPrecision(12)));
  }
  return found;
}

export function formatNumber(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return value.toExponential(1);
  return String(Number(value.toPrecision(digits)));
}

// A number of things, of which one is not many.
export const counted = (number, noun) => `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`;

// Seconds as they are read on a clock beside a recording of hours.
export function formatTime(seconds, step = 0.001) {
  const digits = Math.min(Math.max(Math.ceil(-Math.log10(step) - 1e-9), 0), 6);
  if (seconds < 60) return seconds.toFixed(digits) + " s";
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds - 60 * minutes).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

// A function from data to pixels, with its inverse.
export function scale(low, high, from, to) {
  const factor = (to - from) / (high - low || 1);
  const position = (value) => from + (value - low) * factor;
  position.invert = (pixel) => low + (pixel - from) / factor;
  position.domain = [low, high];
  position.range = [from, to];
  return position;
}

// A canvas as sharp as the screen; `context` is scaled to CSS pixels, its size is that of the last `resize`.
export class Surface {
  constructor(label) {
    this.canvas = make("canvas", { tabindex: "0", role: "img", "aria-label": label });
    this.context = this.canvas.getContext("2d");
    this.width = this.height = 0;
  }

  resize(width, height) {
    const ratio = window.devicePixelRatio || 1;
    if (width !== this.width || height !== this.height || ratio !== this.ratio) {
      Object.assign(this, { width, height, ratio });
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.clearRect(0, 0, width, height);
    return this.context;
  }

  // Position of an event in CSS pixels of the canvas.
  locate(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }
}

const PIXELS_PER_LINE = 16;
// A notch of a mouse's wheel, which zooms by a quarter.
const NOTCH = 120;
const ZOOM_PER_NOTCH = 1.25;
const MOST_NOTCHES = 3;
// A pinch on a trackpad comes as a turn with Ctrl in steps of a few pixels, which mean more.
const PINCH_STEP = 25;
const PINCH_FACTOR = 8;

// Turns of the wheel over a canvas. Those without Ctrl or Cmd scroll the page, unless the canvas has the focus. However
// many steps a turn comes in, the sum is the same: `zoom(factor, event)`, `pan(pixels, event)` sideways or with Shift.
export function onWheel(canvas, { zoom, pan }) {
  canvas.addEventListener("wheel", (event) => {
    const isHeld = event.ctrlKey || event.metaKey;
    if (!isHeld && !canvas.matches(":focus")) return;
    event.preventDefault();
    const unit = [1, PIXELS_PER_LINE, NOTCH][event.deltaMode];
    const isSideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const pixels = unit * (isSideways ? event.deltaX || event.deltaY : event.deltaY);
    if (isSideways) return pan(pixels, event);
    const isPinch = event.ctrlKey && Math.abs(pixels) < PINCH_STEP;
    const notches = (pixels * (isPinch ? PINCH_FACTOR : 1)) / NOTCH;
    zoom(ZOOM_PER_NOTCH ** Math.min(Math.max(notches, -MOST_NOTCHES), MOST_NOTCHES), event);
  }, { passive: false });
}

// Axes around a rectangle {left, top, right, bottom}: x and y are scales; labels name the quantity and its unit.
export function drawAxes(context, box, colors, { x, y, xLabel = "", yLabel = "", formatX = (value) => formatNumber(value), formatY = formatNumber, grid = false, spaceX = 80 }) {
  context.save();
  context.font = "11px system-ui, sans-serif";
  context.lineWidth = 1;
  context.strokeStyle = colors.line;
  context.fillStyle = colors.muted;
  const bottom = Math.round(box.bottom) + 0.5;
  const left = Math.round(box.left) + 0.5;
  if (x) {
    const marks = ticks(...x.domain, Math.max((box.right - box.left) / spaceX, 2));
    const step = marks.length > 1 ? marks[1] - marks[0] : 1;
    context.beginPath();
    context.moveTo(left, bottom);
    context.lineTo(box.right, bottom);
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const mark of marks) {
      const at = Math.round(x(mark)) + 0.5;
      if (grid) gridLine(context, colors, at, box.top, at, bottom);
      context.moveTo(at, bottom);
      context.lineTo(at, bottom + 4);
      // labels at the ends stay inside, where the next panel begins
      context.textAlign = at > box.right - 20 ? "right" : at < left + 20 ? "left" : "center";
      context.fillText(formatX(mark, step), at, bottom + 6);
    }
    context.stroke();
    context.textAlign = "center";
    context.fillText(xLabel, (box.left + box.right) / 2, bottom + 20);
  }
  if (y) {
    context.beginPath();
    context.moveTo(left, box.top);
    context.lineTo(left, bottom);
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const mark of ticks(...[...y.domain].sort((a, b) => a - b), Math.max((box.bottom - box.top) / 45, 2))) {
      const at = Math.round(y(mark)) + 0.5;
      if (grid) gridLine(context, colors, left, at, box.right, at);
      context.moveTo(left - 4, at);
      context.lineTo(left, at);
      context.fillText(formatY(mark), left - 6, at);
    }
    context.stroke();
    if (yLabel) {
      context.translate(12, (box.top + box.bottom) / 2);
      context.rotate(-Math.PI / 2);
      context.textAlign = "center";
      context.fillText(yLabel, 0, 0);
    }
  }
  context.restore();
}

function gridLine(context, colors, x0, y0, x1, y1) {
  context.save();
  context.strokeStyle = colors.faint;
  // a path of its own: the axis is being gathered in that of the context
  const path = new Path2D();
  path.moveTo(x0, y0);
  path.lineTo(x1, y1);
  context.stroke(path);
  context.restore();
}

// A short text beside the pointer, of which there is one in a page; null hides it.
export function showTip(event, text) {
  let tip = document.querySelector(".crsae-tip");
  if (!text) {
    tip?.remove();
    return;
  }
  if (!tip) {
    tip = make("div", { class: "crsae-tip", role: "tooltip" });
    document.body.append(tip);
  }
  tip.textContent = text;
  tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 4)}px`;
  tip.style.top = `${Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 4)}px`;
}

// Units as buttons; `pressed(unit)` tells which are on, `act(unit, event)` is called with the index of the unit.
export function chips(unitIds, { pressed, selected, act, title }) {
  return unitIds.map((unitId, unit) =>
    make("button", {
      class: selected(unit) ? "crsae-chip selected" : "crsae-chip",
      style: `--unit-color: ${unitColor(unit)}`,
      "aria-pressed": String(pressed(unit)),
      "data-unit": unitId,
      title,
      onclick: (event) => act(unit, event),
    }, unitId));
}

// Whether there is a kernel, or a saved page holds the answer. An element with `data-needs` is shown only where it is so.
export const answers = (model, kind) => !model.isStatic || model.answers(kind);

// Sends messages one at a time: while the kernel works on one, only the newest of each kind waits.
export class Requests {
  constructor(model) {
    this.model = model;
    this.waiting = new Map();
    this.isBusy = false;
    model.on("change:payload", () => this.next());
    model.on("change:error", () => this.next());
  }

  next() {
    this.isBusy = false;
    clearTimeout(this.timer);
    const [first] = this.waiting.values();
    if (first) this.send(first);
  }

  send(message) {
    if (this.isBusy) {
      this.waiting.set(message.kind, message);
      return;
    }
    this.waiting.delete(message.kind);
    this.isBusy = !this.model.isStatic;
    // a kernel that finds nothing changed answers nothing
    this.timer = setTimeout(() => this.next(), 1000);
    this.model.send(message);
  }
}

// The frame of a view: title, tools, notes, errors. `draw(data, colors, width)` is called when anything has changed,
// with the unpacked payload. A payload with `empty` shows that text instead.
export function frame({ model, el, title, draw }) {
  const summary = make("span", { class: "crsae-summary", role: "status" });
  const tools = make("span", { class: "crsae-tools" });
  const error = make("div", { class: "crsae-error crsae-hidden", role: "alert" });
  const empty = make("div", { class: "crsae-empty crsae-hidden" });
  const holds = make("div", { class: "crsae-note crsae-holds crsae-hidden", role: "status" });
  const body = make("div");
  const notes = make("div");
  const root = make("div", { class: "crsae", role: "region", "aria-label": title },
    make("header", {}, make("h4", {}, title), summary, tools), holds, error, empty, body, notes);
  el.append(root);
  const view = { root, body, summary, tools, data: null };
  let isPlanned = false;
  // what a tip says is no longer so once the picture has moved under it
  for (const kind of ["keydown", "wheel"]) root.addEventListener(kind, () => showTip(null, null), { capture: true, passive: true });

  function isDark() {
    const theme = model.get("theme");
    if (theme !== "auto") return theme === "dark";
    const host = document.body;
    if (host.dataset.jpThemeLight) return host.dataset.jpThemeLight === "false";
    if (host.dataset.vscodeThemeKind) return host.dataset.vscodeThemeKind.includes("dark");
    return window.matchMedia("(prefers-color-scheme: dark)").matches;
  }

  // A saved page says what it holds and hides what needs more; what is asked for nevertheless, by a key, it refuses.
  function offer() {
    for (const node of root.querySelectorAll("[data-needs]")) {
      node.classList.toggle("crsae-unoffered", !answers(model, node.dataset.needs));
    }
    holds.classList.toggle("crsae-hidden", !model.isStatic);
    if (!model.isStatic) return;
    const isRefused = model.get("refused");
    holds.textContent = `Saved page. It holds ${model.held.says}.${isRefused ? " For anything else, open the view in a notebook." : ""}`;
    holds.classList.toggle("crsae-refused", Boolean(isRefused));
  }

  function redraw() {
    isPlanned = false;
    root.classList.toggle("dark", isDark());
    isOnDark = isDark();
    error.textContent = model.get("error") || "";
    error.classList.toggle("crsae-hidden", !error.textContent);
    const text = view.data?.empty;
    empty.textContent = text || "";
    empty.classList.toggle("crsae-hidden", !text);
    body.classList.toggle("crsae-hidden", Boolean(text));
    notes.replaceChildren(...(view.data?.notes ?? []).map((note) => make("div", { class: "crsae-note" }, note)));
    offer();
    const width = Math.floor(body.clientWidth);
    if (text || !view.data || width <= 0) return;
    const style = getComputedStyle(root);
    const colors = Object.fromEntries(["text", "muted", "line", "faint", "background", "accent", "trace", "warning"]
      .map((name) => [name, style.getPropertyValue(`--crsae-${name}`).trim()]));
    const start = performance.now();
    try {
      draw(view.data, colors, width);
    } catch (problem) {
      error.textContent = `the view could not be drawn: ${problem.message}`;
      error.classList.remove("crsae-hidden");
      console.error(problem);
    }
    offer();  // elements that were made just now
    root.dataset.drawMs = (performance.now() - start).toFixed(1);
    root.dataset.drawn = String(Number(root.dataset.drawn ?? 0) + 1);
  }

  view.redraw = () => {
    if (isPlanned) return;
    isPlanned = true;
    requestAnimationFrame(redraw);
  };
  const update = () => {
    const payload = model.get("payload");
    view.data = payload && Object.keys(payload).length ? unpack(payload) : null;
    view.redraw();
  };
  model.on("change:payload", update);
  const redrawn = ["change:error", "change:theme", "change:refused"];
  for (const name of redrawn) model.on(name, view.redraw);
  const resized = new ResizeObserver(view.redraw);
  resized.observe(root);
  const themed = new MutationObserver(view.redraw);
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind"] });
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", view.redraw);
  view.stop = () => {
    resized.disconnect();
    themed.disconnect();
    scheme.removeEventListener("change", view.redraw);
    showTip(null, null);
    model.off("change:payload", update);
    for (const name of redrawn) model.off(name, view.redraw);
  };
  update();
  return view;
}
