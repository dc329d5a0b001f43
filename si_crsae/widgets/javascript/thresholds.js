import { listenToKeys } from "./keys.js";
import { offerPictures } from "./pictures.js";
import { Requests, Surface, counted, drawAxes, formatNumber, frame, make, scale, showTip, unitColor } from "./shared.js";

const HISTOGRAM_HEIGHT = 260;
const SIDE_BY_SIDE = 700;
const GRAB_PX = 8;
// a share of spikes that is as good as none
const CLEAN = 5e-4;
const RESIDUAL_GRAY = "#8d969e";

export default {
  render({ model, el }) {
    const histogram = new Surface("Histogram of amplitudes with the threshold; arrow keys move it, Home puts it back to the sorter's minimum");
    const tradeoff = new Surface("Missed spikes against false alarms over all thresholds");
    const slider = make("input", { type: "range", min: "0", step: "1", "aria-label": "Threshold", oninput: () => move(Number(slider.value)), onchange: () => store() });
    const unitChoice = make("select", {
      "aria-label": "Unit", onchange: () => model.send({ kind: "select_units", unit_ids: [unitChoice.value] }),
    });
    const figures = make("div", { role: "status", "data-part": "figures", style: "margin: 4px 0" });
    const warning = make("div", { class: "crsae-error crsae-hidden", role: "status", "data-part": "warning" });
    const how = make("details");
    const requests = new Requests(model);
    let data = null;
    let at = 0;
    let isDragging = false;
    let asked = -1;
    let layout = null;
    let last = null;

    const view = frame({ model, el, title: "Thresholds: missed against false", draw });
    offerPictures(view, model);
    const button = (text, title, act, needs = null) =>
      make("button", { title, "aria-label": title, "data-needs": needs, onclick: () => data && act() }, text);
    const best = button("least errors", "Put the threshold where missed and false together are least", () => set(data.best_index));
    const reset = button("reset", "Forget the threshold of this unit", () => set(data.lowest_index));
    const resetAll = button("reset all", "Forget the thresholds of all units", () => {
      requests.waiting.clear(); // older than this
      model.send({ kind: "reset" });
    }, "reset_all");
    view.tools.append(make("label", { "data-needs": "select_units" }, "unit ", unitChoice), best, reset, resetAll);
    view.body.append(
      make("div", { style: "display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: flex-start" },
        make("div", {}, histogram.canvas, slider), tradeoff.canvas),
      figures, warning, how);

    const clamp = (index) => Math.min(Math.max(Math.round(index), 0), data.grid.length - 1);

    // Everything that a threshold changes is in the page already.
    function move(index) {
      if (!data) return;
      at = clamp(index);
      show();
    }

    function store() {
      if (!data) return;
      requests.waiting.clear(); // a reset does not wait behind a threshold that was chosen after it
      if (at === data.lowest_index) requests.send({ kind: "reset", unit_index: data.unit_index });
      else requests.send({ kind: "set_threshold", unit_index: data.unit_index, value: data.grid[at] });
    }

    function set(index) {
      move(index);
      store();
    }

    function nearest(value) {
      let found = 0;
      data.grid.forEach((entry, index) => { if (Math.abs(entry - value) < Math.abs(data.grid[found] - value)) found = index; });
      return found;
    }

    function draw(payload, colors, width) {
      if (data !== payload) {
        // an answer to one of several keys is older than what is shown: the last one's is on its way
        const isOutrun = requests.isBusy && data?.unit_index === payload.unit_index;
        data = payload;
        if (!isDragging && !isOutrun) at = nearest(data.threshold);
        describeUnits();
        if (data.is_pending && !model.isStatic && asked !== data.unit_index) {
          asked = data.unit_index;
          model.send({ kind: "estimate" });
        }
      }
      last = { colors, width };
      show();
    }

    function describeUnits() {
      const chosen = new Set(data.chosen_units);
      unitChoice.replaceChildren(...data.unit_ids.map((unitId, unit) =>
        make("option", { value: unitId, selected: unit === data.unit_index }, chosen.has(unit) ? `${unitId} (set)` : unitId)));
      slider.max = String(data.grid.length - 1);
      best.disabled = data.best_index < 0;
      resetAll.disabled = !chosen.size;
    }

    function show() {
      if (!last || !data) return;
      const { colors, width } = last;
      const isWide = width >= SIDE_BY_SIDE;
      const left = isWide ? Math.floor(0.62 * (width - 16)) : width;
      drawHistogram(colors, left);
      drawTradeoff(colors, isWide ? width - 16 - left : width);
      slider.style.cssText = `display: block; margin: 0 0 0 ${layout.box.left - 8}px; width: ${layout.box.right - layout.box.left + 16}px`;
      slider.value = String(at);
      slider.setAttribute("aria-valuetext", `${data.grid[at].toFixed(2)} of the unit's typical amplitude`);
      reset.disabled = at === data.lowest_index;
      describe();
    }

    function describe() {
      const count = data.chosen_units.length;
      view.summary.textContent = count ? `${count} of ${data.unit_ids.length} units have a threshold of their own` : "";
      const about = data.source === "truth" ? "" : "about ";
      const percent = (value) => (value > 0 && value < 1e-4 ? "less than 0.01 %" : `${about}${formatNumber(100 * value)} %`);
      const kept = data.num_kept[at];
      const said = [`keeps ${kept} of ${counted(data.num_spikes, "spike")} (${data.num_spikes - kept} removed)`];
      said.push(data.missed ? `misses ${percent(data.missed[at])} of the real ones` : "missed: not known");
      if (data.false_alarm) {
        const number = data.false_alarm[at] * kept;
        said.push(`${percent(data.false_alarm[at])} of the kept are false` + (at >= data.lowest_index ? ` (${about}${Math.round(number)})` : ""));
      } else said.push(data.is_pending && !model.isStatic ? "false alarms: being estimated …" : "false alarms: not known without traces");
      figures.replaceChildren(make("strong", {}, `Threshold ${data.grid[at].toFixed(2)}: `), `${said.join("; ")}.`);
      const isBelow = at < data.lowest_index;
      warning.classList.toggle("crsae-hidden", !isBelow);
      warning.textContent = isBelow
        ? `Below the sorter's own minimum of ${data.lowest.toFixed(2)} there are no spikes yet: run the sorter again with min_amplitude=${data.grid[at].toFixed(2)} to find them.`
        : "";
      const parts = ["Amplitudes in units of the unit's typical one. Colored: its spikes."];
      if (data.null_counts) parts.push("Gray: what in the residual resembles them.");
      if (data.fit_counts && data.source !== "truth") parts.push("Dashed curve: the fitted Gaussian.");
      parts.push("Dotted line: the sorter's own minimum. On the right, the dot is the present threshold, the square that of the least errors.");
      how.replaceChildren(make("summary", {}, "What is drawn, and how it is counted or estimated"),
        ...[parts.join(" "), ...data.how].map((text) => make("div", { class: "crsae-note" }, text)));
    }

    function drawHistogram(colors, width) {
      const context = histogram.resize(width, HISTOGRAM_HEIGHT);
      const edges = data.edges;
      const box = { left: 52, top: 22, right: width - 10, bottom: HISTOGRAM_HEIGHT - 38 };
      const x = scale(data.grid[0], data.grid[data.grid.length - 1], box.left, box.right);
      const y = scale(0, 1.12 * Math.max(...data.counts, 1), box.bottom, box.top);
      layout = { box, x, y };
      const bars = (counts, color, alpha) => {
        context.fillStyle = color;
        context.globalAlpha = alpha;
        counts.forEach((count, bin) => {
          const [from, to] = [x(edges[bin]), Math.min(x(edges[bin + 1]), box.right)];
          const top = Math.max(y(count), box.top);
          context.fillRect(from, top, Math.max(to - from - 0.5, 0.5), box.bottom - top);
        });
        context.globalAlpha = 1;
      };
      if (data.null_counts) bars(data.null_counts, RESIDUAL_GRAY, 0.65);
      bars(data.counts, unitColor(data.unit_index), 0.9);
      // what the threshold removes is paler
      context.fillStyle = colors.background;
      context.globalAlpha = 0.6;
      const [from, to] = [x(data.lowest), x(data.grid[at])];
      if (to > from) context.fillRect(from, box.top, to - from, box.bottom - box.top);
      context.globalAlpha = 1;
      if (data.fit_counts && data.source !== "truth") drawFit(context, colors, x, y, edges);
      context.font = "11px system-ui, sans-serif";
      drawLine(context, x(data.lowest), colors.muted, [2, 3], 1, box);
      drawLine(context, x(data.grid[at]), colors.accent, [], 2.5, box);
      context.fillStyle = colors.accent;
      context.beginPath();
      context.arc(x(data.grid[at]), box.top, 5, 0, 2 * Math.PI);
      context.fill();
      context.textBaseline = "bottom";
      const isRight = x(data.grid[at]) < box.right - 120;
      context.textAlign = isRight ? "left" : "right";
      context.fillText(`threshold ${data.grid[at].toFixed(2)}`, x(data.grid[at]) + (isRight ? 9 : -9), box.top - 4);
      if (Math.abs(x(data.grid[at]) - x(data.lowest)) > 130) {
        context.fillStyle = colors.muted;
        context.textAlign = "left";
        context.fillText("sorter's minimum", Math.max(x(data.lowest) - 40, box.left), box.top - 4);
      }
      drawAxes(context, box, colors, { x, y, xLabel: "amplitude / typical amplitude", yLabel: "spikes" });
    }

    function drawFit(context, colors, x, y, edges) {
      context.strokeStyle = colors.text;
      context.lineWidth = 1.2;
      context.setLineDash([5, 3]);
      context.beginPath();
      data.fit_counts.forEach((count, bin) => context.lineTo((x(edges[bin]) + x(edges[bin + 1])) / 2, y(count)));
      context.stroke();
      context.setLineDash([]);
    }

    function drawTradeoff(colors, width) {
      const context = tradeoff.resize(width, HISTOGRAM_HEIGHT);
      const box = { left: 56, top: 22, right: width - 14, bottom: HISTOGRAM_HEIGHT - 38 };
      context.font = "11px system-ui, sans-serif";
      context.fillStyle = colors.muted;
      if (!data.missed || !data.false_alarm) {
        context.textAlign = "center";
        const reason = data.is_pending && !model.isStatic ? "false alarms are being estimated …"
          : data.missed ? "false alarms are not known without traces" : "too few spikes to estimate missed ones";
        context.fillText(reason, width / 2, HISTOGRAM_HEIGHT / 2);
        return;
      }
      const accepted = data.false_alarm.slice(data.lowest_index);
      if (isClean()) {
        context.textAlign = "center";
        const lines = ["No spike of this unit is missed or false", `${data.source === "truth" ? "" : "as far as can be estimated, "}at the sorter's own minimum:`, "there is nothing to choose."];
        lines.forEach((line, row) => context.fillText(line, width / 2, HISTOGRAM_HEIGHT / 2 + 16 * (row - 1)));
        return;
      }
      const highest = (values, least) => Math.min(100, Math.max(least, 115 * Math.max(...values)));
      const x = scale(0, highest([...accepted, data.false_alarm[at]], 4), box.left, box.right);
      const y = scale(0, highest([data.missed[at], data.missed[data.lowest_index], 0.3], 4), box.bottom, box.top);
      context.save();
      context.beginPath();
      context.rect(box.left - 7, box.top - 7, box.right - box.left + 14, box.bottom - box.top + 14);
      context.clip();
      drawCurve(context, colors, x, y);
      context.restore();
      context.textAlign = "left";
      context.textBaseline = "bottom";
      context.fillStyle = colors.muted;
      const whose = data.matched_unit ? ` against true unit ${data.matched_unit}` : "";
      context.fillText(data.source === "truth" ? `counted${whose}` : "estimated", box.left, box.top - 6);
      drawAxes(context, box, colors, { x, y, xLabel: "false (% of the kept)", yLabel: "missed (% of the real)", spaceX: 60 });
    }

    // Whether the threshold of the sorter is right already, and the one that is chosen as well.
    const isClean = () => [data.lowest_index, at].every((index) => data.missed[index] < CLEAN && data.false_alarm[index] < CLEAN);

    function drawCurve(context, colors, x, y) {
      const line = (first, final, dash) => {
        context.setLineDash(dash);
        context.beginPath();
        for (let index = first; index <= final; index++) context.lineTo(x(100 * data.false_alarm[index]), y(100 * data.missed[index]));
        context.stroke();
        context.setLineDash([]);
      };
      context.strokeStyle = colors.muted;
      context.lineWidth = 1;
      line(0, data.lowest_index, [2, 3]);
      context.strokeStyle = colors.text;
      context.lineWidth = 1.6;
      line(data.lowest_index, data.grid.length - 1, []);
      const point = (index) => [x(100 * data.false_alarm[index]), y(100 * data.missed[index])];
      if (data.best_index >= 0) {
        const [bestX, bestY] = point(data.best_index);
        context.lineWidth = 1.5;
        context.strokeStyle = colors.text;
        context.strokeRect(bestX - 5, bestY - 5, 10, 10);
      }
      context.fillStyle = colors.accent;
      context.beginPath();
      context.arc(...point(at), 5, 0, 2 * Math.PI);
      context.fill();
    }

    function drawLine(context, x, color, dash, lineWidth, box) {
      context.strokeStyle = color;
      context.lineWidth = lineWidth;
      context.setLineDash(dash);
      context.beginPath();
      context.moveTo(x, box.top);
      context.lineTo(x, box.bottom);
      context.stroke();
      context.setLineDash([]);
    }

    const indexAt = (event) => clamp(((histogram.locate(event).x - layout.box.left) / (layout.box.right - layout.box.left)) * (data.grid.length - 1));

    histogram.canvas.addEventListener("pointerdown", (event) => {
      if (!data || !layout) return;
      isDragging = true;
      histogram.canvas.setPointerCapture(event.pointerId);
      showTip(event, null);
      move(indexAt(event));
    });
    histogram.canvas.addEventListener("pointermove", (event) => {
      if (!data || !layout) return;
      if (isDragging) return move(indexAt(event));
      const { x, y } = histogram.locate(event);
      histogram.canvas.style.cursor = Math.abs(x - layout.x(data.grid[at])) < GRAB_PX ? "ew-resize" : "default";
      const bin = Math.floor(indexAt(event) / 2);
      if (x < layout.box.left || x > layout.box.right || y > layout.box.bottom || bin >= data.counts.length) return showTip(event, null);
      const end = bin === data.counts.length - 1 ? "or more" : `to ${data.edges[bin + 1].toFixed(2)}`;
      const lines = [`${data.edges[bin].toFixed(2)} ${end}: ${counted(data.counts[bin], "spike")}`];
      if (data.null_counts?.[bin]) lines.push(`residual: about ${data.null_counts[bin]} in the whole recording`);
      showTip(event, lines.join("\n"));
    });
    histogram.canvas.addEventListener("pointerup", () => {
      if (!isDragging) return;
      isDragging = false;
      store();
    });
    histogram.canvas.addEventListener("pointercancel", () => { isDragging = false; });
    histogram.canvas.addEventListener("pointerleave", (event) => showTip(event, null));
    tradeoff.canvas.addEventListener("pointermove", (event) => showTip(event,
      data?.missed && data?.false_alarm ? "dot: present threshold; square: least sum of missed and false;\ndotted: below the sorter's minimum" : null));
    tradeoff.canvas.addEventListener("pointerleave", (event) => showTip(event, null));
    const by = (change) => () => set(at + change);
    listenToKeys(view, model, [{
      on: histogram.canvas, title: "Histogram", rows: [
        [["ArrowLeft", "ArrowDown"], "a lower threshold", by(-1)],
        [["ArrowRight", "ArrowUp"], "a higher one", by(1)],
        [["PageDown"], "lower by ten steps", by(-10)],
        [["PageUp"], "higher by ten steps", by(10)],
        [["Home"], "the sorter's own minimum", () => set(data.lowest_index)],
      ],
    }], () => data);
    return () => view.stop();
  },
};
