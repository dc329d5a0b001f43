import { listenToKeys } from "./keys.js";
import { drawMotion, motionLayout, motionTip, placeOf } from "./motion_pictures.js";
import { offerPictures } from "./pictures.js";
import { Requests, Surface, counted, formatTime, frame, make, onWheel, showTip } from "./shared.js";

const MIN_WINDOW_S = 1;

export default {
  render({ model, el }) {
    const requests = new Requests(model);
    const main = new Surface("Depths of peaks over time, as recorded and at rest, and the motion; arrow keys move in time, + and - zoom");
    let data = null;
    let shown = null;
    let layout = null;
    let drag = null;

    const view = frame({ model, el, title: "Motion of the tissue", draw });
    offerPictures(view, model);
    const button = (text, title, act, needs = "show") =>
      make("button", { title, "aria-label": title, "data-needs": needs, onclick: () => data && act() }, text);
    const chooser = (label, act) => make("select", { class: "crsae-hidden", "aria-label": label, onchange: (event) => act(Number(event.target.value)) });
    const segments = chooser("Segment", (index) => model.send({ kind: "go_to", time_s: 0, segment_index: index }));
    const groups = chooser("Group of channels", (place) => model.send({ kind: "group", place }));
    const depths = button("", "Whole probe, or the depths around the selected units (w)", changeDepths, "depths");
    view.tools.append(
      segments, groups, depths,
      button("◀", "Back in time (arrow left)", () => move(-0.5)),
      button("▶", "On in time (arrow right)", () => move(0.5)),
      button("−", "Show more time (-)", () => zoom(2)),
      button("+", "Show less time (+)", () => zoom(0.5)),
      button("all", "The whole segment (a)", () => show(0, data.duration_s)),
    );
    const legend = make("div", { class: "crsae-note" });
    view.body.append(main.canvas, legend);

    const span = () => shown.end_s - shown.start_s;
    // What is there is drawn at once at its new place; other peaks of a part follow from the kernel, if there is one.
    function show(start_s, window_s) {
      const length = Math.min(Math.max(window_s, MIN_WINDOW_S), data.duration_s);
      const start = Math.min(Math.max(start_s, 0), data.duration_s - length);
      shown = { start_s: start, end_s: start + length };
      view.redraw();
      requests.send({ kind: "show", start_s: start, window_s: length });
    }
    const move = (share) => show(shown.start_s + share * span(), span());
    const zoom = (factor, time_s = (shown.start_s + shown.end_s) / 2) => {
      const length = Math.min(Math.max(span() * factor, MIN_WINDOW_S), data.duration_s);
      show(time_s + (shown.start_s - time_s) * (length / span()), length);
    };
    function changeDepths() {
      model.send({ kind: "depths", is_whole: !data.is_whole });
    }
    const nextSpike = (backwards) => requests.send({ kind: "next_spike", backwards });

    function draw(newData, colors, width) {
      if (newData !== data) {
        const [start_s, end_s] = newData.shown_s ?? [newData.start_s, newData.end_s];
        // a newer place is asked for already; a saved page holds all of the segment, and stays where it is in it
        const isOutrun = model.isStatic ? data !== null : requests.isBusy;
        if (!shown || !isOutrun || newData.segment_index !== data?.segment_index) shown = { start_s, end_s };
        data = newData;
      }
      layout = motionLayout(data, shown, width);
      drawMotion(main, layout, data, colors, width);
      describe();
    }

    function fill(chooser, names, chosen) {
      chooser.classList.toggle("crsae-hidden", names.length < 2);
      if (chooser.options.length !== names.length) chooser.replaceChildren(...names.map((name, value) => make("option", { value }, name)));
      chooser.value = String(chosen);
    }

    function describe() {
      fill(segments, Array.from({ length: data.num_segments }, (_, index) => `segment ${index}`), data.segment_index);
      fill(groups, data.groups.map((name) => `group ${name}`), data.group);
      depths.textContent = data.is_whole ? "around the units" : "whole probe";
      depths.disabled = data.is_whole && !data.selected.length;
      const digits = span() < 60 ? 0.1 : 1;
      view.summary.textContent = `${formatTime(shown.start_s, digits)} to ${formatTime(shown.end_s, digits)} of ${formatTime(data.duration_s, 1)}; ${data.said}`;
      const drawn = data.point_unit.length;
      const which = drawn < data.num_peaks ? `${drawn.toLocaleString("en-US")} of ${counted(data.num_peaks, "peak")}${model.isStatic ? "" : "; zoom in for more"}` : counted(drawn, "peak");
      const names = data.selected.map((unit) => data.unit_ids[unit]).join(", ");
      const colored = names ? ` Colored: spikes of unit ${names}.` : "";
      legend.textContent = `A mark is a peak of the traces: ${which}.${colored} What was followed well lies on level lines at rest.`;
    }

    const place = (event) => (data && layout ? placeOf(data, layout, main.locate(event)) : null);
    main.canvas.addEventListener("pointerdown", (event) => {
      if (!data) return;
      drag = { x: event.clientX, start_s: shown.start_s, hasMoved: false };
      main.canvas.setPointerCapture(event.pointerId);
    });
    main.canvas.addEventListener("pointermove", (event) => {
      if (drag) {
        const moved = event.clientX - drag.x;
        if (Math.abs(moved) > 4) drag.hasMoved = true;
        if (drag.hasMoved) show(drag.start_s - (moved / (layout.right - layout.left)) * span(), span());
        return;
      }
      const at = place(event);
      showTip(event, at ? motionTip(data, at) : null);
    });
    main.canvas.addEventListener("pointerup", (event) => {
      const at = drag && !drag.hasMoved ? place(event) : null;
      drag = null;
      if (!at) return;
      const unit = at.point >= 0 ? data.point_unit[at.point] : -1;
      if (unit >= 0) select(unit, event.shiftKey || event.ctrlKey || event.metaKey);
      model.send({ kind: "go_to", time_s: at.time_s });
    });
    main.canvas.addEventListener("pointercancel", () => { drag = null; });
    main.canvas.addEventListener("pointerleave", (event) => showTip(event, null));
    function select(unit, isAdded) {
      const others = isAdded ? data.selected.filter((other) => other !== unit) : [];
      const chosen = isAdded && data.selected.includes(unit) && others.length ? others : [unit, ...others];
      model.send({ kind: "select_units", unit_ids: chosen.map((index) => data.unit_ids[index]) });
    }
    onWheel(main.canvas, {
      zoom: (factor, event) => { const at = place(event); if (at) zoom(factor, at.time_s); },
      pan: (pixels) => { if (layout) move(pixels / (layout.right - layout.left)); },
    });
    listenToKeys(view, model, [{
      on: main.canvas, title: "Motion", rows: [
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
        [["w"], "whole probe, or around the selected units", changeDepths, "depths"],
        [["click"], "go to the time, and select the unit of the peak; with Shift add it", null],
        [["."], "next spike of the selected units", () => nextSpike(false), "next_spike"],
        [[","], "previous spike", () => nextSpike(true), "next_spike"],
      ],
    }], () => data && layout && !data.empty);
    return () => view.stop();
  },
};
