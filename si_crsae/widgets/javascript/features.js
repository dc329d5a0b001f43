import { drawIntervals, drawRate, drawSimilarity, drawSingleWaveforms, similarityLayout } from "./feature_panels.js";
import { GridList } from "./grid_list.js";
import { chooserRows, listenToKeys } from "./keys.js";
import { Scatter } from "./scatter.js";
import { offerPictures } from "./pictures.js";
import { Requests, Surface, answers, chips, counted, formatNumber, formatTime, frame, make, showTip, unitColor, unpack } from "./shared.js";

const POINTS_HEIGHT = 300;
const TIME_HEIGHT = 190;
const SMALL_HEIGHT = 190;
const LIST_HEIGHT = 360;
const COLUMN_GAP = 12;
const WIDE = 820;

export default {
  render({ model, el }) {
    const requests = new Requests(model);
    const waveforms = new Surface("Single waveforms over the mean");
    const intervals = new Surface("Intervals of the selected units");
    const rate = new Surface("Rate of the selected units");
    const similarity = new Surface("Similarity of all units; arrow keys choose a pair, Enter selects it, click selects");
    for (const surface of [waveforms, intervals, rate]) surface.canvas.removeAttribute("tabindex");
    const units = make("div", { class: "crsae-chips", role: "group", "aria-label": "Units", "data-needs": "select_units" });
    const caught = make("span", { class: "crsae-prompt-text", role: "status" });
    let data = null;
    let matrix = null;
    let built = null;
    let layout = null;
    let cursor = null;

    const view = frame({ model, el, title: "Features of the spikes", draw });
    offerPictures(view, model);
    const button = (text, title, act, needs) => make("button", { title, "aria-label": title, "data-needs": needs, onclick: act }, text);
    const reading = make("progress", { class: "crsae-hidden", max: "1", "aria-label": "Waveforms that were read" });
    const prompt = make("div", { class: "crsae-prompt" }, caught, reading, make("span", { class: "crsae-actions" },
      button("decide in Curation", "Show what a split would make in the curation view", () => model.send({ kind: "decide" }), "decide"),
      button("clear", "Let the caught spikes go", () => model.send({ kind: "clear" }), "clear")));
    const axis = (trait, title) => make("select", { title, "aria-label": title, onchange: (event) => { model.set(trait, event.target.value); model.save_changes(); } });
    const axes = { across: axis("across", "What is across"), up: axis("up", "What is up") };
    view.tools.append(axes.up, "over", axes.across);

    const names = { time: "time", amplitude: "amplitude / typical" };
    const nameOf = (unit) => data.unit_ids[unit];
    const goTo = (time_s) => model.send({ kind: "go_to", time_s: Math.min(Math.max(time_s, 0), data.duration_s) });
    const catching = (x, y) => (corners) => requests.send({ kind: "lasso", x: x(), y: y(), corners });
    // Points of `times()` tell their unit and time; a click goes there, or, over time, to where it is.
    function scatterOf(label, x, y, times) {
      return new Scatter({
        label, redraw: view.redraw, caught: catching(x, y),
        clicked: (point, at) => { if (point >= 0) goTo(times()[point]); else if (x() === "time") goTo(at.x); },
        tell: (event, point) => showTip(event, point < 0 ? null : `unit ${nameOf(scatters[label].shown.unit[point])} at ${formatTime(times()[point], 0.0001)}`),
      });
    }
    const scatters = {
      Components: scatterOf("Components", () => model.get("across"), () => model.get("up"), () => data.points.time_s),
      Amplitudes: scatterOf("Amplitudes", () => "time", () => "amplitude", () => data.amplitudes.time_s),
      Depths: scatterOf("Depths", () => "time", () => "depth", () => data.points.time_s),
    };
    const spikes = new GridList({
      label: "Spikes: arrows up and down go to one", isMultiple: false, choose: goToRow, changed: () => { built = null; view.redraw(); },
      sort: { name: "time", isDown: false },
    });
    const canvasOf = (name) => scatters[name].surface.canvas;
    const upper = make("div", { class: "crsae-row" }, canvasOf("Components"), waveforms.canvas);
    const small = make("div", { class: "crsae-row" }, intervals.canvas, rate.canvas);
    const lower = make("div", { class: "crsae-row" }, spikes.node, similarity.canvas);
    const pictures = make("div", {}, upper, canvasOf("Amplitudes"), canvasOf("Depths"), small);
    view.body.append(units, prompt, pictures, lower);

    function select(chosen) {
      requests.send({ kind: "select_units", unit_ids: chosen.map(nameOf) });
    }
    function chooseUnit(unit, event) {
      const isAdded = event.ctrlKey || event.metaKey || event.shiftKey;
      if (!isAdded) return select([unit]);
      select(data.selected.includes(unit) ? data.selected.filter((other) => other !== unit) : [...data.selected, unit]);
    }
    const sortBy = ({ name, isDown }) => model.send({ kind: "sort", by: name, is_down: isDown });
    function goToRow(row) {
      spikes.moveCursor(row);
      spikes.list.focus({ preventScroll: true });
      goTo(data.spikes.time_s[row]);
    }

    function draw(newData, colors, width) {
      data = newData;
      build();
      const isWide = width >= WIDE;
      const half = isWide ? Math.floor((width - COLUMN_GAP) / 2) : width;
      const hasPoints = Object.keys(data.labels).length > 0;
      pictures.classList.toggle("crsae-hidden", !data.drawn.length);
      for (const node of [upper, canvasOf("Depths")]) node.classList.toggle("crsae-hidden", !hasPoints);
      const lassoOf = (x, y) => (data.lasso_axes[0] === x && data.lasso_axes[1] === y ? data.lasso : []);
      const { points, amplitudes } = data;
      const ofPoints = { unit: points.unit, isInside: points.is_inside };
      const overTime = { xLabel: names.time, formatX: formatTime, range: [0, data.duration_s], cursor: model.get("cursor_s") };
      if (data.drawn.length && hasPoints) {
        const [across, up] = [model.get("across"), model.get("up")];
        scatters.Components.draw({ ...ofPoints, x: points.features[across], y: points.features[up], xLabel: data.labels[across], yLabel: data.labels[up], lasso: lassoOf(across, up) }, colors, half, POINTS_HEIGHT);
        drawSingleWaveforms(waveforms, data, colors, half, POINTS_HEIGHT);
        scatters.Depths.draw({ ...ofPoints, ...overTime, x: points.time_s, y: points.features.depth, yLabel: data.labels.depth, lasso: lassoOf("time", "depth") }, colors, width, TIME_HEIGHT);
      }
      if (data.drawn.length) {
        scatters.Amplitudes.draw({ ...overTime, unit: amplitudes.unit, isInside: data.is_inside, x: amplitudes.time_s, y: amplitudes.amplitude, yLabel: names.amplitude, lasso: lassoOf("time", "amplitude") }, colors, width, TIME_HEIGHT);
        drawIntervals(intervals, data, colors, half, SMALL_HEIGHT);
        drawRate(rate, data, colors, half, SMALL_HEIGHT, model.get("cursor_s"));
      }
      spikes.resize(half, isWide ? LIST_HEIGHT : 220);
      if (matrix) {
        layout = similarityLayout(matrix, half, LIST_HEIGHT);
        drawSimilarity(similarity, matrix, layout, colors, half, LIST_HEIGHT, { selected: data.selected, cursor });
      }
      describe();
    }

    // The parts made of elements: anew only with new data, or a kernel gone or come.
    function build() {
      if (built?.data === data && built.isStatic === model.isStatic) return;
      built = { data, isStatic: model.isStatic };
      units.replaceChildren(...chips(data.unit_ids, {
        pressed: (unit) => data.selected.includes(unit), selected: (unit) => data.selected.includes(unit), act: chooseUnit, title: "Select the unit; with Ctrl or Shift: add it, or take it away",
      }));
      for (const [trait, node] of Object.entries(axes)) {
        node.replaceChildren(...Object.entries(data.labels).map(([value, text]) => make("option", { value, selected: value === model.get(trait) }, text)));
        node.disabled = !Object.keys(data.labels).length;
      }
      const rows = data.spikes;
      // a saved page sorts what it lists
      spikes.sortedBy = answers(model, "sort") ? sortBy : null;
      if (spikes.sortedBy) spikes.sort = { name: rows.sort, isDown: rows.is_down };
      const column = (name, title, value, cells, hint) => ({ name, title, value, cells: (row) => [cells(row)], hint, isRising: name === "time" });
      spikes.show([
        column("time", "time", (row) => rows.time_s[row], (row) => formatTime(rows.time_s[row], 0.0001)),
        column("unit", "unit", (row) => nameOf(rows.unit[row]), (row) => nameOf(rows.unit[row])),
        column("amplitude", "amplitude", (row) => rows.amplitude[row], (row) => rows.amplitude[row].toFixed(2), "amplitude, of the usual one of the unit"),
        ...(rows.probability ? [column("probability", "probability", (row) => rows.probability[row], (row) => formatNumber(rows.probability[row]))] : []),
      ], rows.time_s.length, { content: [[...rows.time_s], [...rows.unit]], selected: new Set(), attributes: (row) => ({ style: `--unit-color: ${unitColor(rows.unit[row])}` }) });
    }

    function whatIsCaught(leading) {
      const isOfWaveforms = data.lasso_axes.some((name) => !["time", "amplitude"].includes(name));
      const read = isOfWaveforms ? " The waveforms of all were read for that." : "";
      return `${counted(data.num_inside, "spike")} of ${data.num_of_leading.toLocaleString("en-US")} of unit ${nameOf(leading)} caught.${read}`;
    }
    function whatToDraw(leading) {
      const drawn = data.read_of_leading < data.num_of_leading && data.read_of_leading ? ` Components and depths are drawn of ${data.read_of_leading.toLocaleString("en-US")} of its ${counted(data.num_of_leading, "spike")}, evenly chosen; a line is held against all.` : "";
      return `Draw a line around points of unit ${nameOf(leading ?? 0)} to split them off.${drawn}`;
    }
    function describeReading() {
      const share = model.get("progress");
      const isOver = !(share < 1);
      reading.classList.toggle("crsae-hidden", isOver);
      if (isOver) return;
      reading.value = share;
      caught.textContent = `Reading the waveforms of ${counted(data.num_of_leading, "spike")}: ${Math.round(100 * share)} %.`;
    }

    function describe() {
      const leading = data.drawn[0];
      view.summary.textContent = data.drawn.length ? `unit ${data.drawn.map(nameOf).join(", ")} of ${data.unit_ids.length}; ${counted(data.spikes.num_spikes, "spike")}, ${data.spikes.time_s.length} listed` : `none of ${counted(data.unit_ids.length, "unit")}`;
      prompt.classList.toggle("crsae-hidden", !data.drawn.length || model.isStatic);
      caught.textContent = data.lasso.length ? whatIsCaught(leading) : whatToDraw(leading);
      describeReading();
      for (const node of prompt.querySelectorAll("button")) node.disabled = !data.lasso.length || (node.dataset.needs === "decide" && !data.num_inside);
    }

    function cellAt(event) {
      if (!layout) return null;
      const { x, y } = similarity.locate(event);
      const [row, column] = [Math.floor((y - layout.top) / layout.cell), Math.floor((x - layout.left) / layout.cell)];
      return row < 0 || column < 0 || row >= layout.count || column >= layout.count ? null : [row, column];
    }
    function tellPair(event, cell) {
      if (!cell) return showTip(event, null);
      const [row, column] = cell;
      const [one, other] = [matrix.units[row], matrix.units[column]];
      const value = row === column ? "" : `\nsimilarity ${matrix.values[row * layout.count + column].toFixed(2)}`;
      showTip(event, row === column ? `unit ${nameOf(one)}` : `units ${nameOf(one)} and ${nameOf(other)}${value}`);
    }
    const selectCell = ([row, column]) => select([...new Set([matrix.units[row], matrix.units[column]])]);
    similarity.canvas.addEventListener("pointermove", (event) => tellPair(event, cellAt(event)));
    similarity.canvas.addEventListener("pointerleave", (event) => showTip(event, null));
    similarity.canvas.addEventListener("blur", () => { cursor = null; showTip(null, null); view.redraw(); });
    similarity.canvas.addEventListener("click", (event) => { const cell = cellAt(event); if (cell) selectCell(cell); });
    function moveCell(down, right) {
      if (!layout) return;
      const within = (place) => Math.min(Math.max(place, 0), layout.count - 1);
      cursor = cursor ? [within(cursor[0] + down), within(cursor[1] + right)] : [0, 0];
      const box = similarity.canvas.getBoundingClientRect();
      tellPair({ clientX: box.left + layout.left + cursor[1] * layout.cell, clientY: box.top + layout.top + cursor[0] * layout.cell }, cursor);
      view.redraw();
    }

    listenToKeys(view, model, [
      ...Object.entries(scatters).map(([title, scatter]) => scatter.keys(title)),
      {
        on: spikes.list, title: "List of spikes",
        rows: () => chooserRows((by) => { const row = spikes.neighbor(by); if (row >= 0) goToRow(row); }, () => spikes.rows.length),
      },
      {
        on: similarity.canvas, title: "Similarity", rows: [
          [["ArrowUp"], "the pair above", () => moveCell(-1, 0)], [["ArrowDown"], "the pair below", () => moveCell(1, 0)],
          [["ArrowLeft"], "the pair before", () => moveCell(0, -1)], [["ArrowRight"], "the next pair", () => moveCell(0, 1)],
          [["Enter"], "select its units", () => { if (cursor) selectCell(cursor); }, "select_units"],
        ],
      },
      {
        on: view.root, title: "Spikes", rows: [
          [["."], "next spike of the selected units", () => requests.send({ kind: "next_spike", backwards: false }), "next_spike"],
          [[","], "previous spike", () => requests.send({ kind: "next_spike", backwards: true }), "next_spike"],
          [["Escape"], "let the caught spikes go", () => model.send({ kind: "clear" }), "clear"],
        ],
      },
    ], () => data && !data.empty);

    function readMatrix() {
      const packed = model.get("matrix");
      matrix = packed?.units ? unpack(packed) : null;
      view.redraw();
    }
    const redrawn = ["across", "up", "cursor_s", "progress"];
    for (const name of redrawn) model.on(`change:${name}`, view.redraw);
    model.on("change:matrix", readMatrix);
    readMatrix();
    return () => {
      for (const name of redrawn) model.off(`change:${name}`, view.redraw);
      model.off("change:matrix", readMatrix);
      view.stop();
    };
  },
};
