import { drawAxes, formatNumber, scale, unitColor } from "./shared.js";

const RAMPS = {
  light: [[255, 255, 255], [176, 208, 236], [66, 133, 198], [8, 48, 107]],
  dark: [[27, 31, 37], [28, 70, 118], [62, 137, 206], [205, 230, 255]],
};
const MATRIX_LEFT = 56;
const MATRIX_TOP = 40;
const BAR_SPACE = 66;
const MAX_CELL = 44;
const MATRIX_FONT = "11px system-ui, sans-serif";

// Agreement from 0 to 1 as red, green and blue.
export function agreementColor(value, isDark) {
  const ramp = isDark ? RAMPS.dark : RAMPS.light;
  const at = Math.min(Math.max(value, 0), 1) * (ramp.length - 1);
  const step = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[step].map((low, channel) => Math.round(low + (ramp[step + 1][channel] - low) * (at - step)));
}

// Where cells are; room for labels on the left and above, for the color bar on the right.
export function matrixLayout(matrix, width, maxHeight) {
  const rows = matrix.rows.length;
  const columns = matrix.columns.length;
  const cell = Math.min(MAX_CELL, (width - MATRIX_LEFT - BAR_SPACE) / columns, (maxHeight - MATRIX_TOP) / rows);
  const box = { left: MATRIX_LEFT, top: MATRIX_TOP, right: MATRIX_LEFT + cell * columns, bottom: MATRIX_TOP + cell * rows };
  return { cell, rows, columns, box, height: Math.ceil(Math.max(box.bottom, MATRIX_TOP + 90) + 8) };
}

export function agreementOf(matrix, row, column) {
  const common = matrix.counts[row * matrix.columns.length + column];
  const union = matrix.num_truth[row] + matrix.num_tested[column] - common;
  return union ? common / union : 0;
}

// One pixel a cell; the browser enlarges it.
function matrixImage(matrix, isDark) {
  const [rows, columns] = [matrix.rows.length, matrix.columns.length];
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at += 4) {
      image.data.set([...agreementColor(agreementOf(matrix, row, column), isDark), 255], at);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const matrixImages = new WeakMap();

// `chosen` is {row, column} in the order of the matrix.
export function drawMatrix(surface, matrix, layout, chosen, colors, isDark, width) {
  const context = surface.resize(width, layout.height);
  const { box, cell } = layout;
  const images = matrixImages.get(matrix) ?? {};
  matrixImages.set(matrix, images);
  images[isDark] ??= matrixImage(matrix, isDark);
  context.imageSmoothingEnabled = false;
  context.drawImage(images[isDark], box.left, box.top, box.right - box.left, box.bottom - box.top);
  context.strokeStyle = colors.line;
  context.lineWidth = 1;
  context.strokeRect(box.left - 0.5, box.top - 0.5, box.right - box.left + 1, box.bottom - box.top + 1);
  context.font = MATRIX_FONT;
  if (cell >= 30) writeAgreement(context, matrix, layout, isDark);
  drawMatrixLabels(context, matrix, layout, chosen, colors);
  drawColorBar(context, layout, colors, isDark);
  const x = box.left + chosen.column * cell;
  const y = box.top + chosen.row * cell;
  const side = Math.max(cell, 6);
  const shift = (cell - side) / 2;
  context.lineWidth = 4;
  context.strokeStyle = colors.background;
  context.strokeRect(x + shift, y + shift, side, side);
  context.lineWidth = 2;
  context.strokeStyle = colors.accent;
  context.strokeRect(x + shift, y + shift, side, side);
}

function writeAgreement(context, matrix, layout, isDark) {
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let row = 0; row < layout.rows; row++) {
    for (let column = 0; column < layout.columns; column++) {
      const value = agreementOf(matrix, row, column);
      if (value < 0.005) continue;
      context.fillStyle = (value > 0.5) === isDark ? "#10151b" : isDark ? "#e4e7ea" : value > 0.5 ? "#ffffff" : "#1f2328";
      context.fillText(value.toFixed(2), layout.box.left + (column + 0.5) * layout.cell, layout.box.top + (row + 0.5) * layout.cell);
    }
  }
}

function drawMatrixLabels(context, matrix, layout, chosen, colors) {
  const { box, cell } = layout;
  const rowIds = matrix.rows.map((unit) => matrix.truth_ids[unit].slice(-6));
  const columnIds = matrix.columns.map((unit) => matrix.tested_ids[unit].slice(-6));
  const widest = Math.max(...columnIds.map((text) => context.measureText(text).width));
  const label = (ids, room, chosenIndex, place) => {
    const every = Math.max(Math.ceil(room / cell), 1);
    ids.forEach((text, index) => {
      const isChosen = index === chosenIndex;
      const isNear = Math.abs(index - chosenIndex) * cell < room && !isChosen;
      if ((index % every !== 0 && !isChosen) || (isNear && every > 1)) return;
      context.font = isChosen ? `bold ${MATRIX_FONT}` : MATRIX_FONT;
      context.fillStyle = isChosen ? colors.text : colors.muted;
      place(text, index);
    });
  };
  context.textAlign = "right";
  context.textBaseline = "middle";
  label(rowIds, 13, chosen.row, (text, index) => context.fillText(text, box.left - 5, box.top + (index + 0.5) * cell));
  context.textAlign = "center";
  context.textBaseline = "bottom";
  label(columnIds, widest + 6, chosen.column, (text, index) => context.fillText(text, box.left + (index + 0.5) * cell, box.top - 4));
  context.font = MATRIX_FONT;
  context.fillStyle = colors.muted;
  const title = `units of ${matrix.tested_name}`;
  const middle = Math.max((box.left + box.right) / 2, box.left - 20 + context.measureText(title).width / 2);
  context.fillText(title, middle, box.top - 22);
  context.save();
  context.translate(10, Math.max((box.top + box.bottom) / 2, box.top + 30));
  context.rotate(-Math.PI / 2);
  context.textBaseline = "middle";
  context.fillText(`units of ${matrix.truth_name}`, 0, 0);
  context.restore();
}

function drawColorBar(context, { box }, colors, isDark) {
  const bottom = Math.max(Math.min(box.bottom, box.top + 160), box.top + 70);
  const left = box.right + 12;
  for (let y = box.top; y < bottom; y++) {
    context.fillStyle = `rgb(${agreementColor(1 - (y - box.top) / (bottom - box.top), isDark).join(",")})`;
    context.fillRect(left, y, 10, 1.5);
  }
  context.strokeStyle = colors.line;
  context.lineWidth = 1;
  context.strokeRect(left - 0.5, box.top - 0.5, 11, bottom - box.top + 1);
  context.fillStyle = colors.muted;
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const mark of [0, 0.5, 1]) context.fillText(String(mark), left + 15, box.top + (1 - mark) * (bottom - box.top));
  context.save();
  context.translate(left + 44, (box.top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText("agreement", 0, 0);
  context.restore();
}

// Both templates at their contacts, on one time axis: that of the true spike, dashed.
export function drawTemplatePair(surface, data, colors, width, height) {
  const context = surface.resize(width, height);
  const pair = data.templates;
  context.font = MATRIX_FONT;
  context.fillStyle = colors.muted;
  context.textBaseline = "middle";
  if (!pair || !pair.channels.length) {
    context.textAlign = "center";
    context.fillText(pair ? "both units are below the noise" : "no waveforms: there are no traces", width / 2, height / 2);
    return;
  }
  const at = (channel, axis) => pair.locations[2 * channel + axis];
  const bounds = [0, 1].map((axis) => {
    const values = pair.channels.map((channel) => at(channel, axis));
    return [Math.min(...values) - 0.6 * pair.pitch, Math.max(...values) + 0.6 * pair.pitch];
  });
  const x = scale(...bounds[0], 4, width - 4);
  const y = scale(...bounds[1], height - 36, 4);
  const cellWidth = Math.min(0.92 * (x(pair.pitch) - x(0)), 220);
  const cellHeight = Math.min(1.1 * Math.abs(y(pair.pitch) - y(0)), 0.42 * height);
  let highest = 1e-9;
  for (const values of [pair.truth, pair.tested]) for (const value of values) highest = Math.max(highest, Math.abs(value));
  const perUnit = cellHeight / highest;
  const longest = Math.max(pair.truth.shape[1], pair.tested.shape[1]);
  const perMs = cellWidth / (longest * pair.step_ms);
  context.fillStyle = colors.line;
  for (let channel = 0; channel < pair.locations.shape[0]; channel++) {
    const isInside = y(at(channel, 1)) < height - 30;
    if (isInside) context.fillRect(x(at(channel, 0)) - 2, y(at(channel, 1)) - 2, 4, 4);
  }
  const draw = (values, start_ms) => {
    const length = values.shape[1];
    pair.channels.forEach((channel, row) => {
      const left = x(at(channel, 0)) - cellWidth / 2;
      context.beginPath();
      for (let sample = 0; sample < length; sample++) {
        const time_ms = start_ms - pair.truth_start_ms + sample * pair.step_ms;
        context.lineTo(left + time_ms * perMs, y(at(channel, 1)) - values[row * length + sample] * perUnit);
      }
      context.stroke();
    });
  };
  context.strokeStyle = unitColor(data.tested_unit);
  context.lineWidth = 2;
  draw(pair.tested, pair.tested_start_ms);
  context.strokeStyle = colors.text;
  context.lineWidth = 1.3;
  context.setLineDash([4, 3]);
  draw(pair.truth, pair.truth_start_ms);
  context.setLineDash([]);
  drawTemplateScale(context, colors, perMs, perUnit, height);
}

function drawTemplateScale(context, colors, perMs, perUnit, height) {
  const size = [1, 2, 5, 10, 20, 50, 100, 200].filter((value) => value * perUnit <= 40).pop() ?? 1;
  const bottom = height - 6;
  context.strokeStyle = colors.text;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(6, bottom - size * perUnit);
  context.lineTo(6, bottom);
  context.lineTo(6 + perMs, bottom);
  context.stroke();
  context.fillStyle = colors.muted;
  context.textAlign = "left";
  context.fillText(`1 ms, ${size} noise sd`, 12 + perMs, bottom - 5);
}

export function drawLags(surface, data, sides, colors, width, height) {
  const context = surface.resize(width, height);
  const edges = data.lag_edges_ms;
  const box = { left: 48, top: 10, right: width - 8, bottom: height - 38 };
  const x = scale(edges[0], edges[edges.length - 1], box.left, box.right);
  const y = scale(0, Math.max(...data.lag_counts, 1), box.bottom, box.top);
  context.fillStyle = unitColor(data.tested_unit);
  data.lag_counts.forEach((count, bin) => {
    const left = x(edges[bin]);
    context.fillRect(left, y(count), Math.max(x(edges[bin + 1]) - left - 0.5, 0.5), box.bottom - y(count));
  });
  drawAxes(context, box, colors, { x, y, xLabel: `${sides.tested} after ${sides.true} spike (ms)`, yLabel: `${sides.matched} spikes`, spaceX: 42 });
}

// Traces and residual around a spike, with a line wherever a true (dashed) or a tested unit fired.
export function drawSnippet(surface, data, matrix, colors, width) {
  const snippet = data.spike.snippet;
  const rows = snippet ? snippet.channels.length : 0;
  const rowHeight = Math.max(44, 150 / Math.max(rows, 1));
  const height = snippet ? Math.round(62 + rowHeight * rows) : 70;
  const context = surface.resize(width, height);
  const gap = 14;
  const panelWidth = (width - 52 - gap - 6) / 2;
  const span = snippet
    ? [snippet.start_ms, snippet.start_ms + (snippet.traces.shape[1] - 1) * snippet.step_ms]
    : [-2, 2];
  let highest = 6;
  if (snippet) for (const value of snippet.traces) highest = Math.max(highest, Math.abs(value));
  // neighbors share some room, a single row must do with its own
  const perUnit = (rows < 3 ? 0.5 : 1.18) * rowHeight / highest;
  ["whitened traces", `residual of the ${matrix.sides.tested} spikes`].forEach((title, panel) => {
    const left = 52 + panel * (panelWidth + gap);
    const box = { left, top: 24, right: left + panelWidth, bottom: height - 36 };
    const x = scale(...span, box.left, box.right);
    context.font = MATRIX_FONT;
    context.fillStyle = colors.muted;
    context.textAlign = "right";
    context.textBaseline = "top";
    if (width > 620) context.fillText(title, box.right, 0);
    drawSpikeMarks(context, data, matrix, x, box, colors);
    context.strokeStyle = panel ? colors.warning : colors.trace;
    context.lineWidth = 1;
    for (let row = 0; row < rows; row++) {
      const middle = box.bottom - (row + 0.5) * ((box.bottom - box.top) / rows);
      const values = panel ? snippet.residual : snippet.traces;
      const length = values.shape[1];
      context.beginPath();
      for (let sample = 0; sample < length; sample++) {
        context.lineTo(x(snippet.start_ms + sample * snippet.step_ms), middle - values[row * length + sample] * perUnit);
      }
      context.stroke();
      context.fillStyle = colors.muted;
      context.textAlign = "right";
      context.textBaseline = "middle";
      if (!panel) context.fillText(snippet.channels[row].slice(-6), 46, middle);
    }
    drawAxes(context, box, colors, { x, xLabel: "time from the spike on (ms)" });
  });
  return rowHeight / perUnit;
}

function drawSpikeMarks(context, data, matrix, x, box, colors) {
  const spike = data.spike;
  const lastLabel = { 0: -Infinity, 1: -Infinity };
  spike.mark_ms.forEach((time_ms, mark) => {
    const isTrue = spike.mark_is_true[mark];
    const unit = spike.mark_unit[mark];
    const at = x(time_ms);
    if (at < box.left || at > box.right) return;
    context.strokeStyle = context.fillStyle = isTrue ? colors.text : unitColor(unit);
    context.lineWidth = 1;
    context.globalAlpha = 0.8;
    context.setLineDash(isTrue ? [4, 3] : []);
    context.beginPath();
    context.moveTo(at, isTrue ? box.top : box.top - 4);
    context.lineTo(at, isTrue ? box.bottom + 4 : box.bottom);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
    const name = (isTrue ? matrix.truth_ids : matrix.tested_ids)[unit].slice(-5);
    const half = context.measureText(name).width / 2 + 2;
    if (at - half < lastLabel[isTrue]) return;
    lastLabel[isTrue] = at + half;
    context.textAlign = "center";
    context.textBaseline = "bottom";
    context.fillText(name, at, isTrue ? box.bottom - 1 : box.top - 5);
  });
}

export const percent = (value) => (Number.isFinite(value) ? `${formatNumber(100 * value)} %` : "–");
