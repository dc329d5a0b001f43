import { drawAxes, formatNumber, formatTime, makeSvg, scale, unitColor } from "./shared.js";

// The pictures of the template inspector, each a function of the data and a place to draw.

const FONT = "11px system-ui, sans-serif";
const LINE_DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];
const MAX_CELL_WIDTH = 170;
const MAX_CELL_HEIGHT = 110;
const WAVEFORM_PIXELS = 66;
const IMPROBABLE = 0.5;
const MAP_PADDING = 14;
const MAP_FOOT = 34;
const MARKER_SIZES = [1.6, 1.6, 2.2, 2];
const ROUND_SIZES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

// Unit, line and marker of the place in the selection: not by color alone.
export function lineDash(place) {
  return LINE_DASHES[place % LINE_DASHES.length];
}

export function swatch(unit, place) {
  const color = unitColor(unit);
  return makeSvg("svg", { width: 30, height: 12, "aria-hidden": "true" },
    makeSvg("line", { x1: 0, x2: 18, y1: 6, y2: 6, stroke: color, "stroke-width": place === 0 ? 2.4 : 1.6, "stroke-dasharray": lineDash(place).join(" ") }),
    makeSvg("path", { d: markerPath(place, 25, 6, 3), fill: color }));
}

function markerPath(place, x, y, size) {
  const shapes = [
    `M${x - size} ${y}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0z`,
    `M${x - size} ${y - size}h${2 * size}v${2 * size}h${-2 * size}z`,
    `M${x} ${y - size}L${x + size} ${y + size}L${x - size} ${y + size}z`,
    `M${x} ${y - size - 1}L${x + size + 1} ${y}L${x} ${y + size + 1}L${x - size - 1} ${y}z`,
  ];
  return shapes[place % shapes.length];
}

function bounds(data, isWhole) {
  if (!isWhole) return data.neighborhood;
  const { locations, channel_ids: ids } = data.overview;
  const box = [Infinity, -Infinity, Infinity, -Infinity];
  ids.forEach((_, channel) => {
    const [x, y] = [locations[2 * channel], locations[2 * channel + 1]];
    box[0] = Math.min(box[0], x);
    box[1] = Math.max(box[1], x);
    box[2] = Math.min(box[2], y);
    box[3] = Math.max(box[3], y);
  });
  return box;
}

// The whole probe: contacts, the main contacts of the drawn units, and what part the templates are of.
export function probeMap(data, colors, { width, height, isWhole, act, tell }) {
  const { locations, channel_ids: ids, main_channel: mains, unit_ids: unitIds } = data.overview;
  const [left, right, bottom, top] = bounds(data, true);
  const widest = (width - 2 * MAP_PADDING) / Math.max(right - left, data.overview.pitch[0]);
  const perY = Math.min((height - 2 * MAP_PADDING - MAP_FOOT) / Math.max(top - bottom, data.overview.pitch[1]), widest);
  // a long probe is drawn wider than it is, else its columns could not be told apart
  const perX = Math.min(widest, 6 * perY);
  const x = (um) => width / 2 + (um - (left + right) / 2) * perX;
  const y = (um) => (height - MAP_FOOT) / 2 - (um - (bottom + top) / 2) * perY;
  const size = Math.min(Math.max(Math.min(data.overview.pitch[0] * perX, data.overview.pitch[1] * perY) * 0.7, 3), 11);
  const svg = makeSvg("svg", { width, height, role: "img", "aria-label": `Probe with ${ids.length} contacts; click a contact to select its largest unit` });
  const box = bounds(data, isWhole);
  const [padX, padY] = [size / 2 + 4, size / 2 + 4];
  svg.append(makeSvg("rect", {
    x: x(box[0]) - padX, y: y(box[3]) - padY, width: x(box[1]) - x(box[0]) + 2 * padX, height: y(box[2]) - y(box[3]) + 2 * padY,
    rx: 4, fill: colors.faint, stroke: colors.line,
  }));
  const owners = new Map();
  mains.forEach((channel, unit) => owners.set(channel, [...(owners.get(channel) ?? []), unit]));
  ids.forEach((id, channel) => {
    const here = (owners.get(channel) ?? []).map((unit) => unitIds[unit]);
    const at = `contact ${id} (${formatNumber(locations[2 * channel], 4)}, ${formatNumber(locations[2 * channel + 1], 5)} µm)`;
    const text = here.length ? `${at}\nmain contact of unit ${here.join(", ")}` : at;
    svg.append(makeSvg("rect", {
      x: x(locations[2 * channel]) - size / 2, y: y(locations[2 * channel + 1]) - size / 2, width: size, height: size,
      class: "crsae-contact", "data-contact": id, fill: here.length ? colors.muted : colors.background, stroke: colors.muted,
      onclick: (event) => act(channel, event), onpointermove: (event) => tell(event, text), onpointerleave: (event) => tell(event, null),
    }));
  });
  [...data.drawn].reverse().forEach((unit) => {
    const at = mains[unit];
    const place = data.drawn.indexOf(unit);
    svg.append(makeSvg("path", {
      d: markerPath(place, x(locations[2 * at]), y(locations[2 * at + 1]), Math.max(size / 2 + 1, 4)), fill: unitColor(unit),
      stroke: colors.background, "pointer-events": "none",
    }));
  });
  svg.append(...umBar(colors, height, perY));
  return svg;
}

function umBar(colors, height, perUm) {
  const size = ROUND_SIZES.find((value) => value * perUm >= 14) ?? 10000;
  const [from, to] = [height - 6, height - 6 - size * perUm];
  const text = makeSvg("text", { x: 14, y: height - 6, fill: colors.muted, "font-size": 11, class: "crsae-um-bar" });
  text.textContent = `${size} µm`;
  return [makeSvg("path", { d: `M8 ${from}V${to}`, stroke: colors.text, "stroke-width": 2 }), text];
}

// Where contacts and waveforms are in a picture of some width and height.
export function templateLayout(data, { width, height, isWhole, gain, waveforms }) {
  const { locations, channel_ids: ids, pitch } = data.overview;
  const [left, right, bottom, top] = bounds(data, isWhole);
  const columns = Math.round((right - left) / pitch[0]) + 1;
  const rows = (top - bottom) / pitch[1] + 1;
  const inner = { left: 10, right: width - 56, top: 26, bottom: height - 24 };
  const cellWidth = Math.min((inner.right - inner.left) / columns, MAX_CELL_WIDTH);
  const cellHeight = Math.min((inner.bottom - inner.top) / (rows + 1.2), MAX_CELL_HEIGHT);
  // most waveforms go down: more room is left below than above
  const [middleX, middleY] = [(inner.left + inner.right) / 2, (inner.top + inner.bottom) / 2 - 0.5 * cellHeight];
  // a waveform has a third of its cell before its peak, which stands at the contact
  const x = (channel) => middleX - cellWidth / 6 + ((locations[2 * channel] - (left + right) / 2) / pitch[0]) * cellWidth;
  const y = (channel) => middleY - ((locations[2 * channel + 1] - (bottom + top) / 2) / pitch[1]) * cellHeight;
  const shown = ids.map((_, channel) => channel).filter((channel) => {
    const [atX, atY] = [locations[2 * channel], locations[2 * channel + 1]];
    return atX >= left - pitch[0] && atX <= right + pitch[0] && atY >= bottom - pitch[1] && atY <= top + pitch[1]
      && x(channel) >= inner.left && x(channel) <= inner.right && y(channel) >= inner.top - 4 && y(channel) <= inner.bottom + 4;
  });
  let tallest = 0;
  for (const value of waveforms?.values ?? []) tallest = Math.max(tallest, Math.abs(value));
  const tall = Math.min(Math.max(WAVEFORM_PIXELS, 0.9 * cellHeight), 2.5 * Math.max(cellHeight, 12));
  const perUnit = tallest > 0 ? (gain * tall) / tallest : 0;
  return { x, y, shown, cellWidth, cellHeight, perUnit, inner, width, height };
}

export function drawWaveforms(context, layout, data, waveforms, colors) {
  const { shown, x, y, cellWidth, perUnit } = layout;
  const size = Math.min(Math.max(cellWidth / 14, 3), 6);
  context.font = FONT;
  context.fillStyle = colors.line;
  for (const channel of shown) context.fillRect(x(channel) - size / 2, y(channel) - size / 2, size, size);
  drawContactNames(context, layout, data, colors);
  if (!waveforms || !waveforms.values.length) return;
  const width = waveforms.values.shape[1];
  const step = (0.94 * cellWidth) / width;
  const visible = new Set(shown);
  context.save();
  context.beginPath();
  context.rect(0, 0, layout.width, layout.height - 20);
  context.clip();
  // the leading unit is drawn last, on top
  for (const unit of [...data.drawn].reverse()) {
    const place = data.drawn.indexOf(unit);
    context.strokeStyle = unitColor(unit);
    context.lineWidth = place === 0 ? 2 : 1.4;
    context.setLineDash(lineDash(place));
    context.beginPath();
    waveforms.unit.forEach((owner, index) => {
      const channel = waveforms.channel[index];
      if (owner !== unit || !visible.has(channel)) return;
      const x0 = x(channel) - waveforms.num_before[index] * step;
      const y0 = y(channel);
      for (let sample = 0; sample < width; sample++) {
        const at = [x0 + sample * step, y0 - waveforms.values[index * width + sample] * perUnit];
        if (sample === 0) context.moveTo(...at);
        else context.lineTo(...at);
      }
    });
    context.stroke();
  }
  context.restore();
  drawBars(context, layout, data, waveforms, colors, step);
  drawLegend(context, layout, data, colors);
}

function drawLegend(context, layout, data, colors) {
  let x = 10;
  context.textAlign = "left";
  context.textBaseline = "middle";
  data.drawn.forEach((unit, place) => {
    const text = data.overview.unit_ids[unit];
    const end = x + 26 + context.measureText(text).width;
    if (end > layout.width - 70) return;
    context.strokeStyle = unitColor(unit);
    context.lineWidth = place === 0 ? 2.4 : 1.6;
    context.setLineDash(lineDash(place));
    context.beginPath();
    context.moveTo(x, 9);
    context.lineTo(x + 20, 9);
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = colors.text;
    context.fillText(text, x + 24, 9);
    x = end + 10;
  });
}

function drawContactNames(context, layout, data, colors) {
  if (layout.cellHeight < 26 || layout.cellWidth < 40) return;
  context.fillStyle = colors.muted;
  context.textAlign = "left";
  context.textBaseline = "bottom";
  context.font = "10px system-ui, sans-serif";
  for (const channel of layout.shown) {
    context.fillText(data.overview.channel_ids[channel], layout.x(channel) - 0.32 * layout.cellWidth, layout.y(channel) - 2);
  }
  context.font = FONT;
}

function drawBars(context, layout, data, waveforms, colors, step) {
  const tall = ROUND_SIZES.find((value) => value * layout.perUnit >= 22) ?? 10000;
  const short = [0.1, 0.2, 0.5, 1, 2, 5].find((value) => (value * data.sampling_frequency * step) / 1000 >= 18) ?? 10;
  const [x, bottom] = [layout.width - 12, layout.height - 24];
  const length = (short * data.sampling_frequency * step) / 1000;
  context.strokeStyle = context.fillStyle = colors.text;
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x, bottom - tall * layout.perUnit);
  context.lineTo(x, bottom);
  context.lineTo(x - length, bottom);
  context.stroke();
  context.textAlign = "right";
  context.textBaseline = "top";
  context.fillText(`${short} ms`, x + 1, bottom + 5);
  context.textBaseline = "bottom";
  context.fillText(`${tall} ${waveforms.unit_of_measurement}`, x + 8, bottom - tall * layout.perUnit - 4);
}

export function drawCorrelograms(surface, data, colors, width, height) {
  const context = surface.resize(width, height);
  context.font = FONT;
  const count = Math.max(data.correlograms.length, 1);
  const panelWidth = width / count;
  return data.correlograms.map((one, panel) => {
    const box = { left: panel * panelWidth + 52, right: (panel + 1) * panelWidth - 10, top: 22, bottom: height - 38 };
    const highest = Math.max(...one.counts, 2);
    const x = scale(one.edges_ms[0], one.edges_ms[one.edges_ms.length - 1], box.left, box.right);
    const y = scale(0, highest, box.bottom, box.top);
    const isAuto = one.unit === one.other;
    context.fillStyle = colors.warning;
    context.globalAlpha = 0.22;
    context.fillRect(x(-data.refractory_ms), box.top, x(data.refractory_ms) - x(-data.refractory_ms), box.bottom - box.top);
    context.globalAlpha = 1;
    context.fillStyle = isAuto ? unitColor(one.unit) : colors.trace;
    one.counts.forEach((value, bin) => {
      const from = x(one.edges_ms[bin]);
      context.fillRect(from, y(value), Math.max(x(one.edges_ms[bin + 1]) - from - 0.5, 0.5), box.bottom - y(value));
    });
    context.strokeStyle = colors.warning;
    context.lineWidth = 1;
    context.setLineDash([3, 2]);
    context.beginPath();
    for (const lag of [-data.refractory_ms, data.refractory_ms]) {
      context.moveTo(x(lag), box.top);
      context.lineTo(x(lag), box.bottom);
    }
    context.stroke();
    context.setLineDash([]);
    const ids = data.overview.unit_ids;
    context.fillStyle = colors.text;
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    context.fillText(isAuto ? `unit ${ids[one.unit]} with itself` : `unit ${ids[one.other]} after unit ${ids[one.unit]}`, box.left, 13);
    const whole = (value) => (Number.isInteger(value) ? formatNumber(value, 6) : "");
    drawAxes(context, box, colors, { x, y, xLabel: `lag (ms); shaded: within ${data.refractory_ms} ms`, formatY: whole });
    if (panel === 0) sideways(context, colors, "pairs of spikes", 10, (box.top + box.bottom) / 2);
    return { box, x, one };
  });
}

function sideways(context, colors, text, x, y) {
  context.save();
  context.fillStyle = colors.muted;
  context.translate(x, y);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, 0, 0);
  context.restore();
}

// Amplitudes over the segment; returns the scales.
export function drawAmplitudes(surface, data, colors, { width, height, cursor }) {
  const context = surface.resize(width, height);
  context.font = FONT;
  const { time_s: times, amplitude, unit: units, probability } = data.amplitudes;
  const box = { left: 52, right: width - 12, top: 10, bottom: height - 38 };
  let [lowest, highest] = [0.9, 1.1];
  for (const value of amplitude) [highest, lowest] = [Math.max(highest, value), Math.min(lowest, value)];
  const x = scale(0, data.duration_s, box.left, box.right);
  const margin = 0.06 * (highest - lowest);
  const y = scale(lowest - margin, highest + margin, box.bottom, box.top);
  const segment = data.num_segments > 1 ? ` of segment ${data.segment_index}` : "";
  const crosses = probability?.some((chance) => chance < IMPROBABLE) ? "; crosses: spikes of a probability below 0.5" : "";
  drawAxes(context, box, colors, { x, y, xLabel: `time${segment}${crosses}`, yLabel: "amplitude / typical", formatX: formatTime, grid: true });
  const places = new Map(data.drawn.map((unit, place) => [unit, place]));
  for (let spike = times.length - 1; spike >= 0; spike--) {
    const place = places.get(units[spike]);
    context.fillStyle = context.strokeStyle = unitColor(units[spike]);
    const chance = probability ? probability[spike] : 1;
    context.globalAlpha = 0.25 + 0.6 * chance;
    drawMark(context, x(times[spike]), y(amplitude[spike]), chance < IMPROBABLE ? -1 : place);
  }
  context.globalAlpha = 1;
  const at = Math.round(x(Math.min(Math.max(cursor, 0), data.duration_s))) + 0.5;
  context.strokeStyle = colors.accent;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(at, box.top);
  context.lineTo(at, box.bottom);
  context.stroke();
  return { box, x, y };
}

// A dot, square, triangle or diamond by the place of the unit; a cross where the spike is improbable.
function drawMark(context, x, y, place) {
  if (place < 0) {
    context.globalAlpha = 0.9;
    context.lineWidth = 1.2;
    context.beginPath();
    context.moveTo(x - 3, y - 3);
    context.lineTo(x + 3, y + 3);
    context.moveTo(x - 3, y + 3);
    context.lineTo(x + 3, y - 3);
    context.stroke();
    return;
  }
  const shape = place % MARKER_SIZES.length;
  const size = MARKER_SIZES[shape];
  if (shape <= 1) {
    context.fillRect(x - size, y - size, 2 * size, 2 * size);
    return;
  }
  context.beginPath();
  context.moveTo(x, y - size);
  context.lineTo(x + size, shape === 2 ? y + size : y);
  if (shape === 3) context.lineTo(x, y + size);
  context.lineTo(x - size, shape === 2 ? y + size : y);
  context.fill();
}
