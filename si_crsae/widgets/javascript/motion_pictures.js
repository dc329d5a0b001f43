import { drawAxes, formatTime, scale, unitColor } from "./shared.js";

// What the motion view draws: panels one above the other that have their time in common.

const MOTION_FONT = "11px system-ui, sans-serif";
export const MOTION_LEFT = 62;
export const MOTION_RIGHT = 64;
// Around the contacts, where peaks are placed, too.
const MARGIN_UM = 20;
const PEAKS_HEIGHT = 250;
const COURSE_HEIGHT = 140;
const HEAD = 22;
const FOOT = 26;
const MARK = { others: 1.4, selected: 2.6 };

// Where the panels are: as recorded, at rest, and the displacement.
export function motionLayout(data, shown, width) {
  const [left, right] = [MOTION_LEFT, Math.max(width - MOTION_RIGHT, MOTION_LEFT + 60)];
  let at = 0;
  const panels = [PEAKS_HEIGHT, PEAKS_HEIGHT, COURSE_HEIGHT].map((height) => {
    const box = { left, right, top: at + HEAD, bottom: at + HEAD + height };
    at = box.bottom + FOOT;
    return box;
  });
  const [lowest, highest] = data.depths_um;
  for (const box of panels.slice(0, 2)) box.y = scale(lowest - MARGIN_UM, highest + MARGIN_UM, box.bottom, box.top);
  const windows = windowsShown(data);
  let [least, most] = [-1, 1];
  const number = data.window_depth_um.length;
  data.displacement_um.forEach((value, place) => {
    if (!windows.includes(place % number)) return;
    least = Math.min(least, value);
    most = Math.max(most, value);
  });
  panels[2].y = scale(least - 1, most + 1, panels[2].bottom, panels[2].top);
  return { panels, windows, x: scale(shown.start_s, shown.end_s, left, right), height: at + 14, left, right };
}

// Depths at which the motion is known and that are shown; the nearest one where none is.
function windowsShown(data) {
  const depths = [...data.window_depth_um];
  const [lowest, highest] = data.depths_um;
  const inside = depths.flatMap((depth, place) => (depth >= lowest - MARGIN_UM && depth <= highest + MARGIN_UM ? [place] : []));
  if (inside.length || !depths.length) return inside;
  const middle = (lowest + highest) / 2;
  return [depths.reduce((best, depth, place) => (Math.abs(depth - middle) < Math.abs(depths[best] - middle) ? place : best), 0)];
}

export function drawMotion(surface, layout, data, colors, width) {
  const context = surface.resize(width, layout.height);
  const [recorded, rest, course] = layout.panels;
  const formatX = (mark, step) => formatTime(mark, step >= 1 ? 1 : 0.1);
  drawPeaks(context, recorded, layout, data, colors, false);
  drawPeaks(context, rest, layout, data, colors, true);
  clipped(context, recorded, () => drawCurves(context, recorded, layout, data, colors, (depth) => depth));
  clipped(context, course, () => drawCurves(context, course, layout, data, colors, () => 0));
  heading(context, colors, "As recorded, with the motion on top", recorded);
  heading(context, colors, "At rest: the same with the motion taken off", rest);
  heading(context, colors, "Motion at each depth, up the probe", course);
  for (const box of [recorded, rest]) drawAxes(context, box, colors, { x: layout.x, y: box.y, formatX, yLabel: "depth (µm)" });
  drawAxes(context, course, colors, { x: layout.x, y: course.y, formatX, xLabel: "time", yLabel: "moved (µm)", grid: true });
  nameCurves(context, layout, data, colors);
  drawMotionCursor(context, layout, data, colors);
}

function clipped(context, box, act) {
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
  context.clip();
  act();
  context.restore();
}

function heading(context, colors, text, box) {
  context.font = `600 ${MOTION_FONT}`;
  context.fillStyle = colors.text;
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  context.fillText(text, box.left, box.top - 7);
  context.font = MOTION_FONT;
}

const depthOf = (data, point, isAtRest) => data.point_depth_um[point] - (isAtRest ? data.point_moved_um[point] : 0);

// Marks of all peaks, those of the selected units on top.
function drawPeaks(context, box, layout, data, colors, isAtRest) {
  const selected = new Set(data.selected);
  const [start, end] = layout.x.domain;
  const mark = (point, size) => {
    const time = data.point_time_s[point];
    if (time >= start && time <= end) context.fillRect(layout.x(time) - size / 2, box.y(depthOf(data, point, isAtRest)) - size / 2, size, size);
  };
  clipped(context, box, () => {
    context.fillStyle = colors.trace;
    context.globalAlpha = data.point_unit.length > 4000 ? 0.4 : 0.7;
    data.point_unit.forEach((unit, point) => { if (!selected.has(unit)) mark(point, MARK.others); });
    context.globalAlpha = 1;
    for (const chosen of [...data.selected].reverse()) {
      context.fillStyle = unitColor(chosen);
      data.point_unit.forEach((unit, point) => { if (unit === chosen) mark(point, MARK.selected); });
    }
  });
}

// The displacement at every depth at which it is known, from a place that belongs to the depth.
function drawCurves(context, box, layout, data, colors, from) {
  const number = data.window_depth_um.length;
  for (const [color, thickness] of [[colors.background, 4], [colors.warning, 1.6]]) {
    context.strokeStyle = color;
    context.lineWidth = thickness;
    for (const window of layout.windows) {
      context.beginPath();
      data.bin_time_s.forEach((time, bin) => context.lineTo(layout.x(time), box.y(from(data.window_depth_um[window]) + data.displacement_um[bin * number + window])));
      context.stroke();
    }
  }
}

// The depth of each curve beside its end.
function nameCurves(context, layout, data, colors) {
  const [recorded, , course] = layout.panels;
  const number = data.window_depth_um.length;
  const last = data.bin_time_s.findLastIndex((time) => time <= layout.x.domain[1]);
  if (last < 0) return;
  context.font = MOTION_FONT;
  context.fillStyle = colors.muted;
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const [box, from] of [[recorded, (depth) => depth], [course, () => 0]]) {
    // one above the other, where curves end close together
    let free = box.bottom + 12;
    const places = layout.windows.map((window) => [box.y(from(data.window_depth_um[window]) + data.displacement_um[last * number + window]), window]);
    for (const [y, window] of places.sort((one, other) => other[0] - one[0])) {
      free = Math.min(y, free - 12);
      if (free >= box.top && y <= box.bottom) context.fillText(`${data.window_depth_um[window].toFixed(0)} µm`, layout.right + 6, free);
    }
  }
}

function drawMotionCursor(context, layout, data, colors) {
  const [start, end] = layout.x.domain;
  if (data.cursor_s < start || data.cursor_s > end) return;
  context.fillStyle = colors.accent;
  for (const box of layout.panels) context.fillRect(layout.x(data.cursor_s) - 0.5, box.top, 1, box.bottom - box.top);
}

// How far the tissue is up the probe at a time and depth: on lines between bins, and between depths at which it is known.
export function movedAt(data, time_s, depth_um) {
  const [times, depths] = [data.bin_time_s, data.window_depth_um];
  if (!times.length) return 0;
  const [bin, later] = between(times, time_s);
  const [window, upper] = between(depths, depth_um);
  const row = (at) => {
    const value = (place) => data.displacement_um[at * depths.length + place];
    return upper ? (1 - upper) * value(window) + upper * value(window + 1) : value(window);
  };
  return later ? (1 - later) * row(bin) + later * row(bin + 1) : row(bin);
}

// The last of some ascending values that is not above a value, and the share of the way to the next one.
function between(values, value) {
  const after = values.findIndex((other) => other > value);
  if (after === 0) return [0, 0];
  if (after < 0) return [values.length - 1, 0];
  return [after - 1, (value - values[after - 1]) / (values[after] - values[after - 1])];
}

// What is under a place of the canvas: the panel, time and depth there, and the nearest peak within some pixels, or -1.
export function placeOf(data, layout, { x, y }) {
  const panel = layout.panels.findIndex((box) => y >= box.top && y <= box.bottom);
  if (panel < 0 || x < layout.left || x > layout.right) return null;
  const box = layout.panels[panel];
  const at = { panel, time_s: layout.x.invert(x), value: box.y.invert(y), point: -1 };
  if (panel === 2) return at;
  let nearest = 6;
  data.point_unit.forEach((unit, point) => {
    const apart = Math.hypot(layout.x(data.point_time_s[point]) - x, box.y(depthOf(data, point, panel === 1)) - y);
    // that of a unit before others as near
    if (apart < nearest - (unit < 0 ? 1 : 0)) [at.point, nearest] = [point, apart];
  });
  return at;
}

export function motionTip(data, at) {
  const time = formatTime(at.time_s, 0.1);
  if (at.panel === 2) return `${time}: ${at.value.toFixed(1)} µm`;
  const depth = at.panel === 1 ? at.value + movedAt(data, at.time_s, at.value) : at.value;
  const moved = at.point >= 0 ? data.point_moved_um[at.point] : movedAt(data, at.time_s, depth);
  const lines = [`${time}, ${at.value.toFixed(0)} µm${at.panel === 1 ? " at rest" : ""}`, `moved by ${moved.toFixed(1)} µm`];
  if (at.point >= 0 && data.point_unit[at.point] >= 0) lines.push(`a spike of unit ${data.unit_ids[data.point_unit[at.point]]}`);
  return lines.join("\n");
}
