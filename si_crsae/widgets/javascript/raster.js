import { drawSpikesOverTime } from "./overview.js";
import { Requests, Surface, drawAxes, formatNumber, formatTime, frame, make, scale, showTip, unitColor } from "./shared.js";

const [SEGMENT_HEIGHT, RATE_HEIGHT] = [36, 64];
const TOP = 14;
const BETWEEN = 24;
const BOTTOM = 36;
const LEFT = 62;
const RIGHT = 52;
const BODY_HEIGHT = 460;
const MIN_ROW = 3;
const MAX_ROW = 26;
// in lower rows sizes cannot be seen, and are opacity
const MIN_SIZED_ROW = 7;
const MIN_WINDOW_S = 0.005;
// an event of the usual size fills this much of its row
const USUAL_HEIGHT = 0.64;
const HALF = 0.5;
const LEAST_OPACITY = 0.25;

export default {
  render({ model, el }) {
    const requests = new Requests(model);
    const overview = new Surface("Spikes of the segment; click to go to a time");
    const main = new Surface("Raster of the code, time against units; arrow keys move in time and from unit to unit, + and - zoom");
    const legend = make("div", { class: "crsae-note" });
    let data = null;
    let shown = null;
    let box = null;
    let drag = null;

    const view = frame({ model, el, title: "Code: time × unit", draw });
    const button = (text, title, act) => make("button", { title, "aria-label": title, onclick: () => data && act() }, text);
    const segments = make("select", {
      class: "crsae-hidden", "aria-label": "Segment",
      onchange: () => model.send({ kind: "go_to", time_s: 0, segment_index: Number(segments.value) }),
    });
    const order = make("select", { "aria-label": "Order of the units (o)", onchange: () => sort(order.value) },
      make("option", { value: "depth" }, "by depth"), make("option", { value: "id" }, "by id"));
    view.tools.append(
      segments, order,
      button("◀", "Back in time (arrow left)", () => move(-0.5)),
      button("▶", "On in time (arrow right)", () => move(0.5)),
      button("−", "Show more time (-)", () => zoom(2)),
      button("+", "Show less time (+)", () => zoom(0.5)),
      button("all", "The whole segment (a)", () => show(0, data.duration_s)),
      button("cursor", "To the cursor (c)", () => show(data.cursor_s - span() / 2, span())),
      button("⇤ spike", "Previous spike of the selected units (p)", () => nextSpike(true)),
      button("spike ⇥", "Next spike of the selected units (n)", () => nextSpike(false)),
    );
    view.body.append(overview.canvas, main.canvas, legend);

    const span = () => shown.end_s - shown.start_s;
    const columns = () => Math.max(Math.round((box ? box.right - box.left : 800) * (window.devicePixelRatio || 1)), 100);

    // What is there is drawn at once at its new place; the rest follows from the kernel, if there is one.
    function show(start_s, window_s) {
      const length = Math.min(Math.max(window_s, Math.min(MIN_WINDOW_S, data.duration_s)), data.duration_s);
      const start = Math.min(Math.max(start_s, 0), data.duration_s - length);
      shown = { start_s: start, end_s: start + length };
      view.redraw();
      requests.send({ kind: "show", start_s: start, window_s: length, width_px: columns() });
    }
    const move = (share) => show(shown.start_s + share * span(), span());
    const zoom = (factor, time_s = (shown.start_s + shown.end_s) / 2) => {
      const length = Math.min(Math.max(span() * factor, MIN_WINDOW_S), data.duration_s);
      // what is under the pointer stays there
      show(time_s + (shown.start_s - time_s) * (length / span()), length);
    };
    const nextSpike = (backwards) => requests.send({ kind: "next_spike", backwards });
    const sort = (by) => model.send({ kind: "order", by });

    function select(unit, isAdded) {
      const others = isAdded ? data.selected.filter((other) => other !== unit) : [];
      const chosen = isAdded && data.selected.includes(unit) && others.length ? others : [unit, ...others];
      if (model.isStatic) {
        data.selected = chosen;
        view.redraw();
      }
      model.send({ kind: "select_units", unit_ids: chosen.map((index) => data.unit_ids[index]) });
    }
    function goTo(time_s) {
      if (model.isStatic) {
        data.cursor_s = time_s;
        view.redraw();
      }
      model.send({ kind: "go_to", time_s });
    }
    // Selects the unit of the row that is so many rows above the first selected one.
    function selectRow(step) {
      const rows = data.row_unit.length;
      const row = data.row_unit.indexOf(data.selected[0]);
      select(data.row_unit[row < 0 ? 0 : Math.min(Math.max(row + step, 0), rows - 1)], false);
    }

    function draw(newData, colors, width) {
      if (newData !== data) {
        data = newData;
        // a newer place is asked for already
        if (!shown || requests.waiting.size === 0) shown = { start_s: data.start_s, end_s: data.end_s };
      }
      const rows = data.row_unit.length;
      const rowHeight = Math.min(Math.max(BODY_HEIGHT / Math.max(rows, 1), MIN_ROW), MAX_ROW);
      const top = TOP + RATE_HEIGHT + BETWEEN;
      box = { left: LEFT, right: Math.max(width - RIGHT, LEFT + 60), top, bottom: top + rows * rowHeight, rowHeight, rows };
      box.x = scale(shown.start_s, shown.end_s, box.left, box.right);
      drawSegment(overview, data, shown, colors, width);
      const context = main.resize(width, box.bottom + BOTTOM);
      drawRate(context, box, data, colors);
      drawRows(context, box, data, colors);
      context.save();
      context.beginPath();
      context.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
      context.clip();
      if (data.counts) drawCounts(context, box, data, colors);
      else drawEvents(context, box, data);
      context.restore();
      const step = span() / 8;
      drawAxes(context, box, colors, { x: box.x, formatX: (mark) => formatTime(mark, step > 2 ? 1 : 10 ** Math.floor(Math.log10(step))), xLabel: "time" });
      drawCursor(context, box, data, shown, colors);
      describe();
    }

    function describe() {
      segments.classList.toggle("crsae-hidden", data.num_segments < 2);
      if (segments.options.length !== data.num_segments) {
        segments.replaceChildren(...Array.from({ length: data.num_segments }, (_, index) => make("option", { value: index }, `segment ${index}`)));
      }
      segments.value = String(data.segment_index);
      order.value = data.order;
      segments.disabled = order.disabled = Boolean(model.isStatic);
      const many = `${data.num_events.toLocaleString("en-US")} spikes`;
      const digits = span() < 1 ? 0.001 : span() < 60 ? 0.01 : 1;
      view.summary.textContent = `${formatTime(shown.start_s, digits)} to ${formatTime(shown.end_s, digits)} of ${formatTime(data.duration_s, 1)}; ${many}`;
      legend.textContent = data.counts
        ? "Too many spikes for a mark each: the stronger the color, the more spikes there are. Zoom in for marks."
        : box.rowHeight < MIN_SIZED_ROW
          ? `The fainter a mark, the smaller ${data.event_probability ? "or less probable " : ""}its spike.`
          : "The longer a mark, the larger its spike: one of its unit's usual size fills two thirds of the row."
            + (data.event_probability ? " The fainter, the less probable; with a gap: below one half." : "");
    }

    function place(event) {
      if (!box || !data) return null;
      const { x, y } = main.locate(event);
      const row = Math.floor((box.bottom - y) / box.rowHeight);
      if (x < 0 || x > box.right + RIGHT || y < TOP || row < 0) return null;
      return { row: row < box.rows ? row : -1, time_s: box.x.invert(x), isInside: x >= box.left && x <= box.right };
    }

    function nearestEvent(at) {
      let [best, distance] = [-1, (5 / (box.right - box.left)) * span()];
      const after = at.time_s - data.start_s;
      for (let event = 0; event < data.event_row.length; event++) {
        const apart = Math.abs(data.event_after_s[event] - after);
        if (data.event_row[event] === at.row && apart < distance) [best, distance] = [event, apart];
      }
      return best;
    }

    main.canvas.addEventListener("pointerdown", (event) => {
      if (!data) return;
      drag = { x: event.clientX, start_s: shown.start_s, hasMoved: false };
      main.canvas.setPointerCapture(event.pointerId);
    });
    main.canvas.addEventListener("pointermove", (event) => {
      if (drag) {
        const moved = event.clientX - drag.x;
        if (Math.abs(moved) > 4) drag.hasMoved = true;
        if (drag.hasMoved) show(drag.start_s - (moved / (box.right - box.left)) * span(), span());
        return;
      }
      const at = place(event);
      showTip(event, at ? tipAt(data, box, at, at.row >= 0 && at.isInside ? nearestEvent(at) : -1) : null);
    });
    main.canvas.addEventListener("pointerup", (event) => {
      const at = drag && !drag.hasMoved ? place(event) : null;
      drag = null;
      if (!at) return;
      const nearest = at.row >= 0 && at.isInside ? nearestEvent(at) : -1;
      if (at.row >= 0) select(data.row_unit[at.row], event.shiftKey || event.ctrlKey || event.metaKey);
      if (at.isInside) goTo(nearest >= 0 ? data.start_s + data.event_after_s[nearest] : at.time_s);
    });
    main.canvas.addEventListener("pointercancel", () => { drag = null; });
    main.canvas.addEventListener("pointerleave", (event) => showTip(event, null));
    main.canvas.addEventListener("wheel", (event) => {
      const at = place(event);
      if (!at) return;
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(Math.sign(event.deltaX || event.deltaY) * 0.2);
      else zoom(event.deltaY > 0 ? 1.25 : 0.8, at.time_s);
    }, { passive: false });
    main.canvas.addEventListener("keydown", (event) => {
      const keys = {
        ArrowLeft: () => move(-0.5), ArrowRight: () => move(0.5), ArrowUp: () => selectRow(1), ArrowDown: () => selectRow(-1),
        PageUp: () => move(-1), PageDown: () => move(1), Home: () => show(0, span()), End: () => show(data.duration_s, span()),
        "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), a: () => show(0, data.duration_s),
        c: () => show(data.cursor_s - span() / 2, span()), n: () => nextSpike(false), p: () => nextSpike(true),
        o: () => sort(data.order === "depth" ? "id" : "depth"),
      };
      if (!data || !box || !keys[event.key] || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      keys[event.key]();
    });
    overview.canvas.addEventListener("pointerdown", (event) => {
      if (!data || !box) return;
      const { x } = overview.locate(event);
      show(((x - LEFT) / (overview.width - LEFT - RIGHT)) * data.duration_s - span() / 2, span());
    });

    // The first data were made for a width that was a guess.
    const afterDraw = new MutationObserver(() => {
      if (!data || !box || model.isStatic || requests.isBusy || !data.counts) return;
      if (Math.abs(model.get("width_px") - columns()) > 0.25 * columns()) show(shown.start_s, span());
    });
    afterDraw.observe(view.root, { attributes: true, attributeFilter: ["data-drawn"] });
    return () => {
      afterDraw.disconnect();
      view.stop();
    };
  },
};

const rowMiddle = (box, row) => box.bottom - (row + HALF) * box.rowHeight;

function drawSegment(surface, data, shown, colors, width) {
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

function drawRate(context, box, data, colors) {
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
function drawRows(context, box, data, colors) {
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
function drawEvents(context, box, data) {
  const paths = new Map();
  const hasRoom = box.rowHeight >= MIN_SIZED_ROW;
  for (let event = 0; event < data.event_row.length; event++) {
    const x = box.x(data.start_s + data.event_after_s[event]);
    if (x < box.left - 1 || x > box.right + 1) continue;
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
function drawCounts(context, box, data, colors) {
  const [rows, columns] = data.counts.shape;
  const most = Math.sqrt(data.counts.reduce((largest, count) => Math.max(largest, count), 1));
  const picture = document.createElement("canvas");
  [picture.width, picture.height] = [columns, rows];
  const inside = picture.getContext("2d");
  const image = inside.createImageData(columns, rows);
  const levels = Uint8ClampedArray.from({ length: 257 }, (_, count) => Math.round(255 * Math.min((0.15 + 0.85 * Math.sqrt(count) / most), 1)));
  for (let row = 0; row < rows; row++) {
    const color = unitColor(data.row_unit[row]);
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
    let at = 4 * (rows - 1 - row) * columns;
    for (let column = 0; column < columns; column++, at += 4) {
      const count = data.counts[row * columns + column];
      if (count) image.data.set([red, green, blue, levels[Math.min(count, 256)]], at);
    }
  }
  inside.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  const [from, to] = [box.x(data.start_s), box.x(data.end_s)];
  context.drawImage(picture, from, box.top, to - from, box.bottom - box.top);
}

function drawCursor(context, box, data, shown, colors) {
  if (data.cursor_s < shown.start_s || data.cursor_s > shown.end_s) return;
  const x = Math.round(box.x(data.cursor_s));
  context.fillStyle = colors.accent;
  context.fillRect(x - 0.5, TOP - 4, 1, box.bottom - TOP + 4);
  context.fill(new Path2D(`M${x - 5} ${TOP - 12}h10l-5 8z`));
}

function tipAt(data, box, at, nearest) {
  const time = formatTime(nearest >= 0 ? data.start_s + data.event_after_s[nearest] : at.time_s, 0.0001);
  if (at.row < 0) {
    const bin = Math.floor(((at.time_s - data.start_s) / (data.end_s - data.start_s)) * data.rate_hz.length);
    const rate = data.rate_hz[bin];
    return rate === undefined || !at.isInside ? null : `${time}\n${formatNumber(rate)} spikes/s of all units`;
  }
  const lines = [`unit ${data.unit_ids[data.row_unit[at.row]]}, depth ${Math.round(data.row_depth_um[at.row])} µm`];
  if (!at.isInside) return lines[0];
  lines.push(time);
  if (nearest >= 0) {
    lines.push(`${formatNumber(data.event_size[nearest] * data.size_step)} of its usual size`);
    if (data.event_probability) lines.push(`probability ${formatNumber(data.event_probability[nearest] * data.size_step)}`);
  } else if (data.counts) {
    const [, columns] = data.counts.shape;
    const length = (data.end_s - data.start_s) / columns;
    const count = data.counts[at.row * columns + Math.floor((at.time_s - data.start_s) / length)];
    if (count !== undefined) lines.push(`${count} spikes in ${formatNumber(1000 * length)} ms`);
  }
  return lines.join("\n");
}
