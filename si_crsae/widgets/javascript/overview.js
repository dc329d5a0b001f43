import { formatTime, scale } from "./shared.js";

const OVERVIEW_HEIGHT = 34;

// Spikes in equal parts of a segment, as bars from left to right; what is drawn next is as opaque as they are.
export function drawSpikesOverTime(context, counts, colors, left, right) {
  const highest = Math.max(...counts, 1);
  const binWidth = (right - left) / counts.length;
  context.fillStyle = colors.muted;
  context.globalAlpha = 0.6;
  counts.forEach((count, bin) => {
    const height = (count / highest) * 18;
    context.fillRect(left + bin * binWidth, 20 - height, Math.max(binWidth - 0.3, 0.4), height);
  });
}

// Spikes over a whole segment, and where in it the visible stretch lies.
export function drawOverview(surface, data, colors, width, left) {
  const context = surface.resize(width, OVERVIEW_HEIGHT);
  const x = scale(0, data.duration_s, left, width - 6);
  drawSpikesOverTime(context, data.overview, colors, left, width - 6);
  context.globalAlpha = 1;
  context.fillStyle = colors.accent;
  const from = x(data.start_s);
  context.fillRect(from - 1, 0, Math.max(x(data.end_s) - from, 2) + 1, 21);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = colors.muted;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillText("spikes", left - 6, 11);
  context.textAlign = "left";
  context.fillText("0", left, 28);
  context.textAlign = "right";
  context.fillText(formatTime(data.duration_s, 1), width - 6, 28);
}
