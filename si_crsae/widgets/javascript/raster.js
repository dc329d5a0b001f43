import { listenToKeys } from "./keys.js";
import {
  LEFT, MIN_SIZED_ROW, RATE_HEIGHT, RIGHT, TOP, drawCounts, drawCursor, drawEvents, drawRate, drawRows, drawSegment, tipAt, visiblePart,
} from "./raster_pictures.js";
import { offerPictures } from "./pictures.js";
import { Requests, Surface, counted, drawAxes, formatTime, frame, make, onWheel, scale, showTip } from "./shared.js";

const BETWEEN = 24;
const BOTTOM = 36;
const BODY_HEIGHT = 460;
const MIN_ROW = 3;
const MAX_ROW = 26;
const MIN_WINDOW_S = 0.005;

export default {
  render({ model, el }) {
    const requests = new Requests(model);
    const overview = new Surface("Spikes of the segment; click to go to a time");
    const main = new Surface("Raster of the code, time against units; arrow keys move in time and from unit to unit, + and - zoom");
    const legend = make("div", { class: "crsae-note" });
    let data = null;
    let shown = null;
    let box = null;
    let part = null;
    let drag = null;

    const view = frame({ model, el, title: "Code: time × unit", draw });
    offerPictures(view, model);
    const button = (text, title, act, needs = "show") =>
      make("button", { title, "aria-label": title, "data-needs": needs, onclick: () => data && act() }, text);
    const segments = make("select", {
      class: "crsae-hidden", "aria-label": "Segment",
      onchange: () => model.send({ kind: "go_to", time_s: 0, segment_index: Number(segments.value) }),
    });
    const order = make("select", { "data-needs": "order", "aria-label": "Order of the units (o)", onchange: () => sort(order.value) },
      make("option", { value: "depth" }, "by depth"), make("option", { value: "id" }, "by id"));
    view.tools.append(
      segments, order,
      button("◀", "Back in time (arrow left)", () => move(-0.5)),
      button("▶", "On in time (arrow right)", () => move(0.5)),
      button("−", "Show more time (-)", () => zoom(2)),
      button("+", "Show less time (+)", () => zoom(0.5)),
      button("all", "The whole segment (a)", () => show(0, data.duration_s)),
      button("cursor", "To the cursor (c)", () => show(data.cursor_s - span() / 2, span())),
      button("⇤ spike", "Previous spike of the selected units (,)", () => nextSpike(true), "next_spike"),
      button("spike ⇥", "Next spike of the selected units (.)", () => nextSpike(false), "next_spike"),
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
      model.send({ kind: "select_units", unit_ids: chosen.map((index) => data.unit_ids[index]) });
    }
    const goTo = (time_s) => model.send({ kind: "go_to", time_s });
    // Selects the unit of the row that is so many rows above the first selected one.
    function selectRow(step) {
      const rows = data.row_unit.length;
      const row = data.row_unit.indexOf(data.selected[0]);
      select(data.row_unit[row < 0 ? 0 : Math.min(Math.max(row + step, 0), rows - 1)], false);
    }

    function draw(newData, colors, width) {
      if (newData !== data) {
        const [start_s, end_s] = newData.shown_s ?? [newData.start_s, newData.end_s];
        // a newer place is asked for already; a saved page holds all of a segment, and stays where it is in it
        const isOutrun = model.isStatic ? newData.segment_index === data?.segment_index : requests.isBusy;
        if (!shown || !isOutrun) shown = { start_s, end_s };
        data = newData;
      }
      const rows = data.row_unit.length;
      const rowHeight = Math.min(Math.max(BODY_HEIGHT / Math.max(rows, 1), MIN_ROW), MAX_ROW);
      const top = TOP + RATE_HEIGHT + BETWEEN;
      box = { left: LEFT, right: Math.max(width - RIGHT, LEFT + 60), top, bottom: top + rows * rowHeight, rowHeight, rows };
      box.x = scale(shown.start_s, shown.end_s, box.left, box.right);
      drawSegment(overview, data, shown, colors, width);
      const context = main.resize(width, box.bottom + BOTTOM);
      part = visiblePart(data, shown, box);
      drawRate(context, box, part, colors);
      drawRows(context, box, data, colors);
      context.save();
      context.beginPath();
      context.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
      context.clip();
      if (part.counts) drawCounts(context, box, data.row_unit, part);
      else drawEvents(context, box, data, part);
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
      const many = counted(part.num_events, "spike");
      const digits = span() < 1 ? 0.001 : span() < 60 ? 0.01 : 1;
      view.summary.textContent = `${formatTime(shown.start_s, digits)} to ${formatTime(shown.end_s, digits)} of ${formatTime(data.duration_s, 1)}; ${many}`;
      legend.textContent = part.counts
        ? "Too many spikes for a mark each: the stronger the color, the more spikes there are. " + (data.counts && model.isStatic ? "This page holds no more than these counts." : "Zoom in for marks.")
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
      showTip(event, at ? tipAt(data, part, box, at, at.row >= 0 && at.isInside ? nearestEvent(at) : -1) : null);
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
    onWheel(main.canvas, {
      zoom: (factor, event) => { const at = place(event); if (at) zoom(factor, at.time_s); },
      pan: (pixels) => { if (box) move(pixels / (box.right - box.left)); },
    });
    listenToKeys(view, model, [{
      on: main.canvas, title: "Raster", rows: [
        [["ArrowLeft"], "back in time, by half a window", () => move(-0.5)],
        [["ArrowRight"], "on in time", () => move(0.5)],
        [["PageUp"], "back by a window", () => move(-1)],
        [["PageDown"], "on by a window", () => move(1)],
        [["Home"], "to the beginning", () => show(0, span())],
        [["End"], "to the end", () => show(data.duration_s, span())],
        [["+", "="], "less time", () => zoom(0.5)],
        [["-"], "more time", () => zoom(2)],
        [["Ctrl+wheel"], "zoom; without Ctrl once the picture was clicked", null],
        [["a"], "the whole segment", () => show(0, data.duration_s)],
        [["c"], "to the cursor", () => show(data.cursor_s - span() / 2, span())],
        [["ArrowUp"], "select the row above", () => selectRow(1)],
        [["ArrowDown"], "select the row below", () => selectRow(-1)],
        [["click"], "select the unit and go there; with Shift add the unit", null],
        [["."], "next spike of the selected units", () => nextSpike(false), "next_spike"],
        [[","], "previous spike", () => nextSpike(true), "next_spike"],
        [["o"], "order by depth or by id", () => sort(data.order === "depth" ? "id" : "depth"), "order"],
      ],
    }], () => data && box);
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
