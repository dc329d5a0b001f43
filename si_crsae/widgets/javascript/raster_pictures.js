import { drawSpikesOverTime } from "./overview.js";
import { counted, drawAxes, formatNumber, formatTime, scale, unitColor } from "./shared.js";

const SEGMENT_HEIGHT = 36;
export const RATE_HEIGHT = 64;
export const TOP = 14;
export const LEFT = 62;
export const RIGHT = 52;
// in lower rows sizes cannot be seen, and are opacity
export const MIN_SIZED_ROW = 7;
// an event of the usual size fills this much of its row
const USUAL_HEIGHT = 0.64;
const HALF = 0.5;
const LEAST_OPACITY = 0.25;
// of more events, their counts are drawn
const MAX_MARKS = 20000;
const PIXELS_PER_BIN = 6;

const rowMiddle = (box, row) => box.bottom - (row + HALF) * box.rowHeight;

export function drawSegment(surface, data, shown, colors, width) {
  const context = surface.resize(width, SEGMENT_HEIGHT);
  const x = scale(0, data.duration_s, LEFT, width - RIGHT);
  drawSpikesOverTime(context, data.overview, colors, LEFT, width - RIGHT);
  context.globalAlpha = 0.35;
  context.fillStyle = colors.accent;
  const [from, length] = [x(shown.start_s), Math.max(x(shown.end_s) - x(shown.start_s), 2)];
  context.fillRect(from, 0, length, 21);
  context.globalAlpha = 1;
  context.fillRect(from, 20, length, 2);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = colors.muted;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.fillText("segment", LEFT - 8, 11);
  context.fillText(formatTime(data.duration_s, 1), width - RIGHT, 30);
  context.textAlign = "left";
  context.fillText("0", LEFT, 30);
}

// What is drawn of the window: the events, or counts of them. The kernel has prepared that, unless the data reach far
// beyond the window, as in a saved page.
export function visiblePart(data, shown, box) {
  const isAll = data.start_s >= shown.start_s - 0.5 * (shown.end_s - shown.start_s) && data.end_s <= shown.end_s + 0.5 * (shown.end_s - shown.start_s);
  const { start_s, end_s, rate_hz, counts } = data;
  const [first, last] = counts ? [0, 0] : [shown.start_s, shown.end_s].map((time_s) => firstAfter(data.event_after_s, time_s - start_s));
  const isWhole = shown.start_s <= start_s && shown.end_s >= end_s;
  const number = isWhole ? data.num_events : counts ? countBetween(data, shown) : last - first;
  const prepared = { first, last, start_s, end_s, rate_hz, counts, num_events: number };
  if (counts || (isAll && last - first <= MAX_MARKS)) return prepared;
  const columns = Math.max(Math.round(box.right - box.left), 1);
  const rates = new Float32Array(Math.max(Math.floor(columns / PIXELS_PER_BIN), 1));
  const made = last - first > MAX_MARKS ? new Uint16Array(data.row_unit.length * columns) : null;
  if (made) made.shape = [data.row_unit.length, columns];
  const length_s = shown.end_s - shown.start_s;
  for (let event = first; event < last; event++) {
    const share = Math.min((data.event_after_s[event] + start_s - shown.start_s) / length_s, 1 - 1e-9);
    rates[Math.floor(share * rates.length)] += rates.length / length_s;
    if (made) made[data.event_row[event] * columns + Math.floor(share * columns)] += 1;
  }
  return { ...prepared, ...shown, rate_hz: rates, counts: made };
}

// The first event that is not before a time; events are in order, but for shifts below a sample.
function firstAfter(times, time_s) {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time_s) low = middle + 1;
    else high = middle;
  }
  return low;
}

function countBetween(data, shown) {
  const [rows, columns] = data.counts.shape;
  const column = (time_s) => ((time_s - data.start_s) / (data.end_s - data.start_s)) * columns;
  const [from, to] = [Math.max(Math.floor(column(shown.start_s)), 0), Math.min(Math.ceil(column(shown.end_s)), columns)];
  let sum = 0;
  for (let row = 0; row < rows; row++) for (let at = from; at < to; at++) sum += data.counts[row * columns + at];
  return sum;
}

export function drawRate(context, box, data, colors) {
  const highest = data.rate_hz.reduce((most, rate) => Math.max(most, rate), 0) || 1;
  const area = { left: box.left, right: box.right, top: TOP, bottom: TOP + RATE_HEIGHT };
  const power = 10 ** Math.floor(Math.log10(highest));
  const y = scale(0, power * [1, 2, 5, 10].find((factor) => factor * power >= highest * 0.999), area.bottom, area.top);
  const length = (data.end_s - data.start_s) / data.rate_hz.length;
  context.save();
  context.beginPath();
  context.rect(area.left, area.top, area.right - area.left, RATE_HEIGHT);
  context.clip();
  context.fillStyle = colors.muted;
  context.globalAlpha = 0.55;
  data.rate_hz.forEach((rate, bin) => {
    const from = box.x(data.start_s + bin * length);
    context.fillRect(from, y(rate), Math.max(box.x(data.start_s + (bin + 1) * length) - from, 0.5), area.bottom - y(rate));
  });
  context.restore();
  drawAxes(context, area, colors, { y, yLabel: "spikes/s" });
}

// Names of the units on the left, their depths on the right, the selected ones on a ground of their own.
export function drawRows(context, box, data, colors) {
  const every = Math.ceil(13 / box.rowHeight);
  const selected = new Set(data.selected);
  context.textBaseline = "middle";
  for (let row = 0; row < box.rows; row++) {
    const y = rowMiddle(box, row);
    const isSelected = selected.has(data.row_unit[row]);
    if (isSelected) {
      context.fillStyle = colors.accent;
      context.globalAlpha = 0.16;
      context.fillRect(box.left, y - box.rowHeight / 2, box.right - box.left, box.rowHeight);
      context.globalAlpha = 1;
      context.fillRect(box.left - 3, y - box.rowHeight / 2, 3, box.rowHeight);
      context.fillRect(box.right, y - box.rowHeight / 2, 3, box.rowHeight);
    } else if (box.rowHeight >= 6) {
      context.fillStyle = colors.faint;
      context.fillRect(box.left, Math.round(y), box.right - box.left, 1);
    }
  }
  const lead = data.row_unit.indexOf(data.selected[0]);
  for (let row = 0; row < box.rows; row++) {
    const isLead = row === lead;
    // the leading unit is always named; its neighbors make room
    if (!isLead && (row % every || (lead >= 0 && Math.abs(row - lead) < every))) continue;
    const y = rowMiddle(box, row);
    context.font = `${isLead ? "600 " : ""}11px system-ui, sans-serif`;
    context.fillStyle = isLead ? colors.text : colors.muted;
    context.textAlign = "right";
    context.fillText(data.unit_ids[data.row_unit[row]].slice(-6), box.left - 8, y);
    context.textAlign = "left";
    context.fillText(`${Math.round(data.row_depth_um[row])}`, box.right + 8, y);
  }
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = colors.muted;
  context.textAlign = "right";
  context.fillText("depth (µm)", box.right + RIGHT - 2, box.top - 10);
  context.save();
  context.translate(12, (box.top + box.bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText(data.order === "depth" ? "unit, by depth" : "unit, by id", 0, 0);
  context.restore();
}

// Marks of one unit and one faintness are one path each.
export function drawEvents(context, box, data, { first, last }) {
  const paths = new Map();
  const hasRoom = box.rowHeight >= MIN_SIZED_ROW;
  for (let event = first; event < last; event++) {
    const x = box.x(data.start_s + data.event_after_s[event]);
    const row = data.event_row[event];
    const size = data.event_size[event] * data.size_step;
    const probability = data.event_probability ? data.event_probability[event] * data.size_step : 1;
    const level = Math.min(Math.floor((hasRoom ? probability : probability * Math.min(size, 1)) * 5), 4);
    const key = row * 8 + level;
    if (!paths.has(key)) paths.set(key, new Path2D());
    const path = paths.get(key);
    const y = rowMiddle(box, row);
    const half = hasRoom ? HALF * box.rowHeight * Math.min(Math.max(USUAL_HEIGHT * size, 0.15), 0.95) : HALF * box.rowHeight;
    if (probability < HALF && hasRoom) {
      path.rect(x - 0.75, y - half, 1.5, 0.6 * half);
      path.rect(x - 0.75, y + 0.4 * half, 1.5, 0.6 * half);
    } else path.rect(x - 0.75, y - half, 1.5, 2 * half);
  }
  for (const [key, path] of paths) {
    context.fillStyle = unitColor(data.row_unit[Math.floor(key / 8)]);
    context.globalAlpha = LEAST_OPACITY + (1 - LEAST_OPACITY) * ((key % 8) / 4);
    context.fill(path);
  }
  context.globalAlpha = 1;
}

// Counts as opacity, on a scale of square roots: single spikes are seen beside bursts.
export function drawCounts(context, box, rowUnit, part) {
  const [rows, columns] = part.counts.shape;
  const most = Math.sqrt(part.counts.reduce((largest, count) => Math.max(largest, count), 1));
  const picture = document.createElement("canvas");
  [picture.width, picture.height] = [columns, rows];
  const inside = picture.getContext("2d");
  const image = inside.createImageData(columns, rows);
  const levels = Uint8ClampedArray.from({ length: 257 }, (_, count) => Math.round(255 * Math.min((0.15 + 0.85 * Math.sqrt(count) / most), 1)));
  for (let row = 0; row < rows; row++) {
    const color = unitColor(rowUnit[row]);
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
    let at = 4 * (rows - 1 - row) * columns;
    for (let column = 0; column < columns; column++, at += 4) {
      const count = part.counts[row * columns + column];
      if (count) image.data.set([red, green, blue, levels[Math.min(count, 256)]], at);
    }
  }
  inside.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  const [from, to] = [box.x(part.start_s), box.x(part.end_s)];
  context.drawImage(picture, from, box.top, to - from, box.bottom - box.top);
}

export function drawCursor(context, box, data, shown, colors) {
  if (data.cursor_s < shown.start_s || data.cursor_s > shown.end_s) return;
  const x = Math.round(box.x(data.cursor_s));
  context.fillStyle = colors.accent;
  context.fillRect(x - 0.5, TOP - 4, 1, box.bottom - TOP + 4);
  context.fill(new Path2D(`M${x - 5} ${TOP - 12}h10l-5 8z`));
}

export function tipAt(data, part, box, at, nearest) {
  const time = formatTime(nearest >= 0 ? data.start_s + data.event_after_s[nearest] : at.time_s, 0.0001);
  if (at.row < 0) {
    const bin = Math.floor(((at.time_s - part.start_s) / (part.end_s - part.start_s)) * part.rate_hz.length);
    const rate = part.rate_hz[bin];
    return rate === undefined || !at.isInside ? null : `${time}\n${formatNumber(rate)} spikes/s of all units`;
  }
  const lines = [`unit ${data.unit_ids[data.row_unit[at.row]]}, depth ${Math.round(data.row_depth_um[at.row])} µm`];
  if (!at.isInside) return lines[0];
  lines.push(time);
  if (nearest >= 0) {
    lines.push(`${formatNumber(data.event_size[nearest] * data.size_step)} of its usual size`);
    if (data.event_probability) lines.push(`probability ${formatNumber(data.event_probability[nearest] * data.size_step)}`);
  } else if (part.counts) {
    const [, columns] = part.counts.shape;
    const length = (part.end_s - part.start_s) / columns;
    const count = part.counts[at.row * columns + Math.floor((at.time_s - part.start_s) / length)];
    if (count !== undefined) lines.push(`${counted(count, "spike")} in ${formatNumber(1000 * length)} ms`);
  }
  return lines.join("\n");
}
