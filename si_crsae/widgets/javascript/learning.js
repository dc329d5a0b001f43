import { listenToKeys } from "./keys.js";
import { offerPictures } from "./pictures.js";
import { Surface, drawAxes, formatNumber, frame, make, scale, showTip, ticks, unitColor } from "./shared.js";

const PANEL_HEIGHT = 206;
const PANEL_MARGIN = { left: 76, right: 12, top: 24, bottom: 38 };
const CELL_SIZES = [[96, 70], [72, 54], [58, 46]];
const WIDE_CELLS = 48;
const MARKERS = ["circle", "square", "triangle"];

export default {
  render({ model, el }) {
    const curves = new Surface("Curves of learning; arrow keys go from step to step");
    const atoms = new Surface("Atoms; arrow keys go from one to the next, Enter selects the unit");
    const caption = make("div", { class: "crsae-note" });
    const chooser = make("select", { class: "crsae-hidden", "aria-label": "Group of channels", title: "Group of channels", "data-needs": "show_course", onchange: () => model.send({ kind: "show_course", name: chooser.value }) });
    let data = null;
    let panels = [];
    let cells = null;
    let step = null;
    let cell = -1;

    const view = frame({ model, el, title: "Learning", draw });
    offerPictures(view, model);
    view.tools.append(chooser);
    view.body.append(curves.canvas, caption, atoms.canvas);

    function draw(newData, colors, width) {
      data = newData;
      chooser.classList.toggle("crsae-hidden", data.names.length < 2);
      chooser.replaceChildren(...data.names.map((name, index) => make("option", { value: name, selected: index === data.shown }, name)));
      describe();
      drawCurves(colors, width);
      drawAtoms(colors, width);
    }

    function describe() {
      const value = (title) => data.panels.find((panel) => panel.title === title)?.lines[0].values.at(-1);
      const parts = [`${data.step_name} ${data.step} of ${data.num_steps}`];
      if (value("atoms") !== undefined) parts.push(`${value("atoms")} atoms`, `${grouped(value("events"))} events`);
      if (Number.isFinite(value("change of atoms"))) parts.push(`median change ${formatNumber(value("change of atoms"))} dB`);
      view.summary.textContent = (data.is_running ? "● live: " : "") + parts.join(", ");
      view.root.dataset.running = String(data.is_running);
    }

    function drawCurves(colors, width) {
      const columns = Math.max(Math.min(Math.floor(width / 300), 3, data.panels.length), 1);
      const rows = Math.ceil(data.panels.length / columns);
      const context = curves.resize(width, rows * PANEL_HEIGHT);
      panels = data.panels.map((panel, index) => {
        const left = (index % columns) * (width / columns);
        const top = Math.floor(index / columns) * PANEL_HEIGHT;
        const box = {
          left: left + PANEL_MARGIN.left, right: left + width / columns - PANEL_MARGIN.right,
          top: top + PANEL_MARGIN.top, bottom: top + PANEL_HEIGHT - PANEL_MARGIN.bottom, edge: left,
        };
        return { ...panel, box, ...scalesOf(panel, box, data) };
      });
      for (const panel of panels) drawPanel(context, panel, colors);
    }

    function drawPanel(context, panel, colors) {
      const { box, x, y } = panel;
      context.save();
      context.translate(box.edge, 0);
      const moved = { ...box, left: box.left - box.edge, right: box.right - box.edge };
      const across = (value) => x(value) - box.edge;
      across.domain = x.domain;
      drawAxes(context, moved, colors, {
        x: across, y, xLabel: data.step_name, yLabel: panel.axis, grid: true, spaceX: 40,
        formatX: (mark) => (Number.isInteger(mark) ? String(mark) : ""),
        formatY: (mark) => (panel.is_whole ? (Number.isInteger(mark) ? grouped(mark) : "") : rounded(mark, y.domain)),
      });
      context.restore();
      context.font = "600 12px system-ui, sans-serif";
      context.fillStyle = colors.text;
      context.textAlign = "left";
      context.textBaseline = "alphabetic";
      context.fillText(panel.title, box.left, box.top - 9);
      if (panel.lines.length > 1) drawLineNames(context, panel, colors);
      if (step !== null && step >= x.domain[0] && step <= x.domain[1]) {
        context.strokeStyle = colors.accent;
        context.lineWidth = 1;
        context.strokeRect(x(step) - 0.5, box.top, 1, box.bottom - box.top);
      }
      context.fillStyle = colors.muted;
      context.globalAlpha = 0.35;
      panel.dot_step.forEach((at, dot) => {
        // spread by a fixed pattern, so that equal values do not hide one another
        const aside = (((dot * 0.618) % 1) - 0.5) * Math.min(12, 0.4 * Math.abs(x(at + 1) - x(at)));
        context.fillRect(x(at) + aside - 1, y(panel.dot_value[dot]) - 1, 2.5, 2.5);
      });
      context.globalAlpha = 1;
      panel.lines.forEach((line, index) => drawLine(context, line, x, y, index));
    }

    function drawLineNames(context, panel, colors) {
      let right = panel.box.right;
      context.font = "600 12px system-ui, sans-serif";
      const titleWidth = context.measureText(panel.title).width;
      context.font = "11px system-ui, sans-serif";
      const namesWidth = panel.lines.reduce((sum, { name }) => sum + context.measureText(name).width + 23, 0);
      // beneath the title where there is no room beside it
      const y = panel.box.left + titleWidth + namesWidth > right ? panel.box.top + 4 : panel.box.top - 9;
      for (let index = panel.lines.length - 1; index >= 0; index--) {
        const { name } = panel.lines[index];
        context.textAlign = "right";
        context.fillStyle = colors.muted;
        context.fillText(name, right, y);
        right -= context.measureText(name).width + 9;
        context.fillStyle = unitColor(index);
        mark(context, MARKERS[index], right, y - 4);
        right -= 14;
      }
    }

    function drawAtoms(colors, width) {
      const [count, versions, length] = data.waveforms.shape;
      atoms.canvas.classList.toggle("crsae-hidden", count === 0);
      caption.textContent = count ? captionOf(data) : "";
      if (!count) return;
      const [cellWidth, cellHeight] = CELL_SIZES[count <= WIDE_CELLS ? 0 : count <= 120 ? 1 : 2];
      const columns = Math.max(Math.min(Math.floor(width / cellWidth), count), 1);
      const across = count > columns ? width / columns : cellWidth;
      cells = { columns, width: across, height: cellHeight, count };
      const context = atoms.resize(width, Math.ceil(count / columns) * cellHeight);
      const selected = new Set(data.selected);
      for (let index = 0; index < count; index++) {
        const left = (index % columns) * across;
        const top = Math.floor(index / columns) * cellHeight;
        const isSelected = data.cell_unit[index] && selected.has(data.cell_unit[index]);
        context.strokeStyle = isSelected ? colors.accent : colors.faint;
        context.lineWidth = isSelected ? 2 : 1;
        context.strokeRect(left + 2, top + 2, across - 4, cellHeight - 4);
        if (index === cell) {
          context.setLineDash([3, 2]);
          context.strokeStyle = colors.text;
          context.strokeRect(left + 4, top + 4, across - 8, cellHeight - 8);
          context.setLineDash([]);
        }
        drawLabels(context, index, left, top, across, colors, isSelected);
        const box = { left: left + 6, right: left + across - 6, top: top + 18, bottom: top + cellHeight - 6 };
        const first = index * versions * length;
        if (data.picture_shape.length) drawPicture(context, data.waveforms.subarray(first, first + length), data.picture_shape, box);
        else drawVersions(context, data.waveforms.subarray(first, first + versions * length), versions, box, cellColor(index, colors));
      }
    }

    const cellColor = (index, colors) => (data.cell_color[index] >= 0 ? unitColor(data.cell_color[index]) : colors.muted);

    function drawLabels(context, index, left, top, across, colors, isSelected) {
      context.font = `${isSelected ? "600 " : ""}11px system-ui, sans-serif`;
      context.textBaseline = "alphabetic";
      context.textAlign = "left";
      context.fillStyle = colors.text;
      context.fillText(data.cell_name[index].slice(0, 9), left + 7, top + 14);
      const change = data.cell_change_db[index];
      if (across < 90 || data.num_steps === 0) return;
      context.textAlign = "right";
      context.fillStyle = colors.muted;
      context.font = "10px system-ui, sans-serif";
      context.fillText(Number.isNaN(change) ? "new" : `${change.toFixed(0)} dB`, left + across - 7, top + 14);
    }

    // Which panel and step an event of the pointer means; null beside the panels.
    function placeInCurves(event) {
      const { x, y } = curves.locate(event);
      const panel = panels.find(({ box }) => x >= box.edge && x <= box.right + 6 && y >= box.top - 20 && y <= box.bottom + 20);
      return panel ? { panel, step: nearestStep(panel, panel.x.invert(x)) } : null;
    }

    curves.canvas.addEventListener("pointermove", (event) => {
      const at = data && placeInCurves(event);
      if (!at || at.step === null) return leaveCurves(event);
      showTip(event, tipOf(at.panel, at.step, data.step_name));
      if (step !== at.step) {
        step = at.step;
        view.redraw();
      }
    });
    function leaveCurves(event) {
      showTip(event, null);
      if (step !== null) {
        step = null;
        view.redraw();
      }
    }
    curves.canvas.addEventListener("pointerleave", leaveCurves);
    curves.canvas.addEventListener("blur", leaveCurves);
    function goToStep(change) {
      if (!panels.length) return;
      const [first, last] = [Math.ceil(panels[0].x.domain[0]), data.step];
      step = Math.min(Math.max((step ?? last + 1) + change, first), last);
      const box = curves.canvas.getBoundingClientRect();
      const text = panels.map((panel) => tipOf(panel, step, data.step_name, panel.title)).filter(Boolean).join("\n");
      showTip({ clientX: box.left + panels[0].x(step), clientY: box.top + panels[0].box.top }, text);
      view.redraw();
    }

    function placeInAtoms(event) {
      if (!cells || !data) return -1;
      const { x, y } = atoms.locate(event);
      const column = Math.floor(x / cells.width);
      const index = Math.floor(y / cells.height) * cells.columns + column;
      return x >= 0 && y >= 0 && column < cells.columns && index < cells.count ? index : -1;
    }

    function select(index, isAdded) {
      const unit = data.cell_unit[index];
      if (!unit) return;
      const others = isAdded ? data.selected.filter((other) => other !== unit) : [];
      const chosen = isAdded && data.selected.includes(unit) && others.length ? others : [unit, ...others];
      model.send({ kind: "select_units", unit_ids: chosen });
    }

    atoms.canvas.addEventListener("pointermove", (event) => {
      const index = placeInAtoms(event);
      showTip(event, index < 0 ? null : cellTip(data, index));
    });
    atoms.canvas.addEventListener("pointerleave", (event) => showTip(event, null));
    atoms.canvas.addEventListener("click", (event) => {
      const index = placeInAtoms(event);
      if (index >= 0) select(index, event.shiftKey || event.ctrlKey || event.metaKey);
    });
    atoms.canvas.addEventListener("blur", () => { cell = -1; view.redraw(); });
    function goToCell(change) {
      if (!cells) return;
      cell = Math.min(Math.max(cell < 0 ? 0 : cell + change, 0), cells.count - 1);
      const box = atoms.canvas.getBoundingClientRect();
      showTip({
        clientX: box.left + ((cell % cells.columns) + 0.5) * cells.width,
        clientY: box.top + (Math.floor(cell / cells.columns) + 0.8) * cells.height,
      }, cellTip(data, cell));
      view.redraw();
    }
    listenToKeys(view, model, [
      {
        on: curves.canvas, title: "Curves", rows: [
          [["ArrowLeft"], "the step before", () => goToStep(-1)],
          [["ArrowRight"], "the next step", () => goToStep(1)],
          [["Home"], "the first step", () => goToStep(-Infinity)],
          [["End"], "the last step", () => goToStep(Infinity)],
        ],
      },
      {
        on: atoms.canvas, title: "Atoms", rows: [
          [["ArrowLeft"], "the atom before", () => goToCell(-1)],
          [["ArrowRight"], "the next atom", () => goToCell(1)],
          [["ArrowUp"], "the atom above", () => goToCell(-cells?.columns)],
          [["ArrowDown"], "the atom below", () => goToCell(cells?.columns)],
          [["Enter", " "], "select its unit; with Shift: it too", (event) => { if (cell >= 0) select(cell, event.shiftKey); }, "select_units"],
        ],
      },
    ], () => data);
    return () => view.stop();
  },
};

function scalesOf(panel, box, data) {
  const steps = panel.lines.flatMap((line) => [...line.steps]);
  const values = [...panel.lines.flatMap((line) => [...line.values]), ...panel.dot_value].filter(Number.isFinite);
  const first = Math.min(...steps, data.num_steps);
  const last = Math.max(...steps, data.num_steps);
  let low = values.length ? values.reduce((least, value) => Math.min(least, value)) : 0;
  let high = values.length ? values.reduce((largest, value) => Math.max(largest, value)) : 1;
  if (!(high > low)) {
    const margin = Math.max(0.05 * Math.abs(high), panel.is_whole ? 1 : 1e-3);
    [low, high] = [low - margin, high + margin];
  }
  // to round numbers, so that there are marks at both ends
  const power = 10 ** Math.floor(Math.log10((high - low) / 2));
  const nice = power * [5, 2, 1].find((factor) => factor * power <= ((high - low) / 2) * 1.001);
  const between = panel.is_whole ? Math.max(nice, 1) : nice;
  [low, high] = [Math.floor(low / between + 1e-9) * between, Math.ceil(high / between - 1e-9) * between];
  const aside = first === last ? 0.5 : 0;
  return { x: scale(first - aside, last + aside, box.left, box.right), y: scale(low, high, box.bottom, box.top) };
}

function grouped(value) {
  return Math.round(value).toLocaleString("en-US");
}

// As many digits as tell neighboring marks apart.
function rounded(value, domain) {
  const marks = ticks(...[...domain].sort((a, b) => a - b), 4);
  const between = marks.length > 1 ? marks[1] - marks[0] : 1;
  const digits = Math.min(Math.max(Math.ceil(-Math.log10(between) - 1e-9), 0), 6);
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function mark(context, kind, x, y) {
  context.beginPath();
  if (kind === "circle") context.arc(x, y, 3, 0, 2 * Math.PI);
  else if (kind === "square") context.rect(x - 3, y - 3, 6, 6);
  else {
    context.moveTo(x, y - 4);
    context.lineTo(x + 4, y + 3);
    context.lineTo(x - 4, y + 3);
  }
  context.fill();
}

function drawLine(context, line, x, y, index) {
  context.strokeStyle = context.fillStyle = unitColor(index);
  context.lineWidth = 1.6;
  context.setLineDash(index ? [5, 3] : []);
  context.beginPath();
  let isBroken = true;
  line.values.forEach((value, point) => {
    if (!Number.isFinite(value)) {
      isBroken = true;
      return;
    }
    if (isBroken) context.moveTo(x(line.steps[point]), y(value));
    else context.lineTo(x(line.steps[point]), y(value));
    isBroken = false;
  });
  context.stroke();
  context.setLineDash([]);
  if (line.values.length > 60) return;
  line.values.forEach((value, point) => {
    if (Number.isFinite(value)) mark(context, MARKERS[index], x(line.steps[point]), y(value));
  });
}

function nearestStep(panel, value) {
  const steps = panel.lines.flatMap((line) => [...line.steps]);
  return steps.length ? steps.reduce((best, step) => (Math.abs(step - value) < Math.abs(best - value) ? step : best)) : null;
}

function tipOf(panel, step, stepName, title = "") {
  const known = panel.lines
    .map((line) => [line.name, line.values[[...line.steps].indexOf(step)]])
    .filter(([, value]) => value !== undefined);
  const number = (value) => (panel.is_whole ? grouped(value) : `${formatNumber(value, 5)} ${panel.axis}`);
  const lines = known.map(([name, value]) => `${name}: ${Number.isNaN(value) ? "all new" : number(value)}`);
  if (!title) return [`${stepName} ${step}`, ...lines].join("\n");
  return lines.map((line) => (line.startsWith(title) ? line : `${title}, ${line}`)).join("\n");
}

function captionOf(data) {
  const steps = data.version_steps;
  const when = steps.length > 1 ? `${steps.slice(0, -1).join(", ")} and ${steps.at(-1)}, faint to dark` : `${steps[0]}`;
  const what = data.picture_shape.length ? "Atoms" : data.cell_channel.some(Boolean) ? "Atoms on their main channels" : "Atoms";
  return `${what} after ${data.step_name} ${when}; each scaled to its own height.${data.cell_name.length <= WIDE_CELLS ? " Beside the name: its last change." : ""}`;
}

function cellTip(data, index) {
  const name = data.cell_unit[index] ? `unit ${data.cell_unit[index]}` : data.cell_color[index] < 0 ? `${data.cell_name[index]}: no spikes` : data.cell_name[index];
  const [, versions, length] = data.waveforms.shape;
  const newest = data.waveforms.subarray((index * versions + versions - 1) * length, (index + 1) * versions * length);
  const height = newest.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const lines = [name];
  if (data.cell_channel[index]) lines.push(`channel ${data.cell_channel[index]}, peak ${formatNumber(height)} noise sd`);
  const change = data.cell_change_db[index];
  lines.push(Number.isNaN(change) ? "new in the last step" : `last change ${change.toFixed(1)} dB`);
  return lines.join("\n");
}

function drawVersions(context, values, versions, box, color) {
  const length = values.length / versions;
  let [low, high] = [0, 0];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const x = scale(0, Math.max(length - 1, 1), box.left, box.right);
  const y = scale(low, high, box.bottom, box.top);
  context.strokeStyle = color;
  for (let version = 0; version < versions; version++) {
    if (Number.isNaN(values[version * length])) continue;
    context.globalAlpha = versions > 1 ? 0.25 + (0.75 * version) / (versions - 1) : 1;
    context.lineWidth = version === versions - 1 ? 1.6 : 1.1;
    context.beginPath();
    for (let sample = 0; sample < length; sample++) context.lineTo(x(sample), y(values[version * length + sample]));
    context.stroke();
  }
  context.globalAlpha = 1;
}

function drawPicture(context, values, [rows, columns], box) {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
  const size = Math.min((box.right - box.left) / columns, (box.bottom - box.top) / rows);
  const left = (box.left + box.right - size * columns) / 2;
  for (let index = 0; index < rows * columns; index++) {
    const level = Math.round(127.5 * (1 + values[index] / largest));
    context.fillStyle = `rgb(${level}, ${level}, ${level})`;
    context.fillRect(left + (index % columns) * size, box.top + Math.floor(index / columns) * size, size + 0.4, size + 0.4);
  }
}
