import { drawAxes, formatNumber, formatTime, scale, unitColor } from "./shared.js";

// What the feature view draws beside its points, each a function of the data and a place to draw.

const FEATURE_FONT = "11px system-ui, sans-serif";
const SMALL_BOX = { left: 44, right: 10, top: 20, bottom: 38 };

function smallBox(width, height) {
  return { left: SMALL_BOX.left, right: width - SMALL_BOX.right, top: SMALL_BOX.top, bottom: height - SMALL_BOX.bottom };
}

function heading(context, colors, text, left) {
  context.font = `600 ${FEATURE_FONT}`;
  context.fillStyle = colors.text;
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  context.fillText(text, left, 12);
  context.font = FEATURE_FONT;
}

// Counts of bins as outlines, one for each unit.
function drawOutlines(context, rows, drawn, x, y, edges) {
  const number = edges.length - 1;
  [...drawn].reverse().forEach((unit) => {
    const row = drawn.indexOf(unit);
    context.strokeStyle = unitColor(unit);
    context.lineWidth = row === 0 ? 2 : 1.3;
    context.beginPath();
    context.moveTo(x(edges[0]), y(0));
    for (let bin = 0; bin < number; bin++) {
      const at = y(rows[row * number + bin]);
      context.lineTo(x(edges[bin]), at);
      context.lineTo(x(edges[bin + 1]), at);
    }
    context.stroke();
  });
}

export function drawIntervals(surface, data, colors, width, height) {
  const context = surface.resize(width, height);
  const box = smallBox(width, height);
  const edges = data.interval_edges_ms;
  const x = scale(edges[0], edges.at(-1), box.left, box.right);
  const y = scale(0, Math.max(...data.intervals, 1), box.bottom, box.top);
  context.fillStyle = colors.warning;
  context.globalAlpha = 0.22;
  context.fillRect(x(0), box.top, x(data.refractory_ms) - x(0), box.bottom - box.top);
  context.globalAlpha = 1;
  heading(context, colors, "Intervals", box.left);
  drawAxes(context, box, colors, { x, y, xLabel: `interval (ms); shaded: below ${data.refractory_ms} ms`, formatY: (value) => (Number.isInteger(value) ? formatNumber(value, 6) : "") });
  drawOutlines(context, data.intervals, data.drawn, x, y, edges);
}

export function drawRate(surface, data, colors, width, height, cursor) {
  const context = surface.resize(width, height);
  const box = smallBox(width, height);
  const edges = data.rate_edges_s;
  const x = scale(0, data.duration_s, box.left, box.right);
  const y = scale(0, Math.max(...data.rates_hz, 1e-3), box.bottom, box.top);
  heading(context, colors, "Rate (Hz)", box.left);
  drawAxes(context, box, colors, { x, y, xLabel: "time", formatX: formatTime, grid: true });
  drawOutlines(context, data.rates_hz, data.drawn, x, y, edges);
  const at = x(Math.min(cursor, data.duration_s));
  context.fillStyle = colors.accent;
  context.fillRect(at - 0.5, box.top, 1, box.bottom - box.top);
}

// Single waveforms, faint, under the means; those that the lasso has caught in the color of the lasso.
export function drawSingleWaveforms(surface, data, colors, width, height) {
  const context = surface.resize(width, height);
  const { values, means, unit: units, is_inside: isInside, channel_ids: channels } = data.waveforms;
  const count = Math.max(channels.length, 1);
  const length = values.shape[2];
  let tallest = 1;
  for (const value of values) tallest = Math.max(tallest, Math.abs(value));
  const y = scale(-tallest, tallest, height - 18, 20);
  const panel = (width - 36) / count;
  channels.forEach((name, channel) => {
    const x = scale(0, Math.max(length - 1, 1), channel * panel + 6, (channel + 1) * panel - 6);
    const line = (source, row) => {
      context.beginPath();
      for (let sample = 0; sample < length; sample++) context.lineTo(x(sample), y(source[(row * channels.length + channel) * length + sample]));
      context.stroke();
    };
    context.lineWidth = 0.7;
    units.forEach((unit, row) => {
      context.strokeStyle = isInside[row] ? colors.text : unitColor(unit);
      context.globalAlpha = isInside[row] ? 0.7 : 0.25;
      line(values, row);
    });
    context.globalAlpha = 1;
    data.drawn.forEach((unit, row) => {
      for (const [color, thickness] of [[colors.background, 4.5], [unitColor(unit), 2.2]]) {
        [context.strokeStyle, context.lineWidth] = [color, thickness];
        line(means, row);
      }
    });
    heading(context, colors, `channel ${name}`, channel * panel + 6);
  });
  if (!channels.length) return;
  const tall = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((value) => y(0) - y(value) >= 22) ?? 1000;
  context.fillStyle = colors.text;
  const bottom = height - 16;
  context.fillRect(width - 12, bottom - y(0) + y(tall), 2, y(0) - y(tall));
  context.textAlign = "right";
  context.fillText(`${tall} noise sd`, width - 10, height - 4);
}

// Where the cells of the matrix are.
export function similarityLayout(matrix, width, height) {
  const count = matrix.units.length;
  const cell = Math.max(Math.min((width - 60) / count, (height - 60) / count, 22), 0.5);
  return { cell, count, left: 40, top: 22 };
}

export function drawSimilarity(surface, matrix, layout, colors, width, height, { selected, cursor }) {
  const context = surface.resize(width, height);
  const { cell, count, left, top } = layout;
  context.fillStyle = colors.accent;
  for (let row = 0; row < count; row++) {
    for (let column = 0; column < count; column++) {
      const value = row === column ? 0 : matrix.values[row * count + column];
      if (value < 0.05) continue;
      context.globalAlpha = Math.min(value, 1);
      context.fillRect(left + column * cell, top + row * cell, Math.max(cell - 0.5, 0.5), Math.max(cell - 0.5, 0.5));
    }
  }
  context.globalAlpha = 1;
  context.strokeStyle = colors.line;
  context.lineWidth = 1;
  context.strokeRect(left - 0.5, top - 0.5, count * cell + 1, count * cell + 1);
  const names = matrix.units.map((unit) => matrix.unit_ids[unit]);
  heading(context, colors, "Similarity of the templates, by depth", left);
  context.fillStyle = colors.muted;
  const every = Math.max(Math.ceil(14 / cell), 1);
  names.forEach((name, place) => {
    if (place % every) return;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText(name, left - 4, top + (place + 0.5) * cell);
    context.textAlign = "center";
    context.textBaseline = "top";
    context.fillText(name, left + (place + 0.5) * cell, top + count * cell + 4 + (place / every) % 2 * 11);
  });
  const places = selected.map((unit) => matrix.units.indexOf(unit));
  context.strokeStyle = colors.text;
  for (const [row, column] of [...(places.length > 1 ? [[places[0], places[1]], [places[1], places[0]]] : []), ...(cursor ? [cursor] : [])]) {
    context.strokeRect(left + column * cell - 1, top + row * cell - 1, cell + 2, cell + 2);
  }
}
