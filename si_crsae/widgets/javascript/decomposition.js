import { offerPictures } from "./pictures.js";
import { Requests, Surface, answers, chips, counted, drawAxes, formatNumber, formatTime, frame, make, onWheel, scale, showTip, unitColor, unpack } from "./shared.js";
import { TOP, drawIds, drawKey, drawLevels } from "./decomposition_marks.js";
import { listenToKeys } from "./keys.js";
import { drawOverview } from "./overview.js";

const AXIS_HEIGHT = 36;
const LABEL_WIDTH = 44;
const GAP = 14;
const MIN_ROW = 9;
const MAX_ROW = 44;
const TITLES = ["whitened traces", "= spikes, by unit", "+ residual"];

export default {
  render({ model, el }) {
    const requests = new Requests(model);
    const overview = new Surface("Spikes of the segment; click to go to a time");
    const main = new Surface("Traces, spikes and residual");
    const legend = make("div", { class: "crsae-chips crsae-toggled", role: "group", "aria-label": "Units" });
    const finding = make("div", { class: "crsae-note", role: "status" });
    let data = null;
    let gain = 1;
    let layout = null;
    let drag = null;
    let found = null;
    let wanted = null;

    const view = frame({ model, el, title: "Traces = spikes + residual", draw });
    offerPictures(view, model);
    const button = (text, title, act, needs = null) =>
      make("button", { title, "aria-label": title, "data-needs": needs, onclick: () => data && act() }, text);
    const along = [
      button("▲ probe", "Channels further up the probe (])", () => goAlong(1), "channels"),
      button("▼ probe", "Channels further down the probe ([)", () => goAlong(-1), "channels"),
      button("near unit", "Channels nearest to the leading unit (u)", () => requests.send({ kind: "channels", first: null }), "channels"),
    ];
    view.tools.append(
      button("◀", "Back in time (arrow left)", () => move(-0.5), "show"),
      button("▶", "On in time (arrow right)", () => move(0.5), "show"),
      button("−", "Show more time (-)", () => zoom(2), "show"),
      button("+", "Show less time (+)", () => zoom(0.5), "show"),
      button("⇅−", "Smaller waveforms (arrow down)", () => changeGain(1 / 1.4)),
      button("⇅+", "Larger waveforms (arrow up)", () => changeGain(1.4)),
      button("⇤ spike", "Previous spike of the selected units (,)", () => nextSpike(true), "next_spike"),
      button("spike ⇥", "Next spike of the selected units (.)", () => nextSpike(false), "next_spike"),
      ...along,
      button("all units", "Put the spikes of all units into the sum", () => hide([]), "hide"),
    );
    view.body.append(overview.canvas, main.canvas, finding, legend);

    const center = () => (data.start_s + data.end_s) / 2;
    const span = () => data.end_s - data.start_s;

    // What was asked for last, which may not be there yet: several steps in a row add up.
    const asked = () => wanted ?? { time_s: center(), window_s: span() };
    function show(time_s, window_s) {
      const length = Math.min(Math.max(window_s, 0.002), data.duration_s);
      wanted = { time_s: Math.min(Math.max(time_s, length / 2), data.duration_s - length / 2), window_s: length };
      requests.send({ kind: "show", time_s: wanted.time_s, window_ms: 1000 * length, width_px: columns() });
    }
    const columns = () => Math.max(Math.round((layout?.panelWidth ?? 300) * (window.devicePixelRatio || 1)), 100);
    const move = (share) => show(asked().time_s + share * asked().window_s, asked().window_s);
    // What is at a share of the window, such as under the pointer, stays there.
    const zoom = (factor, share = 0.5) => {
      const old = asked();
      const window_s = Math.min(Math.max(old.window_s * factor, 0.002), data.duration_s);
      show(old.time_s + (share - 0.5) * (old.window_s - window_s), window_s);
    };
    const goAlong = (direction) => {
      const step = Math.ceil(0.75 * data.channels.length);
      const last = data.num_channels - data.channels.length;
      const first = Math.min(Math.max(data.first_row + direction * step, 0), last);
      // of what is shown already the kernel would say nothing
      if (requests.isBusy || first !== model.get("first_channel")) requests.send({ kind: "channels", first });
    };
    const nextSpike = (backwards) => requests.send({ kind: "next_spike", backwards });
    const hide = (units) => requests.send({ kind: "hide", units });
    function changeGain(factor) {
      gain = Math.min(Math.max(gain * factor, 0.05), 50);
      view.redraw();
    }

    function draw(newData, colors, width) {
      data = newData;
      if (!requests.isBusy) wanted = null;
      const rows = data.channels.length;
      const rowHeight = Math.min(Math.max(560 / Math.max(rows, 1), MIN_ROW), MAX_ROW);
      const panelWidth = (width - LABEL_WIDTH - 2 * GAP - 6) / 3;
      const height = TOP + rows * rowHeight + AXIS_HEIGHT;
      const boxes = TITLES.map((_, panel) => {
        const left = LABEL_WIDTH + panel * (panelWidth + GAP);
        return { left, right: left + panelWidth, top: TOP, bottom: TOP + rows * rowHeight };
      });
      layout = { boxes, rowHeight, panelWidth, rows };
      // a height of ten noise deviations per row of the default size
      layout.perUnit = (gain * Math.max(rowHeight, 14)) / 12;
      drawOverview(overview, data, colors, width, LABEL_WIDTH);
      const context = main.resize(width, height);
      context.font = "11px system-ui, sans-serif";
      drawRowLabels(context, colors);
      if (data.residual_level) {
        drawLevels(context, boxes[2], data, rowY, layout.rowHeight);
        drawKey(context, boxes[2], data, colors);
      }
      boxes.forEach((box, panel) => {
        context.fillStyle = colors.text;
        context.textAlign = "left";
        context.textBaseline = "alphabetic";
        context.fillText(TITLES[panel], box.left, 12);
        drawAxes(context, box, colors, {
          x: scale(data.start_s, data.end_s, box.left, box.right), formatX: formatTime, xLabel: "time",
        });
      });
      clip(context, boxes[0], () => drawLayer(context, boxes[0], data.traces, colors.trace));
      clip(context, boxes[1], () => drawSpikes(context, boxes[1], colors));
      // too many to draw each of them
      if (data.event_time_s.length && !data.waveforms.length) {
        clip(context, boxes[1], () => drawLayer(context, boxes[1], data.explained, colors.muted));
      }
      clip(context, boxes[2], () => drawLayer(context, boxes[2], data.residual, colors.trace));
      clip(context, boxes[2], () => drawFinding(context, boxes[2], colors));
      if (!data.traces) drawMissing(context, colors);
      drawTicks(context, boxes[1]);
      drawScaleBar(context, boxes[0], colors);
      describe();
    }

    function clip(context, box, action) {
      context.save();
      context.beginPath();
      context.rect(box.left, box.top - 14, box.right - box.left, box.bottom - box.top + 14);
      context.clip();
      action();
      context.restore();
    }

    const rowY = (row) => TOP + (layout.rows - 0.5 - row) * layout.rowHeight;

    function drawRowLabels(context, colors) {
      const every = Math.ceil(11 / layout.rowHeight);
      context.fillStyle = colors.muted;
      context.textAlign = "right";
      context.textBaseline = "middle";
      data.channels.forEach((channel, row) => {
        if (row % every === 0) context.fillText(channel.slice(-6), LABEL_WIDTH - 6, rowY(row));
      });
    }

    // One line where a column is a sample, else a bar from the least to the largest value of each column.
    function drawLayer(context, box, values, color) {
      if (!values) return;
      const [rows, columnCount] = values.shape;
      const step = (data.samples_per_column / data.sampling_frequency / span()) * layout.panelWidth;
      const factor = layout.perUnit * data.resolution;
      context.strokeStyle = color;
      context.lineWidth = 0.8;
      context.beginPath();
      for (let row = 0; row < rows; row++) {
        const y0 = rowY(row);
        let at = row * columnCount * 2;
        for (let column = 0; column < columnCount; column++, at += 2) {
          const x = box.left + (column + 0.5) * step;
          const low = y0 - values[at] * factor;
          if (column === 0) context.moveTo(x, low);
          else context.lineTo(x, low);
          if (data.samples_per_column > 1) context.lineTo(x, y0 - values[at + 1] * factor);
        }
      }
      context.stroke();
    }

    function drawSpikes(context, box, colors) {
      context.strokeStyle = colors.faint;
      context.lineWidth = 1;
      context.beginPath();
      for (let row = 0; row < layout.rows; row++) {
        context.moveTo(box.left, rowY(row));
        context.lineTo(box.right, rowY(row));
      }
      context.stroke();
      const [count, length] = data.waveforms.shape;
      const perSample = layout.panelWidth / (span() * data.sampling_frequency);
      const hidden = new Set(data.hidden);
      const selected = new Set(data.selected);
      for (let index = 0; index < count; index++) {
        const unit = data.event_unit[data.waveform_event[index]];
        if (hidden.has(unit)) continue;
        context.strokeStyle = unitColor(unit);
        context.lineWidth = selected.has(unit) ? 2.2 : 1.2;
        drawWaveform(context, data.waveforms, index * length, length,
          box.left + (data.waveform_onset[index] + 0.5) * perSample, perSample, rowY(data.waveform_row[index]));
      }
    }

    function drawWaveform(context, values, first, length, x0, perSample, y0) {
      context.beginPath();
      for (let sample = 0; sample < length; sample++) {
        context.lineTo(x0 + sample * perSample, y0 - values[first + sample] * layout.perUnit);
      }
      context.stroke();
    }

    // The nearest atom of a clicked bump, dashed.
    function drawFinding(context, box, colors) {
      if (!found?.waveforms) return;
      const length = found.waveforms.shape[1];
      const perSample = layout.panelWidth / (span() * data.sampling_frequency);
      const x0 = box.left + ((found.waveform_onset_s - data.start_s) / span()) * layout.panelWidth;
      context.setLineDash([4, 2]);
      context.lineWidth = 1.8;
      context.strokeStyle = unitColor(found.unit_index);
      found.waveform_row.forEach((row, index) =>
        drawWaveform(context, found.waveforms, index * length, length, x0, perSample, rowY(row)));
    }

    // Marks above the middle panel, one for each spike.
    function drawTicks(context, box) {
      const hidden = new Set(data.hidden);
      for (let event = 0; event < data.event_time_s.length; event++) {
        const x = box.left + ((data.event_time_s[event] - data.start_s) / span()) * layout.panelWidth;
        if (x < box.left || x > box.right) continue;
        context.globalAlpha = hidden.has(data.event_unit[event]) ? 0.25 : 1;
        context.fillStyle = unitColor(data.event_unit[event]);
        context.fillRect(x - 1, TOP - 13, 2, 9);
      }
      context.globalAlpha = 1;
      drawIds(context, box, data, hidden);
    }

    function drawMissing(context, colors) {
      context.fillStyle = colors.muted;
      context.textAlign = "center";
      for (const panel of [0, 2]) {
        const box = layout.boxes[panel];
        context.fillText("no traces to show", (box.left + box.right) / 2, (box.top + box.bottom) / 2);
      }
    }

    function drawScaleBar(context, box, colors) {
      const size = [1, 2, 5, 10, 20, 50, 100, 200].find((value) => value * layout.perUnit >= 12) ?? 500;
      const x = box.right - 4;
      context.strokeStyle = colors.text;
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(x, 26);
      context.lineTo(x, 26 - Math.min(size * layout.perUnit, 24));
      context.stroke();
      context.fillStyle = colors.text;
      context.textAlign = "right";
      context.textBaseline = "middle";
      context.fillText(`${size} noise sd`, x - 5, 16);
    }

    function describe() {
      const shown = `${formatTime(data.start_s, 0.001)} to ${formatTime(data.end_s, 0.001)}`;
      const segment = data.num_segments > 1 ? `segment ${data.segment_index}, ` : "";
      view.summary.textContent = `${segment}${shown} of ${formatTime(data.duration_s, 1)}; ${counted(data.event_time_s.length, "spike")}`
        + (data.channels.length < data.num_channels ? `; ${data.channels.length} of ${data.num_channels} channels` : "");
      for (const node of along) node.classList.toggle("crsae-hidden", data.channels.length === data.num_channels);
      const present = new Set(data.event_unit);
      const hidden = new Set(data.hidden);
      legend.replaceChildren(...chips(data.unit_ids, {
        pressed: (unit) => !hidden.has(unit),
        selected: (unit) => data.selected.includes(unit),
        title: answers(model, "hide")
          ? "Click: in or out of the sum. Shift-click: this unit alone. Double-click: select it in all views." : "Click: draw its spikes bold.",
        act: (unit, event) => {
          if (!answers(model, "hide")) model.send({ kind: "select_units", unit_ids: [data.unit_ids[unit]] });
          else if (event.shiftKey) hide(data.unit_ids.map((_, other) => other).filter((other) => other !== unit));
          else hide(hidden.has(unit) ? data.hidden.filter((other) => other !== unit) : [...data.hidden, unit]);
        },
      }).filter((_, unit) => present.has(unit) || hidden.has(unit)));
      finding.textContent = found?.text ?? "";
    }

    legend.addEventListener("dblclick", (event) => {
      const unit = event.target.closest("[data-unit]")?.dataset.unit;
      if (unit !== undefined) model.send({ kind: "select_units", unit_ids: [unit] });
    });

    // Where an event of the pointer is: panel, time and row; null outside of the panels.
    function place(event) {
      if (!layout) return null;
      const { x, y } = main.locate(event);
      const panel = layout.boxes.findIndex((box) => x >= box.left && x <= box.right);
      const row = Math.round(layout.rows - 0.5 - (y - TOP) / layout.rowHeight);
      if (panel < 0 || row < 0 || row >= layout.rows) return null;
      return { panel, row, time_s: data.start_s + ((x - layout.boxes[panel].left) / layout.panelWidth) * span() };
    }

    function nearestEvent(at) {
      let best = -1;
      let distance = 6 / layout.panelWidth * span();
      for (let event = 0; event < data.event_time_s.length; event++) {
        const apart = Math.abs(data.event_time_s[event] - at.time_s);
        if (apart < distance) [best, distance] = [event, apart];
      }
      return best;
    }

    main.canvas.addEventListener("pointerdown", (event) => {
      if (!data) return;
      drag = { x: event.clientX, time_s: center(), hasMoved: false };
      main.canvas.setPointerCapture(event.pointerId);
    });
    main.canvas.addEventListener("pointermove", (event) => {
      if (drag) {
        const moved = event.clientX - drag.x;
        if (Math.abs(moved) > 4) drag.hasMoved = true;
        if (drag.hasMoved) show(drag.time_s - (moved / layout.panelWidth) * span(), span());
        return;
      }
      const at = place(event);
      if (!at) return showTip(event, null);
      const lines = [`channel ${data.channels[at.row]}, ${formatTime(at.time_s, 0.0001)}`];
      const nearest = at.panel === 1 ? nearestEvent(at) : -1;
      if (nearest >= 0) {
        lines.push(`unit ${data.unit_ids[data.event_unit[nearest]]}: ${formatNumber(data.event_amplitude[nearest])} of its usual size`);
        if (data.event_probability) {
          const [low, high] = [0, 1].map((end) => formatNumber(data.event_interval[2 * nearest + end]));
          lines.push(`90 % interval ${low} to ${high}; probability ${formatNumber(data.event_probability[nearest])}`);
        }
      }
      showTip(event, lines.join("\n"));
    });
    main.canvas.addEventListener("pointerup", (event) => {
      const wasDragged = drag?.hasMoved;
      drag = null;
      const at = wasDragged ? null : place(event);
      if (!at) return;
      if (at.panel === 2) model.send({ kind: "explain", time_s: at.time_s, row: at.row });
      const nearest = at.panel === 1 ? nearestEvent(at) : -1;
      if (nearest >= 0) model.send({ kind: "select_units", unit_ids: [data.unit_ids[data.event_unit[nearest]]] });
    });
    main.canvas.addEventListener("pointercancel", () => { drag = null; });
    main.canvas.addEventListener("pointerleave", (event) => showTip(event, null));
    onWheel(main.canvas, {
      zoom: (factor, event) => { const at = data && place(event); if (at) zoom(factor, (at.time_s - data.start_s) / span()); },
      pan: (pixels) => { if (layout) move(pixels / layout.panelWidth); },
    });
    listenToKeys(view, model, [{
      on: main.canvas, title: "Traces", rows: [
        [["ArrowLeft"], "back in time, by half a window", () => move(-0.5), "show"],
        [["ArrowRight"], "on in time", () => move(0.5), "show"],
        [["PageUp"], "back by a window", () => move(-1), "show"],
        [["PageDown"], "on by a window", () => move(1), "show"],
        [["+", "="], "less time", () => zoom(0.5), "show"],
        [["-"], "more time", () => zoom(2), "show"],
        [["Ctrl+wheel"], "zoom; without Ctrl once the picture was clicked", null, "show"],
        [["ArrowUp"], "larger waveforms", () => changeGain(1.4)],
        [["ArrowDown"], "smaller waveforms", () => changeGain(1 / 1.4)],
        [["]"], "of many channels: up the probe", () => goAlong(1), "channels"],
        [["["], "down the probe", () => goAlong(-1), "channels"],
        [["u"], "to the leading unit", () => requests.send({ kind: "channels", first: null }), "channels"],
        [["."], "next spike of the selected units", () => nextSpike(false), "next_spike"],
        [[","], "previous spike", () => nextSpike(true), "next_spike"],
        [["click"], "select the unit of a spike; in the residual: which atom comes nearest", null, "explain"],
      ],
    }], () => data);
    overview.canvas.addEventListener("pointerdown", (event) => {
      if (!data) return;
      const { x } = overview.locate(event);
      show(((x - LABEL_WIDTH) / (overview.width - LABEL_WIDTH - 6)) * data.duration_s, span());
    });

    function readFinding() {
      found = unpack(model.get("finding") ?? {});
      view.redraw();
    }
    model.on("change:finding", readFinding);
    readFinding();

    // The first data were made for a width that was a guess.
    let sizedFor = 0;
    const afterDraw = new MutationObserver(() => {
      if (!data || !layout || model.isStatic) return;
      if (Math.abs(sizedFor - columns()) > 0.25 * columns()) {
        sizedFor = columns();
        show(center(), span());
      }
    });
    afterDraw.observe(view.root, { attributes: true, attributeFilter: ["data-drawn"] });
    return () => {
      afterDraw.disconnect();
      model.off("change:finding", readFinding);
      view.stop();
    };
  },
};
