import { figureColumn, figureTitle, formatFigure, idColumn } from "./unit_columns.js";
import { GridList } from "./grid_list.js";
import { listRows, listenToKeys } from "./keys.js";
import { offerPictures } from "./pictures.js";
import { Requests, Surface, answers, formatNumber, formatTime, frame, make, showTip, unitColor } from "./shared.js";
import { drawAmplitudes, drawCorrelograms, drawWaveforms, probeMap, swatch, templateLayout } from "./template_panels.js";

const PANEL_HEIGHT = 400;
const LOW_HEIGHT = 230;
const AMPLITUDE_HEIGHT = 200;
const MAP_WIDTH = 110;
const COLUMN_GAP = 12;
const WIDE = 820;
const CORRELOGRAM_WINDOWS = [10, 25, 50, 100];
const MAX_PIXELS_APART = 8;

// What is known of the drawn units, a column for each.
function qualityTable(data, lead) {
  const { overview, drawn } = data;
  const head = drawn.map((unit, place) => make("th", { scope: "col" },
    make("button", { title: "Make it the leading unit", "data-lead": overview.unit_ids[unit], onclick: () => lead(unit) }, swatch(unit, place), overview.unit_ids[unit])));
  const figures = overview.figures.map((figure) => make("tr", { title: figure.hint },
    make("th", { scope: "row" }, figureTitle(figure)), ...drawn.map((unit) => make("td", {}, formatFigure(figure, unit)))));
  const texts = overview.texts.map((text) => make("tr", {},
    make("th", { scope: "row" }, text.label), ...drawn.map((unit) => make("td", {}, text.values[unit]))));
  return make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "unit"), ...head)), make("tbody", {}, ...texts, ...figures));
}

function nearestPoint(amplitudes, scales, at) {
  let best = -1;
  let distance = MAX_PIXELS_APART ** 2;
  for (let spike = 0; spike < amplitudes.time_s.length; spike++) {
    const apart = (scales.x(amplitudes.time_s[spike]) - at.x) ** 2 + (scales.y(amplitudes.amplitude[spike]) - at.y) ** 2;
    if (apart < distance) [best, distance] = [spike, apart];
  }
  return best;
}

export default {
  render({ model, el }) {
    const requests = new Requests(model);
    const map = make("div", { class: "crsae-map" });
    const waveformSurface = new Surface("Waveforms of the selected units at their contacts");
    const correlogramSurface = new Surface("Correlograms of the selected units");
    const amplitudeSurface = new Surface("Amplitudes of the spikes over time; click to go to a time");
    const neighbors = make("div", { class: "crsae-chips crsae-neighbors", role: "group", "aria-label": "Units like the leading one" });
    const quality = make("div", { class: "crsae-quality", tabindex: "0", role: "region", "aria-label": "Quality figures" });
    const noWaveforms = make("div", { class: "crsae-empty crsae-over" });
    const whereTissue = make("div", { class: "crsae-note crsae-hidden", role: "status" });
    let data = null;
    let built = null;
    let gain = 1;
    let lastContact = null;
    let layout = null;
    let correlograms = [];
    let amplitudeScales = null;

    const view = frame({ model, el, title: "Templates", draw });
    offerPictures(view, model);
    const list = new GridList({
      label: "Units: arrows up and down, Enter adds or removes", choose, changed: () => { built = null; view.redraw(); },
    });
    const button = (text, title, act, needs = null) => make("button", { title, "aria-label": title, "data-needs": needs, onclick: act }, text);
    const setTrait = (name, value) => { model.set(name, value); model.save_changes(); };
    const quantities = {
      atoms: button("atoms (whitened)", "Whitened atoms at their typical size, in noise standard deviations (t)", () => setTrait("quantity", "atoms")),
      templates: button("templates (µV)", "Mean waveforms (t)", () => setTrait("quantity", "templates")),
    };
    const wholeProbe = button("whole probe", "All contacts, or those around the selected units (w)", () => setTrait("whole_probe", !model.get("whole_probe")));
    const atCursor = button("at the cursor", "Atoms where the tissue was at the cursor, or at rest (d)", changeTissue, "at_cursor");
    const windowChoice = make("select", { "data-needs": "correlogram_ms", "aria-label": "Largest lag of the correlograms", title: "Largest lag of the correlograms", onchange: (event) => setTrait("correlogram_ms", Number(event.target.value)) },
      ...CORRELOGRAM_WINDOWS.map((value) => make("option", { value }, `± ${value} ms`)));
    view.tools.append(quantities.atoms, quantities.templates, atCursor, wholeProbe,
      button("⇅−", "Smaller waveforms (-)", () => changeGain(1 / 1.4)), button("⇅+", "Larger waveforms (+)", () => changeGain(1.4)),
      windowChoice,
      button("⇤ spike", "Previous spike of the selected units (,)", () => nextSpike(true), "next_spike"),
      button("spike ⇥", "Next spike of the selected units (.)", () => nextSpike(false), "next_spike"));
    const picture = make("div", { class: "crsae-picture" }, waveformSurface.canvas, noWaveforms);
    const upper = make("div", { class: "crsae-row" }, map, picture, list.node);
    const lower = make("div", { class: "crsae-row" }, correlogramSurface.canvas, quality);
    view.body.append(upper, whereTissue, neighbors, lower, amplitudeSurface.canvas);

    const nameOf = (unit) => data.overview.unit_ids[unit];
    const nextSpike = (backwards) => requests.send({ kind: "next_spike", backwards });

    function select(units) {
      requests.send({ kind: "select_units", unit_ids: units.map(nameOf) });
    }
    const toggle = (unit) => select(data.selected.includes(unit) ? data.selected.filter((other) => other !== unit) : [...data.selected, unit]);
    // a saved page holds units one at a time
    const add = (unit) => select(model.isStatic ? [unit] : data.selected.includes(unit) ? data.selected : [...data.selected, unit]);
    function choose(unit, event) {
      list.moveCursor(unit);
      list.list.focus({ preventScroll: true });
      if (event.ctrlKey || event.metaKey || event.shiftKey) toggle(unit);
      else select([unit]);
    }
    function chooseContact(channel, event) {
      const count = data.overview.units_at_contact.shape[1];
      const units = [...data.overview.units_at_contact.slice(channel * count, (channel + 1) * count)].filter((unit) => unit >= 0);
      if (!units.length) return;
      const place = lastContact === channel ? (units.indexOf(list.cursor) + 1) % units.length : 0;
      lastContact = channel;
      list.moveCursor(units[place]);
      if (event.ctrlKey || event.metaKey || event.shiftKey) add(units[place]);
      else select([units[place]]);
    }
    function goTo(time_s) {
      model.send({ kind: "go_to", time_s });
    }
    function changeTissue() {
      if (data?.has_moved && answers(model, "at_cursor")) setTrait("at_cursor", !model.get("at_cursor"));
    }
    function changeGain(factor) {
      gain = Math.min(Math.max(gain * factor, 0.05), 50);
      view.redraw();
    }

    function draw(newData, colors, width) {
      data = newData;
      // while a selection is on its way, the cursor is ahead of the data
      if (!requests.isBusy && !data.selected.includes(list.cursor)) list.cursor = data.selected[0] ?? list.cursor;
      const isWide = width >= WIDE;
      const listWidth = isWide ? Math.min(Math.max(0.38 * width, 330), 470) : width;
      const pictureWidth = width - MAP_WIDTH - COLUMN_GAP - (isWide ? listWidth + COLUMN_GAP : 0);
      list.resize(listWidth, isWide ? PANEL_HEIGHT : 220);
      const [quantity, isWhole] = [model.get("quantity"), model.get("whole_probe")];
      const waveforms = data[quantity];
      build();
      map.replaceChildren(probeMap(data, colors, { width: MAP_WIDTH, height: PANEL_HEIGHT, isWhole, act: chooseContact, tell: showTip }));
      layout = templateLayout(data, { width: pictureWidth, height: PANEL_HEIGHT, isWhole, gain, waveforms });
      const context = waveformSurface.resize(pictureWidth, PANEL_HEIGHT);
      drawWaveforms(context, layout, data, waveforms, colors);
      describeWaveforms(waveforms, quantity);
      describeTissue(quantity);
      const lowWidth = isWide ? Math.floor(0.54 * width) : width;
      quality.style.width = `${isWide ? width - lowWidth - COLUMN_GAP : width}px`;
      quality.style.maxHeight = `${isWide ? LOW_HEIGHT + 50 : 400}px`;
      correlograms = drawCorrelograms(correlogramSurface, data, colors, lowWidth, LOW_HEIGHT);
      amplitudeScales = drawAmplitudes(amplitudeSurface, data, colors, { width, height: AMPLITUDE_HEIGHT, cursor: model.get("cursor_s") });
      const isBare = !data.drawn.length;
      for (const part of [lower, amplitudeSurface.canvas, neighbors]) part.classList.toggle("crsae-hidden", isBare);
      for (const [name, node] of Object.entries(quantities)) node.setAttribute("aria-pressed", String(name === quantity));
      wholeProbe.setAttribute("aria-pressed", String(isWhole));
      windowChoice.value = String(model.get("correlogram_ms"));
      describe();
    }

    // The parts made of elements: anew only with new data or a new order.
    function build() {
      if (built === data) return;
      built = data;
      showList();
      quality.replaceChildren(qualityTable(data, (unit) => select([unit, ...data.selected.filter((other) => other !== unit)])));
      const buttons = data.neighbors.map((unit, rank) => make("button", {
        class: "crsae-chip", style: `--unit-color: ${unitColor(unit)}`, "data-neighbor": nameOf(unit),
        title: "Similarity of the whitened waveforms at their best lag; click to add the unit", onclick: () => add(unit),
      }, `unit ${nameOf(unit)}: ${data.similarity[rank].toFixed(2)}`));
      const text = data.neighbors.length ? `Similar to unit ${nameOf(data.drawn[0])}: ` : "No other unit resembles the leading one.";
      neighbors.replaceChildren(make("span", { class: "crsae-summary" }, text), ...buttons);
    }

    function showList() {
      const { unit_ids: unitIds, figures } = data.overview;
      list.show([idColumn(unitIds), ...figures.map((figure) => figureColumn(figure))], unitIds.length, {
        content: [unitColor(0), unitIds, figures.map((figure) => [figure.name, [...figure.values]])],
        attributes: (unit) => ({ "data-unit": unitIds[unit] }), selected: new Set(data.selected),
      });
    }

    function describeWaveforms(waveforms, quantity) {
      let text = "";
      if (!data.drawn.length) text = "Select a unit in the list, or click a contact.";
      else if (!waveforms) text = "The sorting has no templates in µV: show its atoms, or keep the run's folder with its templates.";
      else if (!waveforms.unit.length) text = `The selected units have no ${quantity}.`;
      noWaveforms.textContent = text;
      noWaveforms.classList.toggle("crsae-hidden", !text);
    }

    // Where the tissue is for what is drawn, in words.
    function describeTissue(quantity) {
      atCursor.classList.toggle("crsae-hidden", !data.has_moved);
      atCursor.setAttribute("aria-pressed", String(data.at_s !== null));
      whereTissue.classList.toggle("crsae-hidden", !data.has_moved || !data.drawn.length);
      const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
      const ranges = data.drawn.map((unit, place) => `unit ${nameOf(unit)} ${data.range_um[place].map(signed).join(" to ")} µm`).join(", ");
      const moved = data.drawn.map((unit, place) => `unit ${nameOf(unit)} ${signed(data.displacement_um[place])} µm`).join(", ");
      if (quantity === "templates") whereTissue.textContent = `The tissue moves; these are means over all of it: ${ranges}.`;
      else if (data.at_s === null) whereTissue.textContent = `The tissue moves; these atoms are those at rest. Spikes were between: ${ranges}.`;
      else whereTissue.textContent = `Where the tissue was at ${formatTime(data.at_s)}: ${moved} up the probe.`;
    }

    function describe() {
      const count = data.overview.unit_ids.length;
      const names = data.drawn.map((unit) => nameOf(unit)).join(", ");
      const selected = data.drawn.length ? `unit ${names} of ${count}` : `none of ${count} units`;
      const shown = data.amplitudes.time_s.length;
      const thinned = shown < data.amplitudes.num_spikes ? `; ${shown} of ${data.amplitudes.num_spikes} amplitudes drawn` : "";
      view.summary.textContent = `${selected}, at ${formatTime(model.get("cursor_s"))}${thinned}`;
    }

    // The contact under the pointer; -1 where there is none.
    function contactAt({ x, y }) {
      let best = -1;
      let distance = 1;
      for (const channel of layout?.shown ?? []) {
        const apart = Math.max(Math.abs(x - layout.x(channel) - layout.cellWidth / 6) / (layout.cellWidth / 2), Math.abs(y - layout.y(channel)) / Math.max(layout.cellHeight / 2, 5));
        if (apart < distance) [best, distance] = [channel, apart];
      }
      return best;
    }

    function tellContact(event) {
      const channel = contactAt(waveformSurface.locate(event));
      if (channel < 0) return showTip(event, null);
      const lines = [`contact ${data.overview.channel_ids[channel]}`];
      const waveforms = data[model.get("quantity")];
      waveforms?.unit.forEach((unit, index) => {
        if (waveforms.channel[index] !== channel) return;
        const length = waveforms.values.shape[1];
        const values = waveforms.values.subarray(index * length, (index + 1) * length);
        const peak = values.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
        lines.push(`unit ${nameOf(unit)}: ${formatNumber(peak)} ${waveforms.unit_of_measurement}`);
      });
      showTip(event, lines.join("\n"));
    }

    const hide = (event) => showTip(event, null);
    waveformSurface.canvas.addEventListener("pointermove", tellContact);
    waveformSurface.canvas.addEventListener("pointerleave", hide);
    waveformSurface.canvas.addEventListener("click", (event) => {
      const channel = contactAt(waveformSurface.locate(event));
      if (channel >= 0) chooseContact(channel, event);
    });
    correlogramSurface.canvas.addEventListener("pointermove", (event) => {
      const at = correlogramSurface.locate(event);
      const panel = correlograms.find(({ box }) => at.x >= box.left && at.x < box.right && at.y <= box.bottom);
      if (!panel) return hide(event);
      const { edges_ms: edges, counts } = panel.one;
      const bin = Math.min(Math.floor(((at.x - panel.box.left) / (panel.box.right - panel.box.left)) * counts.length), counts.length - 1);
      showTip(event, `${formatNumber(edges[bin])} to ${formatNumber(edges[bin + 1])} ms: ${counts[bin]} pairs`);
    });
    correlogramSurface.canvas.addEventListener("pointerleave", hide);
    amplitudeSurface.canvas.addEventListener("pointermove", (event) => {
      if (!amplitudeScales) return;
      const { time_s: times, amplitude, unit, probability } = data.amplitudes;
      const spike = nearestPoint(data.amplitudes, amplitudeScales, amplitudeSurface.locate(event));
      if (spike < 0) return hide(event);
      const chance = probability ? `\nprobability ${formatNumber(probability[spike])}` : "";
      showTip(event, `unit ${nameOf(unit[spike])} at ${formatTime(times[spike], 0.0001)}\n${formatNumber(amplitude[spike])} of its usual size${chance}`);
    });
    amplitudeSurface.canvas.addEventListener("pointerleave", hide);
    amplitudeSurface.canvas.addEventListener("click", (event) => {
      if (!amplitudeScales) return;
      const at = amplitudeSurface.locate(event);
      const spike = nearestPoint(data.amplitudes, amplitudeScales, at);
      const time_s = spike >= 0 ? data.amplitudes.time_s[spike] : amplitudeScales.x.invert(at.x);
      goTo(Math.min(Math.max(time_s, 0), data.duration_s));
    });

    function step(by, event) {
      const unit = list.neighbor(by);
      if (unit < 0) return;
      list.moveCursor(unit);
      if (event.shiftKey) add(unit);
      else if (!event.ctrlKey && !event.metaKey) select([unit]);
    }
    listenToKeys(view, model, [
      { on: list.list, title: "List of units", rows: () => listRows(step, () => list.rows.length, () => toggle(list.cursor)) },
      {
        on: view.root, title: "Pictures", rows: [
          [["f"], "filter the list", () => list.field.focus()],
          [["t"], "atoms or templates", () => setTrait("quantity", model.get("quantity") === "atoms" ? "templates" : "atoms")],
          [["w"], "the neighborhood or the whole probe", () => setTrait("whole_probe", !model.get("whole_probe"))],
          [["d"], "atoms at rest, or where the tissue was at the cursor", changeTissue, "at_cursor"],
          [["+", "="], "larger waveforms", () => changeGain(1.4)],
          [["-"], "smaller waveforms", () => changeGain(1 / 1.4)],
          [["."], "next spike of the selected units", () => nextSpike(false), "next_spike"],
          [[","], "previous spike", () => nextSpike(true), "next_spike"],
          [["click"], "a contact: select the unit that is largest there; an amplitude: go to its time", null],
        ],
      },
    ], () => data && !data.empty);

    const followed = ["quantity", "whole_probe", "correlogram_ms", "cursor_s"];
    for (const name of followed) model.on(`change:${name}`, view.redraw);
    return () => {
      for (const name of followed) model.off(`change:${name}`, view.redraw);
      view.stop();
    };
  },
};
