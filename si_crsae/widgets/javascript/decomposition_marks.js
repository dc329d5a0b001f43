import { unitColor } from "./shared.js";

export const TOP = 42;
const HIGHEST_LEVEL = 3;
const KEY_WIDTH = 60;
const LEAST_GAP = 4;

const highestLevel = (data) => Math.max(HIGHEST_LEVEL, 2 * data.noise_ceiling);

function levelColor(data, level) {
  const strength = Math.min((level - data.noise_ceiling) / (highestLevel(data) - data.noise_ceiling), 1);
  return `rgba(214, 90, 20, ${(0.15 + 0.6 * strength).toFixed(3)})`;
}

// Shades the blocks of the residual that are more than noise.
export function drawLevels(context, box, data, rowY, rowHeight) {
  const [rows, blocks] = data.residual_level.shape;
  const blockWidth = (box.right - box.left) / blocks;
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const level = data.residual_level[row * blocks + block];
      if (level <= data.noise_ceiling) continue;
      context.fillStyle = levelColor(data, level);
      context.fillRect(box.left + block * blockWidth, rowY(row) - rowHeight / 2, blockWidth + 0.5, rowHeight);
    }
  }
}

// The key of the shading, above the residual.
export function drawKey(context, box, data, colors) {
  const [left, top] = [box.right - KEY_WIDTH - 78, 18];
  for (let x = 0; x < KEY_WIDTH; x++) {
    context.fillStyle = levelColor(data, data.noise_ceiling + (x / KEY_WIDTH) * (highestLevel(data) - data.noise_ceiling));
    context.fillRect(left + x, top, 1, 8);
  }
  context.fillStyle = colors.muted;
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.fillText(data.noise_ceiling.toFixed(1), left - 4, top + 4);
  context.textAlign = "left";
  context.fillText(`${highestLevel(data).toFixed(1)} × noise`, left + KEY_WIDTH + 4, top + 4);
}

// Ids above the marks, of those spikes that have room.
export function drawIds(context, box, data, hidden) {
  context.textBaseline = "middle";
  context.textAlign = "center";
  const perSecond = (box.right - box.left) / (data.end_s - data.start_s);
  const order = [...data.event_time_s.keys()].sort((one, other) => data.event_time_s[one] - data.event_time_s[other]);
  const places = order.map((event) => box.left + (data.event_time_s[event] - data.start_s) * perSecond);
  order.forEach((event, rank) => {
    const text = data.unit_ids[data.event_unit[event]];
    const half = context.measureText(text).width / 2 + LEAST_GAP / 2;
    const [x, before, after] = [places[rank], places[rank - 1] ?? -Infinity, places[rank + 1] ?? Infinity];
    if (x - before < 2 * half || after - x < 2 * half || x - half < box.left || x + half > box.right) return;
    context.fillStyle = unitColor(data.event_unit[event]);
    context.globalAlpha = hidden.has(data.event_unit[event]) ? 0.25 : 1;
    context.fillText(text, x, TOP - 19);
  });
  context.globalAlpha = 1;
}
