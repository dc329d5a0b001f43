import { Surface, drawAxes, formatNumber, scale, unitColor } from "./shared.js";

const BOX = { left: 52, right: 12, top: 12, bottom: 38 };
const DOT = 2.4;
const STEP = 8;
const NEAREST = 8;
const LEAST_APART = 3;

const rangeOf = (values) => {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (!(high > low)) [low, high] = [(Number.isFinite(low) ? low : 0) - 1, (Number.isFinite(high) ? high : 0) + 1];
  const margin = 0.04 * (high - low);
  return [low - margin, high + margin];
};

// Spikes as points, around which a line can be drawn: `caught(corners)` is told its corners, in units of the axes.
// A press without a line is a click: `clicked(point, at)`, the nearest point or -1, and where that is on the axes.
export class Scatter {
  constructor({ label, caught, clicked, redraw, tell }) {
    this.surface = new Surface(`${label}; draw a line around points to catch them, or space at each corner and Enter`);
    Object.assign(this, { caught, clicked, redraw, tell, line: [], cross: null, isDrawing: false, shown: null });
    const { canvas } = this.surface;
    canvas.classList.add("crsae-vertical");
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.end(event));
    canvas.addEventListener("pointerleave", (event) => tell(event, -1));
  }

  // `shown` is {x, y, unit, isInside, xLabel, yLabel, formatX, range, lasso, cursor}: values, labels and what was caught.
  draw(shown, colors, width, height) {
    const context = this.surface.resize(width, height);
    const box = { left: BOX.left, right: width - BOX.right, top: BOX.top, bottom: height - BOX.bottom };
    const x = scale(...(shown.range ?? rangeOf(shown.x)), box.left, box.right);
    const y = scale(...rangeOf(shown.y), box.bottom, box.top);
    Object.assign(this, { shown, box, x, y });
    drawAxes(context, box, colors, { x, y, xLabel: shown.xLabel, yLabel: shown.yLabel, formatX: shown.formatX ?? ((value) => formatNumber(value)), grid: true });
    const hasLasso = shown.lasso.length > 0;
    for (let point = shown.x.length - 1; point >= 0; point--) {
      context.fillStyle = unitColor(shown.unit[point]);
      context.globalAlpha = hasLasso && !shown.isInside[point] ? 0.25 : 0.8;
      const size = shown.isInside[point] ? DOT + 1.2 : DOT;
      context.fillRect(x(shown.x[point]) - size / 2, y(shown.y[point]) - size / 2, size, size);
    }
    context.globalAlpha = 1;
    if (shown.cursor !== undefined) this.rule(context, colors, shown.cursor);
    this.outline(context, colors, this.line.length ? this.line : shown.lasso.map(([across, up]) => [x(across), y(up)]), !this.line.length);
    if (this.cross) this.drawCross(context, colors);
  }

  rule(context, colors, value) {
    const at = Math.round(this.x(value)) + 0.5;
    context.strokeStyle = colors.accent;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(at, this.box.top);
    context.lineTo(at, this.box.bottom);
    context.stroke();
  }

  outline(context, colors, corners, isClosed) {
    if (!corners.length) return;
    const { left, top, right, bottom } = this.box;
    context.save();
    context.beginPath();
    context.rect(left, top, right - left, bottom - top);
    context.clip();
    context.strokeStyle = colors.accent;
    context.lineWidth = 1.5;
    context.setLineDash(isClosed ? [] : [4, 3]);
    context.beginPath();
    for (const corner of corners) context.lineTo(...corner);
    if (isClosed) context.closePath();
    context.stroke();
    context.restore();
  }

  drawCross(context, colors) {
    const [atX, atY] = this.cross;
    context.strokeStyle = colors.text;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(atX - 7, atY);
    context.lineTo(atX + 7, atY);
    context.moveTo(atX, atY - 7);
    context.lineTo(atX, atY + 7);
    context.stroke();
  }

  begin(event) {
    if (!this.shown || event.button !== 0) return;
    const { x, y } = this.surface.locate(event);
    this.isDrawing = true;
    this.line = [[x, y]];
    this.cross = null;
    this.surface.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.shown) return;
    const { x, y } = this.surface.locate(event);
    if (!this.isDrawing) return this.tell(event, this.nearest(x, y));
    const [lastX, lastY] = this.line.at(-1);
    if (Math.hypot(x - lastX, y - lastY) < LEAST_APART) return;
    this.line.push([x, y]);
    this.redraw();
  }

  end(event) {
    if (!this.isDrawing) return;
    this.isDrawing = false;
    if (this.line.length > 2) return this.close();
    const { x, y } = this.surface.locate(event);
    this.line = [];
    this.clicked(this.nearest(x, y), { x: this.x.invert(x), y: this.y.invert(y) });
  }

  close() {
    const corners = this.line.map(([x, y]) => [this.x.invert(x), this.y.invert(y)]);
    this.line = [];
    this.cross = null;
    if (corners.length > 2) this.caught(corners);
    this.redraw();
  }

  nearest(atX, atY) {
    let [best, distance] = [-1, NEAREST ** 2];
    for (let point = 0; point < this.shown.x.length; point++) {
      const apart = (this.x(this.shown.x[point]) - atX) ** 2 + (this.y(this.shown.y[point]) - atY) ** 2;
      if (apart < distance) [best, distance] = [point, apart];
    }
    return best;
  }

  moveCross(across, up) {
    const { left, right, top, bottom } = this.box;
    const [x, y] = this.cross ?? [(left + right) / 2, (top + bottom) / 2];
    this.cross = [Math.min(Math.max(x + across * STEP, left), right), Math.min(Math.max(y + up * STEP, top), bottom)];
    this.redraw();
  }

  // What keys do in it, see `listenToKeys`.
  keys(title) {
    const moved = (across, up) => (event) => this.moveCross(across * (event.shiftKey ? 5 : 1), up * (event.shiftKey ? 5 : 1));
    const corner = () => {
      if (!this.cross) return this.moveCross(0, 0);
      this.line.push([...this.cross]);
      return this.redraw();
    };
    return {
      on: this.surface.canvas, title, rows: [
        [["ArrowLeft"], "the cross to the left; with Shift by more", moved(-1, 0), "lasso"], [["ArrowRight"], "to the right", moved(1, 0), "lasso"],
        [["ArrowUp"], "up", moved(0, -1), "lasso"], [["ArrowDown"], "down", moved(0, 1), "lasso"],
        [[" "], "a corner of the line at the cross", corner, "lasso"], [["Enter"], "close the line: catch what lies within", () => this.close(), "lasso"],
      ],
    };
  }
}
