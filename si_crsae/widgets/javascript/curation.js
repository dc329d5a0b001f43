import { GridList } from "./grid_list.js";
import { listRows, listenToKeys } from "./keys.js";
import { offerPictures } from "./pictures.js";
import { Requests, Surface, answers, counted, formatNumber, formatTime, frame, make, scale, showTip, unitColor } from "./shared.js";
import { decisionColumns, pairList } from "./curation_table.js";
import { outcomePanel } from "./curation_outcome.js";
import { drawAmplitudes, drawCorrelograms, drawWaveforms, templateLayout } from "./template_panels.js";

const LIST_HEIGHT = 590;
const WAVEFORM_HEIGHT = 210;
const CORRELOGRAM_HEIGHT = 150;
const AMPLITUDE_HEIGHT = 180;
const HEIGHTS_WIDTH = 130;
const COLUMN_GAP = 12;
const WIDE = 820;
const CORRELOGRAM_WIDTH = 220;
const GRAB = 6;
const MAX_APART = 8;
const BARS_WIDTH = 54;
const LABEL_KEYS = { good: "g", mua: "m", noise: "n" };

// The labels there are, each with its keys: its digit, and its letter if it has one.
function labelsOf(data) {
  const all = data.definitions.flatMap(({ name: category, options, exclusive }) => options.map((value) => ({ category, value, isExclusive: exclusive })));
  return all.map(({ category, value, isExclusive }, index) => {
    const keys = [LABEL_KEYS[value.toLowerCase()], index < 9 ? String(index + 1) : null].filter(Boolean);
    return { category, value, isExclusive, keys, name: `${category}: ${value}` };
  });
}

export default {
  render({ model, el }) {
    const requests = new Requests(model);
    const waveforms = new Surface("Waveforms of the selected units at their contacts");
    const correlogram = new Surface("Correlograms of the selected units");
    const amplitudes = new Surface("Amplitudes over time; arrow up and down move the line at which a split divides them; click to go to a time");
    const heights = new Surface("How many spikes have which amplitude; click to put the line there");
    const promptText = make("span", { class: "crsae-prompt-text", role: "status" });
    const actions = make("div", { class: "crsae-actions", "data-needs": "merge", role: "group", "aria-label": "What to do with the selected units" });
    const undoHint = make("div", { class: "crsae-summary" });
    const steps = make("ol", { class: "crsae-steps", "aria-label": "Done so far; click one to undo it" });
    let data = null;
    let built = null;
    let line = null;
    let isDragged = false;
    let scales = null;

    const view = frame({ model, el, title: "Curation", draw });
    offerPictures(view, model);
    const list = new GridList({ label: "Units: arrows up and down, Shift or Enter adds", choose, changed: rebuild });
    const button = (text, title, act) => make("button", { title, "aria-label": title, onclick: act }, text);
    const decide = (kind, content = {}) => model.send({ kind, ...content });
    const tools = {
      undo: button("↶ undo", "Undo the last change (ctrl-z)", () => decide("undo")),
      redo: button("↷ redo", "Do again what was undone (ctrl-y)", () => decide("redo")),
      save: button("save", "Save", () => decide("save")),
    };
    const prompts = {
      next: button("look (j)", "Select the units of this suggestion, or of the next one (j)", () => decide("next")),
      accept: button("accept (a)", "Do what is suggested (a)", () => decide("accept")),
      skip: button("skip (x)", "Do not suggest this again (x)", () => decide("skip")),
    };
    const prompt = make("div", { class: "crsae-prompt", "data-needs": "accept" }, promptText, make("span", { class: "crsae-actions" }, ...Object.values(prompts)));
    for (const [kind, node] of Object.entries(tools)) node.dataset.needs = kind;
    view.tools.append(...Object.values(tools));
    const amplitudeRow = make("div", { class: "crsae-amplitudes" }, amplitudes.canvas, heights.canvas);
    const pictures = make("div", {}, waveforms.canvas, correlogram.canvas, amplitudeRow);
    const right = make("div", {}, actions, pictures);
    const done = make("div", {}, undoHint, steps);
    const outcome = outcomePanel();
    const pairs = pairList(selectPair, rebuild);
    pairs.node.addEventListener("toggle", () => { if (pairs.node.open && !model.get("pairs")) model.send({ kind: "pairs" }); });
    view.body.append(prompt, make("div", { class: "crsae-row" }, list.node, right), outcome.node, done, pairs.node);

    const nameOf = (unit) => data.detail.pictures.overview.unit_ids[unit];
    // The units of a row: of a made unit, those that its spikes come from.
    const unitsOf = (row) => data.made[row - data.detail.pictures.overview.unit_ids.length]?.units ?? [row];
    const isSelected = (row) => unitsOf(row).every((unit) => data.selected.includes(unit));
    function select(units) {
      // of what is selected already the kernel would say nothing
      if (requests.isBusy || units.join() !== data.selected.join()) requests.send({ kind: "select_units", unit_ids: units.map(nameOf) });
    }
    const toggle = (unit) => select(data.selected.includes(unit) ? data.selected.filter((other) => other !== unit) : [...data.selected, unit]);
    const add = (unit) => select(data.selected.includes(unit) ? data.selected : [...data.selected, unit]);
    function choose(unit, event) {
      list.moveCursor(unit);
      list.list.focus({ preventScroll: true });
      if (unitsOf(unit).length > 1 || unitsOf(unit)[0] !== unit) select(unitsOf(unit));
      else if (event.ctrlKey || event.metaKey) toggle(unit);
      else if (event.shiftKey) add(unit);
      else select([unit]);
    }
    function rebuild() {
      built = null;
      view.redraw();
    }

    // What a merge of the two would make is shown at once.
    function selectPair(units) {
      list.moveCursor(units[0]);
      select(units);
    }

    function draw(newData, colors, width) {
      if (data !== newData) line = newData.threshold;
      data = newData;
      // while a selection is on its way, the cursor is ahead of the data
      if (!requests.isBusy && !(list.cursor >= 0 && isSelected(list.cursor))) list.cursor = data.selected[0] ?? list.cursor;
      const isWide = width >= WIDE;
      const listWidth = isWide ? Math.min(Math.max(Math.floor(0.42 * width), 360), 520) : width;
      const rightWidth = isWide ? width - listWidth - COLUMN_GAP : width;
      list.resize(listWidth, isWide ? LIST_HEIGHT : 220);
      right.style.width = `${rightWidth}px`;
      build();
      const shown = data.detail.pictures;
      pictures.classList.toggle("crsae-hidden", !shown.drawn.length);
      if (!shown.drawn.length) return outcome.draw({ outcome: null });
      const layout = templateLayout(shown, { width: rightWidth, height: WAVEFORM_HEIGHT, isWhole: false, gain: 1, waveforms: shown.atoms });
      drawWaveforms(waveforms.resize(rightWidth, WAVEFORM_HEIGHT), layout, shown, shown.atoms, colors);
      // where there is no room for three, that of both units matters most, then that of the leading one
      const room = Math.floor(rightWidth / CORRELOGRAM_WIDTH);
      const kept = shown.correlograms.filter((one, place) => room > 2 || (room > 1 && place === 0) || one.unit !== one.other);
      const roomy = { ...shown, correlograms: kept.length ? kept : shown.correlograms };
      drawCorrelograms(correlogram, roomy, colors, rightWidth, CORRELOGRAM_HEIGHT);
      const hasLine = data.detail.split_range !== null;
      heights.canvas.classList.toggle("crsae-hidden", !hasLine);
      const amplitudeWidth = hasLine ? rightWidth - HEIGHTS_WIDTH : rightWidth;
      scales = drawAmplitudes(amplitudes, shown, colors, { width: amplitudeWidth, height: AMPLITUDE_HEIGHT, cursor: model.get("cursor_s") });
      if (hasLine) drawSplit(colors);
      outcome.draw(data, colors, width, model.get("cursor_s"));
    }

    // Spikes below and above the line, all segments together.
    function sides() {
      const { edges, counts } = data.detail.split_range;
      let [below, total] = [0, 0];
      counts.forEach((count, bin) => {
        total += count;
        if (edges[bin] < line - 1e-12) below += count;
      });
      return [below, total - below];
    }

    function drawSplit(colors) {
      const { edges, counts } = data.detail.split_range;
      const { box, y } = scales;
      const context = heights.resize(HEIGHTS_WIDTH, AMPLITUDE_HEIGHT);
      const x = scale(0, Math.max(...counts), 4, BARS_WIDTH);
      context.fillStyle = unitColor(data.selected[0]);
      counts.forEach((count, bin) => {
        context.globalAlpha = edges[bin] < line - 1e-12 ? 0.4 : 1;
        const top = y(edges[bin + 1]);
        context.fillRect(4, top, x(count) - 4, Math.max(y(edges[bin]) - top, 1));
      });
      context.globalAlpha = 1;
      context.font = "11px system-ui, sans-serif";
      context.fillStyle = colors.text;
      context.textAlign = "right";
      const [below, above] = sides();
      const at = y(line);
      context.fillText(`${above} above`, HEIGHTS_WIDTH - 4, Math.max(at - 6, 12));
      context.fillText(`${below} below`, HEIGHTS_WIDTH - 4, Math.min(at + 15, AMPLITUDE_HEIGHT - 30));
      context.fillStyle = colors.muted;
      context.textAlign = "left";
      context.fillText("spikes by amplitude", 4, AMPLITUDE_HEIGHT - 10);
      for (const [surface, from, to] of [[amplitudes.context, box.left, box.right + 12], [context, 0, HEIGHTS_WIDTH - 4]]) {
        surface.strokeStyle = colors.text;
        surface.lineWidth = 1.6;
        surface.setLineDash([6, 4]);
        surface.beginPath();
        surface.moveTo(from, at);
        surface.lineTo(to, at);
        surface.stroke();
        surface.setLineDash([]);
      }
    }

    // The parts made of elements: anew only with new data, a new order, or a kernel gone or come.
    function build() {
      const state = `${model.isStatic}`;
      if (built?.data === data && built.state === state) return;
      built = { data, state };
      showList();
      pairs.show(data, model.get("pairs"), nameOf);
      buildActions();
      buildPrompt();
      steps.replaceChildren(...data.steps.map((text, index) => make("li", {}, answers(model, "drop") ? make("button", {
        "aria-label": `Undo: ${text}`, title: "Undo this step alone", onclick: () => decide("drop", { index }),
      }, `${text} ×`) : text)));
      undoHint.textContent = answers(model, "drop") ? "Done so far; click a step to undo it alone:" : "Done so far:";
      done.classList.toggle("crsae-hidden", !data.steps.length);
      tools.undo.disabled = !data.can_undo;
      tools.redo.disabled = !data.can_redo;
      tools.save.disabled = !data.path || data.is_saved;
      const noPath = "No path to save to: make the view with path=..., or call view.save(path)";
      tools.save.title = data.path ? `Save to ${data.path}` : noPath;
      tools.save.setAttribute("aria-label", tools.save.title);
      tools.save.textContent = data.is_saved && data.path ? "saved" : "save";
      const isPending = data.steps.length && !data.is_saved;
      view.summary.textContent = data.summary + (isPending ? (data.path || model.isStatic ? "; not saved" : "; not saved, no path") : "");
    }

    function showList() {
      const { unit_ids: unitIds, figures } = data.detail.pictures.overview;
      const names = [...unitIds, ...data.made.map((unit) => unit.name)];
      list.show(decisionColumns(data), names.length, {
        content: [unitColor(0), names, figures.map((figure) => [figure.name, [...figure.values]]), data.decided, data.labels, data.is_removed, data.made],
        attributes: (row) => ({
          "data-unit": names[row], class: data.is_removed[row] ? "removed" : row < unitIds.length ? null : "made",
          title: row < unitIds.length ? null : "Made by a decision; click to look at it beside its parts",
        }),
        selected: new Set(data.selected),
      });
    }

    function buildActions() {
      const count = data.selected.length;
      const kind = (test) => count > 0 && data.selected.every(test);
      const isRemoved = kind((unit) => data.is_removed[unit]);
      const action = (text, keys, title, isPossible, act, isPressed = null, name = text) => make("button", {
        title: `${title} (${keys.join(" or ")})`, "aria-label": `${title} (${keys.join(" or ")})`, disabled: !isPossible && "",
        "aria-pressed": isPressed === null ? null : String(isPressed), "data-act": name, onclick: act,
      }, text, ...(keys.length ? [make("kbd", {}, keys[0].replace("Ctrl+", "^"))] : []));
      const made = [
        action("merge", ["Ctrl+m"], "Merge the selected units", count > 1, () => decide("merge")),
        action("split", ["Ctrl+s"], proposed() ? `Split the selected unit ${proposed()}` : "Split the selected unit at the line",
          Boolean(proposed()) || data.detail.split_range !== null, split),
        action(isRemoved ? "keep" : "remove", ["Ctrl+d"], isRemoved ? "Keep the selected units after all" : "Remove the selected units",
          count > 0, () => decide("remove"), null, "remove"),
        action("restore", ["Ctrl+r"], "Take back merge, split and removal of the selected units",
          data.selected.some((unit) => data.decided[unit]), () => decide("restore")),
      ];
      let category = null;
      for (const label of labelsOf(data)) {
        if (label.category !== category) made.push(make("span", { class: "crsae-summary" }, `${label.category}:`));
        category = label.category;
        const isPressed = kind((unit) => data.labels[unit].includes(label.value));
        made.push(action(label.value, label.keys, `Label the selected units ${label.value}, or take the label off`, count > 0,
          () => decide("label", { category: label.category, value: label.value }), isPressed, label.name));
      }
      actions.replaceChildren(...made);
    }

    function buildPrompt() {
      const found = data.prompt;
      promptText.textContent = found ? `Suggestion ${found.index + 1} of ${found.number}: ${found.text}` : "No suggestion: nothing stands out, or all has been decided.";
      for (const [name, node] of Object.entries(prompts)) {
        node.disabled = !found || (name === "accept" && !found.can_accept);
        node.classList.toggle("crsae-hidden", !found);
      }
    }

    // The line stands at an edge of the histogram, so that the numbers beside it are exact; both sides keep a spike.
    function moveLine(amplitude, isFinal) {
      const { edges } = data.detail.split_range;
      const last = edges.length - 1;
      const bin = Math.round(((amplitude - edges[0]) / (edges[last] - edges[0])) * last);
      line = edges[Math.min(Math.max(bin, 1), last - 1)];
      if (isFinal && line !== data.threshold) requests.send({ kind: "threshold", value: line });
      view.redraw();
    }
    function nudge(bins) {
      const { edges } = data.detail.split_range;
      moveLine(line + bins * (edges[1] - edges[0]), true);
    }
    // How the parts of a split that another view proposes came about.
    const proposed = () => data.outcome?.said;
    const split = () => { if (proposed() || data.detail.split_range) decide("split", { threshold: line }); };

    function nearestSpike(at) {
      const { time_s: times, amplitude } = data.detail.pictures.amplitudes;
      let [best, distance] = [-1, MAX_APART ** 2];
      for (let spike = 0; spike < times.length; spike++) {
        const apart = (scales.x(times[spike]) - at.x) ** 2 + (scales.y(amplitude[spike]) - at.y) ** 2;
        if (apart < distance) [best, distance] = [spike, apart];
      }
      return best;
    }
    const isOnLine = (at) => data?.detail.split_range && Math.abs(scales.y(line) - at.y) <= GRAB;

    for (const surface of [amplitudes, heights]) {
      surface.canvas.classList.add("crsae-vertical");
      surface.canvas.addEventListener("pointerdown", (event) => {
        const at = surface.locate(event);
        if (!data || !scales || (surface === amplitudes && !isOnLine(at))) return;
        isDragged = true;
        surface.canvas.setPointerCapture(event.pointerId);
        moveLine(scales.y.invert(at.y), false);
      });
      surface.canvas.addEventListener("pointermove", (event) => {
        if (!data || !scales) return;
        const at = surface.locate(event);
        if (isDragged) return moveLine(scales.y.invert(at.y), false);
        surface.canvas.style.cursor = surface === heights || isOnLine(at) ? "ns-resize" : "";
        if (surface === heights) return showTip(event, "drag the line: a split divides the spikes there");
        const spike = nearestSpike(at);
        const { time_s: times, amplitude, unit } = data.detail.pictures.amplitudes;
        const where = spike < 0 ? null : `unit ${nameOf(unit[spike])} at ${formatTime(times[spike], 0.0001)}\n${formatNumber(amplitude[spike])} of its usual size`;
        showTip(event, isOnLine(at) ? `${counted(sides()[0], "spike")} below ${formatNumber(line)}, ${sides()[1]} above\ndrag, then split (s)` : where);
      });
      surface.canvas.addEventListener("pointerup", (event) => {
        if (!data || !scales) return;
        const at = surface.locate(event);
        if (isDragged) moveLine(scales.y.invert(at.y), true);
        else if (surface === amplitudes) goTo(at);
        isDragged = false;
      });
      surface.canvas.addEventListener("pointerleave", (event) => showTip(event, null));
    }

    function goTo(at) {
      const spike = nearestSpike(at);
      const shown = data.detail.pictures;
      const time_s = Math.min(Math.max(spike >= 0 ? shown.amplitudes.time_s[spike] : scales.x.invert(at.x), 0), shown.duration_s);
      model.send({ kind: "go_to", time_s });
    }

    function step(by, event) {
      const unit = list.neighbor(by);
      if (unit < 0) return;
      list.moveCursor(unit);
      if (event?.shiftKey && unitsOf(unit)[0] === unit) add(unit);
      else if (!event?.ctrlKey && !event?.metaKey) select(unitsOf(unit));
    }
    // A key that labels one unit goes on to the next: a hundred units are a hundred keys.
    function labelBy({ name, value, isExclusive }) {
      const isDone = data.selected.length === 1 && isExclusive && !data.labels[data.selected[0]].includes(value);
      press(name);
      if (isDone) step(1);
    }
    const press = (name) => actions.querySelector(`[data-act="${CSS.escape(name)}"]`)?.click();
    const nudged = (bins) => (event) => { if (data.detail.split_range) nudge(event.shiftKey ? 5 * bins : bins); };
    const lineRows = [
      [["ArrowUp"], "the line at which a split divides: up; with Shift by more", nudged(1)],
      [["ArrowDown"], "the line down", nudged(-1)],
    ];
    // the keys of spikeinterface-gui
    const decisionRows = () => [
      ...(data?.definitions ? labelsOf(data) : []).map((label) => [
        label.keys, `label the selected units ${label.value}, or take it off${label.isExclusive ? "; of one unit: go on to the next" : ""}`, () => labelBy(label), "label",
      ]),
      [["f"], "filter the list", () => list.field.focus()],
      [["c"], "take all labels off", () => decide("clear_labels"), "label"],
      [["Ctrl+m"], "merge the selected units", () => press("merge"), "merge"],
      [["Ctrl+s"], "split the selected unit at the line", () => press("split"), "split"],
      [["Ctrl+d", "Delete"], "remove the selected units", () => press("remove"), "remove"],
      [["Ctrl+r", "Ctrl+u", "Ctrl+x"], "take back removal, merge or split of the selected units", () => press("restore"), "restore"],
      [["j"], "look at this suggestion, or at the next one", () => prompts.next.click(), "next"],
      [["a", "Ctrl+a"], "do what is suggested", () => prompts.accept.click(), "accept"],
      [["x"], "do not suggest it again", () => prompts.skip.click(), "skip"],
      [["Ctrl+z"], "undo", () => tools.undo.click(), "undo"],
      [["Ctrl+y", "Ctrl+Z"], "redo", () => tools.redo.click(), "redo"],
    ];
    listenToKeys(view, model, [
      { on: list.list, title: "List of units", rows: () => listRows(step, () => list.rows.length, () => toggle(list.cursor)) },
      { on: amplitudeRow, title: "Amplitudes", rows: lineRows },
      { on: pairs.list.list, title: "Pairs of similar units", rows: pairs.keys },
      { on: view.root, title: "Decisions, with the keys of spikeinterface-gui", rows: decisionRows },
    ], () => data && !data.empty);

    model.on("change:cursor_s", view.redraw);
    model.on("change:pairs", rebuild);
    return () => {
      model.off("change:cursor_s", view.redraw);
      model.off("change:pairs", rebuild);
      view.stop();
    };
  },
};
